#!/usr/bin/env python3
"""tests/mutate and tests/sim/planted.py: what they change and what they say, in a small tree with its own library."""

import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest

import tree

sys.path.insert(0, str(tree.ROOT / 'tests' / 'planting'))
import mutants  # noqa: E402  its folder had to be named first

LONG = 120  # seconds in which everything has ended, however slow the machine is

HEADER = '''
    #pragma once

    // 1 + 1 is no code.
    inline int count_to(int end) {
      int n = 0;
      while (n < end) {
        n += 1;
      }
      return n;
    }
    inline int nobody_asks(int a) { return a * 7; }
'''
TEST = '''
    #include <cleat/base/counted.hpp>
    #include <cstdio>
    static_assert(sizeof(int) == 4);
    int main() {
      if (count_to(3) == 3) return 0;
      std::puts("counted_test.cpp(5): error: in \\"counted/counts\\": check count_to( 3 ) == 3 has failed");
      return 1;
    }
'''
# It ends with what a sweep says that found something.
SWEEP = '''
    #include <cleat/base/counted.hpp>
    #include <cstdio>
    int hub() {
      if (count_to(1) == 1) return 0;
      std::puts("hub, seed 3:\\n  after 5 ms: one is one");
      return 1;
    }
'''
NINJA = '''
    rule compile
      command = g++ -O0 -I../lib -MD -MF $out.d -o $out -c $in
      depfile = $out.d
      deps = gcc
    rule link
      command = g++ -o $out $in
    build counted.o: compile ../tests/base/counted_test.cpp
    build tests/base_counted_test: link counted.o
    build main.o: compile ../tests/sim/sweep/main.cpp
    build hub.o: compile ../tests/sim/sweep/hub.cpp
    build pipelines.o: compile ../tests/sim/sweep/pipelines.cpp
    build toggler.o: compile ../tests/sim/sweep/toggler.cpp
    build device.o: compile ../lib/toggle/device.cpp
    build tests/sim/sim_sweep: link main.o hub.o pipelines.o toggler.o device.o
'''


def changes(body, name='lib/cleat/base/a.hpp'):
    return {str(m) for m in mutants.of_file(name, textwrap.dedent(body).lstrip('\n'))}


class Tokenizer(unittest.TestCase):
    def test_operators_bounds_and_statements(self):
        found = changes('''
            bool f(int a, int b) {
              if (a <= b && !a) g(a, 10);
              for (int i = 0; i != b; ++i) {
                if (i == 5) break;
                h = std::max(a + b, 0x1F);
              }
              return a ? true : b;
            }
        ''')
        for expected in ('<= → <', '<= → >', '&& → ||', '! → (nothing)', '10 → 11', '10 → 9', '0 → 1', '!= → ==',
                         '++ → --', 'break → continue', 'break → (nothing)', 'max → min', '+ → -', '0x1F → 0x20',
                         'true : b → b : true', 'true → false', 'g(a, 10) → (nothing)',
                         'h = std::max(a + b, 0x1F) → (nothing)', 'a <= b && !a → (a <= b && !a) || true',
                         'i == 5 → (i == 5) && false'):
            self.assertIn(expected, found)

    def test_leaves_alone_what_is_no_code_of_a_function(self):
        self.assertEqual(changes(r'''
            #pragma once
            #define TWICE(a) ((a) + (a)) \
                + 1
            /* 1 + 1 */
            namespace a {
            template <class T, int N = 4>
            concept small = requires(T t) { t + 1 < 5; };
            enum class which { one = 1, two = 2 };
            static_assert(sizeof(int) < 8 && 1 == 1);
            [[deprecated("1 + 1")]] void f() noexcept(1 == 1);
            class shape {
             public:
              virtual int area() const = 0;
              bool operator==(shape const&) const = default;
            };
            inline std::string g(std::array<int, 3>& x) { return "1 < 2" + std::string{R"x(a && b)x"}; }
            }
        '''), set())

    def test_an_assertion_and_a_declaration_stay(self):
        self.assertEqual(changes('''
            void f(int a) {
              assert(a < 5);
              std::vector<int> const x{a};
              other y(a);
              using z = std::array<int, 3>;
            }
        '''), {'(nothing) → return;'})

    def test_a_function_ends_early_and_not_where_it_ends_anyway(self):
        self.assertEqual(changes('''
            class s {
              int size() const { return size_; }
              bool f() {
                g();
                return true;
              }
            };
        '''), {'(nothing) → return true;', 'g() → (nothing)', 'true → false'})

    def test_members_have_bounds_too(self):
        self.assertEqual(changes('''
            struct s {
              static constexpr int most = 64;
              bool on_ = true;
              int none_{};
            };
        '''), {'64 → 65', '64 → 63', 'true → false'})

    def test_a_change_keeps_its_name_when_other_lines_come_and_go(self):
        before = mutants.of_file('a.hpp', 'int f(int a) {\n  return a + 1;\n}\n')
        after = mutants.of_file('a.hpp', '// new\nint f(int a) {\n  g();\n  return a + 1;\n}\n')
        self.assertLessEqual({m.id for m in before}, {m.id for m in after})

    def test_one_seed_is_one_order_and_every_file_has_its_turn(self):
        found = mutants.of_tree(tree.ROOT)
        first = [m.id for m in mutants.draw(found, '1')]
        self.assertEqual(first, [m.id for m in mutants.draw(found, '1')])
        self.assertNotEqual(first, [m.id for m in mutants.draw(found, '2')])
        self.assertEqual(len(first), len(set(first)))
        turns = [m.path for m in mutants.draw(found, '1')[:400]]
        self.assertEqual(set(turns), set(found))
        self.assertLess(turns.count('lib/cleat/session/session.hpp'), 60)


class Small(unittest.TestCase):
    """A tree with one header, one unit test and one sweep, and both programs in it."""

    def setUp(self):
        if not (shutil.which('ninja') and shutil.which('g++') and shutil.which('patch')):
            self.skipTest('ninja, g++ or patch is not installed')
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tree = pathlib.Path(folder.name).resolve()
        for part in ('tests/mutate', 'tests/sim/planted.py'):
            (self.tree / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(tree.ROOT / part, self.tree / part)
        shutil.copytree(tree.ROOT / 'tests/planting', self.tree / 'tests/planting')
        self.write('lib/cleat/base/counted.hpp', HEADER)
        self.write('lib/toggle/device.cpp', '')
        self.write('tests/base/counted_test.cpp', TEST)
        self.write('tests/sim/sweep/hub.cpp', SWEEP)
        for other in ('pipelines', 'toggler'):
            self.write(f'tests/sim/sweep/{other}.cpp', '')
        self.write('tests/sim/sweep/main.cpp', 'int hub();\nint main() { return hub(); }\n')
        self.write('build/build.ninja', NINJA)

    def write(self, path, content):
        file = self.tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(content).lstrip('\n'), encoding='utf-8')

    def run_it(self, program, *arguments):
        return subprocess.run([sys.executable, '-B', self.tree / program, *arguments], capture_output=True, text=True,
                              check=False, timeout=LONG)

    def mutate(self, *arguments):
        return self.run_it('tests/mutate', self.tree / 'build', '--hangs', '1', *arguments)

    def results(self):
        lines = (self.tree / 'build/mutants.jsonl').read_text(encoding='utf-8').splitlines()
        return [json.loads(line) for line in lines if line.endswith('}')]


class Mutate(Small):
    def test_tells_what_was_killed_and_what_survived_and_goes_on_where_it_was(self):
        some = self.mutate('--count', '3')
        self.assertEqual(some.returncode, 0, some.stdout + some.stderr)
        self.assertEqual(len(self.results()), 3)
        # One who was ended while writing left half a line.
        with (self.tree / 'build/mutants.jsonl').open('a', encoding='utf-8') as file:
            file.write('{"id": "1234')
        everything = self.mutate('--count', '100')
        self.assertEqual(everything.returncode, 0, everything.stdout + everything.stderr)
        self.assertIn('3 were tried before', everything.stdout)
        self.assertIn('mutants.jsonl:4 is no result', everything.stderr)
        records = self.results()
        self.assertEqual(len(records), len({r['id'] for r in records}))
        became = {r['change']: (r['result'], r['by']) for r in records}
        self.assertEqual(became['7 → 8'], ('survived', ''))
        self.assertEqual(became['n += 1 → (nothing)'], ('killed', 'base/counted_test, does not end within 1 s'))
        self.assertEqual(became['0 → 1'][0], 'survived')
        self.assertEqual(became['< → <='], (
            'killed', 'base/counted_test, counts: check count_to( 3 ) == 3 has failed'))
        self.assertRegex(everything.stdout, r'survived: lib/cleat/base/counted\.hpp:11  7 → 8')
        self.assertRegex(everything.stdout, r'\nall +\d+ +\d+ +\d+  \d+ %')
        again = self.mutate('--count', '100')
        self.assertEqual((again.returncode, again.stdout.count('  [')), (0, 0), again.stdout + again.stderr)

        survivor = next(r['id'] for r in records if r['change'] == '7 → 8')
        with (self.tree / 'build/mutants.jsonl').open('a', encoding='utf-8') as file:
            file.write(json.dumps({'id': survivor, 'reason': 'nobody asks'}) + '\n')
        table = self.run_it('tests/mutate', '--results', self.tree / 'build/mutants.jsonl', '--markdown')
        self.assertIn('| `lib/cleat/base/counted.hpp:11` | `7 → 8` | nobody asks |', table.stdout)
        difference = self.run_it('tests/mutate', '--diff', survivor)
        self.assertIn('+inline int nobody_asks(int a) { return a * 8; }\n', difference.stdout)

        stricter = TEST.replace('count_to(3) == 3)', 'count_to(3) == 3 && nobody_asks(1) == 7)')
        self.write('tests/base/counted_test.cpp', stricter)
        once_more = self.mutate('--again')
        self.assertEqual(once_more.returncode, 0, once_more.stdout + once_more.stderr)
        became = {r['change']: r['result'] for r in self.results() if 'result' in r}
        self.assertEqual((became['7 → 8'], became['0 → 1']), ('killed', 'survived'))

    def test_the_sweep_finds_what_the_unit_test_does_not(self):
        self.write('tests/base/counted_test.cpp', '#include <cleat/base/counted.hpp>\nint main() {}\n')
        done = self.mutate('--files', '*counted.hpp', '--count', '100', '--ci')
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn('hub, seed 3: one is one', done.stdout)
        self.assertRegex(done.stdout.splitlines()[-1], r'^\d+ passed, 0 failed$')
        self.assertFalse((self.tree / 'build/mutants.jsonl').exists())

    def test_what_does_not_compile_does_not_count(self):
        header = HEADER.replace('return a * 7', 'char const x[2] = "x"; return a * x[0]')
        self.write('lib/cleat/base/counted.hpp', header)
        done = self.mutate('--count', '100')
        self.assertRegex(done.stdout, r'does not compile \S+ \S+:11  2 → 1  ')
        self.assertIn('\n1 more did not compile\n', done.stdout)

    def test_a_test_that_fails_anyway_is_a_failure(self):
        self.write('tests/base/counted_test.cpp', TEST.replace('count_to(3) == 3', 'count_to(3) == 4'))
        done = self.mutate('--count', '1', '--ci')
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn('without a fault, base/counted_test fails all the same: counts: check', done.stdout)
        self.assertEqual(done.stdout.splitlines()[-1], '0 passed, 1 failed')

    def test_stops_at_once_and_leaves_nothing_behind(self):
        self.write('tests/base/counted_test.cpp',
                   '#include <cleat/base/counted.hpp>\nint main() { while (count_to(3) != 3) continue; }\n')
        with subprocess.Popen([sys.executable, '-B', self.tree / 'tests/mutate', self.tree / 'build', '-j', '1'],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={
                                  'PATH': '/usr/bin:/bin', 'TMPDIR': str(self.tree / 'build')}) as program:
            program.stdout.readline()
            deadline = time.monotonic() + LONG
            while not list((self.tree / 'build').glob('mutant-*/base_counted_test')) and time.monotonic() < deadline:
                time.sleep(0.02)
            program.send_signal(signal.SIGINT)
            _, errors = program.communicate(timeout=LONG)
        self.assertEqual((program.returncode, errors), (130, 'mutate: stopped; the same command goes on from here\n'))
        self.assertEqual(list((self.tree / 'build').glob('mutant-*')), [])

    def test_bad_usage_is_told_in_a_sentence(self):
        for arguments, sentence in ((('--count', '0'), "wants a whole number from 1, not '0'"),
                                    (('--markdown', '--results', 'none'), 'name a file of results'),
                                    (('--files', 'none'), '--files names nothing that can be changed')):
            with self.subTest(arguments):
                done = self.mutate(*arguments)
                self.assertEqual(done.returncode, 2)
                self.assertIn(sentence, done.stderr)
        self.assertIn('no folder in which Meson builds', self.run_it('tests/mutate', self.tree / 'none').stderr)


class Planted(Small):
    FAULT = '''
        It counts {what}.

        {finder}

        --- a/lib/cleat/base/counted.hpp
        +++ b/lib/cleat/base/counted.hpp
        @@ -4,5 +4,5 @@
         inline int count_to(int end) {{
        -  int n = 0;
        +  int n = {begin};
           while (n < end) {{
             n += 1;
           }}
    '''

    def plant(self, name, finder, begin, **more):
        self.write(f'tests/sim/planted/{name}.patch', self.FAULT.format(what=name, finder=finder, begin=begin, **more))

    def planted(self, *arguments):
        return self.run_it('tests/sim/planted.py', self.tree / 'build', *arguments)

    def test_a_unit_test_or_a_sweep_finds_it(self):
        self.plant('from_nine', 'test: base/counted_test', 9)
        self.plant('from_two', 'scenario: hub', 2)
        done = self.planted()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r'from_nine +unit +[\d.]+  base/counted_test, counts: check count_to')
        self.assertRegex(done.stdout, r'from_two +3 +[\d.]+  one is one')
        self.assertEqual(done.stdout.splitlines()[-1], '4 passed, 0 failed')

    def test_what_nobody_finds_fails(self):
        self.plant('from_one', 'test: base/counted_test', 1)
        self.plant('from_zero', 'scenario: hub', 0)
        self.plant('misspelt', 'test: base/no_test', 9)
        done = self.planted()
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r'from_one +NOT FOUND: base/counted_test passes with it\n')
        self.assertRegex(done.stdout, r'from_zero +NOT FOUND: 1000 seeds did not find it')
        self.assertRegex(done.stdout, r'misspelt +NOT FOUND: the patch does not begin with `scenario: NAME` or `test: ')
        self.assertEqual(done.stdout.splitlines()[-1], '2 passed, 3 failed')

    def test_each_has_its_turn(self):
        for begin in range(2, 7):
            self.plant(f'from_{begin}', 'test: base/counted_test', begin * 2)
        turns = []
        for day in (1, 2, 3):
            done = self.planted('--rotating', '2', '--date', f'2026-12-0{day}')
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn(f'2026-12-0{day}: it is the turn of from_', done.stdout)
            turns += [name for name in map(str, range(2, 7)) if f'\nfrom_{name} ' in done.stdout]
        self.assertEqual((len(turns), set(turns)), (6, {'2', '3', '4', '5', '6'}))


if __name__ == '__main__':
    tree.main()

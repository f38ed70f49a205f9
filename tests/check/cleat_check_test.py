"""cleat-check finds what g++ 12 miscompiles in a user's files. cleat_check_test.py CLEAT-CHECK VERSION"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest

import tree

CHECK = pathlib.Path(sys.argv[1])
VERSION = sys.argv[2]

TYPES = """
    #include <coroutine>
    #include <string>
    struct task {
      struct promise_type {
        task get_return_object() { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_value(int) {}
        void unhandled_exception() {}
      };
      bool await_ready() { return true; }
      void await_suspend(std::coroutine_handle<>) {}
      int await_resume() { return 1; }
    };
    struct options { std::string text; int n = 0; };
    struct made { made(std::string t) : text(t) {} std::string text; };
    inline task one() { co_return 1; }
    inline task with(options const&) { co_return 1; }
    inline task with_made(made) { co_return 1; }
    inline int size_of(options const& o) { return o.n; }
    template <class F> task with_function(F) { co_return 1; }
"""


class CleatCheck(unittest.TestCase):
    def setUp(self):
        if not shutil.which('clang-query-19'):
            self.skipTest('clang-query-19 is not installed')
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name).resolve()
        self.write('types.hpp', '#pragma once\n' + TYPES)

    def write(self, name, content):
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(content), encoding='utf-8')
        return name

    def run_check(self, *words, **more):
        return subprocess.run([CHECK, *words], cwd=self.folder, capture_output=True, text=True, check=False, **more)

    def body(self, *lines):
        """A source of one coroutine; its statements begin in line 3."""
        return self.write('a.cpp', '#include "types.hpp"\ntask body(std::string s) { int n = 0;\n' + '\n'.join(lines)
                          + '\nco_return n; }\n')

    def finds(self, sentence, *lines):
        """Each of these lines is found, for this reason."""
        done = self.run_check(self.body(*lines))
        self.assertEqual((done.returncode, done.stderr), (1, ''), done.stdout)
        found = done.stdout.splitlines()
        self.assertEqual([f.split(': ')[0] for f in found], [f'a.cpp:{3 + i}' for i in range(len(lines))], done.stdout)
        for line in found:
            self.assertIn(sentence, line)

    def test_is_silent_about_what_both_compilers_translate(self):
        done = self.run_check(self.body(
            'int const r = co_await one(); if (r > 1) n = r;',
            'options o{s, 1}; n += co_await with(o);',
            'n += co_await with_made(made{s});',
            'auto f = [s] { return s; }; n += co_await with_function(std::move(f));',
            'n += co_await with_function([&] { return n; });'))
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, '', ''))

    def test_finds_an_await_in_a_condition(self):
        self.finds('write `bool const ok = co_await …;` before it', 'if (auto r = co_await one(); r) n = r;',
                   'if (int r = co_await one()) n = r;', 'if (co_await one()) n = 1;', 'while (co_await one() > 1) n = 1;',
                   'do n = 1; while (co_await one() > 1);', 'switch (co_await one()) { default: n = 1; }')

    def test_finds_an_await_in_a_choice(self):
        self.finds('use if and else', 'n = s.empty() ? co_await one() : 0;')

    def test_finds_an_await_inside_the_braces_of_an_aggregate(self):
        self.finds('await into a local first', 'options a{s, co_await one()};',
                   'options b{.n = co_await one()};')

    def test_finds_a_braced_temporary(self):
        self.finds('name it first, or give its type a constructor', 'n = co_await with(options{s, 1});',
                   'n = co_await with({.text = s});', 'n = co_await with({s});', 'n = co_await with(options(s, 1));')

    def test_finds_a_braced_temporary_beside_an_await(self):
        self.finds('name it first, or give its type a constructor', 'n = size_of(options{s, 1}) + co_await one();')

    def test_finds_a_lambda_that_owns_its_captures(self):
        self.finds('std::move it in', 'n = co_await with_function([s] { return s; });')

    def test_looks_at_a_header_and_at_nothing_but_what_it_was_given(self):
        bad = '{ if (co_await one()) co_return 2; co_return 1; }\n'
        self.write('bad.hpp', '#pragma once\n#include "types.hpp"\ninline task bad() ' + bad)
        self.write('a.cpp', '#include "bad.hpp"\n')
        self.assertEqual(self.run_check('a.cpp').returncode, 0)
        done = self.run_check('bad.hpp')
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn('bad.hpp:3: g++ 12 miscompiles co_await in a condition', done.stdout)

    def test_works_on_names_that_are_unusual(self):
        os.rename(self.folder / self.body('if (co_await one()) n = 1;'), self.folder / 'a+b (c)-1.x.cpp')
        done = self.run_check('a+b (c)-1.x.cpp')
        self.assertEqual((done.returncode, done.stdout[:19]), (1, 'a+b (c)-1.x.cpp:3: '), done.stderr)

    def test_takes_the_arguments_of_a_compilation_database(self):
        self.write('include/special.hpp', '#ifdef SPECIAL\n#include "../types.hpp"\n#endif\n')
        self.write('a.cpp', '#include <special.hpp>\ntask body() { if (co_await one()) co_return 2; co_return 1; }\n')
        words = ['c++', '-Iinclude', '-DSPECIAL', '-Wno-such-thing', '-c', 'a.cpp', '-o', 'a.o']
        database = json.dumps([{'directory': str(self.folder), 'file': 'a.cpp', 'arguments': words}])
        self.assertEqual(self.run_check('a.cpp').returncode, 2)
        behind = self.run_check('a.cpp', '--', '-Iinclude', '-DSPECIAL')
        self.write('build/compile_commands.json', database)
        beside = self.run_check('a.cpp')
        given = self.run_check('-p', 'build', 'a.cpp')
        for done in (behind, beside, given):
            self.assertEqual((done.returncode, done.stdout[:9]), (1, 'a.cpp:2: '), done.stderr)

    def test_says_so_when_a_file_cannot_be_judged(self):
        self.write('a.cpp', 'int f() { return nothing; }\n')
        done = self.run_check('a.cpp')
        self.assertEqual((done.returncode, done.stdout), (2, ''))
        self.assertIn('a.cpp:1: does not compile, so that it cannot be judged', done.stderr)

    def test_says_so_when_clang_query_is_not_installed(self):
        python = self.write('bin/python3', '')
        (self.folder / python).unlink()
        (self.folder / python).symlink_to(shutil.which('python3'))
        done = self.run_check(self.body('n = 1;'), env={'PATH': str(self.folder / 'bin')})
        self.assertEqual((done.returncode, done.stdout), (2, ''))
        self.assertIn('clang-query is not installed', done.stderr)


class CommandLine(unittest.TestCase):
    def run_check(self, *words):
        done = subprocess.run([CHECK, *words], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def test_tells_its_version_and_how_it_is_used(self):
        self.assertEqual(self.run_check('--version'), (0, f'cleat-check {VERSION}\n', ''))
        code, out, _ = self.run_check('--help')
        self.assertEqual(code, 0)
        for words in ('FILE', 'exit status', 'compile_commands.json', 'clang-query'):
            self.assertIn(words, out)

    def test_refuses_a_wrong_command_line_in_one_sentence(self):
        for words, sentence in (((), 'FILE'), (('nowhere.cpp',), 'nowhere.cpp is not a file'),
                                (('-p', '/nowhere', __file__), 'no compile_commands.json in /nowhere'),
                                (('--nothing', __file__), '--nothing')):
            with self.subTest(words):
                code, out, error = self.run_check(*words)
                self.assertEqual((code, out), (2, ''))
                self.assertIn(sentence, error)


if __name__ == '__main__':
    del sys.argv[1:]
    tree.main()

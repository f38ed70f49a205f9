#!/usr/bin/env python3
"""Each gate of scripts/check is proven: a violation is planted in a small tree, and the gate names it."""

import subprocess

import tree

CLEAN_HEADER = '#pragma once\n\nint f();\n'


class Format(tree.Planted):
    check = 'format'

    def test_finds_a_file_that_is_written_otherwise(self):
        self.write('lib/cleat/base/a.hpp', CLEAN_HEADER)
        self.passes()
        self.write('lib/cleat/base/a.hpp', '#pragma once\n\nint   f( );\n')
        self.finds('lib/cleat/base/a.hpp:3: 2 places differ')


class Graph(tree.Planted):
    check = 'graph'

    def header(self, path, *includes):
        self.write(f'lib/{path}', '#pragma once\n' + ''.join(f'#include <{i}>\n' for i in includes))

    def setUp(self):
        super().setUp()
        for folder in ('base', 'transport', 'codec', 'observe', 'service', 'session', 'middleware', 'runtime', 'sim',
                       'conformance'):
            self.header(f'cleat/{folder}/{folder}.hpp')
        self.header('toggle/toggle.hpp', 'cleat/codec/codec.hpp', 'cleat/runtime/runtime.hpp')
        self.header('cleat/session/uses.hpp', 'cleat/transport/transport.hpp', 'cleat/base/base.hpp')
        self.header('cleat/conformance/kit.hpp', 'cleat/codec/codec.hpp', 'cleat/runtime/runtime.hpp')

    def test_passes_what_the_house_allows(self):
        self.passes()

    def test_finds_an_include_of_a_higher_floor(self):
        self.header('cleat/base/bad.hpp', 'cleat/transport/transport.hpp')
        self.finds('lib/cleat/base/bad.hpp:2: cleat/base must not include cleat/transport')

    def test_finds_siblings_that_see_each_other(self):
        self.header('cleat/codec/bad.hpp', 'cleat/transport/transport.hpp')
        self.header('cleat/middleware/bad.hpp', 'cleat/session/session.hpp')
        self.finds('cleat/codec must not include cleat/transport',
                   'cleat/middleware must not include cleat/session')

    def test_finds_a_relative_include_of_a_sibling(self):
        self.write('lib/cleat/codec/bad.hpp', '#pragma once\n#include "../transport/transport.hpp"\n')
        self.finds('cleat/codec must not include cleat/transport')

    def test_finds_the_framework_that_knows_a_device(self):
        self.header('cleat/runtime/bad.hpp', 'toggle/toggle.hpp')
        self.finds('cleat/runtime must not include toggle',
                   'a circle of folders: cleat/runtime -> toggle -> cleat/runtime')

    def test_finds_conformance_outside_of_tests(self):
        self.header('toggle/bad.hpp', 'cleat/conformance/kit.hpp')
        self.write('apps/one/main.cpp', '#include <cleat/conformance/kit.hpp>\n')
        self.finds('toggle must not include cleat/conformance', 'apps/one/main.cpp:1: only tests include conformance')

    def test_finds_a_simulation_that_sees_a_session(self):
        self.header('cleat/sim/bad.hpp', 'cleat/session/session.hpp')
        self.finds('cleat/sim must not include cleat/session')

    def test_finds_a_circle_of_files(self):
        self.header('cleat/base/one.hpp', 'cleat/base/two.hpp')
        self.header('cleat/base/two.hpp', 'cleat/base/one.hpp')
        self.finds('a circle of files: cleat/base/one.hpp -> cleat/base/two.hpp -> cleat/base/one.hpp')

    def test_finds_a_circle_of_folders(self):
        self.header('cleat/service/bad.hpp', 'cleat/observe/observe.hpp')
        self.header('cleat/observe/bad.hpp', 'cleat/service/service.hpp')
        self.finds('a circle of folders: cleat/observe -> cleat/service -> cleat/observe',
                   'cleat/service must not include cleat/observe', 'cleat/observe must not include cleat/service')

    def test_finds_a_folder_without_a_floor(self):
        self.header('cleat/attic/a.hpp')
        self.finds('lib/cleat/attic is on no floor')

    def test_finds_a_header_without_pragma_once(self):
        self.write('lib/cleat/base/bad.hpp', 'int f();\n')
        self.finds('lib/cleat/base/bad.hpp:1: a header begins with #pragma once')

    def test_finds_an_include_of_nothing(self):
        self.header('cleat/base/bad.hpp', 'cleat/base/gone.hpp')
        self.finds('there is no lib/cleat/base/gone.hpp')

    def test_finds_what_is_heavy_in_a_header_and_asio_in_a_codec(self):
        self.header('cleat/observe/bad.hpp', 'boost/log/core.hpp', 'prometheus/registry.h')
        self.header('cleat/codec/bad.hpp', 'boost/asio/buffer.hpp')
        self.finds('<boost/log/core.hpp> is heavy', '<prometheus/registry.h> is heavy',
                   'a codec is pure: it does not include <boost/asio/buffer.hpp>')

    def test_finds_a_policy_that_comes_by_asio(self):
        self.header('cleat/base/clock.hpp', 'boost/asio/any_io_executor.hpp')
        self.header('cleat/middleware/circuit.hpp', 'cleat/base/clock.hpp')
        self.finds('a policy is pure: it does not include <boost/asio/any_io_executor.hpp>, as it does by '
                   'cleat/base/clock.hpp')


class Listed(tree.Planted):
    check = 'listed'

    def test_finds_what_no_meson_build_lists(self):
        self.write('lib/cleat/base/a.hpp', CLEAN_HEADER)
        self.write('lib/cleat/base/a.cpp', '')
        self.write('tests/base/a_test.cpp', 'int main() {}\n')
        self.meson(['lib/cleat/base/a.hpp'], ['lib/cleat/base/a.cpp'], ['tests/base/a_test.cpp'])
        self.passes()
        self.write('lib/cleat/base/b.hpp', CLEAN_HEADER)
        self.write('lib/cleat/base/b.cpp', '')
        self.write('tests/base/b_test.cpp', '')
        self.write('tests/base/helper.hpp', CLEAN_HEADER)
        self.write('tests/scenario/c_test.py', '')
        self.finds('b.hpp: its folder\'s meson.build does not list it', 'b.cpp: no meson.build lists it',
                   'b_test.cpp: no meson.build lists it', 'helper.hpp: no file includes it', 'c_test.py: no test()')

    def test_finds_a_test_that_is_built_and_not_run(self):
        self.write('lib/cleat/base/a.cpp', '')
        self.write('tests/base/a_test.cpp', '')
        self.meson([], ['lib/cleat/base/a.cpp', 'tests/base/a_test.cpp'])
        self.finds('a_test.cpp: it is built, but no test() runs it')


class Headers(tree.Planted):
    check = 'headers'

    def test_finds_a_header_that_does_not_stand_alone(self):
        self.write('lib/cleat/base/a.hpp', '#pragma once\n#include <string>\nstd::string f();\n')
        self.passes()
        self.write('lib/cleat/base/b.hpp', '#pragma once\nstd::string f();\n')
        self.finds('lib/cleat/base/b.hpp: does not compile alone: b.hpp:2')

    def test_finds_a_warning_that_a_user_would_see(self):
        self.write('lib/cleat/base/a.hpp', '#pragma once\ninline char low(int n) { return n; }\n')
        self.finds('lib/cleat/base/a.hpp: does not compile alone: a.hpp:2')


COROUTINE = """
    #include <array>
    #include <coroutine>
    #include <string>
    #include <utility>
    struct task {
      struct promise_type {
        task get_return_object() { return {}; }
        std::suspend_never initial_suspend() { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() {}
        void unhandled_exception() {}
      };
      bool await_ready() { return true; }
      void await_suspend(std::coroutine_handle<>) {}
      int await_resume() { return 1; }
    };
    struct options { std::string text; int n = 0; };
    struct plain { int a; int b; };
    struct made { explicit made(std::string, int = 0) {} };
    inline task one() { co_return; }
    inline task with(options) { co_return; }
    inline task with_plain(plain) { co_return; }
    inline task with_made(made) { co_return; }
    inline task with_all(std::array<std::string, 2> const&) { co_return; }
    template <class F> task with_function(F) { co_return; }
    task body(std::string s) {
      int n = s.empty() ? 1 : 2;
"""


class Coroutines(tree.Planted):
    check = 'coroutines'

    def body(self, *lines):
        """The statements, in a coroutine; returns the line of the first."""
        source = COROUTINE + ''.join(f'      {line}\n' for line in lines) + '      (void)n;\n    }\n'
        self.write('lib/cleat/base/a.cpp', source)
        self.meson([], ['lib/cleat/base/a.cpp'])
        return COROUTINE.count('\n')

    def each(self, sentence, *lines):
        first = self.body(*lines)
        self.finds(*(f'lib/cleat/base/a.cpp:{first + i}: g++ 12 miscompiles {sentence}' for i in range(len(lines))))

    def test_passes_what_both_compilers_translate(self):
        self.body('bool const ok = co_await one();', 'if (ok) n = co_await one();', 'int const m{co_await one()};',
                  'co_await with_function([&] { return n; });', 'co_await with_function([m] { return m; });',
                  'co_await with_plain({1, 2});', 'co_await with_made(made{s, co_await one()});',
                  'options o{s};', 'co_await with(o);', 'auto f = [s] { return s; };',
                  'co_await with_function(std::move(f));',
                  'auto g = [&]() -> task { n = co_await one(); };',
                  'if (with_function([&]() -> task { co_await one(); }).await_ready()) co_await g();')
        self.passes()

    def test_finds_an_await_in_a_condition(self):
        self.each('co_await in a condition', 'if (co_await one()) n = 1;', 'if (!co_await one()) n = 1;',
                  'if (int i = co_await one()) n = i;', 'if (int i = co_await one(); i > 0) n = i;',
                  'while (co_await one() > 1) n = 1;', 'while (int i = co_await one()) n = i;',
                  'do n = 1; while (co_await one() > 1);', 'for (; co_await one() > 1;) n = 1;',
                  'switch (co_await one()) { default: n = 1; }')

    def test_finds_an_await_in_a_choice(self):
        self.each('co_await in `? :`', 'n = s.empty() ? co_await one() : 0;', 'n = co_await one() ? 1 : 0;')

    def test_finds_an_await_inside_the_braces_of_an_aggregate(self):
        self.each('co_await inside the braces', 'options a{s, co_await one()};', 'options b{.n = co_await one()};',
                  'n = plain{1, co_await one()}.b;', 'int c[]{1, co_await one()};')

    def test_finds_a_braced_temporary_in_an_await(self):
        self.each('a braced temporary', 'co_await with(options{.text = s});', 'co_await with({.text = s});',
                  'co_await with_all(std::array<std::string, 2>{s, s});', 'n = 1 + co_await with({s});')

    def test_finds_a_lambda_that_owns_its_captures_in_an_await(self):
        self.each('a lambda that owns its captures', 'co_await with_function([s] { return s; });',
                  'co_await with_function([=] { return s; });',
                  'co_await with_function([t = std::move(s)] { return t; });')

    def test_finds_it_in_an_instantiated_template_of_a_header(self):
        self.meson([], ['lib/cleat/base/a.cpp'])
        types = COROUTINE.split('    task body')[0]
        line = types.count('\n') + 2
        self.write('lib/cleat/base/a.hpp', types + """
    template <class T> task templated(T t) { if (co_await one() == t) co_await one(); }
""")
        self.write('lib/cleat/base/a.cpp', '#include <cleat/base/a.hpp>\ntask run() { co_await templated(1); }\n')
        self.finds(f'lib/cleat/base/a.hpp:{line - 1}: g++ 12 miscompiles co_await in a condition')

    def test_says_so_when_a_source_does_not_compile(self):
        self.body('co_await nothing();')
        self.finds('cannot be judged')


class Tidy(tree.Planted):
    check = 'tidy'

    def test_finds_a_coroutine_in_a_lambda_that_captures(self):
        first = COROUTINE.count('\n')
        self.write('lib/cleat/base/a.cpp', COROUTINE + '      auto f = [n]() -> task { co_await with_plain({n, n}); };\n'
                   '      co_await f();\n    }\n')
        self.meson([], ['lib/cleat/base/a.cpp'])
        self.finds(f'lib/cleat/base/a.cpp:{first}: coroutine lambda may cause use-after-free')

    def test_finds_a_lock_held_over_an_await(self):
        source = COROUTINE.replace('#include <array>', '#include <array>\n    #include <mutex>')
        self.write('lib/cleat/base/a.cpp', source + '      std::mutex m;\n      std::lock_guard const held{m};\n'
                   '      co_await with_plain({n, n});\n    }\n')
        self.meson([], ['lib/cleat/base/a.cpp'])
        self.finds('[misc-coroutine-hostile-raii]')

    def test_finds_it_in_a_header_without_a_source(self):
        self.write('lib/cleat/base/a.cpp', '')
        self.write('lib/cleat/base/a.hpp', '#pragma once\nstruct NotOurs { int* p = 0; };\n')
        self.meson([], ['lib/cleat/base/a.cpp'])
        self.finds('a.hpp:2: invalid case style for class', 'a.hpp:2: use nullptr')


class Words(tree.Planted):
    check = 'words'

    def one(self, path, line, sentence):
        with self.subTest(line):
            file = self.write(path, line + '\n')
            self.addCleanup(file.unlink, missing_ok=True)
            self.finds(f'{path}:1: {sentence}')
        file.unlink()

    def test_finds_each_of_them(self):
        self.passes()
        self.one('lib/cleat/session/a.cpp', 'auto t = std::chrono::steady_clock::now();', 'steady_clock::now')
        self.one('lib/cleat/session/a.hpp', 'auto t = std::time(nullptr);', 'std::time(')
        self.one('lib/toggle/a.cpp', 'std::random_device d;', 'std::random_device')
        self.one('lib/cleat/codec/a.cpp', 'int i = std::rand();', 'std::rand(')
        self.one('lib/cleat/middleware/a.cpp', 'getaddrinfo(a, b, c, d);', 'getaddrinfo')
        self.one('lib/cleat/session/b.cpp', 'int s = ::socket(AF_INET, SOCK_STREAM, 0);', '::socket(')
        self.one('lib/cleat/runtime/a.cpp', 'asio::ip::tcp::socket s;', 'tcp::socket')
        self.one('lib/cleat/runtime/b.cpp', 'asio::steady_timer t;', 'steady_timer')
        self.one('tests/base/a_test.cpp', 'std::this_thread::sl' 'eep_for(1s);', 'std::this_thread::sl' 'eep: ')
        self.one('tests/base/b_test.cpp', 'BOOST_TEST' '(true);', 'BOOST_TEST' '(true): a test that cannot fail')
        self.one('docs/a.md', 'TO' 'DO: write this', 'TO' 'DO: work left undone')
        self.one('scripts/a', 'cd /ho' 'me/somebody/x', '/ho' 'me/s: a path of one machine')

    def test_passes_the_files_whose_task_it_is(self):
        self.write('lib/cleat/base/clock.cpp', 'auto t = std::chrono::steady_clock::now();\n')
        self.write('lib/cleat/base/entropy.cpp', 'std::random_device d;\n')
        self.write('lib/cleat/transport/tcp.cpp', 'asio::ip::tcp::socket s;\n')
        self.write('lib/cleat/session/a.cpp', '// steady_clock::now() is asked elsewhere\n')
        self.passes()


class Shell(tree.Planted):
    check = 'shell'

    def test_finds_a_word_that_splits_and_a_script_that_cannot_be_run(self):
        self.write('scripts/a', '#!/usr/bin/env bash\necho "$1"\n', executable=True)
        self.passes()
        self.write('scripts/a', '#!/usr/bin/env bash\nrm $1\n')
        (self.tree / 'scripts/a').chmod(0o644)
        self.finds('scripts/a:1: begins with #! but is not executable', 'scripts/a:2: note: Double quote')


class Wraps(tree.Planted):
    check = 'wraps'
    good = """
        [wrap-file]
        directory = a-1
        source_url = https://example.org/a-1.tar.gz
        source_filename = a-1.tar.gz
        source_hash = 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef

        [provide]
        a = a_dep
        """

    def test_finds_what_is_wrong_with_a_wrap(self):
        self.write('meson.build', "a = dependency('a')\n")
        self.write('subprojects/a.wrap', self.good)
        self.passes()
        for old, new, sentence in (
                ('https:', 'http:', 'source_url is not https'),
                ('0123456789abcdef\n', '\n', 'source_hash is not a sha256'),
                ('a = a_dep', 'b = a_dep', 'it provides b, which no meson.build asks for'),
                ('a = a_dep', '', '[provide] names no dependency'),
                ('directory = a-1', '', 'directory is missing'),
                ('directory = a-1', 'directory = a-1\n        patch_directory = a', 'no packagefiles/a/meson.build'),
                ('wrap-file', 'wrap-git', 'it is no [wrap-file]')):
            with self.subTest(sentence):
                self.write('subprojects/a.wrap', self.good.replace(old, new))
                self.finds(sentence)


class Check(tree.Planted):
    def test_knows_its_checks(self):
        done = subprocess.run([tree.ROOT / 'scripts' / 'check', 'nothing'], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("there is no check 'nothing'; there are: format", done.stderr)


if __name__ == '__main__':
    tree.main()

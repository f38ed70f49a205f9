"""What goes wrong in an Asio program does not compile where the types show it: the first error says what to write instead.

wrong_in_asio_test.py ROOT. With g++ and with clang++-19, as far as they are installed."""

import concurrent.futures
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(sys.argv[1]).resolve()
INSTALLED = [name for name in ('g++', 'clang++-19') if shutil.which(name)]

PRELUDE = '''
#include <cleat/base/clock.hpp>
#include <cleat/base/spawn.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/service/any_service.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/system_executor.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
namespace asio = boost::asio;
using namespace std::chrono_literals;
using answer = cleat::result<int>;
inline auto const service = [](int q, cleat::call) -> cleat::task<answer> { co_return q; };
inline auto lamp = cleat::retry(2) | service;
inline cleat::task<> nothing() { co_return; }
'''

ASK = 'write co_await cleat::ask(service, request, call)(boost::asio::use_awaitable)'
BIND = 'write cleat::spawn(context.get_executor(), task, token), or bind one to the token'

# The code, and a part of the sentence.
WRONG = {
    'a pipeline awaited in an awaitable': ('asio::awaitable<void> f(cleat::call c) { co_await lamp(1, c); }', ASK),
    'a service that is a task awaited in an awaitable':
        ('asio::awaitable<void> f(cleat::call c) { co_await service(1, c); }', ASK),
    'a boxed service awaited in an awaitable':
        ('asio::awaitable<void> f(cleat::any_service<int, int>& s, cleat::call c) { co_await s(1, c); }', ASK),
    'a leaf awaited in an awaitable': ('asio::awaitable<void> f() { co_await cleat::sleep_until(cleat::never); }', ASK),
    'a future without an executor':
        ('void f(cleat::call c) { cleat::ask(lamp, 1, c)(asio::use_future); }', BIND),
    'nobody, without an executor': ('void f(cleat::call c) { cleat::ask(lamp, 1, c)(asio::detached); }', BIND),
    'a function without an executor':
        ('void f(cleat::call c) { cleat::ask(lamp, 1, c)([](std::exception_ptr, answer) {}); }', BIND),
    "the system's executor": ('void f() { cleat::spawn(asio::system_executor{}, nothing()); }',
                              "the system's executor runs a task on any thread"),
}

RIGHT = '''
asio::awaitable<void> f(cleat::call c) {
  auto one = cleat::ask(lamp, 1, c);
  co_await std::move(one)(asio::use_awaitable);
}
void g(asio::io_context& context, cleat::call c) {
  auto const executor = context.get_executor();
  cleat::spawn(executor, cleat::ask(lamp, 1, c), asio::use_future);
  cleat::spawn(executor, cleat::ask(lamp, 1, c), asio::detached);
  cleat::ask(lamp, 1, c)(asio::bind_executor(executor, asio::use_future));
  cleat::ask(lamp, 1, c)(asio::bind_executor(asio::make_strand(asio::system_executor{}), asio::detached));
  cleat::spawn(asio::make_strand(context), nothing());
}
'''


FLAGS = ('-std=c++20', f'-I{ROOT / "lib"}')


class InAsio(unittest.TestCase):
    def compiled(self, code):
        return subprocess.run([self.compiler, *FLAGS, '-fsyntax-only', '-include', self.prelude, '-x', 'c++', '-'],
                              input=code, capture_output=True, text=True, check=False, timeout=300)

    def check(self, compiler, precompiled):
        if compiler not in INSTALLED:
            self.skipTest(f'{compiler} is not installed')
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.compiler = compiler
        self.prelude = pathlib.Path(folder.name, 'prelude.hpp')
        self.prelude.write_text(PRELUDE, encoding='utf-8')
        subprocess.run([compiler, *FLAGS, '-x', 'c++-header', self.prelude, '-o', f'{self.prelude}.{precompiled}'],
                       check=True, timeout=300)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            done = dict(zip(WRONG, pool.map(lambda name: self.compiled(WRONG[name][0]), WRONG)))
        for name, (_, sentence) in WRONG.items():
            with self.subTest(name):
                first = re.search(r'error: (.*)', done[name].stderr)
                self.assertIn(sentence, first[1] if first else 'it compiles')
        right = self.compiled(RIGHT)
        self.assertEqual(right.returncode, 0, right.stderr)

    def test_gpp_names_the_mistakes_and_takes_the_cures(self):
        self.check('g++', 'gch')

    def test_clang_names_the_mistakes_and_takes_the_cures(self):
        self.check('clang++-19', 'pch')


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1], verbosity=2)

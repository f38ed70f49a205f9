"""Pipelines in a wrong order do not compile, and the compiler's first lines say why and what to write instead.

wrong_pipelines_test.py ROOT. With g++ and with clang++-19, as far as they are installed."""

import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(sys.argv[1]).resolve()
COMPILERS = ('g++', 'clang++-19')
INSTALLED = [name for name in COMPILERS if shutil.which(name)]
LINES = 10  # within which the sentence has to stand

HEADERS = ('breaker', 'canary', 'deadline', 'fallback', 'hedge', 'idempotent', 'limit', 'observe', 'rate', 'retry',
           'shadow', 'timeout')
PRELUDE = ''.join(f'#include <cleat/middleware/{h}.hpp>\n' for h in HEADERS) + '''
using namespace cleat;
using namespace std::chrono_literals;

struct watcher {
  using listens_to = event_list<call_ended>;
  void on(call_ended const&) noexcept {}
};
inline watcher watching;

struct service_type {
  using request = int;
  using response = int;
  task<result<int>> operator()(int q, call) { co_return q; }
};
inline service_type const service;
inline auto const half = std::make_shared<share>(5'000);
'''

# The layer in brackets is the one that allow<order_rule::...>(...) is wrapped around. Each with the pipeline to write
# instead.
WRONG = {
    'observe_inside_others': [
        ('[retry(2)] | observe(watching) | service', 'observe(watching) | retry(2) | service'),
    ],
    'deadline_inside_retry': [
        ('[retry(2)] | deadline(5s) | service', 'deadline(5s) | retry(2).per_attempt(1s) | service'),
        ('[hedge()] | deadline(5s) | service', 'deadline(5s) | hedge() | service'),
    ],
    'deadline_inside_queue': [
        ('[limit(64)] | deadline(5s) | service', 'deadline(5s) | limit(64) | service'),
        ('[rate(100)] | deadline(5s) | service', 'deadline(5s) | rate(100) | service'),
    ],
    'retry_inside_retry': [
        ('[retry(2)] | canary(service, retry(3) | service, half)', 'canary(service, retry(3) | service, half)'),
    ],
    'breaker_outside_retry': [
        ('[breaker()] | retry(3) | service', 'retry(3) | breaker() | service'),
    ],
    'breaker_outside_limit': [
        ('[breaker()] | limit(64) | service', 'limit(64) | breaker() | service'),
    ],
    'rate_outside_retry': [
        ('[rate(100)] | retry(3) | service', 'retry(3) | rate(100) | service'),
        ('[rate(100)] | hedge() | service', 'hedge() | rate(100) | service'),
    ],
    'hedge_outside_retry': [
        ('[hedge()] | retry(2) | service', 'retry(2) | hedge() | service'),
    ],
    'hedge_outside_idempotent': [
        ('[hedge()] | idempotent() | service', 'idempotent() | hedge() | service'),
    ],
    'fallback_inside_retry': [
        ('[retry(2)] | fallback(7) | service', 'fallback(7) | retry(2) | service'),
        ('[hedge()] | fallback(7) | service', 'fallback(7) | hedge() | service'),
    ],
    'fallback_inside_breaker': [
        ('[breaker()] | fallback(7) | service', 'fallback(7) | breaker() | service'),
    ],
    'fallback_inside_idempotent': [
        ('[idempotent()] | fallback(7) | service', 'fallback(7) | idempotent() | service'),
    ],
    'shadow_inside_retry': [
        ('[retry(2)] | shadow(service, service)', 'shadow(retry(2) | service, service)'),
    ],
}

# However deep the mistake lies: here the outermost and the innermost of seven.
DEEP = ('breaker_outside_retry',
        'observe(watching) | deadline(5s) | [breaker()] | timeout(3s) | timeout(2s) | idempotent() | retry(3) | service')

# Mistakes that are not of order: the code, and the sentence.
OTHERS = {
    'a middleware that cannot be called': (
        'auto wrong() { return deadline(5s) | [](int q, call) -> result<int> { return q; } | service; }',
        'a middleware must be callable as (request, call, next&) -> task<result<response>>'),
    'a service that is none': (
        'auto wrong(call c) { auto s = deadline(5s) | [](int q) { return q; }; return s(1, c); }',
        'a pipeline ends with a service, and what stands last here is none'),
    'two ways of different types': (
        '''inline auto const other = [](std::string q, call) -> task<result<std::string>> { co_return q; };
        auto wrong() { return canary(service, other, half); }''',
        'the stable service and the candidate of a canary must have the same request'),
    'a mirror of another type': (
        '''inline auto const other = [](std::string q, call) -> task<result<std::string>> { co_return q; };
        auto wrong() { return shadow(service, other); }''',
        'the primary and the mirror of a shadow must have the same request'),
}


def wrong(pipeline):
    return re.sub(r'[][]', '', pipeline)


def allowed(pipeline, rule):
    return re.sub(r'\[(.*)\]', rf'allow<order_rule::{rule}>(\1)', pipeline)


def sentence_of(rule):
    """(what is wrong, what to write), as order.hpp says it."""
    text = (ROOT / 'lib/cleat/middleware/order.hpp').read_text()
    for assertion in re.findall(r'static_assert\((.*?)\);\n', text, re.S):
        if f'allow<order_rule::{rule}>' in assertion:
            said = ''.join(re.findall(r'"([^"]*)"', assertion))
            what, instead = re.fullmatch(r'(.*?)[:;] (write .*); or wrap .*', said).groups()
            return what, instead
    raise AssertionError(f'no sentence names {rule}')


folder = tempfile.TemporaryDirectory()  # of the prelude, precompiled by each


def setUpModule():
    unittest.addModuleCleanup(folder.cleanup)
    pathlib.Path(folder.name, 'prelude.hpp').write_text(PRELUDE)
    shutil.copytree(ROOT / 'lib', f'{folder.name}/lib')  # as it is now, whoever edits it meanwhile
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: TESTS[name].precompile(), INSTALLED))


class WrongPipelines:
    """One compiler; the class of the tests is made of it below."""

    compiler = None

    @classmethod
    def setUpClass(cls):
        if cls.compiler not in INSTALLED:
            raise unittest.SkipTest(f'{cls.compiler} is not installed')

    @classmethod
    def run_compiler(cls, *arguments, source=None):
        return subprocess.run([cls.compiler, '-std=c++20', f'-I{folder.name}/lib', *arguments], input=source, text=True,
                              capture_output=True, check=False, timeout=250, env={**os.environ, 'LC_ALL': 'C'})

    @classmethod
    def precompile(cls):
        ending = 'gch' if cls.compiler == 'g++' else 'pch'
        made = cls.run_compiler('-x', 'c++-header', f'{folder.name}/prelude.hpp', '-o', f'{folder.name}/prelude.hpp.{ending}')
        if made.returncode:
            raise AssertionError(made.stderr)

    @classmethod
    def check(cls, code):
        return cls.run_compiler('-fsyntax-only', '-include', f'{folder.name}/prelude.hpp', '-x', 'c++', '-', source=code)

    def refuses(self, cases):
        """Of each (name, code, sentences): it does not compile, and each sentence is within the first lines."""
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            done = pool.map(self.check, [code for _, code, _ in cases])
        for (name, code, sentences), ran in zip(cases, done):
            with self.subTest(name, code=code):
                self.assertNotEqual(ran.returncode, 0, 'it compiles')
                first = '\n'.join(ran.stderr.splitlines()[:LINES])
                for sentence in sentences:
                    self.assertIn(sentence, first)

    def test_what_is_in_order_or_allowed_compiles(self):
        right = [instead for each in WRONG.values() for _, instead in each]
        right += [allowed(pipeline, rule) for rule, each in WRONG.items() for pipeline, _ in each]
        right.append(allowed(DEEP[1], DEEP[0]))
        ran = self.check(''.join(f'auto right_{n}() {{ return {p}; }}\n' for n, p in enumerate(right)))
        self.assertEqual((ran.returncode, ran.stderr), (0, ''))

    def test_what_is_out_of_order_does_not_and_says_why(self):
        cases = [(rule, pipeline) for rule, each in WRONG.items() for pipeline, _ in each] + [DEEP]
        self.refuses([(rule, f'auto wrong() {{ return {wrong(p)}; }}', sentence_of(rule)) for rule, p in cases])

    def test_other_mistakes_say_what_is_wrong_too(self):
        self.refuses([(name, code, [sentence]) for name, (code, sentence) in OTHERS.items()])


class EveryRule(unittest.TestCase):
    def test_each_rule_has_a_pipeline_that_breaks_it(self):
        text = (ROOT / 'lib/cleat/middleware/order.hpp').read_text()
        rules = re.search(r'enum class order_rule[^{]*{(.*?)}', text, re.S)[1]
        self.assertEqual(sorted(re.findall(r'\w+', rules)), sorted(WRONG))


TESTS = {name: type(name, (WrongPipelines, unittest.TestCase), {'compiler': name, '__module__': __name__})
         for name in COMPILERS}
globals().update(TESTS)

if __name__ == '__main__':
    if not INSTALLED:
        print('neither of', ', '.join(COMPILERS), 'is installed')
        sys.exit(77)
    unittest.main(argv=sys.argv[:1], verbosity=2)

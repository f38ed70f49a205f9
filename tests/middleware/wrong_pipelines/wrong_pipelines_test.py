"""Pipelines in a wrong order, and others that cannot be right, do not compile, and the compiler's first lines say why and what to write instead.

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
#include <cleat/service/any_service.hpp>
#include <memory>
#include <string>
#include <variant>
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
inline auto const forward = [](auto q, call c, auto& next) -> task<result<response_of<decltype(next)>>> {
  auto r = co_await next(std::move(q), c);
  co_return r;
};
inline auto const move_only = [](std::unique_ptr<int> q, call) -> task<result<int>> { co_return *q; };
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
VALUES = 'takes the request and the call by value, as in'
NO_SERVICE = 'a pipeline ends with a service, and what stands last here is none'
VIEW = 'the string here is a temporary that ends before the view is read'
OTHERS = {
    'a middleware that cannot be called': (
        'auto wrong() { return deadline(5s) | [](int, call, int) -> result<int> { return 1; } | service; }',
        'a middleware must be callable as (request, call, next&) -> task<result<response>>'),
    'a middleware whose answer has another type': (
        '''struct shouty : stage {
          template <class Request, class Next>
          task<result<std::string>> operator()(Request q, call c, Next& next) {
            auto r = co_await next(std::move(q), c);
            co_return r.error();
          }
        };
        auto wrong() { return deadline(5s) | shouty{} | service; }''',
        'a middleware must give the answer that the service below it gives'),
    'a service that is none': (
        'auto wrong() { return deadline(5s) | [](int q) { return q; }; }', NO_SERVICE),
    'a service that says no types': (
        'auto wrong() { return deadline(5s) | [](auto q, call) -> task<result<decltype(q)>> { co_return q; }; }',
        NO_SERVICE),
    'no service, called with a call': (
        'auto wrong(call c) { auto s = deadline(5s) | retry(2); return s(1, c); }', NO_SERVICE),
    'no service, called without one': (
        'task<> wrong() { auto s = deadline(5s) | retry(2); auto r = co_await s(1); (void)r; }', NO_SERVICE),
    'two lambdas': (
        'auto wrong() { return forward | forward | service; }',
        'two functions cannot begin a pipeline, since nothing tells `|` that they are middleware: wrap the first'),
    'two lambdas, and not in our namespace': (
        'namespace app { auto wrong() { return forward | forward | service; } }',
        'two functions cannot begin a pipeline, since nothing tells `|` that they are middleware: wrap the first'),
    'a retry of what cannot be copied': (
        'auto wrong() { return deadline(5s) | retry(2) | move_only; }', 'a `retry` asks again with a copy of the request'),
    'a hedge of what cannot be copied': (
        'auto wrong() { return deadline(5s) | hedge() | move_only; }', 'a `hedge` asks again with a copy of the request'),
    'a fallback of another type': (
        'auto wrong() { return deadline(5s) | fallback(std::string{"7"}) | retry(2) | service; }',
        'a fallback is one of: a value of the response type'),
    'a fallback to a service, with a request that cannot be copied': (
        'auto wrong() { return deadline(5s) | fallback(move_only) | move_only; }',
        'a `fallback` to a function or a service keeps a copy of the request'),
    'an observer that is a temporary': (
        'auto wrong() { return observe(watcher{}) | service; }', '`observe` tells observers that outlive the pipeline'),
    'a shared middleware that is a temporary': (
        'auto wrong() { return shared(retry(2)) | service; }', '`shared` needs a middleware that outlives the pipelines'),
    'a layer that keeps its request by reference': (
        '''struct keeps : stage {
          template <class Request, class Next>
          task<result<response_of<Next>>> operator()(Request const& q, call c, Next& next) {
            auto r = co_await next(Request{q}, c);
            co_return r;
          }
        };
        auto wrong() { return deadline(5s) | keeps{} | service; }''', VALUES),
    'a layer that keeps its call by reference': (
        '''auto wrong() {
          auto keeps = [](auto q, call const& c, auto& next) -> task<result<response_of<decltype(next)>>> {
            auto r = co_await next(std::move(q), c);
            co_return r;
          };
          return deadline(5s) | keeps | service;
        }''', VALUES),
    'a layer with a signature that shows a reference, under another layer': (
        '''auto wrong() {
          auto keeps = [](int const& q, call c, service_type& next) -> task<result<int>> {
            auto r = co_await next(q, c);
            co_return r;
          };
          return deadline(5s) | retry(2) | keeps | service;
        }''', VALUES),
    'a shared layer that keeps its call by reference': (
        '''struct keeps : stage {
          template <class Request, class Next>
          task<result<response_of<Next>>> operator()(Request q, call const& c, Next& next) {
            auto r = co_await next(std::move(q), c);
            co_return r;
          }
        };
        auto wrong() { static keeps one; return shared(one) | service; }''', VALUES),
    'a service that keeps its request by reference': (
        'auto wrong() { return deadline(5s) | [](int const& q, call) -> task<result<int>> { co_return q; }; }', VALUES),
    'a service that keeps its call by reference': (
        '''struct keeps {
          using request = int;
          using response = int;
          task<result<int>> operator()(int q, call const& c) { co_return c.repeatable ? q : 0; }
        };
        auto wrong() { return deadline(5s) | keeps{}; }''', VALUES),
    'a peer that is a temporary': (
        'void wrong(call& c, int room) { c.peer = "room " + std::to_string(room); }', VIEW),
    'a peer that was moved': (
        'void wrong(call& c, std::string name) { c.peer = std::move(name); }', VIEW),
    'a request of another type': (
        'task<> wrong() { auto s = deadline(5s) | service; auto r = co_await s(std::string{"on"}); (void)r; }',
        'this service takes a request of another type'),
    'a request of another type, with a call': (
        'auto wrong(call c) { any_service<int, int> s = service; return s(std::string{"on"}, c); }',
        'this service takes a request of another type'),
    'two ways of different types': (
        '''inline auto const other = [](std::string q, call) -> task<result<std::string>> { co_return q; };
        auto wrong() { return canary(service, other, half); }''',
        'the stable service and the candidate of a canary must have the same request'),
    'a mirror of another type': (
        '''inline auto const other = [](std::string q, call) -> task<result<std::string>> { co_return q; };
        auto wrong() { return shadow(service, other); }''',
        'the primary and the mirror of a shadow must have the same request'),
}

# What g++ would miscompile, and only g++ refuses.
FRAGILE = {
    'a braced aggregate, handed to a pipeline': 'auto r = co_await s(aggregate{"a", "b"});',
    'braces, handed to a pipeline': 'auto r = co_await s({"a", "b"}, c);',
    'a braced aggregate, handed to a box': 'auto r = co_await box(aggregate{"a", "b"}, c);',
    'a braced aggregate, handed to `ask`': 'auto r = co_await ask(s, aggregate{"a", "b"}, c);',
    'an aggregate that becomes the request': 'auto r = co_await either(aggregate{"a", "b"}, c);',
    'an aggregate that was moved, which looks the same': 'aggregate q{"a", "b"}; auto r = co_await s(std::move(q), c);',
}
FRAGILE_AROUND = '''
struct aggregate {
  std::string key;
  std::string value;
};
inline auto const join = [](aggregate q, call) -> task<result<std::string>> { co_return q.key + q.value; };
struct passes : stage {
  template <class Request, class Next>
  task<result<response_of<Next>>> operator()(Request q, call c, Next& next) {
    auto r = co_await next(std::move(q), c);
    co_return r;
  }
};
using variant = std::variant<aggregate, int>;
inline auto const of_either = [](variant, call) -> task<result<int>> { co_return 1; };
task<> body(call c) {
  auto s = deadline(5s) | passes{} | retry(2) | limit(4) | breaker() | any_service<aggregate, std::string>(join);
  auto either = deadline(5s) | of_either;
  any_service<aggregate, std::string> box = canary(fallback(std::string{"none"}) | join, deadline(5s) | join, half);
  aggregate named{"a", "b"};
  auto a = co_await s(named);
  auto b = co_await s(named, c);
  auto d = co_await box(named);
  auto e = co_await ask(s, named, c);
  auto g = co_await either(named, c);
  WRONG
  (void)r;
}
'''

# What resembles them, and is right.
RIGHT = '''
struct forwards : stage {
  template <class Request, class Next>
  auto operator()(Request&& q, call const& c, Next& next) -> decltype(next(std::forward<Request>(q), c)) {
    return next(std::forward<Request>(q), c);
  }
};
inline auto const deduced = [](auto&& q, call const& c, auto& next) { return next(std::move(q), c); };
inline task<result<int>> as_service(int q, call) { co_return q; }
inline task<result<int>> as_layer(int q, call c, service_type& next) {
  auto r = co_await next(q, c);
  co_return r;
}
auto right_forwarders() { return deadline(5s) | forwards{} | deduced | forward | service; }
auto right_shared() { static forwards one; return shared(one) | allow<order_rule::rate_outside_retry>(rate(100)) | service; }
auto right_lambdas() { return cleat::middleware(forward) | forward | service; }
auto right_lambda() { return forward | service; }
auto right_functions() { return deadline(5s) | &as_service; }
auto right_function_as_a_layer() { return deadline(5s) | &as_layer | service; }
auto right_move_only() { return deadline(5s) | limit(4) | breaker() | move_only; }
auto right_without_a_value() {
  return deadline(5s) | retry(2) | [](int, call) -> task<result<void>> { co_return result<void>{}; };
}
void right_peers(call& c, std::string const& name, std::string_view view, char const* pointer) {
  c.peer = "porch";
  c.peer = name;
  c.peer = view;
  c.peer = pointer;
}
namespace app { auto right_lambda() { return forward | service; } }
'''


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
        ran = self.check(''.join(f'auto right_{n}() {{ return {p}; }}\n' for n, p in enumerate(right)) + RIGHT)
        self.assertEqual((ran.returncode, ran.stderr), (0, ''))

    def test_what_is_out_of_order_does_not_and_says_why(self):
        cases = [(rule, pipeline) for rule, each in WRONG.items() for pipeline, _ in each] + [DEEP]
        self.refuses([(rule, f'auto wrong() {{ return {wrong(p)}; }}', sentence_of(rule)) for rule, p in cases])

    def test_other_mistakes_say_what_is_wrong_too(self):
        self.refuses([(name, code, [sentence]) for name, (code, sentence) in OTHERS.items()])


    def test_an_aggregate_is_refused_where_its_temporary_would_be_destroyed_twice(self):
        ran = self.check(FRAGILE_AROUND.replace('WRONG', 'int const r = 0;'))
        self.assertEqual((ran.returncode, ran.stderr), (0, ''))
        cases = {name: FRAGILE_AROUND.replace('WRONG', code) for name, code in FRAGILE.items()}
        if self.compiler == 'g++':
            self.refuses([(name, code, ['g++ 12 destroys a temporary of this type twice', 'name the object first'])
                          for name, code in cases.items()])
        else:
            for name, code in cases.items():
                with self.subTest(name):
                    ran = self.check(code)
                    self.assertEqual((ran.returncode, ran.stderr), (0, ''))


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

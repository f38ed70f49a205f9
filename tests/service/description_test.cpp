#define BOOST_TEST_MODULE description
#include <cleat/middleware/canary.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/fallback.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/runtime/per_call.hpp>
#include <cleat/runtime/persistent.hpp>
#include <cleat/service/any_service.hpp>
#include <cleat/service/description.hpp>
#include <cleat/transport/tcp.hpp>
#include <toggle/protocol.hpp>

#include <boost/test/unit_test.hpp>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

using cleat::any_service;
using cleat::call;
using cleat::deadline;
using cleat::describe;
using cleat::description;
using cleat::response_of;
using cleat::result;
using cleat::retry;
using cleat::task;
using cleat::to_graphviz;
using cleat::to_text;
using namespace std::chrono_literals;

namespace {

auto const echo = [](std::string q, call) -> task<result<std::string>> { co_return q; };

struct silent_stage : cleat::stage {
  template <class Next>
  task<result<response_of<Next>>> operator()(std::string q, call c, Next& next) {
    auto r = co_await next(std::move(q), c);
    co_return r;
  }
};

template <class>
struct one_of_many : silent_stage {};

template <class T>
struct outer {
  struct inner : silent_stage {};
};

template <class T>
auto local() {
  struct made_here : silent_stage {
    T unused{};
  };
  return made_here{};
}

struct says_a_line {
  [[nodiscard]] char const* describe() const { return line; }
  char const* line = "a line";
};

/// Two ways, of which one forks again.
description forked() {
  return description{"first"}
      .over(description{"second"}
                .over(description{"left"}, "a")
                .over(description{"right"}.over(description{"below right"}), "b"),
            {})
      .over(description{"third"}, "mirror");
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_pipeline_says_its_layers_in_the_order_of_a_call) {
  auto service = deadline(5s) | retry(2).per_attempt(1500ms) |
                 cleat::persistent<toggle::protocol>(cleat::tcp{"192.0.2.1", 9000});
  BOOST_TEST(to_text(describe(service)) ==
             "deadline(5 s)\n"
             "retry(2, 1500 ms each)\n"
             "persistent(192.0.2.1:9000)\n");
}

BOOST_AUTO_TEST_CASE(a_connection_says_where_it_goes) {
  auto const lamp = cleat::per_call<toggle::protocol>(cleat::tcp{"2001:db8::1", 9000});
  BOOST_TEST(describe(lamp).what == "per_call([2001:db8::1]:9000)");
}

BOOST_AUTO_TEST_CASE(ways_that_have_a_name_are_indented) {
  BOOST_TEST(to_text(forked()) ==
             "first\n"
             "  mirror: third\n"
             "second\n"
             "  a: left\n"
             "  b: right\n"
             "     below right\n");
  auto const deep = description{"first"}.over(forked(), "way").over(description{"last"}, "other");
  BOOST_TEST(to_text(deep) ==
             "first\n"
             "  way: first\n"
             "         mirror: third\n"
             "       second\n"
             "         a: left\n"
             "         b: right\n"
             "            below right\n"
             "  other: last\n");
  auto const nameless = description{"first"}.over(description{"one"}).over(description{"two"});
  BOOST_TEST(to_text(nameless) == "first\n  - one\ntwo\n");
}

BOOST_AUTO_TEST_CASE(a_canary_says_both_ways) {
  auto service =
      deadline(1s) | cleat::canary(retry(3) | echo, echo, std::make_shared<cleat::share>(550));
  BOOST_TEST(to_text(describe(service)) ==
             "deadline(1 s)\n"
             "canary(5.5 %)\n"
             "  stable: retry(3)\n"
             "          a function\n"
             "  candidate: a function\n");
}

BOOST_AUTO_TEST_CASE(a_graph_has_a_node_for_each_and_an_arrow_to_each_below) {
  BOOST_TEST(to_graphviz(forked()) ==
             "digraph pipeline {\n"
             "  rankdir=TB;\n"
             "  node [shape=box];\n"
             "  n0 [label=\"first\"];\n"
             "  n1 [label=\"second\"];\n"
             "  n2 [label=\"left\"];\n"
             "  n1 -> n2 [label=\"a\"];\n"
             "  n3 [label=\"right\"];\n"
             "  n4 [label=\"below right\"];\n"
             "  n3 -> n4;\n"
             "  n1 -> n3 [label=\"b\"];\n"
             "  n0 -> n1;\n"
             "  n5 [label=\"third\"];\n"
             "  n0 -> n5 [label=\"mirror\"];\n"
             "}\n");
}

BOOST_AUTO_TEST_CASE(a_graph_quotes_what_would_end_its_texts) {
  auto const d = description{"\"\\ and\na line"}.over(description{"}"}, "\"");
  BOOST_TEST(to_graphviz(d).find("label=\"\\\"\\\\ and a line\"") != std::string::npos);
  BOOST_TEST(to_graphviz(d).find("[label=\"\\\"\"];") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(graphviz_draws_it) {
  // NOLINTBEGIN(concurrency-mt-unsafe,cert-env33-c): where Graphviz is installed
  if (std::system("command -v dot >/dev/null") != 0) {
    BOOST_TEST_MESSAGE("dot is not installed: skipped");
    return;
  }
  std::string const graph =
      to_graphviz(forked().over(description{"\"\\ and\na line {<>}|"}, "1500 ms; µs"));
  FILE* const pipe = popen("dot -Tsvg >/dev/null", "w");
  BOOST_REQUIRE(pipe != nullptr);
  BOOST_TEST(fwrite(graph.data(), 1, graph.size(), pipe) == graph.size());
  BOOST_TEST(pclose(pipe) == 0);
  // NOLINTEND(concurrency-mt-unsafe,cert-env33-c)
}

BOOST_AUTO_TEST_CASE(durations_are_whole_numbers_of_the_largest_unit) {
  BOOST_TEST(to_text(0s) == "0 s");
  BOOST_TEST(to_text(5s) == "5 s");
  BOOST_TEST(to_text(2min) == "120 s");
  BOOST_TEST(to_text(1500ms) == "1500 ms");
  BOOST_TEST(to_text(250us) == "250 µs");
  BOOST_TEST(to_text(1s + 1ns) == "1000000001 ns");
  BOOST_TEST(to_text(-1500ms) == "-1500 ms");
}

BOOST_AUTO_TEST_CASE(what_says_nothing_of_itself_is_called_by_its_type) {
  auto const adds = [](std::string q, call c, auto& next) -> task<result<std::string>> {
    auto r = co_await next(q + "!", c);
    co_return r;
  };
  BOOST_TEST(describe(silent_stage{}).what == "silent_stage");
  BOOST_TEST(describe(one_of_many<int>{}).what == "one_of_many");
  BOOST_TEST(describe(one_of_many<decltype(adds)>{}).what == "one_of_many");
  BOOST_TEST(describe(outer<std::string>::inner{}).what == "inner");
  BOOST_TEST(describe(local<int>()).what == "made_here");
  BOOST_TEST(describe(adds).what == "a function");
  BOOST_TEST(describe(cleat::middleware(adds)).what == "a function");
  BOOST_TEST(describe(says_a_line{}).what == "a line");
}

BOOST_AUTO_TEST_CASE(what_is_shared_or_allowed_says_what_it_is) {
  auto policy = retry(3);
  auto const one = cleat::shared(policy) | echo;
  BOOST_TEST(to_text(describe(one)) == "shared retry(3)\na function\n");
  auto const other = cleat::allow<cleat::order_rule::retry_inside_retry>(retry(2)) | one;
  BOOST_TEST(to_text(describe(other)) == "retry(2)\nshared retry(3)\na function\n");
  auto otherwise = cleat::fallback(retry(2) | echo);
  BOOST_TEST(to_text(describe(cleat::shared(otherwise) | echo)) ==
             "shared fallback\n"
             "  instead: retry(2)\n"
             "           a function\n"
             "a function\n");
}

BOOST_AUTO_TEST_CASE(a_box_for_any_service_says_what_is_inside) {
  any_service<std::string, std::string> const box{deadline(5s) | echo};
  BOOST_TEST(to_text(describe(box)) == "deadline(5 s)\na function\n");
  BOOST_TEST(
      to_text(describe(retry(2) | any_service<std::string, std::string>{deadline(5s) | echo})) ==
      "retry(2)\ndeadline(5 s)\na function\n");
}

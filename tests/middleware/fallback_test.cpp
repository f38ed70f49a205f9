#define BOOST_TEST_MODULE fallback
#include <cleat/conformance/middleware.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/fallback.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/service/any_service.hpp>
#include <cleat/sim/world.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace asio = boost::asio;
using cleat::action;
using cleat::call;
using cleat::certainty;
using cleat::duration;
using cleat::failure;
using cleat::fallback;
using cleat::kind;
using cleat::result;
using cleat::task;
using cleat::sim::world;
using namespace std::chrono_literals;

namespace {

using service = cleat::any_service<std::string, std::string>;

/// Fails as it is told, after `takes`; notes how it was asked.
struct script {
  std::optional<failure> why;
  duration takes = 0ms;
  std::vector<call> asked;
  std::vector<std::string> requests;
};

auto scripted(script& s) {
  return [&s](std::string q, call c) -> task<result<std::string>> {
    s.asked.push_back(c);
    s.requests.push_back(q);
    auto const slept = co_await cleat::sleep_until(std::min(c.deadline(), c.now() + s.takes));
    if (!slept) co_return slept.error().with(certainty::maybe_executed);
    if (s.takes > 0ms && c.now() >= c.deadline()) co_return failure{kind::timed_out};
    if (s.why) co_return *s.why;
    co_return q + " done";
  };
}

failure refused() { return failure{kind::refused, certainty::not_sent}; }
failure lost() { return failure{kind::reset, certainty::maybe_executed}; }

struct watcher {
  using listens_to = cleat::event_list<cleat::layer_acted>;
  void on(cleat::layer_acted const& e) noexcept {
    ++seen;
    what = e.what;
    why = e.why != nullptr ? e.why->why() : kind::invalid;
    elapsed = e.elapsed;
  }
  int seen = 0;
  action what{};
  kind why{};
  duration elapsed{};
};

result<std::string> ask(world& time, service of, call const& c) {
  return time.run(cleat::ask(of, std::string{"it"}, c));
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_value_answers_after_a_failure_and_only_then) {
  world time{1};
  script s;
  watcher w;
  auto made = cleat::observe(w) | fallback("unknown") | scripted(s);
  BOOST_TEST(*time.run(cleat::ask(made, std::string{"it"}, time.new_call())) == "it done");
  BOOST_TEST(w.seen == 0);
  s.why = lost();
  BOOST_TEST(*time.run(cleat::ask(made, std::string{"it"}, time.new_call())) == "unknown");
  BOOST_TEST(w.seen == 1);
  BOOST_TEST((w.what == action::fallback_used));
  BOOST_TEST((w.why == kind::reset));
}

BOOST_AUTO_TEST_CASE(a_function_may_give_an_answer_a_result_or_something_to_wait_for) {
  world time{1};
  script s;
  s.why = refused();
  auto answer = [](std::string const& q, failure const& why) {
    return q + ": " + std::string{to_string(why.why())};
  };
  auto outcome = [](std::string const&, failure const&) -> result<std::string> {
    return std::string{"a result"};
  };
  auto waits = [](std::string q, failure, call const& c) -> task<result<std::string>> {
    static_cast<void>(co_await cleat::sleep_until(c.now() + 1s));
    co_return q + " later";
  };
  auto waits_for_value = [](auto const&, auto const&) -> task<std::string> { co_return "a value"; };
  auto const c = [&] { return time.new_call(); };
  BOOST_TEST(*ask(time, fallback(answer) | scripted(s), c()) == "it: refused");
  BOOST_TEST(*ask(time, fallback(outcome) | scripted(s), c()) == "a result");
  BOOST_TEST(*ask(time, fallback(waits) | scripted(s), c()) == "it later");
  BOOST_TEST(*ask(time, fallback(waits_for_value) | scripted(s), c()) == "a value");
  BOOST_TEST((time.elapsed() == 1s));
}

BOOST_AUTO_TEST_CASE(another_service_is_asked_the_same_as_a_further_attempt) {
  world time{1};
  script s;
  script other;
  watcher w;
  other.takes = 2s;
  s.why = refused().with_attempts(3);
  call c = time.new_call();
  c.tighten(time.now() + 5s);
  auto const r = ask(time, cleat::observe(w) | fallback(scripted(other)) | scripted(s), c);
  BOOST_TEST((r && *r == "it done"));
  BOOST_REQUIRE(other.asked.size() == 1U);
  BOOST_TEST(other.requests[0] == "it");
  BOOST_TEST(other.asked[0].operation == c.operation);
  BOOST_TEST((other.asked[0].correlation == c.correlation));
  BOOST_TEST((other.asked[0].deadline() == c.deadline()));
  BOOST_TEST(other.asked[0].attempt == 4U);
  BOOST_TEST((w.elapsed == 2s));
}

BOOST_AUTO_TEST_CASE(by_default_it_is_for_all_but_what_the_caller_did_himself) {
  for (std::size_t i = 0; i < cleat::kind_count; ++i) {
    kind const k{static_cast<std::uint8_t>(i)};
    world time{1};
    script s;
    s.why = failure{k};
    auto const r = ask(time, fallback("unknown") | scripted(s), time.new_call());
    bool const own = k == kind::cancelled || k == kind::invalid;
    BOOST_TEST(r.has_value() == !own);
    if (!r) BOOST_TEST((r.error().why() == k));
  }
}

BOOST_AUTO_TEST_CASE(is_for_those_failures_that_are_chosen_but_never_for_a_cancelled_call) {
  for (kind const k : {kind::rejected, kind::refused, kind::cancelled}) {
    world time{1};
    script s;
    s.why = failure{k};
    auto made = fallback("unknown").on([](failure const& why) {
      return why.why() != kind::refused;
    }) | scripted(s);
    auto const r = ask(time, std::move(made), time.new_call());
    BOOST_TEST(r.has_value() == (k == kind::rejected));
  }
}

BOOST_AUTO_TEST_CASE(a_service_that_acts_is_not_asked_when_the_operation_may_have_been_executed) {
  for (bool const repeatable : {false, true}) {
    for (certainty const sure :
         {certainty::not_sent, certainty::rejected, certainty::maybe_executed}) {
      world time{1};
      script s;
      script other;
      s.why = failure{kind::reset, sure};
      call c = time.new_call();
      c.repeatable = repeatable;
      bool const may = repeatable || sure != certainty::maybe_executed;
      auto const r = ask(time, fallback(scripted(other)) | scripted(s), c);
      BOOST_TEST(r.has_value() == may);
      BOOST_TEST(other.asked.size() == (may ? 1U : 0U));
      BOOST_TEST(ask(time, fallback("unknown") | scripted(s), c).has_value());
    }
  }
}

BOOST_AUTO_TEST_CASE(when_it_fails_too_the_first_failure_counts_with_the_worse_certainty) {
  for (bool const worse_first : {false, true}) {
    world time{1};
    script s;
    script other;
    watcher w;
    s.why = worse_first ? lost() : refused();
    other.why = worse_first ? refused() : lost();
    auto const r =
        ask(time, cleat::observe(w) | fallback(scripted(other)) | scripted(s), time.new_call());
    BOOST_REQUIRE(!r.has_value());
    BOOST_TEST((r.error().why() == s.why->why()));
    BOOST_TEST((r.error().sure() == certainty::maybe_executed));
    BOOST_TEST(w.seen == 0);
  }
}

BOOST_AUTO_TEST_CASE(counts_the_attempts_of_a_service_beside_those_before_and_of_a_function_none) {
  world time{1};
  script s;
  script other;
  s.why = refused().with_attempts(3);
  other.why = lost().with_attempts(2);
  call const c = time.new_call();
  auto const by_service = ask(time, fallback(scripted(other)) | scripted(s), c);
  BOOST_REQUIRE(!by_service.has_value());
  BOOST_TEST(by_service.error().attempts() == 5U);
  auto fails = [](auto const&, auto const&) -> result<std::string> { return lost(); };
  auto const by_function = ask(time, fallback(fails) | scripted(s), c);
  BOOST_REQUIRE(!by_function.has_value());
  BOOST_TEST(by_function.error().attempts() == 3U);
  BOOST_TEST((by_function.error().why() == kind::refused));
  BOOST_TEST((by_function.error().sure() == certainty::maybe_executed));
}

BOOST_AUTO_TEST_CASE(tells_how_long_the_fallback_took_and_not_the_call) {
  world time{1};
  script s;
  s.why = refused();
  s.takes = 2s;
  watcher w;
  auto waits = [](std::string q, failure, call const& c) -> task<result<std::string>> {
    static_cast<void>(co_await cleat::sleep_until(c.now() + 3s));
    co_return q;
  };
  auto at_once = [](auto const& q, auto const&) { return q; };
  BOOST_TEST(ask(time, cleat::observe(w) | fallback("x") | scripted(s), time.new_call()));
  BOOST_TEST((w.seen == 1 && w.elapsed == 0s));
  BOOST_TEST(ask(time, cleat::observe(w) | fallback(at_once) | scripted(s), time.new_call()));
  BOOST_TEST((w.seen == 2 && w.elapsed == 0s));
  BOOST_TEST(ask(time, cleat::observe(w) | fallback(waits) | scripted(s), time.new_call()));
  BOOST_TEST((w.seen == 3 && w.elapsed == 3s));
}

BOOST_AUTO_TEST_CASE(a_cancelled_call_gets_nothing_else_however_its_service_fails) {
  auto deaf = [](std::string, call c) -> task<result<std::string>> {
    static_cast<void>(co_await cleat::sleep_until(c.now() + 10s));
    co_return refused();
  };
  script other;
  auto at_once = [](auto const& q, auto const&) { return q; };
  for (int i = 0; i < 3; ++i) {
    world time{1};
    service made = i == 0   ? service{fallback("unknown") | deaf}
                   : i == 1 ? service{fallback(at_once) | deaf}
                            : service{fallback(scripted(other)) | deaf};
    asio::cancellation_signal signal;
    std::optional<result<std::string>> got;
    cleat::spawn(
        time.executor(), cleat::ask(made, "it", time.new_call()),
        asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr, result<std::string> r) {
          got.emplace(std::move(r));
        }));
    time.run_for(1s);
    signal.emit(asio::cancellation_type::terminal);
    time.run_for(0s);
    BOOST_REQUIRE(got.has_value());
    BOOST_TEST((!*got && got->error().why() == kind::refused));
  }
  BOOST_TEST(other.asked.empty());
}

BOOST_AUTO_TEST_CASE(after_the_deadline_nothing_is_waited_for) {
  world time{1};
  script s;
  script other;
  s.takes = 10s;
  int waited = 0;
  auto waits = [&](auto const&, auto const&) -> task<std::string> {
    ++waited;
    co_return "late";
  };
  auto at_once = [](auto const& q, auto const&) { return q + " at once"; };
  auto const soon = [&] {
    call c = time.new_call();
    c.tighten(time.now() + 1s);
    return c;
  };
  BOOST_TEST(*ask(time, fallback("unknown") | scripted(s), soon()) == "unknown");
  BOOST_TEST(*ask(time, fallback(at_once) | scripted(s), soon()) == "it at once");
  for (bool const by_service : {false, true}) {
    auto const r = by_service ? ask(time, fallback(scripted(other)) | scripted(s), soon())
                              : ask(time, fallback(waits) | scripted(s), soon());
    BOOST_TEST((!r && r.error().why() == kind::timed_out));
  }
  BOOST_TEST(waited == 0);
  BOOST_TEST(other.asked.empty());
  BOOST_TEST((time.elapsed() == 4s));
  call expired = time.new_call();
  expired.tighten(time.now());
  auto const r = ask(time, fallback("unknown") | scripted(s), expired);
  BOOST_TEST((!r && r.error().why() == kind::timed_out));
}

BOOST_AUTO_TEST_CASE(a_cancelled_call_gets_nothing_else) {
  for (bool const in_fallback : {false, true}) {
    world time{1};
    script s;
    script other;
    other.takes = 10s;
    s.takes = in_fallback ? 0s : 10s;
    s.why = refused();
    service made = in_fallback ? service{fallback(scripted(other)) | scripted(s)}
                               : service{fallback("unknown") | scripted(s)};
    asio::cancellation_signal signal;
    std::optional<result<std::string>> got;
    cleat::spawn(
        time.executor(), cleat::ask(made, "it", time.new_call()),
        asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr, result<std::string> r) {
          got.emplace(std::move(r));
        }));
    time.run_for(1s);
    signal.emit(asio::cancellation_type::terminal);
    time.run_for(0s);
    BOOST_REQUIRE(got.has_value());
    BOOST_TEST((!*got && got->error().why() == kind::cancelled));
    BOOST_TEST((got->error().sure() == certainty::maybe_executed));
    BOOST_TEST(time.leftovers().empty());
  }
}

BOOST_AUTO_TEST_CASE(what_a_function_throws_is_thrown) {
  world time{1};
  script s;
  s.why = refused();
  auto throws = [](auto const&, auto const&) -> std::string { throw std::runtime_error{"no"}; };
  BOOST_CHECK_THROW(static_cast<void>(ask(time, fallback(throws) | scripted(s), time.new_call())),
                    std::runtime_error);
}

BOOST_AUTO_TEST_CASE(says_what_it_is_and_stands_where_it_should) {
  script s;
  script other;
  watcher w;
  auto plain =
      cleat::observe(w) | cleat::deadline(5s) | fallback("unknown") | cleat::retry(2) | scripted(s);
  BOOST_TEST(cleat::to_text(cleat::describe(plain)).find("fallback\n") != std::string::npos);
  auto both = fallback(cleat::retry(2) | scripted(other)) | cleat::retry(3) | scripted(s);
  BOOST_TEST(cleat::to_text(cleat::describe(both)) ==
             "fallback\n"
             "  instead: retry(2)\n"
             "           a function\n"
             "retry(3)\n"
             "a function\n");
}

BOOST_AUTO_TEST_CASE(conforms) {
  cleat::middleware_check how;
  how.answers_itself = true;
  auto by_value = [] { return fallback("unknown"); };
  for (auto const& broken :
       cleat::check_middleware(by_value, std::string{"it"}, std::string{"ok"}, how))
    BOOST_ERROR(broken);
  auto by_service = [] {
    return fallback([](std::string q, call c) -> task<result<std::string>> {
      auto const slept = co_await cleat::sleep_until(std::min(c.deadline(), c.now() + 10ms));
      if (!slept) co_return slept.error();
      if (c.now() >= c.deadline()) co_return failure{kind::timed_out};
      co_return q;
    });
  };
  for (auto const& broken :
       cleat::check_middleware(by_service, std::string{"it"}, std::string{"ok"}, how))
    BOOST_ERROR(broken);
}

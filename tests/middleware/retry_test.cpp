#define BOOST_TEST_MODULE retry
#include <cleat/middleware/breaker.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/fallback.hpp>
#include <cleat/middleware/hedge.hpp>
#include <cleat/middleware/limit.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/middleware/timeout.hpp>
#include <cleat/sim/world.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace asio = boost::asio;
using cleat::backoff;
using cleat::call;
using cleat::certainty;
using cleat::deadline;
using cleat::duration;
using cleat::failure;
using cleat::kind;
using cleat::result;
using cleat::retry;
using cleat::retry_budget;
using cleat::task;
using cleat::time_point;
using cleat::sim::world;
using namespace std::chrono_literals;

namespace {

/// Fails as it is told, then succeeds; notes each attempt.
struct script {
  std::deque<failure> failures;
  duration takes = 0ms;
  std::vector<call> attempts;
  std::vector<time_point> at;
};

auto scripted(script& s) {
  return [&s](std::string q, call c) -> task<result<std::string>> {
    s.attempts.push_back(c);
    s.at.push_back(c.now());
    auto const slept = co_await cleat::sleep_until(std::min(c.deadline(), c.now() + s.takes));
    if (!slept) co_return slept.error().with(certainty::maybe_executed);
    if (c.now() >= c.deadline()) co_return failure{kind::timed_out};
    if (s.failures.empty()) co_return q + " done";
    failure const f = s.failures.front();
    s.failures.pop_front();
    co_return f;
  };
}

failure refused() { return failure{kind::refused, certainty::not_sent}; }
failure timed_out() { return failure{kind::timed_out, certainty::maybe_executed}; }

backoff fixed() { return backoff::additive(250ms, 0ms); }

template <class Service>
result<std::string> ask(world& time, Service& service, call c) {
  return time.run(cleat::ask(service, std::string{"it"}, c));
}

}  // namespace

BOOST_AUTO_TEST_CASE(gives_the_first_success) {
  world time{1};
  script s;
  s.failures = {refused(), timed_out()};
  auto service = retry(3).wait(fixed()) | scripted(s);
  auto const r = ask(time, service, time.new_call());
  BOOST_TEST((r && *r == "it done"));
  BOOST_TEST(s.attempts.size() == 3U);
}

BOOST_AUTO_TEST_CASE(what_succeeds_at_first_is_asked_once) {
  world time{1};
  script s;
  auto service = retry(3).wait(fixed()) | scripted(s);
  auto const r = ask(time, service, time.new_call());
  BOOST_TEST((r && *r == "it done"));
  BOOST_TEST(s.attempts.size() == 1U);
}

BOOST_AUTO_TEST_CASE(each_call_pays_into_the_budget_once) {
  world time{1};
  script s;
  retry_budget::settings half;
  half.deposit = 0.5;
  half.floor = 0;
  auto service = retry(3).wait(fixed()).budget(half) | scripted(s);
  BOOST_TEST(ask(time, service, time.new_call()).has_value());
  s.failures = {refused(), refused()};
  BOOST_TEST(ask(time, service, time.new_call()).error().attempts() == 2U);
}

BOOST_AUTO_TEST_CASE(waits_twice_as_long_each_time) {
  world time{1};
  script s;
  s.failures = {refused(), refused(), refused()};
  auto service = retry(4).wait(fixed()) | scripted(s);
  BOOST_TEST(ask(time, service, time.new_call()).has_value());
  BOOST_REQUIRE(s.at.size() == 4U);
  BOOST_TEST((s.at[1] - s.at[0] == 250ms));
  BOOST_TEST((s.at[2] - s.at[1] == 500ms));
  BOOST_TEST((s.at[3] - s.at[2] == 1000ms));
}

BOOST_AUTO_TEST_CASE(
    waits_with_full_jitter_from_a_tenth_of_a_second_to_five_if_nothing_else_is_said) {
  struct watcher {
    using listens_to = cleat::event_list<cleat::retry_scheduled>;
    void on(cleat::retry_scheduled const& e) noexcept { waits.push_back(e.wait); }
    std::vector<duration> waits;
  };
  world time{1};
  script s;
  s.failures.assign(8, refused());
  watcher w;
  auto service = cleat::observe(w) | retry(9) | scripted(s);
  BOOST_TEST(ask(time, service, time.new_call()).has_value());
  BOOST_REQUIRE((s.at.size() == 9 && w.waits.size() == 8));
  auto const meant = backoff::full_jitter(100ms, 5s);
  for (unsigned n = 1; n <= 8; ++n) {
    duration const wait = meant.wait(n, cleat::detail::jitter_bits(s.attempts[n - 1]));
    BOOST_TEST((s.at[n] - s.at[n - 1] == wait && w.waits[n - 1] == wait));
  }
}

BOOST_AUTO_TEST_CASE(no_attempt_is_one_attempt) {
  world time{1};
  script s;
  s.failures = {refused()};
  auto service = retry(0) | scripted(s);
  BOOST_TEST(!ask(time, service, time.new_call()).has_value());
  BOOST_TEST(s.attempts.size() == 1U);
  BOOST_TEST(retry(0).describe() == "retry(1)");
}

BOOST_AUTO_TEST_CASE(keeps_the_operation_over_all_attempts_and_numbers_them) {
  world time{1};
  script s;
  s.failures = {refused(), refused()};
  auto service = retry(3) | scripted(s);
  call const c = time.new_call();
  BOOST_TEST(ask(time, service, c).has_value());
  for (std::size_t i = 0; i < 3; ++i) {
    BOOST_TEST(s.attempts[i].operation == c.operation);
    BOOST_TEST((s.attempts[i].correlation == c.correlation));
    BOOST_TEST(s.attempts[i].attempt == i + 1);
  }
}

BOOST_AUTO_TEST_CASE(no_two_attempts_of_a_call_have_one_number_whatever_makes_them) {
  auto const numbers = [](auto make, std::size_t attempts, unsigned summed_up) {
    world time{1};
    script s;
    s.failures.assign(100, timed_out());
    s.takes = 50ms;
    auto service = make(s);
    auto const r = ask(time, service, time.new_call());
    BOOST_REQUIRE(!r.has_value());
    BOOST_TEST(r.error().attempts() == summed_up);
    std::vector<std::uint32_t> given;
    std::vector<std::uint32_t> expected;
    for (call const& c : s.attempts) {
      given.push_back(c.attempt);
      expected.push_back(static_cast<std::uint32_t>(expected.size() + 1));
    }
    BOOST_TEST(s.attempts.size() == attempts);
    BOOST_TEST(given == expected, boost::test_tools::per_element());
  };
  cleat::retry_budget::settings enough;
  enough.floor = 100;
  BOOST_TEST_CONTEXT("retry over hedge") {
    numbers(
        [&](script& s) {
          return retry(3).wait(fixed()).budget(enough) | cleat::hedge().after(10ms).budget(enough) |
                 scripted(s);
        },
        6, 6);
  }
  BOOST_TEST_CONTEXT("retry over retry over hedge") {
    numbers(
        [&](script& s) {
          return cleat::allow<cleat::order_rule::retry_inside_retry>(
                     retry(2).wait(fixed()).budget(enough)) |
                 retry(2).wait(fixed()).budget(enough) | cleat::hedge().after(10ms).budget(enough) |
                 scripted(s);
        },
        8, 8);
  }
  BOOST_TEST_CONTEXT("retry over a fallback to a retry") {
    numbers(
        [&](script& s) {
          return cleat::allow<cleat::order_rule::fallback_inside_retry,
                              cleat::order_rule::retry_inside_retry>(
                     retry(2).wait(fixed()).budget(enough)) |
                 cleat::fallback(retry(2).wait(fixed()).budget(enough) | scripted(s)) |
                 retry(2).wait(fixed()).budget(enough) | scripted(s);
        },
        8, 8);
  }
  BOOST_TEST_CONTEXT("retry over timeout and limit and breaker") {
    numbers(
        [&](script& s) {
          return retry(2).wait(fixed()).budget(enough) | cleat::limit(1) | cleat::breaker() |
                 cleat::timeout(1s) | scripted(s);
        },
        2, 2);
  }
}

BOOST_AUTO_TEST_CASE(an_attempt_is_made_if_its_wait_ends_before_the_deadline) {
  for (duration const spare : {0ns, 1ns}) {
    world time{1};
    script s;
    s.failures = {refused()};
    auto service = retry(2).wait(fixed()) | scripted(s);
    call c = time.new_call();
    c.tighten(time.now() + 250ms + spare);
    BOOST_TEST(ask(time, service, c).has_value() == (spare != 0ns));
    BOOST_TEST(s.attempts.size() == (spare == 0ns ? 1U : 2U));
  }
}

BOOST_AUTO_TEST_CASE(a_peer_may_ask_for_the_longest_wait_exactly) {
  for (auto const more : {0ms, 1ms}) {
    world time{1};
    script s;
    s.failures = {failure{kind::overloaded, certainty::rejected}.with_retry_after(2s + more)};
    auto service = retry(2).wait(fixed()).asked_wait_max(2s) | scripted(s);
    BOOST_TEST(ask(time, service, time.new_call()).has_value() == (more == 0ms));
    BOOST_TEST((time.elapsed() == (more == 0ms ? 2s : 0s)));
  }
}

BOOST_AUTO_TEST_CASE(says_how_many_attempts_failed_and_how_sure_it_is_at_the_worst) {
  world time{1};
  script s;
  s.failures = {timed_out(), refused()};
  auto service = retry(2) | scripted(s);
  auto const r = ask(time, service, time.new_call());
  BOOST_REQUIRE(!r.has_value());
  BOOST_TEST((r.error().why() == kind::refused));
  BOOST_TEST((r.error().sure() == certainty::maybe_executed));
  BOOST_TEST(r.error().attempts() == 2U);
  BOOST_TEST(r.error().message() == "connection refused after 2 attempts; the peer may have acted");
}

BOOST_AUTO_TEST_CASE(tries_again_only_what_may_help) {
  struct row {
    failure f;
    bool repeatable;
    bool again;
  };
  std::vector<row> const rows = {
      {refused(), false, true},
      {refused(), true, true},
      {timed_out(), true, true},
      {timed_out(), false, false},
      {failure{kind::closed, certainty::maybe_executed}, true, true},
      {failure{kind::reset, certainty::maybe_executed}, false, false},
      {failure{kind::unresolved, certainty::not_sent}, false, true},
      {failure{kind::unreachable, certainty::not_sent}, false, true},
      {failure{kind::rejected, certainty::rejected}, true, false},
      {failure{kind::rejected, certainty::rejected}.with_retry_after(0ms), false, true},
      {failure{kind::overloaded, certainty::not_sent}, true, false},
      {failure{kind::malformed, certainty::maybe_executed}, true, false},
      {failure{kind::cancelled, certainty::not_sent}, true, false},
      {failure{kind::shut_down, certainty::not_sent}, true, false},
      {failure{kind::resources, certainty::not_sent}, true, false},
      {failure{kind::invalid, certainty::not_sent}, true, false},
  };
  for (row const& it : rows) {
    BOOST_TEST_CONTEXT(it.f.message() << (it.repeatable ? ", repeatable" : "")) {
      world time{1};
      script s;
      s.failures = {it.f};
      auto service = retry(2) | scripted(s);
      call c = time.new_call();
      c.repeatable = it.repeatable;
      static_cast<void>(ask(time, service, c).has_value());
      BOOST_TEST(s.attempts.size() == (it.again ? 2U : 1U));
    }
  }
}

BOOST_AUTO_TEST_CASE(waits_as_long_as_the_peer_asks) {
  world time{1};
  script s;
  s.failures = {failure{kind::rejected, certainty::rejected}.with_retry_after(3s)};
  auto service = retry(2).wait(fixed()) | scripted(s);
  BOOST_TEST(ask(time, service, time.new_call()).has_value());
  BOOST_TEST((s.at[1] - s.at[0] == 3s));
}

BOOST_AUTO_TEST_CASE(gives_the_refusal_at_once_if_the_wait_that_is_asked_for_does_not_fit) {
  failure const no = failure{kind::rejected, certainty::rejected}.with_detail("busy");
  for (auto const asked : {5s, 6s, 2'147'483s, 4'294'967s}) {
    BOOST_TEST_CONTEXT(asked.count() << " s") {
      world time{1};
      script s;
      s.failures = {no.with_retry_after(asked)};
      auto service = deadline(5s) | retry(3).asked_wait_max(10'000h).wait(fixed()) | scripted(s);
      auto const r = ask(time, service, time.new_call());
      BOOST_REQUIRE(!r.has_value());
      BOOST_TEST((r.error().why() == kind::rejected && r.error().sure() == certainty::rejected));
      BOOST_TEST((r.error().retry_after() == asked));
      BOOST_TEST(r.error().message().find(" and asks for a wait of ") != std::string::npos);
      BOOST_TEST(s.attempts.size() == 1U);
      BOOST_TEST((time.elapsed() == 0ms));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_call_without_a_deadline_waits_no_longer_than_an_hour_for_a_peer_that_asks) {
  auto const attempts = [](retry layer, duration asked) {
    world time{1};
    script s;
    s.failures = {failure{kind::rejected, certainty::rejected}.with_retry_after(
        std::chrono::ceil<failure::duration>(asked))};
    auto service = std::move(layer).wait(fixed()) | scripted(s);
    auto const r = ask(time, service, time.new_call());
    BOOST_TEST(r.has_value() == (s.attempts.size() == 2U));
    BOOST_TEST((time.elapsed() == (r ? asked : 0ms)));
    return s.attempts.size();
  };
  BOOST_TEST(attempts(retry(2), 1h) == 2U);
  BOOST_TEST(attempts(retry(2), 1h + 1ms) == 1U);
  BOOST_TEST(attempts(retry(2), 2'147'483'647ms) == 1U);
  BOOST_TEST(attempts(retry(2).asked_wait_max(1s), 1s) == 2U);
  BOOST_TEST(attempts(retry(2).asked_wait_max(1s), 1001ms) == 1U);
  BOOST_TEST(attempts(retry(2).asked_wait_max(100'000h), 4'294'967'295ms) == 2U);
}

BOOST_AUTO_TEST_CASE(a_refusal_that_asks_for_too_long_a_wait_is_as_bad_as_the_attempts_before_it) {
  world time{1};
  script s;
  s.failures = {timed_out(), failure{kind::rejected, certainty::rejected}.with_retry_after(48h)};
  auto service = retry(3).wait(fixed()) | scripted(s);
  auto const r = ask(time, service, time.new_call());
  BOOST_REQUIRE(!r.has_value());
  BOOST_TEST(r.error().message() ==
             "the peer rejected the request after 2 attempts and asks for a wait of 2 days; "
             "the peer may have acted");
}

BOOST_AUTO_TEST_CASE(limits_each_attempt_and_all_of_them) {
  world time{1};
  script s;
  s.takes = 10s;
  auto service = deadline(4s) | retry(5).per_attempt(1500ms).wait(fixed()) | scripted(s);
  auto const r = ask(time, service, time.new_call());
  BOOST_TEST((!r && r.error().why() == kind::timed_out));
  // 1.5 s, 0.25 s, 1.5 s, 0.5 s, and the rest of the four seconds.
  BOOST_TEST(s.attempts.size() == 3U);
  BOOST_TEST((time.elapsed() == 4s));
}

BOOST_AUTO_TEST_CASE(does_not_wait_for_an_attempt_that_would_begin_after_the_deadline) {
  world time{1};
  script s;
  s.failures = {refused()};
  auto service = deadline(200ms) | retry(2).wait(fixed()) | scripted(s);
  auto const r = ask(time, service, time.new_call());
  BOOST_TEST((!r && r.error().why() == kind::refused));
  BOOST_TEST((time.elapsed() == 0ms));
}

BOOST_AUTO_TEST_CASE(ends_soon_when_it_is_cancelled_while_it_waits) {
  world time{1};
  script s;
  s.failures = {timed_out(), timed_out()};
  auto service = retry(3).wait(fixed()) | scripted(s);
  asio::cancellation_signal signal;
  std::optional<result<std::string>> got;
  auto asks = [&]() -> task<> { got = co_await service(std::string{"it"}, time.new_call()); };
  auto body = [&]() -> task<> {
    cleat::spawn(time.context.get_executor(), asks(),
                 asio::bind_cancellation_slot(signal.slot(), asio::detached));
    co_await asio::post(time.context, cleat::use_task);
    signal.emit(asio::cancellation_type::terminal);
    while (!got) co_await asio::post(time.context, cleat::use_task);
  };
  time.run(body());
  BOOST_TEST((!*got && got->error().why() == kind::cancelled));
  BOOST_TEST((got->error().sure() == certainty::maybe_executed));
  BOOST_TEST((time.elapsed() == 0ms));
}

BOOST_AUTO_TEST_CASE(jitter_differs_between_peers_and_operations_and_repeats_with_them) {
  world time{1};
  call a = time.new_call();
  a.peer = "lamp a";
  call b = a;
  b.peer = "lamp b";
  call again = a;
  call later = a;
  later.attempt = 2;
  BOOST_TEST(cleat::detail::jitter_bits(a) != cleat::detail::jitter_bits(b));
  BOOST_TEST(cleat::detail::jitter_bits(a) != cleat::detail::jitter_bits(later));
  BOOST_TEST(cleat::detail::jitter_bits(a) == cleat::detail::jitter_bits(again));
}

BOOST_AUTO_TEST_CASE(a_budget_lets_a_fifth_of_the_requests_be_tried_again_beside_the_floor) {
  world time{1};
  retry_budget budget;
  time_point const now = time.now();
  for (int i = 0; i < 100; ++i) budget.deposit();
  int granted = 0;
  while (budget.withdraw(now)) ++granted;
  BOOST_TEST(granted == 20 + 10);
  BOOST_TEST(!budget.withdraw(now + 99ms));
  BOOST_TEST(budget.withdraw(now + 100ms));
  granted = 0;
  while (budget.withdraw(now + 10s)) ++granted;
  BOOST_TEST(granted == 10);
}

BOOST_AUTO_TEST_CASE(a_budget_may_allow_less_than_one_retry_a_second) {
  world time{1};
  retry_budget::settings seldom;
  seldom.deposit = 0;
  seldom.floor = 0.5;
  retry_budget budget{seldom};
  int granted = 0;
  for (int second = 0; second < 20; ++second) {
    granted += budget.withdraw(time.now() + std::chrono::seconds{second}) ? 1 : 0;
  }
  BOOST_TEST(granted >= 9);
  BOOST_TEST(granted <= 10);

  seldom.floor = 0.01;
  retry_budget very_seldom{seldom};
  granted = 0;
  for (int second = 0; second < 10'000; second += 10) {
    granted += very_seldom.withdraw(time.now() + std::chrono::seconds{second}) ? 1 : 0;
  }
  BOOST_TEST(granted >= 99);
  BOOST_TEST(granted <= 100);
}

BOOST_AUTO_TEST_CASE(an_empty_budget_ends_the_call_with_its_first_failure_and_is_told) {
  struct watcher {
    using listens_to =
        cleat::event_list<cleat::retry_budget_empty, cleat::retry_scheduled, cleat::call_ended>;
    void on(cleat::retry_budget_empty const&) noexcept { ++empty; }
    void on(cleat::retry_scheduled const&) noexcept { ++scheduled; }
    void on(cleat::call_ended const& e) noexcept { failed += e.error != nullptr ? 1 : 0; }
    int empty = 0;
    int scheduled = 0;
    int failed = 0;
  };
  world time{1};
  script s;
  s.failures.assign(100, refused());
  watcher w;
  retry_budget::settings none;
  none.deposit = 0;
  none.floor = 2;
  auto service =
      cleat::observe(w) | retry(2).wait(backoff::additive(0ms, 0ms)).budget(none) | scripted(s);
  for (int i = 0; i < 5; ++i) BOOST_TEST(!ask(time, service, time.new_call()).has_value());
  BOOST_TEST(w.scheduled == 2);
  BOOST_TEST(w.empty == 3);
  BOOST_TEST(w.failed == 5);
  BOOST_TEST(s.attempts.size() == 7U);
}

BOOST_AUTO_TEST_CASE(budgets_are_per_peer_unless_one_is_shared) {
  retry_budget::settings one;
  one.deposit = 0;
  one.floor = 1;
  for (bool const shared : {false, true}) {
    world time{1};
    script s;
    s.failures.assign(100, refused());
    auto make = [&] {
      auto r = retry(2).wait(backoff::additive(0ms, 0ms));
      return shared ? std::move(r).budget(std::make_shared<retry_budget>(one))
                    : std::move(r).budget(one);
    };
    auto service = make() | scripted(s);
    for (char const* peer : {"a", "b"}) {
      call c = time.new_call();
      c.peer = peer;
      BOOST_TEST(!ask(time, service, c).has_value());
    }
    BOOST_TEST(s.attempts.size() == (shared ? 3U : 4U));
  }
}

BOOST_AUTO_TEST_CASE(a_new_peer_without_room_for_its_budget_is_not_tried_again) {
  world time{1};
  script s;
  retry_budget::settings one;
  one.deposit = 0;
  one.floor = 1;
  auto service = retry(3).wait(fixed()).budget(one).peers_max(1) | scripted(s);
  auto const attempts_for = [&](std::string_view peer) {
    s.failures.assign(3, refused());
    call c = time.new_call();
    c.peer = peer;
    return ask(time, service, c).error().attempts();
  };
  BOOST_TEST(attempts_for("a") == 2U);  // uses its budget up
  BOOST_TEST(attempts_for("b") == 1U);
}

BOOST_AUTO_TEST_CASE(backoff_stays_within_its_bounds) {
  std::set<duration> seen;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    std::uint64_t const random = cleat::mix64(i);
    for (unsigned n = 1; n < 70; ++n) {
      auto const full = backoff::full_jitter(100ms, 5s).wait(n, random);
      BOOST_REQUIRE((full >= 0ms && full <= 5s));
      auto const more = backoff::additive(250ms, 100ms, 3s).wait(n, random);
      BOOST_REQUIRE((more >= 250ms && more <= 3s));
    }
    auto const second = backoff::additive(250ms, 100ms).wait(2, random);
    BOOST_REQUIRE((second >= 500ms && second <= 600ms));
    seen.insert(second);
  }
  BOOST_TEST(seen.size() > 900U);
}

BOOST_AUTO_TEST_CASE(a_retry_describes_itself) {
  BOOST_TEST(retry(2).describe() == "retry(2)");
  BOOST_TEST(retry(3).per_attempt(1500ms).describe() == "retry(3, 1500 ms each)");
  auto const budget = std::make_shared<retry_budget>();
  BOOST_TEST(retry(3).budget(budget).describe() == "retry(3, shared budget)");
}

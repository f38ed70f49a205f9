#define BOOST_TEST_MODULE hedge
#include <cleat/conformance/middleware.hpp>
#include <cleat/middleware/hedge.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/sim/random.hpp>
#include <cleat/sim/world.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using cleat::action;
using cleat::call;
using cleat::certainty;
using cleat::duration;
using cleat::failure;
using cleat::hedge;
using cleat::kind;
using cleat::latency_window;
using cleat::result;
using cleat::retry_budget;
using cleat::task;
using cleat::time_point;
using cleat::sim::world;
using namespace std::chrono_literals;

namespace {

/// What the service below does with one attempt.
struct act {
  duration takes = 0ms;
  std::optional<failure> fails;
  bool throws = false;
};
struct script {
  std::deque<act> acts;  ///< the last one is repeated
  std::vector<call> attempts;
  int under_way = 0;
  int cancelled = 0;
};

auto scripted(script& s) {
  return [&s](std::string q, call c) -> task<result<std::string>> {
    act const does = s.acts.front();
    if (s.acts.size() > 1) s.acts.pop_front();
    s.attempts.push_back(c);
    ++s.under_way;
    std::string const answer = q + " by " + std::to_string(c.attempt);
    auto const slept = co_await cleat::sleep_until(std::min(c.deadline(), c.now() + does.takes));
    --s.under_way;
    if (!slept) ++s.cancelled;
    if (!slept && does.throws) throw std::logic_error{"cancelled"};
    if (!slept) co_return slept.error().with(certainty::maybe_executed);
    if (c.now() >= c.deadline()) co_return failure{kind::timed_out};
    if (does.throws) throw std::runtime_error{"no"};
    if (does.fails) co_return *does.fails;
    co_return answer;
  };
}

class watcher {
 public:
  using listens_to = cleat::event_list<cleat::layer_acted>;
  struct noted {
    action what;
    duration elapsed;
    unsigned attempt;
  };
  void on(cleat::layer_acted const& e) noexcept {
    seen.push_back({e.what, e.elapsed, e.of.attempt});
  }
  [[nodiscard]] auto times(action a) const {
    return std::count_if(seen.begin(), seen.end(), [a](noted const& n) { return n.what == a; });
  }
  std::vector<noted> seen;
};

act takes(duration d) { return {d, {}, false}; }
act fails(duration d, kind k, certainty sure) { return {d, failure{k, sure}, false}; }
act throws(duration d) { return {d, {}, true}; }

template <class Service>
result<std::string> ask(world& time, Service& service, call c) {
  return time.run(cleat::ask(service, std::string{"it"}, c));
}
template <class Service>
result<std::string> ask(world& time, Service& service) {
  return ask(time, service, time.new_call());
}

}  // namespace

// ---- the window

BOOST_AUTO_TEST_CASE(a_window_is_within_a_thirty_second_of_the_sorted_samples) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    cleat::sim::random draw{seed};
    latency_window::settings s;
    s.quantile = std::vector{0.5, 0.9, 0.95, 0.99, 1.0}.at(draw.below(5));
    s.half = static_cast<std::uint16_t>(1 + draw.below(300));
    s.needed = static_cast<std::uint32_t>(1 + draw.below(2 * s.half - 1));
    latency_window window{s};
    std::vector<duration> all;
    std::vector<duration>::difference_type in = 0;
    for (int step = 0; step < 2000; ++step) {
      // From microseconds to minutes, in clumps.
      std::uint64_t const scale = std::uint64_t{1} << (10 + draw.below(26));
      duration const latency{static_cast<duration::rep>(draw.below(scale))};
      window.add(latency);
      all.push_back(latency);
      in = in == 2 * s.half ? s.half + 1 : in + 1;
      BOOST_REQUIRE(window.size() == static_cast<std::size_t>(in));
      auto const q = window.quantile();
      BOOST_REQUIRE(q.has_value() == (window.size() >= std::min<std::uint32_t>(s.needed, s.half)));
      if (!q) continue;
      std::vector<duration> sorted{all.end() - in, all.end()};
      auto const rank = std::max(std::ceil(s.quantile * static_cast<double>(in)), 1.0);
      auto const nth = sorted.begin() + static_cast<std::ptrdiff_t>(rank) - 1;
      std::nth_element(sorted.begin(), nth, sorted.end());
      auto const off = std::chrono::abs(*q - *nth);
      BOOST_REQUIRE((off <= *nth / 32 + 1us));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_window_takes_whatever_is_called_a_latency) {
  latency_window::settings s;
  s.needed = 1;
  for (duration const odd : {duration{-5s}, duration{0s}, duration{24h}, duration::max()}) {
    latency_window window{s};
    window.add(odd);
    BOOST_TEST((*window.quantile() >= 0s && *window.quantile() < 2h));
  }
}

BOOST_AUTO_TEST_CASE(a_latency_is_told_as_the_middle_of_its_bin) {
  latency_window::settings s;
  s.needed = 1;
  auto const told = [&](duration latency) {
    latency_window window{s};
    window.add(latency);
    return *window.quantile();
  };
  for (duration const same : {0us, 1us, 15us, 16us, 17us, 31us}) BOOST_TEST((told(same) == same));
  BOOST_TEST((told(15'999ns) == 15us));
  BOOST_TEST((told(32us) == 33us && told(33us) == 33us && told(34us) == 35us));
  BOOST_TEST((told(62us) == 63us && told(63us) == 63us));
  BOOST_TEST((told(64us) == 66us && told(67us) == 66us && told(68us) == 70us));
  BOOST_TEST((told(100us) == 102us));
  constexpr auto longest = std::chrono::microseconds{4'227'858'432};
  for (duration const d : {duration{4'294'967'295us}, duration{4'294'967'296us}, duration::max()}) {
    BOOST_TEST((told(d) == longest));
  }
  BOOST_TEST((told(-1ns) == 0us && told(duration::min()) == 0us));
}

BOOST_AUTO_TEST_CASE(a_window_says_nothing_until_it_has_what_it_needs) {
  latency_window window;
  BOOST_TEST(window.is_forgettable(time_point{}));
  for (int i = 0; i < 99; ++i) window.add(7us);
  BOOST_TEST((!window.quantile().has_value() && window.size() == 99));
  window.add(7us);
  BOOST_TEST((window.quantile() == duration{7us}));
  for (int i = 100; i < 1'000; ++i) window.add(9us);
  BOOST_TEST(window.size() == 1'000U);
  window.add(9us);
  BOOST_TEST(window.size() == 501U);
  BOOST_TEST(window.is_forgettable(time_point{}));
}

BOOST_AUTO_TEST_CASE(a_window_is_told_nothing_it_cannot_do) {
  latency_window::settings s;
  BOOST_TEST((s.quantile == 0.95 && s.half == 500 && s.needed == 100));
  auto const as_kept = [](double quantile, std::uint16_t half, std::uint32_t needed) {
    return latency_window{{quantile, half, needed}}.with();
  };
  BOOST_TEST(as_kept(2, 1, 1).quantile == 1.0);
  BOOST_TEST(as_kept(0.5, 1, 1).quantile == 0.5);
  BOOST_TEST(as_kept(-1, 1, 1).quantile == 0.0);
  BOOST_TEST(as_kept(std::nan(""), 1, 1).quantile == 0.0);
  BOOST_TEST((as_kept(1, 0, 0).half == 1 && as_kept(1, 0, 0).needed == 1));
  BOOST_TEST((as_kept(1, 5, 4).needed == 4 && as_kept(1, 5, 5).needed == 5));
  BOOST_TEST(as_kept(1, 5, 6).needed == 5U);

  latency_window least{{0, 10, 1}};
  latency_window median{{0.5, 10, 1}};
  for (duration const d : {7us, 3us, 9us, 5us}) {
    least.add(d);
    median.add(d);
  }
  BOOST_TEST((least.quantile() == duration{3us}));
  BOOST_TEST((median.quantile() == duration{5us}));
}

// ---- the middleware

BOOST_AUTO_TEST_CASE(the_second_attempt_wins_when_the_first_is_slow) {
  world time{1};
  script s;
  s.acts = {takes(1h), takes(10ms)};
  watcher w;
  auto service = cleat::observe(w) | hedge().after(50ms) | scripted(s);
  call c = time.new_call();
  c.tighten(time.now() + 2h);
  auto const r = ask(time, service, c);
  BOOST_TEST((r && *r == "it by 2"));
  BOOST_TEST((time.elapsed() == 60ms));
  BOOST_TEST(s.cancelled == 1);
  BOOST_TEST(s.under_way == 0);
  BOOST_REQUIRE(s.attempts.size() == 2U);
  BOOST_TEST(s.attempts[1].operation == c.operation);
  BOOST_TEST((s.attempts[1].correlation == c.correlation));
  BOOST_TEST((s.attempts[1].deadline() == c.deadline()));
  BOOST_TEST(s.attempts[1].attempt == 2U);
  BOOST_REQUIRE(w.seen.size() == 2U);
  BOOST_TEST((w.seen[0].what == action::hedge_sent && w.seen[0].elapsed == 50ms));
  BOOST_TEST((w.seen[1].what == action::hedge_won && w.seen[1].elapsed == 10ms));
  BOOST_TEST(w.seen[1].attempt == 2U);
  BOOST_TEST(time.leftovers().empty());
}

BOOST_AUTO_TEST_CASE(the_first_attempt_may_still_win) {
  world time{1};
  script s;
  s.acts = {takes(60ms), takes(1h)};
  watcher w;
  auto service = cleat::observe(w) | hedge().after(50ms) | scripted(s);
  auto const r = ask(time, service);
  BOOST_TEST((r && *r == "it by 1"));
  BOOST_TEST((time.elapsed() == 60ms));
  BOOST_TEST(s.cancelled == 1);
  BOOST_TEST(w.times(action::hedge_sent) == 1);
  BOOST_TEST(w.times(action::hedge_won) == 0);
}

BOOST_AUTO_TEST_CASE(a_fast_answer_is_not_hedged) {
  world time{1};
  script s;
  s.acts = {takes(49ms)};
  auto service = hedge().after(50ms) | scripted(s);
  BOOST_TEST(ask(time, service).has_value());
  BOOST_TEST(s.attempts.size() == 1U);
  BOOST_TEST((time.elapsed() == 49ms));
}

BOOST_AUTO_TEST_CASE(a_first_attempt_that_fails_before_ends_the_call) {
  world time{1};
  script s;
  s.acts = {fails(10ms, kind::reset, certainty::maybe_executed), takes(0ms)};
  auto service = hedge().after(50ms) | scripted(s);
  auto const r = ask(time, service);
  BOOST_TEST((!r && r.error().why() == kind::reset && r.error().attempts() == 1U));
  BOOST_TEST((time.elapsed() == 10ms));
  BOOST_TEST(s.attempts.size() == 1U);
}

BOOST_AUTO_TEST_CASE(when_one_of_two_fails_the_other_is_waited_for) {
  for (bool const first_fails : {true, false}) {
    world time{1};
    script s;
    act const bad = fails(first_fails ? 70ms : 10ms, kind::reset, certainty::maybe_executed);
    s.acts = first_fails ? std::deque{bad, takes(1s)} : std::deque{takes(1s), bad};
    auto service = hedge().after(50ms) | scripted(s);
    auto const r = ask(time, service);
    BOOST_TEST((r && *r == (first_fails ? "it by 2" : "it by 1")));
    BOOST_TEST((time.elapsed() == (first_fails ? 1050ms : 1000ms)));
    BOOST_TEST(s.cancelled == 0);
  }
}

BOOST_AUTO_TEST_CASE(when_both_fail_the_first_ones_reason_is_told_with_the_worst_certainty) {
  world time{1};
  script s;
  s.acts = {fails(100ms, kind::refused, certainty::not_sent),
            fails(10ms, kind::reset, certainty::maybe_executed)};
  auto service = hedge().after(50ms) | scripted(s);
  auto const r = ask(time, service);
  BOOST_TEST((time.elapsed() == 100ms));
  BOOST_REQUIRE(!r);
  BOOST_TEST((r.error().why() == kind::refused));
  BOOST_TEST((r.error().sure() == certainty::maybe_executed));
  BOOST_TEST(r.error().attempts() == 2U);
}

BOOST_AUTO_TEST_CASE(ends_as_the_earlier_success_or_the_later_failure) {
  cleat::sim::random draw{11};
  world time{1};
  script s;
  retry_budget::settings plenty;
  plenty.deposit = 1;
  std::size_t calls_of_two = 0;
  for (int n = 0; n < 500; ++n) {
    // No two of these moments are one.
    auto const delay = std::chrono::milliseconds{3 * draw.below(30)};
    auto const first = std::chrono::milliseconds{3 * draw.below(60) + 1};
    auto const second = delay + std::chrono::milliseconds{3 * draw.below(30) + 2};
    bool const first_good = draw.below(2) == 0;
    bool const second_good = draw.below(2) == 0;
    act const bad = fails(0ms, kind::reset, certainty::maybe_executed);
    s.acts = {first_good ? takes(first) : bad, second_good ? takes(second - delay) : bad};
    s.acts[0].takes = first;
    s.acts[1].takes = second - delay;
    s.attempts.clear();
    auto service = hedge().after(delay).budget(plenty) | scripted(s);
    time_point const began = time.now();
    auto const r = ask(time, service);

    bool const two = first > delay;
    duration ends = first;
    if (two && second_good && (!first_good || second < first)) ends = second;
    if (two && !second_good && !first_good) ends = std::max(first, second);
    BOOST_REQUIRE(s.attempts.size() == (two ? 2U : 1U));
    BOOST_REQUIRE((time.now() - began == ends));
    BOOST_REQUIRE(r.has_value() == (first_good || (two && second_good)));
    if (r) BOOST_REQUIRE(*r == (ends == first ? "it by 1" : "it by 2"));
    BOOST_REQUIRE(s.under_way == 0);
    calls_of_two += two ? 1 : 0;
  }
  BOOST_TEST(calls_of_two > 100U);
  BOOST_TEST(time.leftovers().empty());
}

BOOST_AUTO_TEST_CASE(an_exception_of_either_passes_when_the_other_has_ended) {
  for (bool const first_throws : {true, false}) {
    world time{1};
    script s;
    s.acts =
        first_throws ? std::deque{throws(70ms), takes(1h)} : std::deque{takes(1h), throws(20ms)};
    auto service = hedge().after(50ms) | scripted(s);
    BOOST_CHECK_THROW(static_cast<void>(ask(time, service)), std::runtime_error);
    BOOST_TEST((time.elapsed() == 70ms));
    BOOST_TEST(s.cancelled == 1);
    BOOST_TEST(s.under_way == 0);
    BOOST_TEST(time.leftovers().empty());
  }
}

BOOST_AUTO_TEST_CASE(of_two_exceptions_the_first_passes) {
  world time{1};
  script s;
  s.acts = {throws(1h), throws(20ms)};
  auto service = hedge().after(50ms) | scripted(s);
  BOOST_CHECK_THROW(static_cast<void>(ask(time, service)), std::runtime_error);
  BOOST_TEST(s.cancelled == 1);
}

BOOST_AUTO_TEST_CASE(what_must_not_be_repeated_is_not_hedged) {
  world time{1};
  script s;
  s.acts = {takes(1h)};
  watcher w;
  auto service = cleat::observe(w) | hedge().after(0ms) | scripted(s);
  call c = time.new_call();
  c.repeatable = false;
  BOOST_TEST(ask(time, service, c).has_value());
  BOOST_TEST(s.attempts.size() == 1U);
  BOOST_TEST(w.seen.empty());
}

BOOST_AUTO_TEST_CASE(nothing_is_sent_at_the_deadline_or_after_it) {
  world time{1};
  script s;
  s.acts = {takes(1h)};
  auto service = hedge().after(50ms) | scripted(s);
  call c = time.new_call();
  c.tighten(time.now() + 50ms);
  auto const r = ask(time, service, c);
  BOOST_TEST((!r && r.error().why() == kind::timed_out));
  BOOST_TEST(s.attempts.size() == 1U);
  BOOST_TEST((time.elapsed() == 50ms));
}

BOOST_AUTO_TEST_CASE(cancelling_the_call_cancels_both) {
  world time{1};
  script s;
  s.acts = {takes(1h)};
  auto service = hedge().after(50ms) | scripted(s);
  for (duration const when : {10ms, 60ms}) {
    s.attempts.clear();
    s.cancelled = 0;
    asio::cancellation_signal signal;
    std::optional<result<std::string>> got;
    cleat::spawn(
        time.executor(), cleat::ask(service, std::string{"it"}, time.new_call()),
        asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr, result<std::string> r) {
          got.emplace(std::move(r));
        }));
    time.run_for(when);
    signal.emit(asio::cancellation_type::terminal);
    time.run_for(0ms);
    BOOST_REQUIRE(got.has_value());
    BOOST_TEST((!*got && got->error().why() == kind::cancelled));
    BOOST_TEST((got->error().sure() == certainty::maybe_executed));
    std::size_t const sent = when < 50ms ? 1 : 2;
    BOOST_TEST(s.attempts.size() == sent);
    BOOST_TEST(static_cast<std::size_t>(s.cancelled) == sent);
    BOOST_TEST(time.leftovers().empty());
  }
}

BOOST_AUTO_TEST_CASE(goes_with_its_world_while_both_are_under_way) {
  script s;
  s.acts = {takes(1h)};
  auto service = hedge().after(50ms) | scripted(s);
  {
    world time{1};
    time.spawn([](auto& asked, call c) -> task<> {
      static_cast<void>(co_await asked(std::string{"it"}, c));
    }(service, time.new_call()));
    time.run_for(1s);
    BOOST_TEST(s.under_way == 2);
  }
  BOOST_TEST(s.cancelled == 0);
}

BOOST_AUTO_TEST_CASE(follows_a_quantile_of_the_last_answers) {
  world time{1};
  script s;
  watcher w;
  auto service = cleat::observe(w) | hedge().quantile(0.9) | scripted(s);
  s.acts = {takes(1s)};
  BOOST_TEST(ask(time, service).has_value());  // too few are known
  for (int n = 1; n < 100; ++n) {
    s.acts = {takes(std::chrono::milliseconds{n})};
    BOOST_TEST(ask(time, service).has_value());
  }
  BOOST_TEST(w.seen.empty());
  s.acts = {takes(1h), takes(5ms)};
  BOOST_TEST(ask(time, service).has_value());
  BOOST_REQUIRE(w.times(action::hedge_sent) == 1);
  duration const off = std::chrono::abs(w.seen[0].elapsed - 90ms);
  BOOST_TEST((off <= 90ms / 32 + 1ms));
}

BOOST_AUTO_TEST_CASE(waits_as_it_is_told_while_too_few_latencies_are_known) {
  world time{1};
  script s;
  s.acts = {takes(1h), takes(5ms)};
  watcher w;
  auto service = cleat::observe(w) | hedge().at_first(30ms) | scripted(s);
  BOOST_TEST(ask(time, service).has_value());
  BOOST_TEST(w.times(action::hedge_sent) == 1);
  BOOST_TEST((w.seen[0].elapsed == 30ms));
}

BOOST_AUTO_TEST_CASE(neither_failures_nor_what_must_not_be_repeated_count_as_latencies) {
  world time{1};
  script s;
  latency_window::settings one;
  one.needed = 1;
  watcher w;
  auto service = cleat::observe(w) | hedge().quantile(one) | scripted(s);
  s.acts = {fails(16us, kind::reset, certainty::maybe_executed)};
  BOOST_TEST(!ask(time, service).has_value());
  s.acts = {takes(17us)};
  call once = time.new_call();
  once.repeatable = false;
  BOOST_TEST(ask(time, service, once).has_value());
  s.acts = {takes(30us)};
  BOOST_TEST(ask(time, service).has_value());
  BOOST_TEST(w.seen.empty());  // no latency is known
  s.acts = {fails(40us, kind::reset, certainty::maybe_executed)};
  BOOST_TEST(!ask(time, service).has_value());
  BOOST_REQUIRE(w.seen.size() == 1U);
  BOOST_TEST((w.seen[0].what == action::hedge_sent && w.seen[0].elapsed == 30us));
  time.run_for(1s);
  s.acts = {takes(40us), takes(1s)};
  BOOST_TEST(ask(time, service).has_value());
  BOOST_REQUIRE(w.seen.size() == 2U);
  BOOST_TEST((w.seen[1].elapsed == 30us));
}

BOOST_AUTO_TEST_CASE(what_must_not_be_repeated_pays_nothing_into_the_budget) {
  world time{1};
  script s;
  s.acts = {takes(20ms)};
  watcher w;
  retry_budget::settings half;
  half.deposit = 0.5;
  half.floor = 0;
  auto service = cleat::observe(w) | hedge().after(10ms).budget(half) | scripted(s);
  call once = time.new_call();
  once.repeatable = false;
  BOOST_TEST(ask(time, service, once).has_value());
  BOOST_TEST(ask(time, service).has_value());
  BOOST_TEST(w.times(action::hedge_budget_empty) == 1);
  BOOST_TEST((w.seen.back().elapsed == 10ms));
  BOOST_TEST(ask(time, service).has_value());
  BOOST_TEST(w.times(action::hedge_sent) == 1);
}

BOOST_AUTO_TEST_CASE(a_call_that_cannot_be_hedged_yet_pays_into_the_budget) {
  world time{1};
  script s;
  watcher w;
  latency_window::settings one;
  one.needed = 1;
  retry_budget::settings half;
  half.deposit = 0.5;
  half.floor = 0;
  auto service = cleat::observe(w) | hedge().quantile(one).budget(half) | scripted(s);
  s.acts = {takes(10ms)};
  BOOST_TEST(ask(time, service).has_value());
  s.acts = {takes(1h), takes(1ms)};
  BOOST_TEST(ask(time, service).has_value());
  BOOST_TEST(w.times(action::hedge_sent) == 1);
}

BOOST_AUTO_TEST_CASE(a_call_that_is_cancelled_after_its_first_attempt_failed_is_cancelled) {
  world time{1};
  script s;
  s.acts = {fails(60ms, kind::refused, certainty::not_sent), takes(1h)};
  auto service = hedge().after(50ms) | scripted(s);
  asio::cancellation_signal signal;
  std::optional<result<std::string>> got;
  cleat::spawn(
      time.executor(), cleat::ask(service, std::string{"it"}, time.new_call()),
      asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr, result<std::string> r) {
        got.emplace(std::move(r));
      }));
  time.run_for(70ms);
  signal.emit(asio::cancellation_type::terminal);
  time.run_for(0ms);
  BOOST_REQUIRE((got && !got->has_value()));
  BOOST_TEST((got->error().why() == kind::cancelled));
  BOOST_TEST((got->error().sure() == certainty::maybe_executed));
  BOOST_TEST(got->error().attempts() == 2U);
}

BOOST_AUTO_TEST_CASE(hedging_does_not_make_itself_more_frequent) {
  world time{1};
  script s;
  watcher w;
  retry_budget::settings plenty;
  plenty.deposit = 1;
  auto service = cleat::observe(w) | hedge().quantile(0.95).budget(plenty) | scripted(s);
  cleat::sim::random draw{3};
  int const calls = 4000;
  for (int n = 0; n < calls; ++n) {
    // 1 to 100 ms; the second attempt always helps.
    s.acts = {takes(std::chrono::microseconds{1000 + draw.below(99'000)}), takes(1ms)};
    BOOST_REQUIRE(ask(time, service).has_value());
  }
  BOOST_TEST(w.times(action::hedge_sent) > calls * 3 / 100);
  BOOST_TEST(w.times(action::hedge_sent) < calls * 8 / 100);
}

BOOST_AUTO_TEST_CASE(a_first_attempt_that_lost_counts_as_an_eighth_slower_than_the_delay) {
  world time{1};
  script s;
  for (int i = 0; i < 2; ++i) {
    s.acts.push_back(takes(10s));
    s.acts.push_back(takes(0ms));
  }
  latency_window::settings one;
  one.needed = 1;
  watcher w;
  retry_budget::settings plenty;
  plenty.deposit = 1;
  auto service =
      cleat::observe(w) | hedge().quantile(one).at_first(160ms).budget(plenty) | scripted(s);
  BOOST_TEST(ask(time, service).has_value());
  BOOST_TEST(ask(time, service).has_value());
  std::vector<duration> delays;
  for (watcher::noted const& n : w.seen) {
    if (n.what == action::hedge_sent) delays.push_back(n.elapsed);
  }
  BOOST_REQUIRE(delays.size() == 2U);
  BOOST_TEST((delays[0] == 160ms));
  BOOST_TEST((delays[1] >= 180ms - 180ms / 32 && delays[1] <= 180ms + 180ms / 32));
}

BOOST_AUTO_TEST_CASE(a_lost_attempt_counts_as_an_eighth_of_the_delay_more_exactly) {
  struct row {
    duration delay;
    duration counts;
  };
  for (row const r : {row{24us, 27us}, row{28us, 31us}}) {
    world time{1};
    script s;
    s.acts = {takes(10s), takes(0ms), takes(10s), takes(0ms)};
    latency_window::settings one;
    one.needed = 1;
    watcher w;
    retry_budget::settings plenty;
    plenty.deposit = 1;
    auto service =
        cleat::observe(w) | hedge().quantile(one).at_first(r.delay).budget(plenty) | scripted(s);
    for (int i = 0; i < 2; ++i) BOOST_TEST(ask(time, service).has_value());
    BOOST_REQUIRE(w.seen.size() == 4U);
    BOOST_TEST((w.seen[0].elapsed == r.delay && w.seen[2].elapsed == r.counts));
  }
}

BOOST_AUTO_TEST_CASE(
    by_default_a_tenth_of_the_calls_is_hedged_ten_of_them_saved_up_and_one_a_second) {
  world time{1};
  script s;
  watcher w;
  auto service = cleat::observe(w) | hedge().after(10ms) | scripted(s);
  s.acts = {takes(0ms)};
  for (int n = 0; n < 300; ++n) BOOST_TEST(ask(time, service).has_value());
  s.acts = {takes(11ms)};
  for (int n = 0; n < 12; ++n) BOOST_TEST(ask(time, service).has_value());
  // One of the floor, ten that were saved up, and one of the tenths of these twelve.
  BOOST_TEST(w.times(action::hedge_sent) == 12);
  BOOST_TEST(w.times(action::hedge_budget_empty) == 0);
  BOOST_TEST(ask(time, service).has_value());
  BOOST_TEST(w.times(action::hedge_budget_empty) == 1);
  time.run_for(1s);
  BOOST_TEST(ask(time, service).has_value());
  BOOST_TEST(ask(time, service).has_value());
  BOOST_TEST(w.times(action::hedge_sent) == 13);
}

BOOST_AUTO_TEST_CASE(hedges_stay_within_the_budget) {
  world time{1};
  script s;
  watcher w;
  retry_budget::settings tenth;
  tenth.deposit = 0.1;
  tenth.floor = 0;
  auto service = cleat::observe(w) | hedge().after(10ms).budget(tenth) | scripted(s);
  int const calls = 500;
  for (int n = 1; n <= calls; ++n) {
    s.acts = {takes(100ms)};
    BOOST_REQUIRE(ask(time, service).has_value());
    BOOST_REQUIRE(w.times(action::hedge_sent) <= n / 10);
  }
  BOOST_TEST(w.times(action::hedge_sent) == calls / 10);
  BOOST_TEST(w.times(action::hedge_budget_empty) == calls - calls / 10);
}

BOOST_AUTO_TEST_CASE(a_budget_can_be_shared_with_retry) {
  world time{1};
  script s;
  watcher w;
  retry_budget::settings one;
  one.deposit = 0;
  one.floor = 1;
  auto const budget = std::make_shared<retry_budget>(one);
  auto service = cleat::observe(w) | cleat::retry(2).budget(budget) |
                 hedge().after(10ms).budget(budget) | scripted(s);
  s.acts = {takes(20ms)};
  BOOST_TEST(ask(time, service).has_value());
  BOOST_TEST(w.times(action::hedge_sent) == 1);
  s.acts = {fails(1ms, kind::reset, certainty::maybe_executed), takes(0ms)};
  BOOST_TEST(!ask(time, service).has_value());  // the token is spent
}

BOOST_AUTO_TEST_CASE(says_what_it_is) {
  BOOST_TEST(hedge().describe() == "hedge(p95)");
  BOOST_TEST(hedge().quantile(0.999).at_first(50ms).describe() == "hedge(p99.9, at first 50 ms)");
  BOOST_TEST(hedge().after(50ms).budget(std::make_shared<retry_budget>()).describe() ==
             "hedge(after 50 ms, shared budget)");
  BOOST_TEST(hedge().after(50ms).at_first(10ms).describe() == "hedge(after 50 ms)");
  BOOST_TEST(hedge().after(50ms).quantile(0.5).describe() == "hedge(p50)");
  BOOST_TEST(hedge().budget(std::make_shared<retry_budget>()).describe() ==
             "hedge(p95, shared budget)");
}

BOOST_AUTO_TEST_CASE(conforms) {
  cleat::middleware_check how;
  how.hedges = true;
  for (duration const delay : {0ms, 5ms, 100ms}) {
    auto make = [delay] { return hedge().after(delay); };
    auto const broken =
        cleat::check_middleware(make, std::string{"a request"}, std::string{"an answer"}, how);
    for (std::string const& b : broken) BOOST_ERROR(b);
  }
}

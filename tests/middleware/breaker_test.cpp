#define BOOST_TEST_MODULE breaker
#include <cleat/conformance/middleware.hpp>
#include <cleat/middleware/breaker.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/sim/random.hpp>
#include <cleat/sim/world.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using cleat::action;
using cleat::breaker;
using cleat::call;
using cleat::certainty;
using cleat::circuit;
using cleat::duration;
using cleat::failure;
using cleat::kind;
using cleat::result;
using cleat::task;
using cleat::time_point;
using cleat::sim::world;
using namespace std::chrono_literals;

namespace {

/// The circuit as one would write it without care for time and memory: it remembers everything and
/// looks through it each time.
class naive_circuit {
 public:
  struct ended_call {
    time_point at;
    bool failed;
  };
  struct started_call {
    std::size_t in;  ///< which state since the beginning
    bool trial;
  };

  explicit naive_circuit(circuit::settings s) : with(s) {}

  bool admit(time_point now, int id) {
    if (is == circuit::state::open && now >= opened + open_for) enter(circuit::state::half_open);
    if (is == circuit::state::open) return false;
    bool const trial = is == circuit::state::half_open;
    if (trial && trials() >= with.trials) return false;
    under_way[id] = {nth_state, trial};
    return true;
  }
  void end(time_point now, int id, std::optional<bool> failed) {
    started_call const c = under_way.at(id);
    under_way.erase(id);
    if (!failed || c.in != nth_state) return;
    history.push_back({now, *failed});
    if (is == circuit::state::half_open) {
      auto const good = std::count_if(history.begin(), history.end(),
                                      [](ended_call const& e) { return !e.failed; });
      if (*failed) {
        open_for = std::min<duration>(open_for * 2, with.open_max);
        opened = now;
        enter(circuit::state::open);
      } else if (good >= static_cast<int>(with.successes == 0 ? with.trials : with.successes)) {
        enter(circuit::state::closed);
      }
    } else if (*failed && (in_a_row() || share(now))) {
      open_for = with.open_for;
      opened = now;
      enter(circuit::state::open);
    }
  }
  [[nodiscard]] unsigned trials() const {
    return static_cast<unsigned>(std::count_if(under_way.begin(), under_way.end(),
                                               [](auto const& c) { return c.second.trial; }));
  }

  circuit::settings with;
  circuit::state is = circuit::state::closed;
  std::size_t nth_state = 0;
  std::vector<ended_call> history;  ///< of this state
  std::map<int, started_call> under_way;
  time_point opened{};
  duration open_for{};

 private:
  void enter(circuit::state s) {
    is = s;
    ++nth_state;
    history.clear();
  }
  [[nodiscard]] bool in_a_row() const {
    if (with.failures == 0 || history.size() < with.failures) return false;
    return std::all_of(history.end() - static_cast<std::ptrdiff_t>(with.failures), history.end(),
                       [](ended_call const& e) { return e.failed; });
  }
  [[nodiscard]] bool share(time_point now) const {
    if (with.ratio <= 0) return false;
    auto const tenth = [&](time_point t) { return t.time_since_epoch() / (with.window / 10); };
    std::size_t calls = 0;
    std::size_t failures = 0;
    for (ended_call const& e : history) {
      if (tenth(e.at) <= tenth(now) - 10) continue;
      ++calls;
      failures += e.failed ? 1 : 0;
    }
    return calls >= with.calls_min &&
           static_cast<double>(failures) >= with.ratio * static_cast<double>(calls);
  }
};

/// Answers as it is told, then successfully; counts how often it was asked.
struct script {
  std::deque<failure> failures;
  duration takes = 0ms;
  bool throws = false;
  int asked = 0;
};

auto scripted(script& s) {
  return [&s](std::string q, call c) -> task<result<std::string>> {
    ++s.asked;
    auto const slept = co_await cleat::sleep_until(std::min(c.deadline(), c.now() + s.takes));
    if (!slept) co_return slept.error().with(certainty::maybe_executed);
    if (s.throws) throw std::runtime_error{"no"};
    if (s.failures.empty()) co_return q + " done";
    failure const f = s.failures.front();
    s.failures.pop_front();
    co_return f;
  };
}

class watcher {
 public:
  using listens_to = cleat::event_list<cleat::layer_acted>;
  struct noted {
    action what;
    duration elapsed;
    std::optional<kind> why;
  };
  void on(cleat::layer_acted const& e) noexcept {
    seen.push_back({e.what, e.elapsed, {}});
    if (e.why != nullptr) seen.back().why = e.why->why();
  }
  std::vector<noted> seen;
};

failure refused() { return failure{kind::refused, certainty::not_sent}; }

template <class Service>
result<std::string> ask(world& time, Service& service, call c) {
  return time.run(cleat::ask(service, std::string{"it"}, c));
}
template <class Service>
result<std::string> ask(world& time, Service& service) {
  return ask(time, service, time.new_call());
}

/// A call on its way, that can be cancelled.
class started {
 public:
  template <class Service>
  started(world& time, Service& service) {
    cleat::spawn(time.executor(), cleat::ask(service, std::string{"it"}, time.new_call()),
                 asio::bind_cancellation_slot(signal_.slot(),
                                              [this](std::exception_ptr, result<std::string> r) {
                                                ended.emplace(std::move(r));
                                              }));
  }
  void cancel() { signal_.emit(asio::cancellation_type::terminal); }
  std::optional<result<std::string>> ended;

 private:
  asio::cancellation_signal signal_;
};

}  // namespace

// ---- the circuit

BOOST_AUTO_TEST_CASE(a_circuit_does_what_a_naive_one_does) {
  std::array<int, 3> entered{};
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    cleat::sim::random draw{seed};
    circuit::settings s;
    s.failures = static_cast<unsigned>(draw.below(5));
    s.ratio = draw.below(2) == 0 ? 0.0 : 0.1 * static_cast<double>(1 + draw.below(9));
    s.calls_min = static_cast<unsigned>(1 + draw.below(8));
    s.window = std::chrono::milliseconds{100 * (1 + draw.below(20))};
    s.open_for = std::chrono::milliseconds{100 * (1 + draw.below(5))};
    s.open_max = 1s;
    s.trials = static_cast<unsigned>(1 + draw.below(3));
    s.successes = static_cast<unsigned>(draw.below(5));
    std::uint64_t const trouble = draw.below(10);
    circuit real{s};
    naive_circuit model{s};
    std::map<int, circuit::pass> passes;
    time_point now{1h};
    for (int step = 0; step < 500; ++step) {
      now += std::chrono::milliseconds{draw.below(60)};
      if (draw.below(2) == 0 || passes.empty()) {
        auto const before = real.current();
        auto const a = real.admit(now);
        BOOST_REQUIRE(a.let_through == model.admit(now, step));
        BOOST_REQUIRE(a.half_opened ==
                      (before == circuit::state::open && model.is == circuit::state::half_open));
        if (a.let_through) {
          passes[step] = a.with;
        } else if (model.is == circuit::state::open) {
          BOOST_REQUIRE((now + a.wait == model.opened + model.open_for));
        } else {
          BOOST_REQUIRE((a.wait == 0ms));
        }
      } else {
        auto const it =
            std::next(passes.begin(), static_cast<std::ptrdiff_t>(draw.below(passes.size())));
        std::optional<bool> failed;
        if (draw.below(8) != 0) failed = draw.below(10) < trouble;
        auto const before = model.nth_state;
        model.end(now, it->first, failed);
        circuit::turn t;
        if (!failed) {
          real.abandoned(it->second);
        } else if (*failed) {
          t = real.failed(it->second, now);
        } else {
          t = real.succeeded(it->second, now);
        }
        passes.erase(it);
        BOOST_REQUIRE((t.what != circuit::turn::to::same) == (model.nth_state != before));
        if (t.what == circuit::turn::to::opened) BOOST_REQUIRE((t.time == model.open_for));
      }
      BOOST_REQUIRE((real.current() == model.is));
      BOOST_REQUIRE(real.trials() == model.trials());
      BOOST_REQUIRE(real.trials() <= s.trials);
      ++entered.at(static_cast<std::size_t>(model.is));
    }
    // From wherever it is, successes lead back.
    for (auto const& [id, p] : passes) real.abandoned(p);
    for (int n = 0; n < 10 && real.current() != circuit::state::closed; ++n) {
      now += s.open_max;
      auto const a = real.admit(now);
      BOOST_REQUIRE(a.let_through);
      real.succeeded(a.with, now);
    }
    BOOST_TEST((real.current() == circuit::state::closed));
    BOOST_TEST(real.trials() == 0U);
  }
  for (int const times : entered) BOOST_TEST(times > 1000);
}

BOOST_AUTO_TEST_CASE(a_window_counts_what_a_look_through_all_calls_counts) {
  cleat::sim::random draw{7};
  cleat::detail::outcome_window window{1s};
  std::vector<std::pair<time_point, bool>> all;
  time_point now{1h};
  for (int step = 0; step < 3000; ++step) {
    now += std::chrono::milliseconds{draw.below(draw.below(50) == 0 ? 3000 : 40)};
    bool const failed = draw.below(3) == 0;
    window.add(failed, now);
    all.emplace_back(now, failed);
    std::uint64_t calls = 0;
    std::uint64_t failures = 0;
    for (auto i = all.rbegin(); i != all.rend(); ++i) {
      if (i->first.time_since_epoch() / 100ms <= now.time_since_epoch() / 100ms - 10) break;
      ++calls;
      failures += i->second ? 1 : 0;
    }
    BOOST_REQUIRE(window.calls() == calls);
    BOOST_REQUIRE(window.failures() == failures);
  }
}

BOOST_AUTO_TEST_CASE(a_late_failure_of_an_old_time_does_not_open_it_again) {
  circuit::settings s;
  s.failures = 1;
  circuit it{s};
  time_point now{1h};
  auto const late = it.admit(now);
  auto const first = it.admit(now);
  it.failed(first.with, now);
  BOOST_TEST(!it.admit(now).let_through);
  now += 5s;
  auto const trial = it.admit(now);
  BOOST_TEST(trial.half_opened);
  it.failed(late.with, now);  // neither now
  BOOST_TEST((it.current() == circuit::state::half_open));
  it.succeeded(trial.with, now);
  BOOST_TEST((it.current() == circuit::state::closed));
}

BOOST_AUTO_TEST_CASE(a_late_success_of_an_old_time_neither_closes_it_nor_forgives_a_failure) {
  circuit::settings s;
  s.failures = 2;
  circuit it{s};
  time_point now{1h};
  auto const fail_one = [&] { it.failed(it.admit(now).with, now); };
  auto const late = it.admit(now);
  auto const later = it.admit(now);
  fail_one();
  fail_one();
  it.succeeded(late.with, now);
  BOOST_TEST((it.current() == circuit::state::open));
  now += 5s;
  auto const trial = it.admit(now);
  BOOST_TEST(trial.half_opened);
  auto const much_later = it.admit(now);
  BOOST_TEST(!much_later.let_through);
  it.succeeded(later.with, now);
  BOOST_TEST((it.current() == circuit::state::half_open));
  BOOST_TEST(it.trials() == 1U);
  it.succeeded(trial.with, now);
  BOOST_TEST((it.current() == circuit::state::closed));

  auto const before = it.admit(now);
  fail_one();
  fail_one();
  now += 5s;
  it.succeeded(it.admit(now).with, now);  // closed again
  fail_one();
  it.succeeded(before.with, now);
  fail_one();
  BOOST_TEST((it.current() == circuit::state::open));
}

namespace {

circuit::settings in_a_row(unsigned failures, duration open_for, duration open_max) {
  circuit::settings s;
  s.failures = failures;
  s.open_for = open_for;
  s.open_max = open_max;
  return s;
}

void fail(circuit& it, time_point now, kind why = kind::refused) {
  auto const a = it.admit(now);
  BOOST_REQUIRE(a.let_through);
  it.failed(a.with, now, failure{why});
}
void succeed(circuit& it, time_point now) {
  auto const a = it.admit(now);
  BOOST_REQUIRE(a.let_through);
  it.succeeded(a.with, now);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_circuit_without_trouble_is_forgettable_unless_a_call_is_under_way) {
  circuit it{in_a_row(3, 1s, 6s)};
  time_point const now{1h};
  BOOST_TEST(it.is_forgettable(now));
  BOOST_TEST(it.is_forgettable(time_point{}));
  auto const first = it.admit(now);
  auto const second = it.admit(now);
  BOOST_TEST(!it.is_forgettable(now + 10h));
  it.succeeded(first.with, now);
  BOOST_TEST(!it.is_forgettable(now + 10h));
  it.abandoned(second.with);
  BOOST_TEST(it.is_forgettable(now));
}

BOOST_AUTO_TEST_CASE(a_circuit_is_forgettable_ten_times_open_max_after_its_trouble_exactly) {
  circuit it{in_a_row(2, 1s, 6s)};
  time_point now{1h};
  auto const forgettable_at = [&](time_point t) {
    return !it.is_forgettable(t - 1ns) && it.is_forgettable(t);
  };
  fail(it, now);
  BOOST_TEST(forgettable_at(now + 60s));
  succeed(it, now);
  BOOST_TEST(it.is_forgettable(now));
  fail(it, now);
  now += 10s;
  fail(it, now);  // it opens
  BOOST_TEST(forgettable_at(now + 1s + 60s));
  now += 1s;
  auto const trial = it.admit(now);
  BOOST_TEST((trial.let_through && trial.half_opened));
  BOOST_TEST(!it.is_forgettable(now + 10h));
  it.abandoned(trial.with);
  BOOST_TEST(forgettable_at(now + 60s));  // half open
  now += 5s;
  fail(it, now);
  BOOST_TEST(forgettable_at(now + 2s + 60s));
  now += 2s;
  succeed(it, now);
  BOOST_TEST((it.current() == circuit::state::closed));
  BOOST_TEST(it.is_forgettable(now));
}

BOOST_AUTO_TEST_CASE(
    a_circuit_that_counts_a_share_is_forgettable_when_no_failure_is_in_its_window) {
  time_point const now{1h};
  for (double const ratio : {0.5, 0.0, -1.0}) {
    circuit::settings s = in_a_row(0, 1s, 6s);
    s.ratio = ratio;
    circuit it{s};
    fail(it, now);
    succeed(it, now);
    if (ratio > 0) {
      BOOST_TEST(!it.is_forgettable(now + 10s - 1ns));
      BOOST_TEST(it.is_forgettable(now + 10s));
    } else {
      BOOST_TEST(it.is_forgettable(now));
    }
  }
}

BOOST_AUTO_TEST_CASE(the_longest_times_last_for_ever_and_no_longer) {
  constexpr duration tenth = duration::max() / 10;
  circuit at_most{in_a_row(5, 1s, tenth)};
  fail(at_most, time_point{});
  BOOST_TEST(!at_most.is_forgettable(time_point{tenth * 10 - 1ns}));
  BOOST_TEST(at_most.is_forgettable(time_point{tenth * 10}));
  for (duration const longer : {tenth + 1ns, duration::max()}) {
    circuit it{in_a_row(5, 1s, longer)};
    fail(it, time_point{});
    BOOST_TEST(!it.is_forgettable(cleat::never - 1ns));
  }
  circuit stays{in_a_row(1, duration::max(), 1s)};
  time_point const now{1h};
  fail(stays, now);
  BOOST_TEST(!stays.admit(cleat::never - 1ns).let_through);
}

BOOST_AUTO_TEST_CASE(a_circuit_is_open_until_its_time_and_twice_as_long_after_each_trial) {
  struct row {
    duration first;
    duration most;
    std::vector<duration> open;
  };
  std::vector<row> const rows = {
      {1ns, 3ns, {1ns, 2ns, 3ns, 3ns}}, {2ns, 5ns, {2ns, 4ns, 5ns, 5ns}},
      {2ns, 4ns, {2ns, 4ns, 4ns}},      {2ns, 2ns, {2ns, 2ns}},
      {3ns, 1ns, {3ns, 3ns}},  // the most is no less than the first
  };
  for (row const& r : rows) {
    circuit it{in_a_row(1, r.first, r.most)};
    time_point now{1h};
    for (duration const open : r.open) {
      auto const a = it.admit(now);
      BOOST_REQUIRE(a.let_through);
      auto const t = it.failed(a.with, now);
      BOOST_TEST((t.what == circuit::turn::to::opened && t.time == open));
      auto const early = it.admit(now + open - 1ns);
      BOOST_TEST((!early.let_through && !early.half_opened && early.wait == 1ns));
      now += open;
    }
  }
}

BOOST_AUTO_TEST_CASE(a_circuit_says_what_opened_it) {
  time_point now{1h};
  circuit row{in_a_row(2, 1s, 6s)};
  BOOST_TEST(row.cause().empty());
  fail(row, now);
  BOOST_TEST(row.cause().empty());
  fail(row, now, kind::reset);
  BOOST_TEST(row.cause() == " after 2 failures, the last: reset");
  now += 1s;
  fail(row, now, kind::timed_out);
  BOOST_TEST(row.cause() == " after 3 failures, the last: timed_out");
  now += 2s;
  succeed(row, now);
  BOOST_TEST(row.cause().empty());
  fail(row, now);
  fail(row, now);
  BOOST_TEST(row.cause() == " after 2 failures, the last: refused");

  // By the share: all failures of the window; by their number in a row, those.
  for (unsigned const failures : {0U, 3U, 2U}) {
    circuit::settings s = in_a_row(failures, 1s, 6s);
    s.ratio = 0.75;
    s.calls_min = 4;
    circuit it{s};
    fail(it, now);
    succeed(it, now);
    fail(it, now);
    BOOST_TEST((it.current() == circuit::state::closed));
    fail(it, now);
    BOOST_TEST(it.cause() == (failures == 2 ? " after 2 failures, the last: refused"
                                            : " after 3 failures, the last: refused"));
  }
  circuit once{in_a_row(1, 1s, 6s)};
  fail(once, now);
  BOOST_TEST(once.cause() == " after 1 failure: refused");
}

BOOST_AUTO_TEST_CASE(a_circuit_without_a_bound_never_opens) {
  for (double const ratio : {0.0, -1.0}) {
    circuit::settings s;
    s.failures = 0;
    s.ratio = ratio;
    s.calls_min = 0;
    circuit it{s};
    for (int i = 0; i < 100; ++i) fail(it, time_point{1h});
    BOOST_TEST((it.current() == circuit::state::closed));
  }
}

BOOST_AUTO_TEST_CASE(a_circuit_that_closes_forgets_what_was_before) {
  circuit::settings s = in_a_row(3, 1s, 6s);
  s.ratio = 0.5;
  s.calls_min = 3;
  circuit it{s};
  time_point now{1h};
  for (int i = 0; i < 3; ++i) fail(it, now);
  now += 1s;
  auto const a = it.admit(now);
  auto const t = it.succeeded(a.with, now + 1ns);
  BOOST_TEST((t.what == circuit::turn::to::closed && t.time == 1s + 1ns));
  fail(it, now);
  fail(it, now);
  BOOST_TEST((it.current() == circuit::state::closed));
  fail(it, now);
  BOOST_TEST((it.current() == circuit::state::open));
}

BOOST_AUTO_TEST_CASE(a_circuit_is_told_nothing_it_cannot_do) {
  circuit const plain;
  BOOST_TEST((plain.with().failures == 5 && plain.with().ratio == 0));
  BOOST_TEST((plain.with().calls_min == 20 && plain.with().window == 10s));
  BOOST_TEST((plain.with().open_for == 5s && plain.with().open_max == 60s));
  BOOST_TEST((plain.with().trials == 1 && plain.with().successes == 1));
  circuit::settings s = in_a_row(1, -1s, -2s);
  s.trials = 0;
  s.ratio = 1;
  s.window = 0s;
  circuit it{s};
  BOOST_TEST((it.with().open_for == 0s && it.with().open_max == 0s));
  BOOST_TEST((it.with().trials == 1 && it.with().successes == 1));
  time_point const now{1h};
  fail(it, now);
  BOOST_TEST(it.admit(now).half_opened);
  s.trials = 3;
  BOOST_TEST(circuit{s}.with().successes == 3U);
  s.successes = 2;
  BOOST_TEST(circuit{s}.with().successes == 2U);
}

BOOST_AUTO_TEST_CASE(a_window_goes_on_in_tenths_and_lives_with_a_time_that_goes_back) {
  cleat::detail::outcome_window window{100ns};
  time_point const now{1h};
  window.add(true, now + 9ns);
  window.add(false, now);
  window.add(false, now + 10ns);
  window.add(true, now - 50ns);  // counts as now
  BOOST_TEST((window.calls() == 4 && window.failures() == 2));
  BOOST_TEST(!window.is_clear(now + 109ns));
  BOOST_TEST(window.is_clear(now + 110ns));
  window.add(false, now + 99ns);
  BOOST_TEST((window.calls() == 5 && window.failures() == 2));
  window.add(false, now + 100ns);
  BOOST_TEST((window.calls() == 4 && window.failures() == 1));
  window.add(false, now + 110ns);
  BOOST_TEST((window.calls() == 3 && window.failures() == 0));
  BOOST_TEST(window.is_clear(now));
  window.clear();
  BOOST_TEST(window.calls() == 0U);

  cleat::detail::outcome_window shortest{0s};
  shortest.add(true, now);
  BOOST_TEST(!shortest.is_clear(now + 9ns));
  BOOST_TEST(shortest.is_clear(now + 10ns));
}

// ---- the middleware

BOOST_AUTO_TEST_CASE(opens_tries_and_closes_and_tells_each) {
  world time{1};
  script s;
  s.failures.assign(3, refused());
  watcher w;
  auto service = cleat::observe(w) | breaker().failures(2).open_for(1s) | scripted(s);
  BOOST_TEST((ask(time, service).error().why() == kind::refused));
  BOOST_TEST((ask(time, service).error().why() == kind::refused));

  time.run_for(300ms);
  failure const no = ask(time, service).error();
  BOOST_TEST((no.why() == kind::overloaded));
  BOOST_TEST((no.sure() == certainty::not_sent));
  BOOST_TEST((no.retry_after() == 700ms));
  BOOST_TEST(
      no.message() ==
      "a limit was reached (breaker open after 2 failures, the last: refused), to be asked again "
      "after 700 ms; nothing was sent");
  BOOST_TEST(s.asked == 2);

  time.run_for(700ms);
  BOOST_TEST((ask(time, service).error().why() == kind::refused));  // the trial
  BOOST_TEST(s.asked == 3);
  time.run_for(1999ms);  // open for twice as long
  BOOST_TEST((ask(time, service).error().retry_after() == 1ms));
  time.run_for(1ms);
  BOOST_TEST(ask(time, service).has_value());
  BOOST_TEST(ask(time, service).has_value());
  BOOST_TEST(s.asked == 5);

  std::vector<std::pair<action, duration>> const expected = {
      {action::breaker_opened, 1s},      {action::breaker_rejected, 700ms},
      {action::breaker_half_opened, 0s}, {action::breaker_opened, 2s},
      {action::breaker_rejected, 1ms},   {action::breaker_half_opened, 0s},
      {action::breaker_closed, 3s},
  };
  BOOST_REQUIRE(w.seen.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    BOOST_TEST((w.seen[i].what == expected[i].first));
    BOOST_TEST((w.seen[i].elapsed == expected[i].second));
  }
  BOOST_TEST((w.seen[0].why == kind::refused));
  BOOST_TEST((w.seen[1].why == kind::overloaded));
}

BOOST_AUTO_TEST_CASE(is_open_for_at_most_so_long) {
  world time{1};
  script s;
  s.failures.assign(100, refused());
  auto service = breaker().failures(1).open_for(1s, 3s) | scripted(s);
  for (duration const open : {1s, 2s, 3s, 3s}) {
    static_cast<void>(ask(time, service).error());
    BOOST_TEST((ask(time, service).error().retry_after() == open));
    time.run_for(open);
  }
  BOOST_TEST(s.asked == 4);
}

BOOST_AUTO_TEST_CASE(is_open_for_a_minute_at_most_if_nothing_else_is_said) {
  world time{1};
  script s;
  s.failures.assign(100, refused());
  auto service = breaker().failures(1).open_for(40s) | scripted(s);
  for (duration const open : {40s, 60s, 60s}) {
    static_cast<void>(ask(time, service).error());
    BOOST_TEST((ask(time, service).error().retry_after() == open));
    time.run_for(open);
  }
}

BOOST_AUTO_TEST_CASE(peers_are_apart_unless_one_circuit_is_shared) {
  for (bool const together : {false, true}) {
    world time{1};
    script s;
    s.failures = {refused()};
    circuit::settings one;
    one.failures = 1;
    auto b = breaker(one);
    if (together) b = std::move(b).shared(std::make_shared<circuit>(one));
    auto service = std::move(b) | scripted(s);
    call c = time.new_call();
    c.peer = "a";
    BOOST_TEST(!ask(time, service, c).has_value());
    BOOST_TEST(!ask(time, service, c).has_value());
    c.peer = "b";
    BOOST_TEST(ask(time, service, c).has_value() == !together);
    BOOST_TEST(s.asked == (together ? 1 : 2));
  }
}

BOOST_AUTO_TEST_CASE(only_what_says_that_the_peer_is_in_trouble_counts) {
  struct row {
    failure f;
    bool opens;
    bool neutral;  ///< otherwise a success
  };
  auto const at = [](kind k, certainty sure) { return failure{k, sure}; };
  auto const sent = certainty::maybe_executed;
  std::vector<row> const rows = {
      {at(kind::timed_out, sent), true, false},
      {at(kind::refused, certainty::not_sent), true, false},
      {at(kind::unreachable, certainty::not_sent), true, false},
      {at(kind::unresolved, certainty::not_sent), true, false},
      {at(kind::reset, sent), true, false},
      {at(kind::closed, sent), true, false},
      {at(kind::malformed, sent), true, false},
      {at(kind::rejected, certainty::rejected), false, false},
      {at(kind::rejected, certainty::rejected).with_retry_after(1s), true, false},
      {at(kind::overloaded, certainty::not_sent), false, true},
      {at(kind::overloaded, certainty::rejected), true, false},
      {at(kind::cancelled, sent), false, true},
      {at(kind::shut_down, sent), false, true},
      {at(kind::resources, certainty::not_sent), false, true},
      {at(kind::invalid, certainty::not_sent), false, true},
  };
  for (row const& it : rows) {
    BOOST_TEST_CONTEXT(it.f.message()) {
      world time{1};
      script s;
      s.failures = {refused(), it.f, refused()};
      auto service = breaker().failures(2) | scripted(s);
      for (int n = 0; n < 4; ++n) static_cast<void>(ask(time, service).has_value());
      // refused, it, (refused), ok: with two in a row, or with nothing between, the rest is held.
      BOOST_TEST(s.asked == (it.opens ? 2 : it.neutral ? 3 : 4));
    }
  }
}

BOOST_AUTO_TEST_CASE(what_counts_can_be_said_otherwise) {
  world time{1};
  script s;
  s.failures.assign(10, refused());
  auto service = breaker().failures(1).counts([](failure const& why) {
    return why.why() == kind::refused ? cleat::peer_health::unknown : cleat::health_by(why);
  }) | scripted(s);
  for (int n = 0; n < 10; ++n) static_cast<void>(ask(time, service).has_value());
  BOOST_TEST(s.asked == 10);
}

BOOST_AUTO_TEST_CASE(a_call_that_is_cancelled_counts_neither_way_whatever_is_said_of_it) {
  for (auto const says : {cleat::peer_health::bad, cleat::peer_health::good}) {
    BOOST_TEST_CONTEXT((says == cleat::peer_health::bad ? "bad" : "good")) {
      world time{1};
      script s;
      auto const shared = std::make_shared<circuit>([] {
        circuit::settings two;
        two.failures = 2;
        two.open_for = 1s;
        return two;
      }());
      int judged = 0;
      auto service = breaker().shared(shared).counts([&](failure const& why) {
        ++judged;
        return why.why() == kind::cancelled ? says : cleat::peer_health::bad;
      }) | scripted(s);
      auto const cancel_one = [&] {
        s.takes = 1h;
        started it{time, service};
        time.run_for(10ms);
        it.cancel();
        time.run_for(0ms);
        BOOST_REQUIRE(it.ended.has_value());
        BOOST_TEST((it.ended->error().why() == kind::cancelled));
        s.takes = 0ms;
      };
      // closed: a failure before it and one behind it are two in a row, and one alone is one
      s.failures = {refused()};
      static_cast<void>(ask(time, service).has_value());
      cancel_one();
      BOOST_TEST((shared->current() == circuit::state::closed));
      s.failures = {refused()};
      static_cast<void>(ask(time, service).has_value());
      BOOST_TEST((shared->current() == circuit::state::open));
      // half open: neither the end of the trouble nor more of it
      time.run_for(1s);
      cancel_one();
      BOOST_TEST((shared->current() == circuit::state::half_open));
      BOOST_TEST(shared->trials() == 0U);
      BOOST_TEST(judged == 2);
      BOOST_TEST(ask(time, service).has_value());
      BOOST_TEST((shared->current() == circuit::state::closed));
    }
  }
}

BOOST_AUTO_TEST_CASE(as_many_trials_at_once_as_it_is_told_and_as_many_successes_close_it) {
  for (unsigned const successes : {0U, 1U, 3U}) {
    BOOST_TEST_CONTEXT(successes) {
      world time{1};
      script s;
      auto const shared = std::make_shared<circuit>([&] {
        circuit::settings two;
        two.failures = 1;
        two.open_for = 1s;
        two.trials = 2;
        two.successes = successes;
        return two;
      }());
      auto service = breaker().shared(shared) | scripted(s);
      s.failures = {refused()};
      static_cast<void>(ask(time, service).has_value());
      time.run_for(1s - 1ns);
      BOOST_TEST((ask(time, service).error().retry_after() == 1ms));  // rounded up
      time.run_for(1ns);
      s.takes = 10ms;
      started first{time, service};
      time.run_for(1ms);
      started second{time, service};
      time.run_for(0ms);
      BOOST_TEST(shared->trials() == 2U);
      failure const no = ask(time, service).error();
      BOOST_TEST((no.why() == kind::overloaded && no.retry_after() == 0ms));
      time.run_for(9ms);
      unsigned const needed = successes == 0 ? 2 : successes;
      BOOST_TEST((shared->current() == circuit::state::closed) == (needed == 1));
      time.run_for(1ms);
      BOOST_TEST((shared->current() == circuit::state::closed) == (needed <= 2));
      BOOST_TEST(ask(time, service).has_value());
      BOOST_TEST((shared->current() == circuit::state::closed));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_finished_call_keeps_no_place_of_a_trial_however_long_its_caller_keeps_it) {
  for (bool const throws : {false, true}) {
    world time{1};
    script s;
    auto const shared = std::make_shared<circuit>([] {
      circuit::settings one;
      one.failures = 1;
      one.open_for = 1s;
      return one;
    }());
    auto service = breaker().shared(shared) | scripted(s);
    s.failures = {refused()};
    static_cast<void>(ask(time, service).has_value());
    time.run_for(1s);
    s.throws = throws;
    auto kept = service("it", time.new_call());
    if (throws) {
      BOOST_CHECK_THROW(static_cast<void>(time.run(std::move(kept))), std::runtime_error);
    } else {
      BOOST_TEST(time.run(std::move(kept)).has_value());
    }
    BOOST_TEST(shared->trials() == 0U);
    BOOST_TEST((shared->current() == (throws ? circuit::state::open : circuit::state::closed)));
  }
}

BOOST_AUTO_TEST_CASE(a_call_that_came_too_late_says_nothing_of_the_peer) {
  world time{1};
  script s;
  s.failures.assign(5, failure{kind::timed_out, certainty::not_sent});
  auto service = breaker().failures(1) | scripted(s);
  call c = time.new_call();
  c.tighten(time.now());
  for (int n = 0; n < 5; ++n) static_cast<void>(ask(time, service, c).has_value());
  BOOST_TEST(s.asked == 5);
}

BOOST_AUTO_TEST_CASE(an_exception_counts_and_passes) {
  world time{1};
  script s;
  s.throws = true;
  watcher w;
  auto service = cleat::observe(w) | breaker().failures(2) | scripted(s);
  BOOST_CHECK_THROW(static_cast<void>(ask(time, service)), std::runtime_error);
  s.takes = 1ms;
  BOOST_CHECK_THROW(static_cast<void>(ask(time, service)), std::runtime_error);
  BOOST_TEST((ask(time, service).error().why() == kind::overloaded));
  BOOST_TEST(w.seen.size() == 2U);
}

BOOST_AUTO_TEST_CASE(a_trial_that_is_cancelled_leaves_its_place_to_the_next) {
  world time{1};
  script s;
  s.failures = {refused()};
  auto service = breaker().failures(1).open_for(1s) | scripted(s);
  static_cast<void>(ask(time, service).has_value());
  time.run_for(1s);
  s.takes = 1h;
  started trial{time, service};
  time.run_for(10ms);
  failure const no = ask(time, service).error();
  BOOST_TEST((no.why() == kind::overloaded && no.retry_after() == 0ms));
  trial.cancel();
  time.run_for(0ms);
  BOOST_REQUIRE(trial.ended.has_value());
  BOOST_TEST((trial.ended->error().why() == kind::cancelled));
  s.takes = 1ms;
  BOOST_TEST(ask(time, service).has_value());
  BOOST_TEST(ask(time, service).has_value());
}

BOOST_AUTO_TEST_CASE(a_trial_that_is_destroyed_leaves_its_place) {
  script s;
  s.failures = {refused()};
  auto const shared = std::make_shared<circuit>();
  auto service = breaker().shared(shared) | scripted(s);
  auto const now = [&] {
    world time{1};
    s.failures.assign(5, refused());
    for (int n = 0; n < 5; ++n) static_cast<void>(ask(time, service).has_value());
    time.run_for(5s);
    s.takes = 1h;
    started trial{time, service};
    time.run_for(1s);
    BOOST_TEST(shared->trials() == 1U);
    return time.now();
  }();
  BOOST_TEST(shared->trials() == 0U);
  BOOST_TEST(shared->admit(now).let_through);
}

BOOST_AUTO_TEST_CASE(a_share_of_the_calls_opens_it_if_there_were_enough) {
  world time{1};
  script s;
  auto service = breaker().ratio(0.5, 10, 10s) | scripted(s);
  for (int n = 0; n < 5; ++n) {
    s.failures = {refused()};
    BOOST_TEST((ask(time, service).error().why() == kind::refused));
    if (n < 4) BOOST_TEST(ask(time, service).has_value());
    if (n < 4) time.run_for(100ms);
  }
  BOOST_TEST(ask(time, service).has_value());  // of ten calls five, but this one did not fail
  s.failures = {refused()};
  BOOST_TEST((ask(time, service).error().why() == kind::refused));
  BOOST_TEST((ask(time, service).error().why() == kind::overloaded));
}

BOOST_AUTO_TEST_CASE(retry_outside_waits_for_the_trial_or_gives_up_at_once) {
  world time{1};
  script s;
  s.failures.assign(5, refused());
  auto const none = cleat::backoff::additive(0ms, 0ms);
  auto service = cleat::retry(6).wait(none) | breaker() | scripted(s);
  call c = time.new_call();
  c.tighten(time.now() + 4s);
  auto const soon = ask(time, service, c);  // five attempts are refused, the sixth is not made
  BOOST_TEST((!soon && soon.error().why() == kind::overloaded));
  BOOST_TEST((soon.error().sure() == certainty::not_sent));
  BOOST_TEST((time.elapsed() == 0ms));
  BOOST_TEST(s.asked == 5);

  call again = time.new_call();
  again.tighten(time.now() + 4s);
  BOOST_TEST(!ask(time, service, again).has_value());
  BOOST_TEST((time.elapsed() == 0ms));
  BOOST_TEST(s.asked == 5);

  BOOST_TEST(ask(time, service).has_value());
  BOOST_TEST((time.elapsed() == 5s));
  BOOST_TEST(s.asked == 6);
}

BOOST_AUTO_TEST_CASE(says_what_it_is) {
  BOOST_TEST(breaker().describe() == "breaker(5 in a row, open 5 s)");
  BOOST_TEST(breaker().ratio(0.5, 20, 10s).describe() ==
             "breaker(50% of 20 or more in 10 s, open 5 s)");
  BOOST_TEST(breaker().shared(std::make_shared<circuit>()).describe() ==
             "breaker(5 in a row, open 5 s, shared)");
  BOOST_TEST(breaker().ratio(0.25).describe() == "breaker(25% of 20 or more in 10 s, open 5 s)");
  BOOST_TEST(breaker().ratio(0.5).failures(1).open_for(2s).describe() ==
             "breaker(1 in a row, open 2 s)");
  circuit::settings both;
  both.ratio = 0.5;
  BOOST_TEST(breaker(both).describe() ==
             "breaker(5 in a row, 50% of 20 or more in 10 s, open 5 s)");
  both.failures = 0;
  both.ratio = 0;
  BOOST_TEST(breaker(both).describe() == "breaker(open 5 s)");
}

BOOST_AUTO_TEST_CASE(conforms) {
  auto const report = [](std::vector<std::string> const& broken) {
    for (std::string const& b : broken) BOOST_ERROR(b);
  };
  auto make = [] { return breaker(); };
  report(cleat::check_middleware(make, std::string{"a request"}, std::string{"an answer"}));
  auto quick = [] { return cleat::retry(3) | breaker().failures(1).open_for(10ms); };
  report(cleat::check_middleware(quick, std::string{"a request"}, std::string{"an answer"}));
}

BOOST_AUTO_TEST_CASE(a_trial_that_says_nothing_is_not_in_the_way_of_its_own_retry) {
  world time{1};
  bool down = true;
  int asked = 0;
  auto service = [&](std::string q, call) -> task<result<std::string>> {
    ++asked;
    if (down) co_return failure{kind::refused, certainty::not_sent};
    if (asked == 2) {
      co_return failure{kind::overloaded, certainty::not_sent}.with_retry_after(50ms);
    }
    co_return q;
  };
  auto pipe = cleat::retry(3) | breaker().failures(1).open_for(1s) | service;
  call first = time.new_call();
  first.tighten(first.now() + 500ms);
  BOOST_TEST(!time.run(pipe("x", first)));
  down = false;
  time.run_for(2s);
  BOOST_TEST(time.run(pipe("x", time.new_call())).has_value());
  BOOST_TEST(asked == 3);
}

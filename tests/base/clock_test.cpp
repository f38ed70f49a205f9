#define BOOST_TEST_MODULE clock
#include "../support/hand_time.hpp"

#include <cleat/base/clock.hpp>
#include <cleat/base/spawn.hpp>
#include <cleat/base/timed.hpp>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <functional>
#include <latch>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace asio = boost::asio;
using cleat::alarm;
using cleat::kind;
using cleat::never;
using cleat::result;
using cleat::sleep_until;
using cleat::task;
using cleat::time_point;
using cleat::timer;
using cleat::use_task;
using cleat::test::hand_time;
using namespace std::chrono_literals;

namespace {

/// Calls a function when it rings.
class bell final : public alarm {
 public:
  bell(cleat::clock& c, std::function<void()> rung) : clock_(c), rung_(std::move(rung)) {}
  ~bell() override { clock_.unset(*this); }

 private:
  void ring() noexcept override { rung_(); }
  cleat::clock& clock_;
  std::function<void()> rung_;
};

/// Notes its letter when it rings.
class diary {
 public:
  explicit diary(cleat::clock& c) : clock_(c) {}
  [[nodiscard]] bell note(char letter) {
    return bell{clock_, [this, letter] { text += letter; }};
  }
  std::string text;

 private:
  cleat::clock& clock_;
};

/// One chain that sleeps, and what came of it.
class sleeper {
 public:
  sleeper(hand_time& time, time_point due) {
    auto body = [](time_point at) -> task<result<void>> {
      auto r = co_await sleep_until(at);
      co_return r;
    };
    auto done = [this](std::exception_ptr, result<void> r) { outcome = r; };
    cleat::spawn(time.context.get_executor(), body(due),
                 asio::bind_cancellation_slot(signal.slot(), done));
  }
  std::optional<result<void>> outcome;
  asio::cancellation_signal signal;
};

void note(void* told) { ++*static_cast<int*>(told); }

}  // namespace

static_assert(cleat::saturated_add(time_point{1s}, 1s) == time_point{2s});
static_assert(cleat::saturated_add(time_point{1s}, cleat::duration::max()) == never);
static_assert(cleat::saturated_add(never, 1s) == never);
static_assert(cleat::saturated_add(never, 1ns) == never);
static_assert(cleat::saturated_add(never, 0s) == never);
static_assert(cleat::saturated_add(never, -1ns) == never - 1ns);
static_assert(cleat::saturated_add(never - 1s, 1s) == never);
static_assert(cleat::saturated_add(never - 1s, 1s - 1ns) == never - 1ns);
static_assert(cleat::saturated_add(never - 1s, 1s + 1ns) == never);
static_assert(cleat::saturated_add(time_point{}, cleat::duration::max()) == never);
static_assert(cleat::saturated_add(time_point{2s}, -1s) == time_point{1s});

BOOST_AUTO_TEST_CASE(rings_in_the_order_of_the_times_and_not_of_the_setting) {
  hand_time time;
  diary d{time.clock()};
  bell a = d.note('a');
  bell b = d.note('b');
  bell c = d.note('c');
  time.clock().set(c, time.now() + 3s);
  time.clock().set(a, time.now() + 1s);
  time.clock().set(b, time.now() + 2s);
  BOOST_TEST((time.clock().next_due() == time.now() + 1s));
  time.advance(10s);
  BOOST_TEST(d.text == "abc");
  BOOST_TEST((time.clock().next_due() == never));
}

BOOST_AUTO_TEST_CASE(rings_at_its_time_and_not_a_moment_before) {
  hand_time time;
  diary d{time.clock()};
  bell a = d.note('a');
  time.clock().set(a, time.now() + 1s);
  time.advance(1s - 1ns);
  BOOST_TEST(d.text == "");
  time.advance(1ns);
  BOOST_TEST(d.text == "a");
  time.advance(1h);
  BOOST_TEST(d.text == "a");
}

BOOST_AUTO_TEST_CASE(does_not_ring_what_was_unset) {
  hand_time time;
  diary d{time.clock()};
  bell a = d.note('a');
  bell b = d.note('b');
  time.clock().set(a, time.now() + 1s);
  time.clock().set(b, time.now() + 1s);
  BOOST_TEST(time.clock().unset(a));
  BOOST_TEST(!time.clock().unset(a));
  time.advance(1s);
  BOOST_TEST(d.text == "b");
  BOOST_TEST(!time.clock().unset(b));
}

BOOST_AUTO_TEST_CASE(what_is_set_again_rings_once_and_at_the_new_time) {
  hand_time time;
  diary d{time.clock()};
  bell sooner = d.note('s');
  bell later = d.note('l');
  time.clock().set(sooner, time.now() + 5s);
  time.clock().set(later, time.now() + 1s);
  time.clock().set(sooner, time.now() + 1s);
  time.clock().set(later, time.now() + 5s);
  time.advance(1s);
  BOOST_TEST(d.text == "s");
  time.advance(4s);
  BOOST_TEST(d.text == "sl");
}

BOOST_AUTO_TEST_CASE(arms_its_source_for_the_earliest_only_and_disarms_it_at_the_end) {
  hand_time time;
  diary d{time.clock()};
  bell a = d.note('a');
  bell b = d.note('b');
  auto const start = time.now();
  time.clock().set(a, start + 5s);
  BOOST_TEST((time.armed_for() == start + 5s));
  time.clock().set(b, start + 9s);
  BOOST_TEST((time.armed_for() == start + 5s));
  time.clock().set(b, start + 2s);
  BOOST_TEST((time.armed_for() == start + 2s));
  time.advance(2s);
  BOOST_TEST((time.armed_for() == start + 5s));
  time.clock().unset(a);
  BOOST_TEST((time.armed_for() == never));
}

BOOST_AUTO_TEST_CASE(never_is_not_a_time_at_which_anything_rings) {
  hand_time time;
  diary d{time.clock()};
  bell a = d.note('a');
  time.clock().set(a, never);
  BOOST_TEST((time.armed_for() == never));
  time.advance(24h * 10'000);
  BOOST_TEST(d.text == "");
  BOOST_TEST(time.clock().unset(a));
}

BOOST_AUTO_TEST_CASE(a_ringing_alarm_may_set_itself_again) {
  hand_time time;
  int rung = 0;
  bell* self = nullptr;
  bell a{time.clock(), [&] {
           ++rung;
           time.clock().set(*self, time.now() + 1s);
         }};
  self = &a;
  time.clock().set(a, time.now() + 1s);
  for (int i = 1; i <= 3; ++i) {
    time.advance(1s);
    BOOST_TEST(rung == i);
  }
  BOOST_TEST(time.clock().unset(a));
}

BOOST_AUTO_TEST_CASE(a_ringing_alarm_may_unset_itself_and_others_that_are_due) {
  hand_time time;
  diary d{time.clock()};
  bell other = d.note('o');
  bell* self = nullptr;
  bool self_was_set = true;
  bool other_was_set = false;
  bell a{time.clock(), [&] {
           self_was_set = time.clock().unset(*self);
           other_was_set = time.clock().unset(other);
         }};
  self = &a;
  time.clock().set(a, time.now() + 1s);
  time.clock().set(other, time.now() + 2s);
  time.advance(3s);
  BOOST_TEST(!self_was_set);
  BOOST_TEST(other_was_set);
  BOOST_TEST(d.text == "");
}

BOOST_AUTO_TEST_CASE(an_alarm_may_be_destroyed_by_its_own_ringing) {
  hand_time time;
  auto a = std::make_unique<std::optional<bell>>();
  a->emplace(time.clock(), [&] { a.reset(); });
  time.clock().set(**a, time.now() + 1s);
  time.advance(1s);
  BOOST_TEST(!a);
}

BOOST_AUTO_TEST_CASE(rings_what_is_set_while_it_rings_if_its_time_has_come) {
  hand_time time;
  diary d{time.clock()};
  bell second = d.note('2');
  bell third = d.note('3');
  auto const start = time.now();
  bell first{time.clock(), [&] {
               time.clock().set(second, start + 1s);
               time.clock().set(third, start + 1h);
             }};
  time.clock().set(first, start + 2s);
  time.advance(2s);
  BOOST_TEST(d.text == "2");
  BOOST_TEST((time.armed_for() == start + 1h));
}

BOOST_AUTO_TEST_CASE(
    unset_waits_for_a_ring_on_another_thread_even_while_a_third_rings_something_else) {
  hand_time time;
  std::latch inside{1};
  std::latch go{1};
  std::atomic<bool> returned = false;
  bell slow{time.clock(), [&] {
              inside.count_down();
              go.wait();
              returned = true;
            }};
  diary d{time.clock()};
  bell quick = d.note('q');

  time.clock().set(slow, time.now());
  std::jthread const ringing{[&] { time.clock().ring_due(); }};
  inside.wait();
  time.clock().set(quick, time.now());
  time.clock().ring_due();  // beside the other
  BOOST_TEST(d.text == "q");

  std::latch asked{1};
  bool returned_before = false;
  std::jthread unsetting{[&] {
    asked.count_down();
    time.clock().unset(slow);
    returned_before = returned;
  }};
  asked.wait();
  for (int i = 0; i < 1000; ++i) std::this_thread::yield();  // a chance to be wrong
  go.count_down();
  unsetting.join();
  BOOST_TEST(returned_before);
}

BOOST_AUTO_TEST_CASE(sleeps_until_a_time) {
  hand_time time;
  sleeper s{time, time.now() + 1min};
  time.poll();
  time.advance(1min - 1ns);
  time.poll();
  BOOST_TEST(!s.outcome.has_value());
  time.advance(1ns);
  time.poll();
  BOOST_REQUIRE(s.outcome.has_value());
  BOOST_TEST(s.outcome->has_value());
  BOOST_TEST(cleat::chain_count(time.context) == 0U);
}

BOOST_AUTO_TEST_CASE(does_not_sleep_for_a_time_that_has_passed) {
  hand_time time;
  sleeper now{time, time.now()};
  sleeper past{time, time.now() - 1h};
  time.poll();
  BOOST_TEST((now.outcome && now.outcome->has_value()));
  BOOST_TEST((past.outcome && past.outcome->has_value()));
  BOOST_TEST((time.armed_for() == never));
}

BOOST_AUTO_TEST_CASE(a_sleep_ends_as_cancelled_when_its_chain_is_cancelled) {
  hand_time time;
  sleeper timed{time, time.now() + 1min};
  sleeper endless{time, never};
  time.poll();
  timed.signal.emit(asio::cancellation_type::terminal);
  endless.signal.emit(asio::cancellation_type::terminal);
  time.poll();
  for (auto const* s : {&timed, &endless}) {
    BOOST_REQUIRE(s->outcome.has_value());
    BOOST_TEST((!s->outcome->has_value() && s->outcome->error().why() == kind::cancelled));
  }
  BOOST_TEST((time.clock().next_due() == never));
  BOOST_TEST(cleat::chain_count(time.context) == 0U);
}

BOOST_AUTO_TEST_CASE(a_sleep_that_rang_before_it_was_cancelled_still_ends_once) {
  hand_time time;
  sleeper s{time, time.now() + 1min};
  time.poll();
  time.advance(1min);  // rung, and its resumption is queued
  s.signal.emit(asio::cancellation_type::terminal);
  time.poll();
  BOOST_TEST(s.outcome.has_value());
  BOOST_TEST(cleat::chain_count(time.context) == 0U);
}

BOOST_AUTO_TEST_CASE(a_sleep_goes_away_with_its_context) {
  auto alive = std::make_shared<int>(0);
  std::weak_ptr<int> const watch = alive;
  {
    asio::io_context context;
    auto body = [](std::shared_ptr<int> p) -> task<> {
      static_cast<void>(co_await sleep_until(never - 1s));
      ++*p;
    };
    cleat::spawn(context.get_executor(), body(std::move(alive)));
    context.poll();
    BOOST_TEST(!watch.expired());
  }
  BOOST_TEST(watch.expired());
}

BOOST_AUTO_TEST_CASE(waits_by_the_machines_own_time) {
  asio::io_context context;
  auto body = []() -> task<> {
    auto& time = cleat::clock::of(co_await cleat::this_chain::executor);
    auto const due = time.now() + 5ms;
    auto const slept = co_await sleep_until(due);
    BOOST_TEST(slept.has_value());
    BOOST_TEST((time.now() >= due));
  };
  cleat::spawn(context.get_executor(), body());
  context.run();
  BOOST_TEST(cleat::chain_count(context) == 0U);
}

BOOST_AUTO_TEST_CASE(keeps_a_context_running_no_longer_than_something_is_set) {
  asio::io_context context;
  auto& time = cleat::clock::of(context.get_executor());
  {
    bell a{time, [] {}};
    bell b{time, [] {}};
    time.set(a, time.now() + 1h);
    time.set(b, time.now() + 2h);
    context.poll();
    BOOST_TEST(!context.stopped());
  }
  context.run();  // returns: nothing is left to wait for
  BOOST_TEST(context.stopped());
}

BOOST_AUTO_TEST_CASE(a_timeout_calls_its_function_at_its_time) {
  hand_time time;
  int told = 0;
  timer t;
  t.set(time.context.get_executor(), time.now() + 1s, note, &told);
  time.advance(1s - 1ns);
  time.poll();
  BOOST_TEST(told == 0);
  time.advance(1ns);
  time.poll();
  BOOST_TEST(told == 1);
}

BOOST_AUTO_TEST_CASE(a_timeout_set_to_never_is_not_set) {
  hand_time time;
  int told = 0;
  timer t;
  t.set(time.context.get_executor(), time.now() + 1s, note, &told);
  t.set(time.context.get_executor(), never, note, &told);
  BOOST_TEST((time.clock().next_due() == never));
  time.advance(1h);
  time.poll();
  BOOST_TEST(told == 0);
}

BOOST_AUTO_TEST_CASE(a_timeout_destroyed_before_it_rings_calls_nothing) {
  hand_time time;
  int told = 0;
  {
    timer t;
    t.set(time.context.get_executor(), time.now() + 1s, note, &told);
  }
  BOOST_TEST((time.clock().next_due() == never));
  time.advance(1s);
  time.poll();
  BOOST_TEST(told == 0);
}

BOOST_AUTO_TEST_CASE(
    a_timeout_unset_or_destroyed_or_set_again_after_it_rang_and_before_its_turn_calls_nothing) {
  hand_time time;
  int told = 0;
  auto destroyed = std::make_unique<timer>();
  timer unset;
  timer again;
  for (timer* const t : {destroyed.get(), &unset, &again}) {
    t->set(time.context.get_executor(), time.now() + 1s, note, &told);
  }
  time.advance(1s);  // all have rung: their calls are in the executor's queue
  destroyed.reset();
  unset.unset();
  again.set(time.context.get_executor(), time.now() + 1s, note, &told);
  time.poll();
  BOOST_TEST(told == 0);
  time.advance(1s);
  time.poll();
  BOOST_TEST(told == 1);
}

BOOST_AUTO_TEST_CASE(a_timeout_may_be_destroyed_or_set_again_by_its_own_function) {
  hand_time time;
  struct owner {
    std::unique_ptr<timer> t = std::make_unique<timer>();
    hand_time& time;
    int told = 0;
    static void call(void* self) {
      auto& o = *static_cast<owner*>(self);
      if (++o.told == 1) {
        o.t->set(o.time.context.get_executor(), o.time.now() + 1s, call, self);
      } else {
        o.t.reset();
      }
    }
  };
  owner o{.time = time};
  o.t->set(time.context.get_executor(), time.now() + 1s, owner::call, &o);
  for (int i = 0; i < 3; ++i) {
    time.advance(1s);
    time.poll();
  }
  BOOST_TEST(o.told == 2);
  BOOST_TEST(!o.t);
}

BOOST_AUTO_TEST_CASE(a_timeout_that_rang_goes_away_with_its_context) {
  int told = 0;
  auto time = std::make_unique<hand_time>();
  timer t;
  t.set(time->context.get_executor(), time->now() + 1s, note, &told);
  time->advance(1s);
  t.unset();
  time.reset();
  BOOST_TEST(told == 0);
}

BOOST_AUTO_TEST_CASE(a_chain_that_was_cancelled_before_does_not_sleep) {
  hand_time time;
  std::vector<result<void>> ended;
  auto body = [](std::vector<result<void>>& to) -> task<> {
    for (int i = 0; i < 2; ++i) {
      auto r = co_await sleep_until(never - 1s);
      to.push_back(r);
    }
  };
  asio::cancellation_signal signal;
  auto done = [](std::exception_ptr) {};
  cleat::spawn(time.context.get_executor(), body(ended),
               asio::bind_cancellation_slot(signal.slot(), done));
  time.poll();
  signal.emit(asio::cancellation_type::terminal);
  time.poll();
  BOOST_TEST(ended.size() == 2U);
  for (auto const& r : ended) BOOST_TEST((r.has_error() && r.error().why() == kind::cancelled));
  BOOST_TEST((time.armed_for() == never));
}

BOOST_AUTO_TEST_CASE(what_is_set_while_its_context_goes_away_is_not_set) {
  time_point due{};
  {
    hand_time time;
    struct last {  // goes with what waits in the queue: after the clock was shut down
      hand_time& time;
      time_point& due;
      timer t;
      last(hand_time& of, time_point& to) : time(of), due(to) {}
      ~last() {
        t.set(time.context.get_executor(), time.now() + 1s, note, nullptr);
        due = time.clock().next_due();
      }
    };
    asio::post(time.context, [it = std::make_shared<last>(time, due)] {});
  }
  BOOST_TEST((due == never));
}

// ---- what takes until a deadline at most ---------------------------------------------------------

namespace {

/// One chain that waits for a timer of Asio until a deadline, and what came of it.
class limited {
 public:
  limited(hand_time& time, asio::steady_timer& t, time_point deadline) {
    auto body = [](asio::steady_timer& of, time_point until) -> task<result<void>> {
      auto r = co_await cleat::timed(of.async_wait(use_task), until);
      co_return r;
    };
    auto done = [this](std::exception_ptr, result<void> r) { outcome = r; };
    cleat::spawn(time.context.get_executor(), body(t, deadline),
                 asio::bind_cancellation_slot(signal.slot(), done));
    time.poll();
  }
  [[nodiscard]] bool fails_as(kind why) const {
    return outcome && outcome->has_error() && outcome->error().why() == why;
  }
  std::optional<result<void>> outcome;
  asio::cancellation_signal signal;
};

}  // namespace

BOOST_AUTO_TEST_CASE(an_operation_is_ended_at_its_deadline_and_not_a_moment_before) {
  hand_time time;
  asio::steady_timer t{time.context, asio::steady_timer::time_point::max()};
  limited l{time, t, time.now() + 1s};
  time.advance(1s - 1ns);
  time.poll();
  BOOST_TEST(!l.outcome.has_value());
  time.advance(1ns);
  time.poll();
  BOOST_TEST(l.fails_as(kind::timed_out));
}

BOOST_AUTO_TEST_CASE(a_deadline_that_passes_after_the_operation_has_ended_cancels_nothing) {
  hand_time time;
  int cancellations = 0;
  auto body = [&](time_point deadline) -> task<> {
    auto initiation = [&](auto handler) {
      // As some of Asio's do, it leaves in the slot what it put there.
      asio::get_associated_cancellation_slot(handler).assign(
          [&](asio::cancellation_type) { ++cancellations; });
      asio::post(time.context,
                 [h = std::move(handler)]() mutable { h(boost::system::error_code{}); });
    };
    auto operation =
        cleat::timed(asio::async_initiate<decltype(use_task), void(boost::system::error_code)>(
                         initiation, use_task),
                     deadline);
    result<void> const r = co_await std::move(operation);
    BOOST_TEST(r.has_value());
    static_cast<void>(co_await cleat::sleep_until(deadline + 1s));
  };
  cleat::spawn(time.context.get_executor(), body(time.now() + 1s));
  time.poll();
  time.advance(2s);
  time.poll();
  BOOST_TEST(cancellations == 0);
  BOOST_TEST(cleat::chain_count(time.context) == 0U);
}

BOOST_AUTO_TEST_CASE(an_operation_that_is_cancelled_has_not_timed_out) {
  hand_time time;
  asio::steady_timer t{time.context, asio::steady_timer::time_point::max()};
  limited by_hand{time, t, time.now() + 1s};
  t.cancel();
  time.poll();
  BOOST_TEST(by_hand.fails_as(kind::cancelled));
  BOOST_TEST((time.clock().next_due() == never));

  limited by_chain{time, t, time.now() + 1s};
  by_chain.signal.emit(asio::cancellation_type::terminal);
  time.advance(1s);  // both: the chain's own end counts
  time.poll();
  BOOST_TEST(by_chain.fails_as(kind::cancelled));
}

BOOST_AUTO_TEST_CASE(an_operation_that_ended_before_its_deadline_leaves_no_alarm) {
  hand_time time;
  asio::steady_timer t{time.context, asio::steady_timer::time_point::min()};
  limited l{time, t, time.now() + 1s};
  time.run_until([&] { return l.outcome.has_value(); });
  BOOST_TEST(l.outcome->has_value());
  BOOST_TEST((time.clock().next_due() == never));
}

// ---- a moment ------------------------------------------------------------------------------------

// How old the time may be that is read within a moment is the processor's matter: nothing here
// depends on it.

BOOST_AUTO_TEST_CASE(
    within_a_moment_time_is_neither_ahead_nor_older_than_the_moment_and_is_exact_after) {
  hand_time time;
  auto const start = time.now();
  {
    cleat::clock::moment const outer{time.clock()};
    auto last = time.clock().now();
    BOOST_TEST((last == start));
    for (int i = 1; i <= 100; ++i) {
      time.advance(1s);
      cleat::clock::moment const inner{time.clock()};
      auto const now = time.clock().now();
      BOOST_TEST((now <= start + i * 1s));
      BOOST_TEST((now >= start));
    }
    BOOST_TEST((time.clock().now() >= last));
  }
  BOOST_TEST((time.clock().now() == start + 100s));
}

BOOST_AUTO_TEST_CASE(a_moment_of_one_clock_is_none_of_another) {
  hand_time one;
  hand_time two;
  auto const start = two.now();
  cleat::clock::moment const still{one.clock()};
  static_cast<void>(one.clock().now());
  two.advance(1s);
  BOOST_TEST((two.clock().now() == start + 1s));
}

BOOST_AUTO_TEST_CASE(the_time_on_the_wall_is_asked_for_within_a_moment_too_and_never_goes_back) {
  asio::io_context context;
  auto& time = cleat::clock::of(context.get_executor());
  class ticking final : public cleat::clock::source {
   public:
    [[nodiscard]] time_point now() const noexcept override { return time_point{1h}; }
    [[nodiscard]] std::chrono::system_clock::time_point wall() const noexcept override {
      return std::chrono::system_clock::time_point{std::chrono::seconds{++asked_}};
    }
    void arm(time_point) override {}
    void close() noexcept override {}

   private:
    mutable int asked_ = 0;
  };
  time.replace(std::make_unique<ticking>());
  auto const before = time.wall();
  {
    cleat::clock::moment const still{time};
    auto const first = time.wall();
    BOOST_TEST((first == before + 1s));
    BOOST_TEST((time.wall() >= first));
  }
  BOOST_TEST((time.wall() > before + 1s));
}

BOOST_AUTO_TEST_CASE(what_is_due_rings_at_its_time_also_within_a_moment) {
  hand_time time;
  int rung = 0;
  bell b{time.clock(), [&] { ++rung; }};
  cleat::clock::moment const still{time.clock()};
  time.clock().set(b, time.now() + 1s);
  time.advance(1s);
  BOOST_TEST(rung == 1);
}

BOOST_AUTO_TEST_CASE(a_moment_is_one_threads_own) {
  hand_time time;
  auto const start = time.now();
  cleat::clock::moment const still{time.clock()};
  static_cast<void>(time.clock().now());
  time.advance(1s);
  std::optional<time_point> elsewhere;
  std::thread{[&] { elsewhere = time.clock().now(); }}.join();
  BOOST_TEST((elsewhere == start + 1s));
}

// ---- several threads ----------------------------------------------------------------------------

namespace {

/// Runs a context on several threads until it has nothing to do.
void run_on_threads(asio::io_context& context, int threads) {
  std::vector<std::jthread> all;
  for (int i = 0; i < threads; ++i) all.emplace_back([&] { context.run(); });
}

}  // namespace

BOOST_AUTO_TEST_CASE(chains_on_strands_sleep_beside_each_other_on_several_threads) {
  asio::io_context context;
  std::atomic<int> slept = 0;
  auto body = [&](int n) -> task<> {
    auto& time = cleat::clock::of(co_await cleat::this_chain::executor);
    for (int i = 0; i < 50; ++i) {
      auto const r =
          co_await sleep_until(time.now() + std::chrono::microseconds{(n * 7 + i * 13) % 200});
      if (r) ++slept;
    }
  };
  for (int n = 0; n < 20; ++n) cleat::spawn(asio::make_strand(context), body(n));
  run_on_threads(context, 3);
  BOOST_TEST(slept == 1000);
  BOOST_TEST(cleat::chain_count(context) == 0U);
}

BOOST_AUTO_TEST_CASE(
    timeouts_that_race_with_what_they_limit_on_several_threads_end_it_exactly_once) {
  asio::io_context context;
  std::atomic<int> ended = 0;
  // Both ends at about the same moment: whichever is first, nobody touches what has gone.
  auto body = [&](int n) -> task<> {
    auto const executor = co_await cleat::this_chain::executor;
    auto& time = cleat::clock::of(executor);
    for (int i = 0; i < 50; ++i) {
      auto const limit = std::chrono::microseconds{100 + (n * 7 + i * 13) % 50};
      asio::steady_timer timer{executor, 100us};
      auto const r = co_await cleat::timed(timer.async_wait(use_task), time.now() + limit);
      if (r || r.error().why() == kind::timed_out) ++ended;
    }
  };
  for (int n = 0; n < 20; ++n) cleat::spawn(asio::make_strand(context), body(n));
  run_on_threads(context, 3);
  BOOST_TEST(ended == 1000);
  BOOST_TEST(cleat::chain_count(context) == 0U);
}

BOOST_AUTO_TEST_CASE(sleeps_that_are_cancelled_while_they_ring_on_another_thread_end_exactly_once) {
  asio::io_context context;
  std::atomic<int> ended = 0;
  struct sleeping {
    explicit sleeping(asio::io_context& c) : strand(asio::make_strand(c)) {}
    asio::strand<asio::io_context::executor_type> strand;
    asio::cancellation_signal signal;
  };
  std::vector<std::unique_ptr<sleeping>> all;
  auto& time = cleat::clock::of(context.get_executor());
  auto body = [](time_point due) -> task<> { static_cast<void>(co_await sleep_until(due)); };
  auto const start = time.now();
  for (int n = 0; n < 500; ++n) {
    auto& s = *all.emplace_back(std::make_unique<sleeping>(context));
    auto done = [&](std::exception_ptr) { ++ended; };
    cleat::spawn(
        s.strand, body(start + std::chrono::microseconds{n * 10}),
        asio::bind_cancellation_slot(s.signal.slot(), asio::bind_executor(s.strand, done)));
  }
  auto cancelling = [&]() -> task<> {
    for (int n = 0; n < 500; ++n) {
      static_cast<void>(co_await sleep_until(start + std::chrono::microseconds{n * 10}));
      auto& s = *all[static_cast<std::size_t>(n)];
      asio::post(s.strand, [&s] { s.signal.emit(asio::cancellation_type::terminal); });
    }
  };
  cleat::spawn(asio::make_strand(context), cancelling());
  run_on_threads(context, 3);
  BOOST_TEST(ended == 500);
  BOOST_TEST(cleat::chain_count(context) == 0U);
}

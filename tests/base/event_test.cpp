#define BOOST_TEST_MODULE event
#include "../support/hand_time.hpp"

#include <cleat/base/event.hpp>
#include <cleat/base/spawn.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>

namespace asio = boost::asio;
using cleat::event;
using cleat::kind;
using cleat::never;
using cleat::result;
using cleat::task;
using cleat::time_point;
using cleat::test::hand_time;
using namespace std::chrono_literals;

namespace {

/// One chain that waits for an event, and what came of it.
class waiting {
 public:
  waiting(hand_time& time, event& e, time_point deadline = never) {
    auto body = [](event& of, time_point until) -> task<result<void>> {
      auto r = co_await of.wait(until);
      co_return r;
    };
    auto done = [this](std::exception_ptr, result<void> r) { outcome = r; };
    cleat::spawn(time.context.get_executor(), body(e, deadline),
                 asio::bind_cancellation_slot(signal.slot(), done));
  }
  void cancel() { signal.emit(asio::cancellation_type::terminal); }
  [[nodiscard]] bool goes_on() const { return outcome && outcome->has_value(); }
  [[nodiscard]] bool fails_as(kind why) const {
    return outcome && outcome->has_error() && outcome->error().why() == why;
  }

  std::optional<result<void>> outcome;
  asio::cancellation_signal signal;
};

}  // namespace

BOOST_AUTO_TEST_CASE(remembers_one_set_and_no_more) {
  hand_time time;
  event e;
  e.set();
  e.set();
  waiting first{time, e};
  time.poll();
  BOOST_TEST(first.goes_on());
  waiting second{time, e};
  time.poll();
  BOOST_TEST(!second.outcome.has_value());
  e.set();
  time.poll();
  BOOST_TEST(second.goes_on());
}

BOOST_AUTO_TEST_CASE(wakes_its_waiter_through_the_queue_and_forgets_the_set) {
  hand_time time;
  event e;
  waiting first{time, e};
  time.poll();
  BOOST_TEST(!first.outcome.has_value());
  e.set();
  BOOST_TEST(!first.outcome.has_value());  // never inside `set`
  time.poll();
  BOOST_TEST(first.goes_on());
  waiting second{time, e};
  time.poll();
  BOOST_TEST(!second.outcome.has_value());
  e.set();
  time.poll();
  BOOST_TEST(second.goes_on());
}

BOOST_AUTO_TEST_CASE(a_second_set_before_the_waiter_goes_on_is_remembered) {
  hand_time time;
  event e;
  waiting first{time, e};
  time.poll();
  e.set();
  e.set();
  time.poll();
  BOOST_TEST(first.goes_on());
  waiting second{time, e};
  time.poll();
  BOOST_TEST(second.goes_on());
}

BOOST_AUTO_TEST_CASE(a_second_waiter_is_refused_and_the_first_still_waits) {
  hand_time time;
  event e;
  waiting first{time, e, time.now() + 1s};
  waiting second{time, e};
  time.poll();
  BOOST_TEST(second.fails_as(kind::invalid));
  BOOST_TEST(!first.outcome.has_value());
  e.set();
  time.poll();
  BOOST_TEST(first.goes_on());
}

BOOST_AUTO_TEST_CASE(waits_until_its_deadline_and_not_a_moment_longer) {
  hand_time time;
  event e;
  waiting w{time, e, time.now() + 1s};
  time.poll();
  BOOST_TEST((time.armed_for() == time.now() + 1s));
  time.advance(1s - 1ns);
  time.poll();
  BOOST_TEST(!w.outcome.has_value());
  time.advance(1ns);
  time.poll();
  BOOST_TEST(w.fails_as(kind::timed_out));
}

BOOST_AUTO_TEST_CASE(without_a_deadline_it_waits_for_ever) {
  hand_time time;
  event e;
  waiting w{time, e};
  time.poll();
  BOOST_TEST((time.armed_for() == never));
  time.advance(24h * 1000);
  time.poll();
  BOOST_TEST(!w.outcome.has_value());
  e.set();
  time.poll();
  BOOST_TEST(w.goes_on());
}

BOOST_AUTO_TEST_CASE(a_set_after_the_deadline_is_remembered) {
  hand_time time;
  event e;
  waiting late{time, e, time.now() + 1s};
  time.poll();
  time.advance(1s);
  time.poll();
  BOOST_TEST(late.fails_as(kind::timed_out));
  e.set();
  waiting next{time, e};
  time.poll();
  BOOST_TEST(next.goes_on());
}

BOOST_AUTO_TEST_CASE(whichever_of_set_and_deadline_comes_first_counts) {
  hand_time time;
  event e;
  waiting w{time, e, time.now() + 1s};
  time.poll();
  e.set();
  BOOST_TEST((time.clock().next_due() == never));
  time.advance(1s);
  time.poll();
  BOOST_TEST(w.goes_on());

  // The deadline has rung, but its turn has not come: it is not told any more.
  waiting close{time, e, time.now() + 1s};
  time.poll();
  time.advance(1s);
  e.set();
  time.poll();
  BOOST_TEST(close.goes_on());
}

BOOST_AUTO_TEST_CASE(a_waiter_is_cancelled_and_a_set_after_that_is_remembered) {
  hand_time time;
  event e;
  waiting w{time, e, time.now() + 1s};
  time.poll();
  w.cancel();
  BOOST_TEST(!w.outcome.has_value());
  BOOST_TEST((time.clock().next_due() == never));
  e.set();
  time.poll();
  BOOST_TEST(w.fails_as(kind::cancelled));
  waiting next{time, e};
  time.poll();
  BOOST_TEST(next.goes_on());
}

BOOST_AUTO_TEST_CASE(a_waiter_that_was_woken_is_not_cancelled_any_more) {
  hand_time time;
  event e;
  waiting w{time, e};
  time.poll();
  e.set();
  w.cancel();
  time.poll();
  BOOST_TEST(w.goes_on());
  BOOST_TEST(cleat::chain_count(time.context) == 0U);
}

BOOST_AUTO_TEST_CASE(who_was_cancelled_before_does_not_wait_and_takes_no_set) {
  hand_time time;
  event e;
  waiting first{time, e};
  event gate;
  std::optional<result<void>> outcome;
  auto body = [](event& until, event& then) -> task<result<void>> {
    static_cast<void>(co_await until.wait());
    auto r = co_await then.wait();
    co_return r;
  };
  asio::cancellation_signal signal;
  auto done = [&](std::exception_ptr, result<void> r) { outcome = r; };
  auto const start = [&] {
    outcome.reset();
    cleat::spawn(time.context.get_executor(), body(gate, e),
                 asio::bind_cancellation_slot(signal.slot(), done));
    time.poll();
    signal.emit(asio::cancellation_type::terminal);
    time.poll();
  };
  start();
  BOOST_REQUIRE((outcome && outcome->has_error()));
  BOOST_TEST((outcome->error().why() == kind::cancelled));
  BOOST_TEST(!first.outcome.has_value());
  e.set();
  time.poll();
  BOOST_TEST(first.goes_on());

  e.set();
  start();
  BOOST_REQUIRE((outcome && outcome->has_error()));
  BOOST_TEST((outcome->error().why() == kind::cancelled));
  waiting next{time, e};
  time.poll();
  BOOST_TEST(next.goes_on());
}

BOOST_AUTO_TEST_CASE(a_waiter_that_goes_with_its_context_is_forgotten) {
  event e;
  {
    hand_time time;
    waiting gone{time, e, time.now() + 1s};
    time.poll();
    BOOST_TEST(cleat::chain_count(time.context) == 1U);
  }
  e.set();
  hand_time time;
  waiting next{time, e};
  time.poll();
  BOOST_TEST(next.goes_on());
}

BOOST_AUTO_TEST_CASE(a_waiter_leaves_an_event_alone_that_has_gone_before_it) {
  alignas(event) std::array<std::byte, sizeof(event)> place{};
  std::array<std::byte, sizeof(event)> left{};
  {
    hand_time time;
    auto* const e = new (place.data()) event;
    waiting w{time, *e};
    time.poll();
    e->~event();
    left.fill(std::byte{0});
    std::copy(place.begin(), place.end(), left.begin());
    w.cancel();
    time.poll();
    BOOST_TEST(!w.outcome.has_value());
  }
  BOOST_TEST((place == left));
}

#define BOOST_TEST_MODULE poller
// Over real pipes and socket pairs: what the kernel is told and what it tells is the matter here.
#include "../support/hand_time.hpp"

#include <cleat/base/spawn.hpp>
#include <cleat/base/task.hpp>
#include <cleat/transport/poller.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using cleat::kind;
using cleat::result;
using cleat::task;
using cleat::detail::pollable;
using cleat::detail::poller;
using cleat::detail::ready_wait;
using cleat::detail::timed_ready_wait;
using cleat::test::hand_time;
using namespace std::chrono_literals;

namespace {

poller& poller_of(asio::io_context& context) {
  auto* const p = poller::of(context.get_executor());
  BOOST_REQUIRE(p != nullptr);
  return *p;
}

/// A plain descriptor, closed at the end.
class end {
 public:
  explicit end(int descriptor) noexcept : descriptor_(descriptor) {}
  end(end&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  end& operator=(end&&) = delete;
  ~end() { close(); }

  void close() noexcept {
    if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
  }
  void write(std::size_t n = 1) const {
    std::vector<char> const bytes(n, 'x');
    BOOST_REQUIRE(::write(descriptor_, bytes.data(), n) == static_cast<ssize_t>(n));
  }
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

 private:
  int descriptor_;
};

/// Takes all that is there; gives how much it was.
std::size_t drain(int descriptor) {
  std::array<char, 4096> into;
  std::size_t all = 0;
  for (;;) {
    auto const n = ::read(descriptor, into.data(), into.size());
    if (n <= 0) return all;
    all += static_cast<std::size_t>(n);
  }
}

/// Writes until the kernel takes no more.
void fill(int descriptor) {
  std::array<char, 4096> const bytes{};
  while (::write(descriptor, bytes.data(), bytes.size()) > 0) {
  }
}

/// The two ends of a connection, of which the poller has one.
class connection {
 public:
  explicit connection(asio::io_context& context) : connection(context, make()) {}

  pollable near;
  end far;

 private:
  connection(asio::io_context& context, std::array<int, 2> const& ends)
      : near(poller_of(context), ends[0]), far(ends[1]) {}
  static std::array<int, 2> make() {
    std::array<int, 2> ends{};
    BOOST_REQUIRE(
        ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) == 0);
    return ends;
  }
};

task<result<void>> wait(pollable& on, std::uint32_t what) {
  auto r = co_await ready_wait(on, what);
  co_return r;
}

task<result<void>> wait_until(pollable& on, std::uint32_t what, cleat::time_point deadline) {
  auto r = co_await timed_ready_wait(on, what, deadline);
  co_return r;
}

/// A chain that waits once, and what came of it.
class waiting {
 public:
  waiting(asio::io_context& context, task<result<void>> t) {
    auto done = [this](std::exception_ptr, result<void> r) { outcome = r; };
    cleat::spawn(context.get_executor(), std::move(t),
                 asio::bind_cancellation_slot(signal.slot(), done));
  }
  [[nodiscard]] bool ended() const noexcept { return outcome.has_value(); }
  [[nodiscard]] bool ready() const noexcept { return outcome && outcome->has_value(); }
  [[nodiscard]] bool failed_as(kind why) const noexcept {
    return outcome && !outcome->has_value() && outcome->error().why() == why;
  }
  void cancel() { signal.emit(asio::cancellation_type::terminal); }

  std::optional<result<void>> outcome;
  asio::cancellation_signal signal;
};

constexpr std::size_t many = 1000;  // more than any of these need

/// Does what can be done now, with a loop that has always something to wait for; gives how many
/// handlers that took, `many` if there is no end to it.
std::size_t poll(asio::io_context& context) {
  auto const kept = asio::make_work_guard(context);
  context.restart();
  std::size_t n = 0;
  while (n < many && context.poll_one() != 0) ++n;
  return n;
}

}  // namespace

// ---- one wait ------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_wait_ends_when_bytes_come_and_not_before) {
  asio::io_context context{1};
  connection c{context};
  waiting const reader{context, wait(c.near, EPOLLIN)};
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(!reader.ended());
  c.far.write();
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(reader.ready());
}

BOOST_AUTO_TEST_CASE(a_wait_ends_at_once_while_the_bytes_of_the_last_one_are_still_there) {
  asio::io_context context{1};
  connection c{context};
  c.far.write();
  auto body = [](pollable& on) -> task<int> {
    int n = 0;
    for (; n < 5; ++n) {
      auto const ready = co_await ready_wait(on, EPOLLIN);
      if (!ready) break;
    }
    co_return n;
  };
  std::optional<int> waits;
  cleat::spawn(context.get_executor(), body(c.near), [&](std::exception_ptr, int n) { waits = n; });
  BOOST_TEST(poll(context) < many);
  BOOST_TEST((waits == 5));
}

BOOST_AUTO_TEST_CASE(bytes_that_came_before_the_first_wait_are_told) {
  asio::io_context context{1};
  connection c{context};
  c.far.write();
  waiting const reader{context, wait(c.near, EPOLLIN)};
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(reader.ready());
}

BOOST_AUTO_TEST_CASE(waits_in_both_directions_of_one_descriptor_end_each_for_its_own_reason) {
  asio::io_context context{1};
  connection c{context};
  fill(c.near.descriptor());
  waiting const reader{context, wait(c.near, EPOLLIN)};
  waiting const writer{context, wait(c.near, EPOLLOUT)};
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(!reader.ended());
  BOOST_TEST(!writer.ended());
  drain(c.far.descriptor());
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(!reader.ended());
  BOOST_TEST(writer.ready());
  c.far.write();
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(reader.ready());
}

BOOST_AUTO_TEST_CASE(waits_in_both_directions_may_end_at_the_same_time) {
  asio::io_context context{1};
  connection c{context};
  fill(c.near.descriptor());
  waiting const writer{context, wait(c.near, EPOLLOUT)};
  waiting const reader{context, wait(c.near, EPOLLIN)};
  c.far.write();
  drain(c.far.descriptor());
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(reader.ready());
  BOOST_TEST(writer.ready());
}

BOOST_AUTO_TEST_CASE(a_reader_goes_on_waiting_however_often_its_descriptor_is_written_to) {
  asio::io_context context{1};
  connection c{context};
  waiting const reader{context, wait(c.near, EPOLLIN)};
  for (int i = 0; i < 5; ++i) {
    waiting const writer{context, wait(c.near, EPOLLOUT)};
    BOOST_TEST(poll(context) < many);
    BOOST_TEST(writer.ready());
    BOOST_TEST(!reader.ended());
  }
  c.far.write();
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(reader.ready());
}

BOOST_AUTO_TEST_CASE(the_ends_of_a_pipe_are_told_of_bytes_of_room_and_of_the_other_end_going) {
  asio::io_context context{1};
  std::array<int, 2> ends{};
  BOOST_REQUIRE(::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC) == 0);
  pollable out{poller_of(context), ends[0]};
  pollable in{poller_of(context), ends[1]};
  fill(in.descriptor());
  waiting const reader{context, wait(out, EPOLLIN)};
  waiting const writer{context, wait(in, EPOLLOUT)};
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(reader.ready());
  BOOST_TEST(!writer.ended());
  drain(out.descriptor());
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(writer.ready());

  fill(in.descriptor());
  waiting const stuck{context, wait(in, EPOLLOUT)};
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(!stuck.ended());
  out.close();
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(stuck.ready());  // the next write says what is wrong
}

BOOST_AUTO_TEST_CASE(a_wait_with_a_deadline_ends_then_and_a_later_one_is_told) {
  hand_time time;
  connection c{time.context};
  waiting const late{time.context, wait_until(c.near, EPOLLIN, time.now() + 1s)};
  time.poll();
  time.advance(1s - 1ns);
  time.poll();
  BOOST_TEST(!late.ended());
  time.advance(1ns);
  time.poll();
  BOOST_TEST(late.failed_as(kind::timed_out));

  waiting const in_time{time.context, wait_until(c.near, EPOLLIN, time.now() + 1s)};
  c.far.write();
  time.poll();
  BOOST_TEST(in_time.ready());
  BOOST_TEST((time.clock().next_due() == cleat::never));
}

// ---- ending a wait -------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(closing_ends_the_waits_that_are_under_way_and_all_later_ones_as_shut_down) {
  asio::io_context context{1};
  connection c{context};
  fill(c.near.descriptor());
  waiting const reader{context, wait(c.near, EPOLLIN)};
  waiting const writer{context, wait(c.near, EPOLLOUT)};
  BOOST_TEST(poll(context) < many);
  c.near.close();
  c.near.close();
  BOOST_TEST(!reader.ended());  // not inside the call
  BOOST_TEST(c.near.descriptor() == -1);
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(reader.failed_as(kind::shut_down));
  BOOST_TEST(writer.failed_as(kind::shut_down));

  waiting const later{context, wait(c.near, EPOLLIN)};
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(later.failed_as(kind::shut_down));
}

BOOST_AUTO_TEST_CASE(closing_counts_even_if_the_bytes_came_first_and_nobody_was_told) {
  asio::io_context context{1};
  connection c{context};
  waiting const reader{context, wait(c.near, EPOLLIN)};
  BOOST_TEST(poll(context) < many);
  c.far.write();
  c.near.close();
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(reader.failed_as(kind::shut_down));
}

BOOST_AUTO_TEST_CASE(a_descriptor_may_be_destroyed_while_a_chain_waits_for_it) {
  asio::io_context context{1};
  auto c = std::make_unique<connection>(context);
  waiting const reader{context, wait(c->near, EPOLLIN)};
  BOOST_TEST(poll(context) < many);
  c.reset();
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(reader.failed_as(kind::shut_down));
}

BOOST_AUTO_TEST_CASE(a_cancelled_wait_ends_as_cancelled_and_a_later_one_is_told) {
  asio::io_context context{1};
  connection c{context};
  waiting reader{context, wait(c.near, EPOLLIN)};
  BOOST_TEST(poll(context) < many);
  reader.cancel();
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(reader.failed_as(kind::cancelled));

  waiting const later{context, wait(c.near, EPOLLIN)};
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(!later.ended());
  c.far.write();
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(later.ready());
  BOOST_TEST(drain(c.near.descriptor()) == 1U);
}

BOOST_AUTO_TEST_CASE(bytes_that_come_after_a_wait_was_cancelled_are_told_to_the_next_one) {
  asio::io_context context{1};
  connection c{context};
  waiting reader{context, wait(c.near, EPOLLIN)};
  BOOST_TEST(poll(context) < many);
  reader.cancel();
  c.far.write();
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(reader.failed_as(kind::cancelled));
  waiting const later{context, wait(c.near, EPOLLIN)};
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(later.ready());
}

BOOST_AUTO_TEST_CASE(a_wait_of_a_chain_that_is_cancelled_already_asks_for_nothing) {
  asio::io_context context{1};
  connection c{context};
  auto body = [](pollable& on) -> task<result<void>> {
    cleat::environment& env = co_await cleat::this_chain::environment;
    env.cancel();
    auto r = co_await ready_wait(on, EPOLLIN);
    co_return r;
  };
  c.far.write();
  waiting const reader{context, body(c.near)};
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(reader.failed_as(kind::cancelled));
}

// ---- nobody waits --------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(what_is_ready_while_nobody_waits_costs_one_look_and_is_told_later) {
  asio::io_context context{1};
  connection c{context};
  waiting const first{context, wait(c.near, EPOLLIN)};
  c.far.write();
  BOOST_TEST(poll(context) < 10U);
  BOOST_TEST(first.ready());
  c.far.write();
  BOOST_TEST(poll(context) < 10U);
  BOOST_TEST(poll(context) == 0U);
  waiting const second{context, wait(c.near, EPOLLIN)};
  BOOST_TEST(poll(context) < 10U);
  BOOST_TEST(second.ready());
}

BOOST_AUTO_TEST_CASE(room_for_bytes_that_nobody_wants_to_write_costs_one_look) {
  asio::io_context context{1};
  connection c{context};
  waiting const writer{context, wait(c.near, EPOLLOUT)};
  BOOST_TEST(poll(context) < 10U);
  BOOST_TEST(writer.ready());
  waiting const reader{context, wait(c.near, EPOLLIN)};
  BOOST_TEST(poll(context) < 10U);
  BOOST_TEST(poll(context) == 0U);
  BOOST_TEST(!reader.ended());
}

BOOST_AUTO_TEST_CASE(a_peer_that_hangs_up_while_nobody_waits_costs_one_look_and_is_told_later) {
  asio::io_context context{1};
  connection c{context};
  waiting const reader{context, wait(c.near, EPOLLIN)};
  waiting const writer{context, wait(c.near, EPOLLOUT)};
  c.far.write();
  BOOST_TEST(poll(context) < 10U);
  BOOST_TEST(reader.ready());
  BOOST_TEST(writer.ready());
  c.far.close();
  BOOST_TEST(poll(context) < 10U);
  BOOST_TEST(poll(context) == 0U);
  waiting const later{context, wait(c.near, EPOLLIN)};
  waiting const also{context, wait(c.near, EPOLLOUT)};
  BOOST_TEST(poll(context) < 10U);
  BOOST_TEST(later.ready());
  BOOST_TEST(also.ready());
  BOOST_TEST(poll(context) < 10U);
  BOOST_TEST(poll(context) == 0U);
}

BOOST_AUTO_TEST_CASE(a_peer_that_hangs_up_wakes_whichever_direction_is_waited_for) {
  for (auto const what : {std::uint32_t{EPOLLIN}, std::uint32_t{EPOLLOUT}}) {
    asio::io_context context{1};
    connection c{context};
    fill(c.near.descriptor());
    waiting const one{context, wait(c.near, what)};
    BOOST_TEST(poll(context) < 10U);
    BOOST_TEST(!one.ended());
    c.far.close();
    BOOST_TEST(poll(context) < 10U);
    BOOST_TEST(one.ready());
    BOOST_TEST(poll(context) < 10U);
    BOOST_TEST(poll(context) == 0U);
  }
}

// ---- several in one batch ------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_chain_may_destroy_what_is_ready_in_the_same_batch) {
  asio::io_context context{1};
  constexpr std::size_t n = 8;
  std::vector<std::unique_ptr<connection>> all;
  for (std::size_t i = 0; i < n; ++i) all.push_back(std::make_unique<connection>(context));
  std::size_t served = 0;
  std::size_t shut_down = 0;
  // Whoever is told first destroys all others.
  auto body = [&](std::size_t mine) -> task<> {
    auto const ready = co_await ready_wait(all[mine]->near, EPOLLIN);
    if (!ready) {
      if (ready.error().why() == kind::shut_down) ++shut_down;
      co_return;
    }
    ++served;
    for (std::size_t i = 0; i < n; ++i) {
      if (i != mine) all[i].reset();
    }
  };
  for (std::size_t i = 0; i < n; ++i) cleat::spawn(context.get_executor(), body(i));
  for (auto const& c : all) c->far.write();
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(served == 1U);
  BOOST_TEST(shut_down == n - 1);
}

BOOST_AUTO_TEST_CASE(a_chain_may_destroy_its_own_descriptor_that_is_ready_in_the_other_direction) {
  asio::io_context context{1};
  auto c = std::make_unique<connection>(context);
  int served = 0;
  auto body = [&](std::uint32_t what) -> task<> {
    auto const ready = co_await ready_wait(c->near, what);
    if (!ready) co_return;
    ++served;
    c.reset();
  };
  c->far.write();
  cleat::spawn(context.get_executor(), body(EPOLLIN));
  cleat::spawn(context.get_executor(), body(EPOLLOUT));
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(served == 1);
  BOOST_TEST(!c);
}

BOOST_AUTO_TEST_CASE(what_takes_the_place_of_a_destroyed_descriptor_is_not_told_its_events) {
  asio::io_context context{1};
  // Whoever is told first puts the other's successor into the same memory, and most likely behind
  // the same number.
  std::array<std::optional<connection>, 2> both;
  std::optional<waiting> successor;
  both[0].emplace(context);
  both[1].emplace(context);
  auto body = [&](std::size_t mine) -> task<> {
    auto const ready = co_await ready_wait(both[mine]->near, EPOLLIN);
    if (!ready) co_return;
    auto& other = both[1 - mine];
    other.emplace(context);
    successor.emplace(context, wait(other->near, EPOLLIN));
  };
  cleat::spawn(context.get_executor(), body(0));
  cleat::spawn(context.get_executor(), body(1));
  both[0]->far.write();
  both[1]->far.write();
  BOOST_TEST(poll(context) < many);
  BOOST_REQUIRE(successor.has_value());
  BOOST_TEST(!successor->ended());
  both[0].reset();
  both[1].reset();
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(successor->failed_as(kind::shut_down));
}

BOOST_AUTO_TEST_CASE(a_chain_may_cancel_a_wait_that_is_ready_in_the_same_batch) {
  asio::io_context context{1};
  connection one{context};
  connection two{context};
  std::array<asio::cancellation_signal, 2> signals;
  int served = 0;
  int cancelled = 0;
  auto body = [&](pollable& on, asio::cancellation_signal& other) -> task<> {
    auto const ready = co_await ready_wait(on, EPOLLIN);
    ++(ready ? served : cancelled);
    if (ready) other.emit(asio::cancellation_type::terminal);
  };
  auto nothing = [](std::exception_ptr) {};
  cleat::spawn(context.get_executor(), body(one.near, signals[1]),
               asio::bind_cancellation_slot(signals[0].slot(), nothing));
  cleat::spawn(context.get_executor(), body(two.near, signals[0]),
               asio::bind_cancellation_slot(signals[1].slot(), nothing));
  one.far.write();
  two.far.write();
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(served == 1);
  BOOST_TEST(cancelled == 1);
  // Both still have their byte, and say so.
  waiting const again{context, wait(one.near, EPOLLIN)};
  waiting const too{context, wait(two.near, EPOLLIN)};
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(again.ready());
  BOOST_TEST(too.ready());
}

BOOST_AUTO_TEST_CASE(serves_a_thousand_descriptors) {
  rlimit open{};
  BOOST_REQUIRE(::getrlimit(RLIMIT_NOFILE, &open) == 0);
  constexpr std::size_t spare = 64;
  std::size_t const n =
      std::min<std::size_t>(1000, open.rlim_cur > spare ? (open.rlim_cur - spare) / 2 : 0);
  BOOST_REQUIRE(n > 100U);
  asio::io_context context{1};
  std::vector<std::unique_ptr<connection>> all;
  for (std::size_t i = 0; i < n; ++i) all.push_back(std::make_unique<connection>(context));
  std::size_t bytes = 0;
  auto body = [&](connection& c) -> task<> {
    for (int round = 0; round < 3; ++round) {
      auto const ready = co_await ready_wait(c.near, EPOLLIN);
      if (!ready) co_return;
      bytes += drain(c.near.descriptor());
    }
  };
  for (auto const& c : all) cleat::spawn(context.get_executor(), body(*c));
  for (std::size_t round = 1; round <= 3; ++round) {
    for (auto const& c : all) c->far.write();
    context.restart();
    while (bytes < n * round && context.run_one() != 0) {
    }
    BOOST_TEST(bytes == n * round);
  }
  context.restart();
  context.run();
  BOOST_TEST(cleat::chain_count(context) == 0U);
}

BOOST_AUTO_TEST_CASE(what_is_posted_is_run_beside_descriptors_that_are_always_ready) {
  asio::io_context context{1};
  std::vector<std::unique_ptr<connection>> all;
  bool stop = false;
  auto body = [&](pollable& on) -> task<> {
    while (!stop) {
      auto const ready = co_await ready_wait(on, EPOLLIN);
      if (!ready) co_return;
    }
  };
  for (int i = 0; i < 20; ++i) {
    auto const& c = all.emplace_back(std::make_unique<connection>(context));
    c->far.write();
    cleat::spawn(context.get_executor(), body(c->near));
  }
  for (int i = 0; i < 10; ++i) context.run_one();  // the chains are under way
  asio::post(context, [&] { stop = true; });
  context.run();
  BOOST_TEST(stop);
}

// ---- the loop ------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_loop_returns_when_no_chain_is_left_and_runs_again) {
  asio::io_context context{1};
  connection c{context};
  connection idle{context};
  for (int i = 0; i < 3; ++i) {
    waiting const reader{context, wait(c.near, EPOLLIN)};
    waiting given_up{context, wait(idle.near, EPOLLIN)};
    c.far.write();
    asio::post(context, [&] { given_up.cancel(); });
    context.restart();
    context.run();
    BOOST_TEST(reader.ready());
    BOOST_TEST(given_up.ended());
    BOOST_TEST(context.stopped());
  }
  context.restart();
  BOOST_TEST(context.run() == 0U);  // bytes are there, and nobody waits
}

BOOST_AUTO_TEST_CASE(what_becomes_ready_while_the_loop_stands_still_is_told_when_it_runs_again) {
  asio::io_context context{1};
  connection c{context};
  connection other{context};
  waiting const reader{context, wait(c.near, EPOLLIN)};
  waiting const first{context, wait(other.near, EPOLLIN)};
  other.far.write();
  while (!first.ended()) context.run_one();
  context.stop();
  c.far.write();
  BOOST_TEST(context.run() == 0U);
  context.restart();
  context.run();
  BOOST_TEST(reader.ready());
}

BOOST_AUTO_TEST_CASE(a_context_may_go_while_chains_wait_that_own_what_they_wait_for) {
  for (bool const ready : {false, true}) {
    auto context = std::make_unique<asio::io_context>(1);
    int left = 0;
    auto body = [&](bool now) -> task<> {
      struct count {
        int& n;
        ~count() { ++n; }
      };
      count const at_the_end{left};
      asio::io_context& mine = *context;
      connection c{mine};
      if (now) c.far.write();
      static_cast<void>(co_await ready_wait(c.near, EPOLLIN));
    };
    for (int i = 0; i < 3; ++i) cleat::spawn(context->get_executor(), body(ready));
    // The chains have begun to wait, and nobody has looked at the descriptors since.
    for (int i = 0; i < 3; ++i) context->run_one();
    context.reset();
    BOOST_TEST(left == 3);
  }
}

BOOST_AUTO_TEST_CASE(a_context_may_go_while_the_end_of_a_wait_is_in_its_queue) {
  auto context = std::make_unique<asio::io_context>(1);
  auto c = std::make_unique<connection>(*context);
  std::optional<waiting> reader{std::in_place, *context, wait(c->near, EPOLLIN)};
  BOOST_TEST(poll(*context) < many);
  c.reset();
  context.reset();
  BOOST_TEST(!reader->ended());
}

BOOST_AUTO_TEST_CASE(what_a_completion_handler_throws_leaves_the_loop_and_the_rest_is_served) {
  asio::io_context context{1};
  std::vector<std::unique_ptr<connection>> all;
  int served = 0;
  for (int i = 0; i < 10; ++i) {
    auto const& c = all.emplace_back(std::make_unique<connection>(context));
    // Inside the batch: the handler is called by the chain's last resumption.
    auto done = [&](std::exception_ptr, result<void>) {
      if (++served == 3) throw std::runtime_error("broken");
    };
    cleat::spawn(context.get_executor(), wait(c->near, EPOLLIN), done);
  }
  BOOST_TEST(poll(context) < many);
  for (auto const& c : all) c->far.write();
  context.restart();
  BOOST_CHECK_THROW(context.run(), std::runtime_error);
  BOOST_TEST(served >= 3);
  context.run();
  BOOST_TEST(served == 10);
}

BOOST_AUTO_TEST_CASE(what_escapes_from_a_chain_leaves_the_loop_and_the_rest_is_served) {
  asio::io_context context{1};
  std::vector<std::unique_ptr<connection>> all;
  int served = 0;
  auto body = [&](pollable& on) -> task<> {
    static_cast<void>(co_await ready_wait(on, EPOLLIN));
    if (++served == 3) throw std::runtime_error("broken");
    static_cast<void>(co_await ready_wait(on, EPOLLIN));
    ++served;
  };
  for (int i = 0; i < 10; ++i) {
    auto const& c = all.emplace_back(std::make_unique<connection>(context));
    c->far.write();
    cleat::spawn(context.get_executor(), body(c->near));
  }
  BOOST_CHECK_THROW(context.run(), std::runtime_error);
  context.run();
  BOOST_TEST(served == 19);
  BOOST_TEST(cleat::chain_count(context) == 0U);
}

BOOST_AUTO_TEST_CASE(serves_the_plain_executor_of_a_context_only) {
  asio::io_context context{1};
  BOOST_TEST((poller::of(context.get_executor()) == &poller_of(context)));
  BOOST_TEST((poller::of(asio::make_strand(context)) == nullptr));
  asio::io_context other{1};
  BOOST_TEST((poller::of(other.get_executor()) != poller::of(context.get_executor())));
}

BOOST_AUTO_TEST_CASE(two_contexts_on_two_threads_do_not_disturb_each_other) {
  constexpr int rounds = 2000;
  constexpr std::size_t pairs = 4;
  asio::io_context left{1};
  asio::io_context right{1};
  int on_the_left = 0;
  int on_the_right = 0;
  // One byte there and back: each thread has its own end.
  auto play = [](pollable& mine, bool serves, int& played) -> task<> {
    char ball = 'o';
    if (serves) static_cast<void>(::write(mine.descriptor(), &ball, 1));
    for (int i = 0; i < rounds;) {
      auto const ready = co_await ready_wait(mine, EPOLLIN);
      if (!ready) co_return;
      if (::read(mine.descriptor(), &ball, 1) != 1) continue;
      ++i;
      ++played;
      if (!serves || i < rounds) static_cast<void>(::write(mine.descriptor(), &ball, 1));
    }
  };
  std::vector<std::unique_ptr<pollable>> ends;
  for (std::size_t i = 0; i < pairs; ++i) {
    std::array<int, 2> two{};
    BOOST_REQUIRE(
        ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, two.data()) == 0);
    ends.push_back(std::make_unique<pollable>(poller_of(left), two[0]));
    cleat::spawn(left.get_executor(), play(*ends.back(), true, on_the_left));
    ends.push_back(std::make_unique<pollable>(poller_of(right), two[1]));
    cleat::spawn(right.get_executor(), play(*ends.back(), false, on_the_right));
  }
  {
    std::jthread const one{[&] { left.run(); }};
    std::jthread const two{[&] { right.run(); }};
  }
  BOOST_TEST(on_the_left == rounds * static_cast<int>(pairs));
  BOOST_TEST(on_the_right == rounds * static_cast<int>(pairs));
}

BOOST_AUTO_TEST_CASE(a_copy_of_a_closed_descriptor_keeps_nothing_of_it_in_the_set) {
  // As a program that this one is about to start has one, between fork and exec.
  asio::io_context context{1};
  auto c = std::make_unique<connection>(context);
  end const copy{::dup(c->near.descriptor())};
  end const far{::dup(c->far.descriptor())};
  waiting const reader{context, wait(c->near, EPOLLIN)};
  BOOST_TEST(poll(context) < many);
  c.reset();
  BOOST_TEST(poll(context) < many);
  BOOST_TEST(reader.failed_as(kind::shut_down));
  far.write();
  BOOST_TEST(poll(context) < 10U);
  BOOST_TEST(poll(context) == 0U);
}

#define BOOST_TEST_MODULE log_queue
#include <cleat/observe/log_queue.hpp>

#include <boost/test/unit_test.hpp>

#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using cleat::log_queue;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t many = 1'000'000;

log_queue::time at(int second) { return log_queue::time{std::chrono::seconds{second}}; }

void push(log_queue& q, std::string text, int second = 0) {
  q.push(std::make_shared<std::string const>(std::move(text)), at(second));
}

/// What the writer gets next: "3 lost, text".
std::string next(log_queue& q) {
  auto const taken = q.try_pop();
  if (!taken) return "nothing";
  q.done();
  std::string said;
  if (taken->lost.records != 0) said = std::to_string(taken->lost.records) + " lost, ";
  return said + (taken->text ? *taken->text : "no line");
}

log_queue::deadline in(std::chrono::milliseconds time) { return log_queue::in(time); }

}  // namespace

BOOST_AUTO_TEST_CASE(gives_lines_in_the_order_in_which_they_came) {
  log_queue q{10, 100, 1min};
  push(q, "a");
  push(q, "b");
  BOOST_TEST(next(q) == "a");
  BOOST_TEST(next(q) == "b");
  BOOST_TEST(next(q) == "nothing");
  BOOST_TEST(q.lost() == 0U);
}

BOOST_AUTO_TEST_CASE(is_bounded_in_records_and_says_where_they_are_missing) {
  log_queue q{2, 100, 1min};
  for (auto const* text : {"a", "b", "c", "d"}) push(q, text);
  BOOST_TEST(q.lost() == 2U);
  BOOST_TEST(next(q) == "a");
  push(q, "e");
  BOOST_TEST(next(q) == "b");
  BOOST_TEST(next(q) == "2 lost, e");
  BOOST_TEST(next(q) == "nothing");
  BOOST_TEST(q.lost() == 2U);
}

BOOST_AUTO_TEST_CASE(is_bounded_in_bytes) {
  log_queue q{10, 10, 1min};
  push(q, "12345678901");
  BOOST_TEST(q.lost() == 1U);
  push(q, "12345");
  push(q, "67890");
  push(q, "1");
  BOOST_TEST(q.lost() == 2U);
  BOOST_TEST(next(q) == "1 lost, 12345");
  push(q, "2");
  BOOST_TEST(next(q) == "67890");
  BOOST_TEST(next(q) == "1 lost, 2");
}

BOOST_AUTO_TEST_CASE(takes_a_line_of_all_its_bytes_alone_and_has_room_again_at_half_of_them) {
  log_queue q{10, 10, 1min};
  push(q, "1234567890");
  BOOST_TEST(q.lost() == 0U);
  BOOST_TEST(next(q) == "1234567890");
  push(q, "1234");
  push(q, "123456");
  push(q, "lost");
  BOOST_TEST(next(q) == "1234");
  push(q, "lost as well");  // six bytes are more than half
  BOOST_TEST(q.lost() == 2U);
  BOOST_TEST(next(q) == "123456");
  push(q, "z");
  BOOST_TEST(next(q) == "2 lost, z");
}

BOOST_AUTO_TEST_CASE(tells_of_the_records_that_are_missing_at_its_end) {
  log_queue q{1, 100, 1min};
  push(q, "a", 1);
  push(q, "b", 2);
  push(q, "c", 3);
  BOOST_TEST(next(q) == "a");
  auto const taken = q.try_pop();
  BOOST_REQUIRE(taken.has_value());
  BOOST_TEST(!taken->text);
  BOOST_TEST(taken->lost.records == 2U);
  BOOST_TEST((taken->lost.first == at(2)));
  BOOST_TEST((taken->lost.last == at(3)));
  q.done();
  BOOST_TEST(next(q) == "nothing");
}

BOOST_AUTO_TEST_CASE(has_room_again_when_it_is_half_empty) {
  log_queue q{4, 100, 1min};
  for (auto const* text : {"a", "b", "c", "d", "lost"}) push(q, text);
  BOOST_TEST(next(q) == "a");
  push(q, "lost as well");
  BOOST_TEST(q.lost() == 2U);
  BOOST_TEST(next(q) == "b");
  push(q, "e");
  BOOST_TEST(q.lost() == 2U);
}

BOOST_AUTO_TEST_CASE(wakes_the_writer_that_waits) {
  log_queue q{many, many, 1min};
  std::string got;
  std::thread writer{[&] {
    while (auto const taken = q.pop()) {
      got += *taken->text;
      q.done();
    }
  }};
  push(q, "a");
  BOOST_TEST(q.flush(in(1min)));
  push(q, "b");
  BOOST_TEST(q.flush(in(1min)));
  q.interrupt();
  writer.join();
  BOOST_TEST(got == "ab");
}

BOOST_AUTO_TEST_CASE(loses_nothing_that_it_has_taken_in_from_several_threads) {
  log_queue q{50, many, 1min};
  std::uint64_t got = 0;
  std::uint64_t missing = 0;
  std::thread writer{[&] {
    while (auto const taken = q.pop()) {
      missing += taken->lost.records;
      if (taken->text) ++got;
      q.done();
    }
  }};
  std::vector<std::thread> all;
  for (int t = 0; t < 3; ++t) {
    all.emplace_back([&q] {
      for (int i = 0; i < 5000; ++i) push(q, "x");
    });
  }
  for (auto& t : all) t.join();
  BOOST_TEST(q.flush(in(1min)));
  q.interrupt();
  writer.join();
  BOOST_TEST(got + missing == 15'000U);
  BOOST_TEST(missing == q.lost());
}

BOOST_AUTO_TEST_CASE(a_flush_ends_when_a_try_has_failed_and_at_its_time) {
  log_queue q{10, 100, 1min};
  BOOST_TEST(q.flush(in(1min)));
  push(q, "a");
  BOOST_TEST(!q.flush(in(0ms)));
  BOOST_TEST(q.try_pop().has_value());
  BOOST_TEST(!q.flush(in(1ms)));  // taken is not written
  std::atomic<bool> enough = false;
  std::thread writer{[&] {
    while (!enough) {
      q.rest(1ms);
      q.failed();
    }
  }};
  BOOST_TEST(!q.flush(in(1h)));
  enough = true;
  writer.join();
  q.done();
  BOOST_TEST(q.flush(in(1min)));
}

BOOST_AUTO_TEST_CASE(does_not_wait_for_a_writer_that_has_not_moved_for_too_long) {
  log_queue q{10, 100, 10ms};
  push(q, "a");
  BOOST_TEST(q.try_pop().has_value());
  BOOST_TEST(!q.flush(in(1h)));
  BOOST_TEST(!q.close(in(1h)));
  BOOST_TEST(q.is_over());
}

BOOST_AUTO_TEST_CASE(takes_nothing_more_when_it_is_closed_and_is_over_at_that_time) {
  log_queue q{10, 100, 1min};
  push(q, "a");
  BOOST_TEST(!q.close(in(0ms)));
  push(q, "b");
  BOOST_TEST(q.lost() == 1U);
  BOOST_TEST(q.is_closed());
  BOOST_TEST(q.is_over());
  BOOST_TEST(next(q) == "a");
  log_queue empty{10, 100, 1min};
  BOOST_TEST(empty.close(in(1min)));
  BOOST_TEST(!empty.is_over());
}

BOOST_AUTO_TEST_CASE(counts_what_is_given_up_until_it_is_revived) {
  log_queue q{10, 100, 1min};
  push(q, "in hand", 1);
  for (auto const* text : {"b", "c"}) push(q, text, 2);
  BOOST_TEST(q.try_pop().has_value());
  q.give_up();
  q.done();
  BOOST_TEST(q.lost() == 3U);
  push(q, "d", 3);
  BOOST_TEST(q.lost() == 4U);
  BOOST_TEST(next(q) == "nothing");
  BOOST_TEST(q.flush(in(1min)));
  q.revive();
  auto const taken = q.try_pop();
  BOOST_REQUIRE(taken.has_value());
  BOOST_TEST(taken->lost.records == 4U);
  BOOST_TEST((taken->lost.first == at(1)));
  BOOST_TEST((taken->lost.last == at(3)));
}

BOOST_AUTO_TEST_CASE(waits_for_nobody_in_the_child_of_a_fork) {
  log_queue q{10, 100, 1min};
  push(q, "a");
  pid_t const child = ::fork();
  if (child == 0) {
    push(q, "b");
    bool const flushed = q.flush(in(1h));
    bool const closed = q.close(in(1h));
    ::_exit(flushed || closed ? 1 : 0);
  }
  int how = 0;
  BOOST_REQUIRE(::waitpid(child, &how, 0) == child);
  BOOST_TEST(how == 0);
  BOOST_TEST(next(q) == "a");
  BOOST_TEST(next(q) == "nothing");
}

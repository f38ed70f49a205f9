#define BOOST_TEST_MODULE one_thread
// Two threads that run chains of one plain context at the same time are told so, and the program ends. Everything that
// is right goes on: one thread after the other, a context each, strands on any number of threads.
#include "../support/child.hpp"
#include "../support/sanitized.hpp"

#include <cleat/base/clock.hpp>
#include <cleat/base/scope.hpp>
#include <cleat/base/spawn.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/system_executor.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/test/unit_test.hpp>

#include <barrier>
#include <chrono>
#include <csignal>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace asio = boost::asio;
using cleat::task;
using cleat::test::child;
using namespace std::chrono_literals;

namespace {

/// Both are inside at the same time, or for ever alone.
using meeting = std::barrier<>;

task<> meet(meeting& both) {
  auto const executor = co_await cleat::this_chain::executor;
  co_await asio::post(executor, cleat::use_task);
  both.arrive_and_wait();
}

/// What several threads do with a context.
void run_on(asio::io_context& context, int threads) {
  std::vector<std::jthread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back([&context] { context.run(); });
  context.run();
}

/// Counts without a lock: right only if one thing runs at a time.
task<> count(int& total, int times) {
  auto const executor = co_await cleat::this_chain::executor;
  for (int i = 0; i < times; ++i) {
    co_await asio::post(executor, cleat::use_task);
    ++total;
    auto const until = cleat::clock::of(executor).now() + 10us;
    static_cast<void>(co_await cleat::sleep_until(until));
  }
}

auto const unless_raced = boost::unit_test::enable_if<!cleat::test::is_under_thread_sanitizer>();

void says_what_is_wrong(child const& ended) {
  BOOST_TEST(ended.signal() == SIGABRT);
  BOOST_TEST(ended.said().starts_with(
      "cleat: two threads run chains on the plain executor of one execution context at the same "
      "time; let one thread run each io_context, or spawn on a strand"));
  BOOST_TEST(ended.said().ends_with("make_strand(context)\n"));
}

}  // namespace

BOOST_AUTO_TEST_CASE(two_threads_in_the_chains_of_one_plain_context_end_the_program,
                     *unless_raced) {
  child const misuse{[] {
    asio::io_context context;
    meeting both{2};
    cleat::spawn(context.get_executor(), meet(both));
    cleat::spawn(context.get_executor(), meet(both));
    run_on(context, 2);
  }};
  says_what_is_wrong(misuse);
}

BOOST_AUTO_TEST_CASE(two_threads_of_a_pool_end_the_program, *unless_raced) {
  child const misuse{[] {
    asio::thread_pool pool{2};
    meeting both{2};
    cleat::spawn(pool.get_executor(), meet(both));
    cleat::spawn(pool.get_executor(), meet(both));
    pool.join();
  }};
  says_what_is_wrong(misuse);
}

BOOST_AUTO_TEST_CASE(chains_of_a_scope_are_watched_too, *unless_raced) {
  child const misuse{[] {
    asio::io_context context;
    meeting both{2};
    auto body = [](meeting& m) -> task<> {
      cleat::environment& env = co_await cleat::this_chain::environment;
      cleat::scope beside{env};
      beside.spawn(meet(m));
      beside.spawn(meet(m));
      co_await beside.join();
    };
    cleat::spawn(context.get_executor(), body(both));
    run_on(context, 2);
  }};
  says_what_is_wrong(misuse);
}

BOOST_AUTO_TEST_CASE(cancelling_from_another_thread_while_a_chain_runs_ends_the_program,
                     *unless_raced) {
  child const misuse{[] {
    asio::io_context context;
    asio::cancellation_signal signal;
    meeting both{2};
    auto waits = []() -> task<> { static_cast<void>(co_await cleat::sleep_until(cleat::never)); };
    cleat::spawn(context.get_executor(), waits(),
                 asio::bind_cancellation_slot(signal.slot(), [](std::exception_ptr) {}));
    auto meets_twice = [](meeting& m) -> task<> {
      m.arrive_and_wait();
      m.arrive_and_wait();
      co_return;
    };
    cleat::spawn(context.get_executor(), meets_twice(both));
    std::jthread const other{[&] { context.run(); }};
    both.arrive_and_wait();
    signal.emit(asio::cancellation_type::terminal);
    both.arrive_and_wait();
  }};
  says_what_is_wrong(misuse);
}

BOOST_AUTO_TEST_CASE(one_thread_after_the_other_is_right) {
  asio::io_context context;
  int total = 0;
  for (int i = 0; i < 3; ++i) {
    std::jthread const runs{[&] {
      cleat::spawn(context.get_executor(), count(total, 5));
      context.restart();
      context.run();
    }};
  }
  cleat::spawn(context.get_executor(), count(total, 5));
  std::jthread{[&] { context.restart(), context.run_one(); }}.join();
  context.run();
  BOOST_TEST(total == 20);
}

BOOST_AUTO_TEST_CASE(a_context_for_each_thread_is_right) {
  std::vector<int> totals(4);
  {
    std::vector<std::jthread> threads;
    for (int& total : totals) {
      threads.emplace_back([&total] {
        asio::io_context context;
        cleat::spawn(context.get_executor(), count(total, 20));
        cleat::spawn(context.get_executor(), count(total, 20));
        context.run();
      });
    }
  }
  BOOST_TEST(totals == (std::vector<int>{40, 40, 40, 40}));
}

BOOST_AUTO_TEST_CASE(to_spawn_from_any_thread_is_right) {
  asio::io_context context;
  int total = 0;
  auto work = asio::make_work_guard(context);
  std::jthread const runs{[&] { context.run(); }};
  std::vector<std::future<void>> all;
  for (int i = 0; i < 20; ++i)
    all.push_back(cleat::spawn(context.get_executor(), count(total, 5), asio::use_future));
  for (auto& one : all) one.get();
  work.reset();
  BOOST_TEST(total == 100);
}

BOOST_AUTO_TEST_CASE(strands_on_several_threads_are_right) {
  asio::io_context context;
  std::vector<int> totals(4);
  for (int& total : totals) {
    auto const strand = asio::make_strand(context);
    cleat::spawn(strand, count(total, 50));
    cleat::spawn(strand, count(total, 50));
  }
  run_on(context, 3);
  BOOST_TEST(totals == (std::vector<int>{100, 100, 100, 100}));
}

BOOST_AUTO_TEST_CASE(strands_of_a_pool_and_of_the_system_are_right) {
  asio::thread_pool pool{2};
  int total = 0;
  auto done = cleat::spawn(asio::make_strand(pool), count(total, 20), asio::use_future);
  done.get();
  pool.join();
  auto also = count(
      total, 20)(asio::bind_executor(asio::make_strand(asio::system_executor{}), asio::use_future));
  also.get();
  BOOST_TEST(total == 40);
}

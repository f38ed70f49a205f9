#define BOOST_TEST_MODULE spawn
// Where a chain begins and ends: its token's executor, its cancellation slot, what escapes it.
#include <cleat/base/clock.hpp>
#include <cleat/base/spawn.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/test/unit_test.hpp>

#include <exception>
#include <optional>
#include <stdexcept>

namespace asio = boost::asio;
using cleat::kind;
using cleat::result;
using cleat::task;
using cleat::use_task;

namespace {

task<> waits() { static_cast<void>(co_await cleat::sleep_until(cleat::never)); }

task<int> one_after_a_hop() {
  auto const executor = co_await cleat::this_chain::executor;
  co_await asio::post(executor, use_task);
  co_return 1;
}

task<> at_once() { co_return; }

/// Spawns on one context with a handler that belongs to another; what the handler was given.
template <class Executor>
int completes_on(asio::io_context& home, asio::io_context& theirs, Executor const& executor) {
  int got = 0;
  cleat::spawn(home.get_executor(), one_after_a_hop(),
               asio::bind_executor(executor, [&](std::exception_ptr, int n) { got = n; }));
  theirs.poll();  // stops it, unless it is told that work is to come
  home.run();
  BOOST_TEST(got == 0);
  theirs.run();
  return got;
}

}  // namespace

BOOST_AUTO_TEST_CASE(keeps_the_context_of_its_handler_running_until_it_has_ended) {
  asio::io_context home;
  asio::io_context theirs;
  BOOST_TEST(completes_on(home, theirs, theirs.get_executor()) == 1);
  home.restart();
  theirs.restart();
  BOOST_TEST(completes_on(home, theirs, asio::any_io_executor{theirs.get_executor()}) == 1);
}

BOOST_AUTO_TEST_CASE(takes_itself_out_of_the_slot_as_it_ends) {
  asio::io_context context;
  asio::cancellation_signal signal;
  bool had_left = false;
  cleat::spawn(context.get_executor(), one_after_a_hop(),
               asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr, int) {
                 had_left = !signal.slot().has_handler();
               }));
  BOOST_TEST(signal.slot().has_handler());
  context.run();
  BOOST_TEST(had_left);
}

BOOST_AUTO_TEST_CASE(takes_itself_out_of_the_slot_as_its_context_goes) {
  asio::cancellation_signal waiting;
  asio::cancellation_signal never_begun;
  {
    asio::io_context context;
    cleat::spawn(context.get_executor(), waits(),
                 asio::bind_cancellation_slot(waiting.slot(), asio::detached));
    context.poll();
    cleat::spawn(context.get_executor(), waits(),
                 asio::bind_cancellation_slot(never_begun.slot(), asio::detached));
    BOOST_TEST(waiting.slot().has_handler());
    BOOST_TEST(never_begun.slot().has_handler());
  }
  BOOST_TEST(!waiting.slot().has_handler());
  BOOST_TEST(!never_begun.slot().has_handler());
}

BOOST_AUTO_TEST_CASE(leaves_alone_what_took_its_place_in_the_slot) {
  asio::io_context context;
  asio::cancellation_signal signal;
  bool told = false;
  cleat::spawn(context.get_executor(), one_after_a_hop(),
               asio::bind_cancellation_slot(signal.slot(), [](std::exception_ptr, int) {}));
  signal.slot().assign([&](asio::cancellation_type) { told = true; });
  context.run();
  signal.emit(asio::cancellation_type::terminal);
  BOOST_TEST(told);
}

BOOST_AUTO_TEST_CASE(a_handler_that_is_told_of_an_exception_is_given_a_failure_too) {
  asio::io_context context;
  auto throws = []() -> task<result<int>> {
    throw std::runtime_error("broken");
    co_return 1;
  };
  std::optional<result<int>> got;
  bool thrown = false;
  cleat::spawn(context.get_executor(), throws(), [&](std::exception_ptr error, result<int> r) {
    thrown = error != nullptr;
    got = r;
  });
  context.run();
  BOOST_TEST(thrown);
  BOOST_REQUIRE(got.has_value());
  BOOST_TEST((got->has_error() && got->error().why() == kind::cancelled));
}

BOOST_AUTO_TEST_CASE(what_escapes_a_chain_without_a_token_leaves_through_run) {
  asio::io_context context;
  auto throws = []() -> task<> {
    throw std::runtime_error("broken");
    co_return;
  };
  cleat::spawn(context.get_executor(), throws());
  cleat::spawn(context.get_executor(), at_once());
  BOOST_CHECK_THROW(context.run(), std::runtime_error);
  context.restart();
  BOOST_CHECK_NO_THROW(context.run());
}

#define BOOST_TEST_MODULE run
#include <cleat/base/clock.hpp>
#include <cleat/base/spawn.hpp>
#include <cleat/runtime/run.hpp>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/test/unit_test.hpp>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <thread>

namespace asio = boost::asio;
using cleat::task;
using namespace std::chrono_literals;

namespace {

constexpr cleat::duration spins[] = {-1us, 0us, 1us, 100us};

}  // namespace

BOOST_AUTO_TEST_CASE(comes_to_its_end_when_the_work_is_done) {
  for (auto const spin : spins) {
    asio::io_context context{1};
    int done = 0;
    for (int i = 0; i < 100; ++i) asio::post(context, [&] { ++done; });
    cleat::run(context, spin);
    BOOST_TEST(done == 100);
    BOOST_TEST(context.stopped());
  }
}

BOOST_AUTO_TEST_CASE(returns_at_once_where_there_is_nothing_to_do) {
  for (auto const spin : spins) {
    asio::io_context context{1};
    cleat::run(context, spin);
    BOOST_TEST(context.stopped());
    bool done = false;
    asio::post(context, [&] { done = true; });
    cleat::run(context, spin);  // as io_context::run: not before restart()
    BOOST_TEST(!done);
    context.restart();
    cleat::run(context, spin);
    BOOST_TEST(done);
  }
}

BOOST_AUTO_TEST_CASE(work_that_makes_work_is_run_to_the_last) {
  for (auto const spin : spins) {
    asio::io_context context{1};
    int left = 1000;
    auto const step = [&](auto const& again) -> void {
      if (--left > 0) asio::post(context, [&] { again(again); });
    };
    asio::post(context, [&] { step(step); });
    cleat::run(context, spin);
    BOOST_TEST(left == 0);
  }
}

BOOST_AUTO_TEST_CASE(waits_for_a_chain_that_sleeps_longer_than_it_looks) {
  for (auto const spin : spins) {
    asio::io_context context{1};
    int slept = 0;
    auto body = [&]() -> task<> {
      auto& time = cleat::clock::of(co_await cleat::this_chain::executor);
      for (int i = 0; i < 20; ++i) {  // often enough that it stops looking
        auto const due = time.now() + 200us;
        static_cast<void>(co_await cleat::sleep_until(due));
        ++slept;
      }
    };
    cleat::spawn(context.get_executor(), body());
    cleat::run(context, spin);
    BOOST_TEST(slept == 20);
  }
}

BOOST_AUTO_TEST_CASE(runs_what_another_thread_posts_whether_it_looks_or_sleeps) {
  for (auto const spin : spins) {
    asio::io_context context{1};
    auto guard = std::make_unique<asio::executor_work_guard<asio::io_context::executor_type>>(
        context.get_executor());
    int done = 0;
    std::jthread const other{[&] {
      for (int i = 0; i < 1000; ++i) asio::post(context, [&] { ++done; });
      asio::post(context, [&] { guard.reset(); });
    }};
    cleat::run(context, spin);
    BOOST_TEST(done == 1000);
  }
}

BOOST_AUTO_TEST_CASE(stop_ends_it_from_inside_and_leaves_the_rest) {
  for (auto const spin : spins) {
    asio::io_context context{1};
    auto const guard = asio::make_work_guard(context);
    bool later = false;
    asio::post(context, [&] { context.stop(); });
    asio::post(context, [&] { later = true; });
    cleat::run(context, spin);
    BOOST_TEST(!later);
    context.restart();
    asio::post(context, [&] { context.stop(); });
    cleat::run(context, spin);
    BOOST_TEST(later);
  }
}

BOOST_AUTO_TEST_CASE(stop_ends_it_from_another_thread_whether_it_looks_or_sleeps) {
  for (auto const spin : {cleat::duration{0us}, cleat::duration{1us}, cleat::duration{24h}}) {
    asio::io_context context{1};
    auto const guard = asio::make_work_guard(context);
    std::jthread const other{[&] { context.stop(); }};
    cleat::run(context, spin);
    BOOST_TEST(context.stopped());
  }
}

BOOST_AUTO_TEST_CASE(what_a_handler_throws_leaves_it_and_it_can_be_called_again) {
  for (auto const spin : spins) {
    asio::io_context context{1};
    int done = 0;
    asio::post(context, [&] { ++done; });
    asio::post(context, [] { throw std::runtime_error("broken"); });
    asio::post(context, [&] { ++done; });
    BOOST_CHECK_THROW(cleat::run(context, spin), std::runtime_error);
    cleat::run(context, spin);
    BOOST_TEST(done == 2);
  }
}

#define BOOST_TEST_MODULE block_on
#include <cleat/base/clock.hpp>
#include <cleat/base/result.hpp>
#include <cleat/base/spawn.hpp>
#include <cleat/runtime/block_on.hpp>
#include <cleat/runtime/persistent.hpp>
#include <cleat/runtime/server.hpp>
#include <cleat/transport/tcp.hpp>
#include <toggle/protocol.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/test/unit_test.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

namespace asio = boost::asio;
using cleat::block_on;
using cleat::failure;
using cleat::kind;
using cleat::result;
using cleat::task;
using cleat::use_task;
using namespace std::chrono_literals;

namespace {

task<> hop() { co_await asio::post(co_await cleat::this_chain::executor, use_task); }

}  // namespace

BOOST_AUTO_TEST_CASE(gives_the_value_of_a_task) {
  auto body = []() -> task<std::string> {
    co_await hop();
    co_return std::string(100, 'x');
  };
  BOOST_TEST(block_on(body()) == std::string(100, 'x'));
}

BOOST_AUTO_TEST_CASE(gives_what_can_only_be_moved) {
  auto body = []() -> task<std::unique_ptr<int>> {
    co_await hop();
    co_return std::make_unique<int>(7);
  };
  auto const got = block_on(body());
  BOOST_TEST(*got == 7);
}

BOOST_AUTO_TEST_CASE(gives_a_result_whatever_it_holds) {
  auto body = [](bool good) -> task<result<int>> {
    co_await hop();
    if (!good) co_return failure{kind::refused};
    co_return 1;
  };
  BOOST_TEST(block_on(body(true)).value() == 1);
  auto const bad = block_on(body(false));
  BOOST_TEST((!bad && bad.error().why() == kind::refused));
}

BOOST_AUTO_TEST_CASE(runs_a_task_without_a_value_to_its_end) {
  bool done = false;
  auto body = [&]() -> task<> {
    co_await hop();
    done = true;
  };
  block_on(body());
  BOOST_TEST(done);
}

BOOST_AUTO_TEST_CASE(throws_what_escapes_the_task_whatever_its_value) {
  auto nothing = []() -> task<> {
    co_await hop();
    throw std::runtime_error("broken");
  };
  auto value = []() -> task<result<int>> {
    co_await hop();
    throw std::runtime_error("broken");
    co_return 1;
  };
  auto const says_broken = [](std::runtime_error const& e) {
    return e.what() == std::string{"broken"};
  };
  BOOST_CHECK_EXCEPTION(block_on(nothing()), std::runtime_error, says_broken);
  BOOST_CHECK_EXCEPTION(static_cast<void>(block_on(value())), std::runtime_error, says_broken);
}

BOOST_AUTO_TEST_CASE(waits_for_all_that_the_task_waits_for) {
  auto body = []() -> task<bool> {
    auto& time = cleat::clock::of(co_await cleat::this_chain::executor);
    auto const due = time.now() + 2ms;
    static_cast<void>(co_await cleat::sleep_until(due));
    co_return time.now() >= due;
  };
  BOOST_TEST(block_on(body()));
}

BOOST_AUTO_TEST_CASE(ends_with_its_task_and_destroys_what_still_runs_beside_it) {
  auto alive = std::make_shared<int>(0);
  std::weak_ptr<int> const watch = alive;
  auto forever = [](std::shared_ptr<int> kept) -> task<> {
    static_cast<void>(co_await cleat::sleep_until(cleat::never));
    ++*kept;
  };
  auto body = [&]() -> task<int> {
    cleat::spawn(co_await cleat::this_chain::executor, forever(std::move(alive)));
    co_await hop();
    co_return 1;
  };
  BOOST_TEST(block_on(body()) == 1);
  BOOST_TEST(watch.expired());
}

BOOST_AUTO_TEST_CASE(a_persistent_that_lives_outside_dials_anew_in_each) {
  using protocol = toggle::protocol;
  asio::io_context elsewhere;  // where the peer is: a thread of its own
  auto listener =
      cleat::network::of(elsewhere.get_executor()).listen(elsewhere.get_executor(), "127.0.0.1", 0);
  BOOST_REQUIRE(listener.has_value());
  std::size_t connections = 0;
  auto visit = [&connections](cleat::any_stream s) -> task<> {
    ++connections;
    cleat::session<protocol, cleat::any_stream> with{std::move(s), protocol{}};
    with.serve = [](toggle::message m) -> task<result<toggle::message>> {
      co_return toggle::message::ack(m, true);
    };
    static_cast<void>(co_await with.run());
  };
  cleat::server peer{std::move(*listener), visit};
  cleat::spawn(elsewhere.get_executor(), peer.run(), [](std::exception_ptr, failure const&) {});
  std::thread beside{[&] { elsewhere.run(); }};
  {
    auto line = cleat::persistent<protocol>(cleat::tcp{"127.0.0.1", peer.port()});
    auto once = [&line]() -> task<bool> {
      cleat::call c{co_await cleat::this_chain::executor};
      c.tighten(c.now() + 20s);
      auto const r = co_await line(toggle::request::turn("lamp", true), c);
      co_return r.has_value();
    };
    for (int i = 0; i < 3; ++i) BOOST_TEST(block_on(once()));
  }
  asio::post(elsewhere, [&] { peer.stop(); });
  beside.join();
  BOOST_TEST(connections == 3U);
}

BOOST_AUTO_TEST_CASE(may_be_used_inside_a_task_that_it_runs) {
  auto inner = []() -> task<int> {
    co_await hop();
    co_return 2;
  };
  auto outer = [&]() -> task<int> {
    co_await hop();
    int const n = block_on(inner());
    co_await hop();
    co_return n + 1;
  };
  BOOST_TEST(block_on(outer()) == 3);
}

#define BOOST_TEST_MODULE relay
#include <cleat/base/relay.hpp>
#include <cleat/base/scope.hpp>
#include <cleat/base/spawn.hpp>
#include <cleat/sim/world.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/test/unit_test.hpp>

#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using cleat::held;
using cleat::relay;
using cleat::result;
using cleat::task;
using cleat::sim::world;
using namespace std::chrono_literals;

namespace {

/// Waits `times` times for what `make(n)` gives, and sums the values up.
template <class Make>
class summing final : public relay<summing<Make>> {
  using awaited = decltype(std::declval<Make&>()(0));

 public:
  summing(Make make, int times) : make_(std::move(make)), times_(times) {}

  bool step() {
    if (below_) sum_ += below_->resume();
    while (times_-- > 0) {
      below_.reset();
      below_.emplace([this] { return make_(times_); });
      if (this->wait_for(*below_)) return false;
      sum_ += below_->resume();
    }
    return true;
  }
  std::string await_resume() {
    this->rethrow();
    return sum_;
  }

 private:
  Make make_;
  int times_;
  std::optional<held<awaited>> below_;
  std::string sum_;
};

task<std::string> at_once(int n) { co_return std::to_string(n); }

task<std::string> later(int n) {
  cleat::environment& env = co_await cleat::this_chain::environment;
  static_cast<void>(co_await cleat::sleep_until(env.services().clock.now() + 1s));
  co_return std::to_string(n);
}

task<std::string> either(int n) { return n % 2 == 0 ? at_once(n) : later(n); }

task<std::string> angry(int n) {
  static_cast<void>(co_await later(n));
  throw std::runtime_error{"no"};
}

task<std::string> hop(int n) {
  auto const executor = co_await cleat::this_chain::executor;
  co_await boost::asio::post(executor, cleat::use_task);
  co_return std::to_string(n);
}

std::vector<std::string> lines_of(std::string const& text) {
  std::vector<std::string> all;
  std::istringstream in{text};
  for (std::string line; std::getline(in, line);) all.push_back(line);
  return all;
}

template <class Make>
task<std::string> sum(Make make, int times) {
  auto s = co_await summing<Make>{make, times};
  co_return s;
}

/// A relay on a relay.
template <class Make>
task<std::string> sum_of_sums(Make make) {
  auto inner = [make](int n) { return summing<Make>{make, n + 1}; };
  auto s = co_await summing<decltype(inner)>{inner, 3};
  co_return s;
}

}  // namespace

BOOST_AUTO_TEST_CASE(waits_for_one_thing_after_another_whether_they_wait_or_not) {
  world w{1};
  BOOST_TEST(w.run(sum(at_once, 4)) == "3210");
  BOOST_TEST(w.run(sum(later, 4)) == "3210");
  BOOST_TEST(w.run(sum(either, 4)) == "3210");
  BOOST_TEST(w.run(sum(at_once, 0)).empty());
}

BOOST_AUTO_TEST_CASE(a_million_that_never_wait_need_no_stack) {
  world w{1};
  auto nothing = [](int) -> task<std::string> { co_return ""; };
  BOOST_TEST(w.run(sum(nothing, 1'000'000)).empty());
}

BOOST_AUTO_TEST_CASE(relays_stand_on_relays) {
  world w{1};
  for (auto* make : {at_once, later, either}) BOOST_TEST(w.run(sum_of_sums(make)) == "210100");
}

BOOST_AUTO_TEST_CASE(what_is_thrown_below_reaches_who_awaits) {
  world w{1};
  auto const says = [](std::string what) {
    return [what](std::runtime_error const& e) { return e.what() == what; };
  };
  BOOST_CHECK_EXCEPTION(w.run(sum(angry, 2)), std::runtime_error, says("no"));
  auto throwing = [](int) -> task<std::string> { throw std::runtime_error{"before it began"}; };
  BOOST_CHECK_EXCEPTION(w.run(sum(throwing, 2)), std::runtime_error, says("before it began"));
  BOOST_CHECK_EXCEPTION(w.run(sum_of_sums(angry)), std::runtime_error, says("no"));
}

BOOST_AUTO_TEST_CASE(a_cancelled_chain_leaves_it) {
  world w{1};
  std::string got;
  auto const slow = [](std::string& to) -> task<> { to = co_await sum(later, 2); };
  auto const watch = [&]() -> task<> {
    cleat::environment& env = co_await cleat::this_chain::environment;
    cleat::scope beside{env};
    beside.spawn(slow(got));
    beside.cancel();
    co_await beside.join();
  };
  w.run(watch());
  BOOST_TEST(got == "10");  // both waits ended at once
  BOOST_TEST((w.elapsed() == 0s));
  BOOST_TEST(w.leftovers().empty());
}

BOOST_AUTO_TEST_CASE(a_dump_shows_what_it_waits_for_and_who_waits_for_it) {
  boost::asio::io_context context;
  std::ostringstream waiting;
  std::ostringstream after;
  auto body = [&]() -> task<> {
    static_cast<void>(co_await sum(hop, 1));
    static_cast<void>(co_await summing<decltype(&hop)>{hop, 1});
    cleat::dump_chains(context, after);
  };
  cleat::spawn(context.get_executor(), body());
  context.run_one();
  cleat::dump_chains(context, waiting);
  context.run();
  BOOST_TEST_CONTEXT(waiting.str()) {
    auto const lines = lines_of(waiting.str());
    BOOST_REQUIRE(lines.size() == 5U);  // #2 is the relay, which has no name
    BOOST_TEST(lines[1].find("#0 ") != std::string::npos);
    BOOST_TEST(lines[1].find("hop") != std::string::npos);
    BOOST_TEST(lines[3].find("sum(") != std::string::npos);
    BOOST_TEST(lines[4].find("operator()") != std::string::npos);
  }
  BOOST_TEST_CONTEXT(after.str()) {
    auto const lines = lines_of(after.str());
    BOOST_REQUIRE(lines.size() == 2U);
    BOOST_TEST(lines[1].find("operator()") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(goes_with_its_chain_while_it_waits) {
  auto const witness = std::make_shared<int>(0);
  {
    world w{1};
    auto holding = [witness](int n) { return later(n); };
    w.spawn([](auto make) -> task<> { static_cast<void>(co_await sum(make, 2)); }(holding));
    BOOST_TEST(witness.use_count() > 2);
  }
  BOOST_TEST(witness.use_count() == 1);
}

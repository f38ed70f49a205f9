#define BOOST_TEST_MODULE observe
#include <cleat/base/scope.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/sim/world.hpp>

#include <boost/test/unit_test.hpp>

#include <string>
#include <utility>
#include <vector>

using cleat::call;
using cleat::failure;
using cleat::kind;
using cleat::result;
using cleat::task;
using cleat::sim::world;
using namespace std::chrono_literals;

namespace {

using strings = std::vector<std::string>;
constexpr auto each = boost::test_tools::per_element();

/// Notes calls as they begin and end, with how long they took.
class watcher {
 public:
  using listens_to = cleat::event_list<cleat::call_started, cleat::call_ended>;
  void on(cleat::call_started const& e) noexcept {
    all.push_back(std::string{e.of.peer} + " begins");
  }
  void on(cleat::call_ended const& e) noexcept {
    all.push_back(
        std::string{e.of.peer} + ": " +
        (e.error == nullptr ? std::string{"success"} : std::string{to_string(e.error->why())}) +
        " after " + std::to_string(e.elapsed / 1s) + " s");
  }
  strings all;
};

/// Takes three seconds; fails if it is asked to.
auto slow(watcher& w) {
  return [&w](std::string q, call c) -> task<result<std::string>> {
    w.all.emplace_back("asked");
    auto const slept = co_await cleat::sleep_until(c.now() + 3s);
    if (!slept) co_return slept.error();
    if (q == "fail") co_return failure{kind::refused};
    co_return q;
  };
}

call to_lamp(world& w) {
  call c = w.new_call();
  c.peer = "lamp";
  return c;
}

template <class Service>
task<> ask(Service& service, std::string q, call c, int& ended) {
  static_cast<void>(co_await service(std::move(q), c));
  ++ended;
}

}  // namespace

BOOST_AUTO_TEST_CASE(tells_how_each_call_ended_and_how_long_it_took) {
  world time{1};
  watcher w;
  auto service = cleat::observe(w) | slow(w);
  BOOST_TEST(time.run(cleat::ask(service, std::string{"it"}, to_lamp(time))).has_value());
  BOOST_TEST(!time.run(cleat::ask(service, std::string{"fail"}, to_lamp(time))).has_value());
  BOOST_TEST(w.all == (strings{"lamp begins", "asked", "lamp: success after 3 s", "lamp begins",
                               "asked", "lamp: refused after 3 s"}),
             each);
}

BOOST_AUTO_TEST_CASE(tells_of_a_call_that_was_cancelled) {
  world time{1};
  watcher w;
  auto service = cleat::observe(w) | slow(w);
  int ended = 0;
  auto body = [&]() -> task<> {
    cleat::environment& env = co_await cleat::this_chain::environment;
    cleat::scope beside{env};
    beside.spawn(ask(service, "it", to_lamp(time), ended));
    static_cast<void>(co_await cleat::sleep_until(time.now() + 1s));
    beside.cancel();
    co_await beside.join();
  };
  time.run(body());
  BOOST_TEST(w.all == (strings{"lamp begins", "asked", "lamp: cancelled after 1 s"}), each);
}

BOOST_AUTO_TEST_CASE(a_call_that_ends_with_its_pipeline_is_told_as_shut_down) {
  world time{1};
  watcher w;
  auto service = cleat::observe(w) | slow(w);
  int ended = 0;
  time.spawn(ask(service, "it", to_lamp(time), ended));
  time.run_for(1s);
  service.close();
  time.run_for(1ns);
  BOOST_TEST(ended == 1);
  BOOST_TEST(w.all == (strings{"lamp begins", "asked", "lamp: shut_down after 1 s"}), each);
}

BOOST_AUTO_TEST_CASE(says_what_it_is_and_who_hears_only_of_beginnings_does_that) {
  class beginnings {
   public:
    using listens_to = cleat::event_list<cleat::call_started>;
    void on(cleat::call_started const&) noexcept { ++begun; }
    int begun = 0;
  };
  world time{1};
  beginnings b;
  watcher w;
  auto service = cleat::observe(b) | slow(w);
  BOOST_TEST(cleat::to_text(service.describe()) == "observe\na function\n");
  BOOST_TEST(time.run(cleat::ask(service, std::string{"it"}, to_lamp(time))).has_value());
  BOOST_TEST(b.begun == 1);
}

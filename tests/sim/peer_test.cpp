#define BOOST_TEST_MODULE sim_peer
// A simulated peer does what its script says, as its client sees it.
#include <cleat/base/scope.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/runtime/per_call.hpp>
#include <cleat/sim/peer.hpp>
#include <cleat/transport/tcp.hpp>
#include <toggle/protocol.hpp>

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <deque>
#include <optional>
#include <stdexcept>
#include <string>

using namespace std::chrono_literals;
using cleat::kind;
using cleat::result;
using cleat::task;
using cleat::sim::deed;
using cleat::sim::world;
using toggle::message;

namespace {

class lamp final : public cleat::sim::peer_role<message> {
 public:
  std::optional<message> carry_out(message const& request) override {
    ++executions;
    return message::ack(request, request.state.value_or(false));
  }
  void misnumber(message& m, cleat::sim::random&) override { m.msg_id = "0000000000000000"; }
  int executions = 0;
};

class fixture {
 public:
  explicit fixture(std::deque<deed> deeds) : peer(w, "lamp", 9000, toggle::protocol{}, role) {
    peer.script(std::move(deeds));
  }
  /// One call, with a connection of its own.
  result<toggle::response> ask() {
    auto call_beside_peer = [](fixture& f) -> task<result<toggle::response>> {
      cleat::environment& env = co_await cleat::this_chain::environment;
      cleat::scope beside{env};
      beside.spawn(f.peer.run());
      auto service =
          cleat::deadline(1min) | cleat::per_call<toggle::protocol>(cleat::tcp{"lamp", 9000});
      auto r = co_await service(toggle::request::turn("x", true), f.w.new_call());
      beside.cancel();
      co_await beside.join();
      co_return r;
    };
    return w.run(call_beside_peer(*this));
  }

  world w{1};
  lamp role;
  cleat::sim::peer<toggle::protocol> peer;
};

}  // namespace

BOOST_AUTO_TEST_CASE(answers_well_when_nothing_is_said) {
  fixture f{{}};
  BOOST_TEST(f.ask().has_value());
  BOOST_TEST(f.role.executions == 1);
  BOOST_TEST(f.w.leftovers().empty());
}

BOOST_AUTO_TEST_CASE(stays_silent_and_does_not_act) {
  fixture f{{deed::silent, deed::receipt_only}};
  BOOST_TEST((f.ask().error().why() == kind::timed_out));
  BOOST_TEST((f.ask().error().why() == kind::timed_out));
  BOOST_TEST(f.role.executions == 0);
  BOOST_TEST(f.ask().has_value());
  BOOST_TEST(f.w.tallies().at("peer: silent") == 1U);
  BOOST_TEST(f.w.tallies().at("peer: receipt only") == 1U);
}

BOOST_AUTO_TEST_CASE(acts_and_answers_late_within_its_bound) {
  fixture f{{deed::late}};
  f.peer.manners.late_max = 10s;
  auto const began = f.w.now();
  BOOST_TEST(f.ask().has_value());
  BOOST_TEST((f.w.now() - began > 50ms));
  BOOST_TEST((f.w.now() - began < 11s));
}

BOOST_AUTO_TEST_CASE(acts_and_spoils_its_answer) {
  fixture f{{deed::misnumbered, deed::garbage, deed::twice}};
  BOOST_TEST((f.ask().error().why() == kind::timed_out));
  BOOST_TEST((f.ask().error().why() == kind::malformed));
  BOOST_TEST(f.ask().has_value());
  BOOST_TEST(f.role.executions == 3);
}

BOOST_AUTO_TEST_CASE(what_its_role_throws_leaves_through_run) {
  class broken final : public cleat::sim::peer_role<message> {
   public:
    std::optional<message> carry_out(message const&) override {
      throw std::runtime_error{"a requirement of the test"};
    }
  };
  world w{1};
  broken role;
  cleat::sim::peer<toggle::protocol> peer{w, "lamp", 9000, toggle::protocol{}, role};
  w.spawn(peer.run());
  auto const ask = [](world& in) -> task<result<toggle::response>> {
    auto service =
        cleat::deadline(1s) | cleat::per_call<toggle::protocol>(cleat::tcp{"lamp", 9000});
    auto r = co_await service(toggle::request::turn("x", true), in.new_call());
    in.network().crash("lamp");
    co_return r;
  };
  BOOST_CHECK_EXCEPTION(static_cast<void>(w.run(ask(w))), std::runtime_error, [](auto const& e) {
    return std::string{e.what()} == "a requirement of the test";
  });
}

BOOST_AUTO_TEST_CASE(two_peers_on_one_port_are_a_mistake_that_is_told) {
  fixture f{{}};
  lamp other_role;
  cleat::sim::peer<toggle::protocol> other{f.w, "lamp", 9000, toggle::protocol{}, other_role};
  f.w.spawn(f.peer.run());
  BOOST_CHECK_EXCEPTION(f.w.run(other.run()), std::logic_error, [](auto const& e) {
    return std::string{e.what()}.find("already in use") != std::string::npos;
  });
}

BOOST_AUTO_TEST_CASE(ends_when_its_host_crashes_and_serves_again_when_it_is_up) {
  fixture f{{}};
  f.w.run([](fixture& in) -> task<> {
    cleat::environment& env = co_await cleat::this_chain::environment;
    cleat::scope beside{env};
    beside.spawn(in.peer.run());
    in.w.network().crash("lamp");
    co_await beside.join();  // ends by itself
    co_await in.peer.run();  // at once: the host is down
  }(f));
  f.w.network().boot("lamp");
  BOOST_TEST(f.ask().has_value());
}

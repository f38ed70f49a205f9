#define BOOST_TEST_MODULE service_kit
// The kit for services, on services that keep their promises and on such as do not.
#include <cleat/conformance/service.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/runtime/per_call.hpp>
#include <cleat/runtime/server.hpp>
#include <cleat/service/any_service.hpp>
#include <cleat/transport/tcp.hpp>
#include <toggle/protocol.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using cleat::any_stream;
using cleat::call;
using cleat::certainty;
using cleat::check_service;
using cleat::failure;
using cleat::kind;
using cleat::result;
using cleat::service_check;
using cleat::task;
using cleat::sim::world;
using toggle::message;
using toggle::protocol;
using namespace std::chrono_literals;

namespace {

void report(std::vector<std::string> const& broken) {
  for (std::string const& b : broken) BOOST_ERROR(b);
  BOOST_TEST(broken.empty());
}

// ---- services that must pass

/// A device on the simulated network, which counts what it does.
task<> lamp(world& w, std::size_t& acted) {
  auto listener = cleat::network::of(w.executor()).listen(w.executor(), "lamp", 9000);
  auto serve = [&acted](any_stream s) -> task<> {
    cleat::session<protocol, any_stream> speaks{std::move(s), protocol{}};
    speaks.serve = [&acted](message m) -> task<result<message>> {
      ++acted;
      co_return message::ack(m, true);
    };
    static_cast<void>(co_await speaks.run());
  };
  cleat::server serving{std::move(*listener), serve};
  static_cast<void>(co_await serving.run());
}

/// Checks what this makes on top of a connection a call to the lamp.
template <class Over>
std::vector<std::string> check_over_lamp(Over over) {
  std::size_t acted = 0;
  service_check how;
  how.silence = [](world& w) { w.network().cut("lamp"); };
  how.acted = [&] { return acted; };
  auto make = [&](world& w) {
    acted = 0;
    w.spawn(lamp(w, acted));
    return over(cleat::per_call<protocol>(cleat::tcp{"lamp", 9000}));
  };
  return check_service(make, toggle::request::turn("lamp", true), how);
}

auto const echo = [](std::string q, call) -> task<result<std::string>> { co_return q; };

}  // namespace

BOOST_AUTO_TEST_CASE(a_connection_a_call_conforms) {
  report(check_over_lamp([](auto service) { return service; }));
}

BOOST_AUTO_TEST_CASE(a_pipeline_in_a_box_conforms) {
  report(check_over_lamp([](auto service) {
    return cleat::any_service<toggle::request, toggle::response>{
        cleat::deadline(5s) | cleat::retry(3).per_attempt(1500ms) | std::move(service)};
  }));
}

BOOST_AUTO_TEST_CASE(a_lambda_that_waits_for_nothing_conforms) {
  auto careful = [](std::string q, call c) -> task<result<std::string>> {
    if (c.now() >= c.deadline()) co_return failure{kind::timed_out, certainty::not_sent};
    co_return q;
  };
  report(check_service([&](world&) { return careful; }, "a request"));
}

BOOST_AUTO_TEST_CASE(a_service_that_waits_for_nothing_still_looks_at_the_deadline) {
  auto const broken = check_service([](world&) { return echo; }, "a request");
  BOOST_REQUIRE(broken.size() == 1U);
  BOOST_TEST(broken[0] ==
             "a call that its deadline ends has timed out (a call whose deadline has passed: it "
             "succeeded)");
}

namespace {

// ---- services that must not

enum class flaw {
  none,
  fails_always,
  fails_the_second_time,
  ignores_the_deadline,
  ends_late_as_reset,
  ignores_a_passed_deadline,
  acts_after_the_deadline,
  ignores_cancellation,
  ends_as_reset_when_cancelled,
  denies,
  throws,
  throws_when_late,
  throws_in_a_chain,
  leaves_a_chain,
  leaves_a_chain_when_cancelled,
  keeps_references,
  takes_one_at_a_time,
  cancels_its_neighbours,
  turns_on_the_spot,
};

/// What happens below the service under test: 1 s to send, 1 s to answer.
class below {
 public:
  bool silent = false;
  std::size_t acted = 0;
  std::size_t asked = 0;
  std::size_t under_way = 0;
  bool cancelled = false;
};

/// Wrong in one way.
class flawed {
 public:
  using request = std::string;
  using response = std::string;

  flawed(flaw which, below& b) : which_(which), below_(b) {}

  /// Not a coroutine: only one flaw keeps what it was called with. A template, so that no look at the
  /// signature finds it, and only running it does.
  template <std::same_as<std::string> Request>
  task<result<std::string>> operator()(Request&& q, call const& c) {
    if (which_ == flaw::keeps_references) return careless(which_, below_, c);
    return run(which_, below_, std::move(q), c);
  }

 private:
  static task<result<std::string>> careless(flaw which, below& b, call const& c) {
    auto r = co_await run(which, b, "", c);
    co_return r;
  }
  static task<> linger(call c) { static_cast<void>(co_await cleat::sleep_until(c.now() + 1h)); }
  static task<> fail() {
    throw std::runtime_error{"to nobody"};
    co_return;
  }

  static task<result<void>> wait(flaw which, below& b, call c) {
    bool const keeps = which != flaw::ignores_the_deadline;
    auto const until = [&] { return b.silent ? c.now() + 24h : c.now() + 1s; };
    auto slept = co_await cleat::sleep_until(keeps ? std::min(c.deadline(), until()) : until());
    if (slept && b.silent && keeps) slept = co_await cleat::sleep_until(c.deadline());
    if (slept && keeps && c.now() >= c.deadline()) {
      if (which == flaw::throws_when_late) throw std::runtime_error{"too late"};
      co_return failure{which == flaw::ends_late_as_reset ? kind::reset : kind::timed_out};
    }
    if (!slept && which == flaw::ends_as_reset_when_cancelled) co_return failure{kind::reset};
    co_return slept;
  }

  static task<result<std::string>> run(flaw which, below& b, std::string q, call c) {
    cleat::environment& env = co_await cleat::this_chain::environment;
    auto const executor = env.executor();
    if (which == flaw::throws) throw std::runtime_error{"no"};
    if (which == flaw::fails_always) co_return failure{kind::refused, certainty::not_sent};
    if (which == flaw::fails_the_second_time && b.asked++ != 0) co_return failure{kind::refused};
    if (which == flaw::throws_in_a_chain) cleat::spawn(executor, fail());
    if (which == flaw::leaves_a_chain) cleat::spawn(executor, linger(c));
    while (which == flaw::turns_on_the_spot)
      static_cast<void>(co_await asio::post(executor, cleat::use_task));
    if (c.now() >= c.deadline() && which != flaw::ignores_the_deadline) {
      if (which == flaw::ignores_a_passed_deadline) co_return q;
      if (which == flaw::acts_after_the_deadline) ++b.acted;
      co_return failure{kind::timed_out, certainty::not_sent};
    }
    if (which == flaw::takes_one_at_a_time && b.under_way != 0) co_return failure{kind::invalid};
    ++b.under_way;
    result<std::string> r = q;
    if (which == flaw::ignores_cancellation) {
      auto const guard = co_await cleat::this_chain::shield;
      r = co_await exchange(which, b, q, c);
    } else {
      r = co_await exchange(which, b, q, c);
    }
    --b.under_way;
    bool const cancelled = !r && r.error().why() == kind::cancelled;
    if (which == flaw::cancels_its_neighbours) {
      b.cancelled = b.cancelled || cancelled;
      if (b.cancelled) co_return failure{kind::cancelled};
    }
    if (which == flaw::leaves_a_chain_when_cancelled && cancelled)
      cleat::spawn(executor, linger(c));
    co_return r;
  }

  static task<result<std::string>> exchange(flaw which, below& b, std::string q, call c) {
    auto const sent = co_await wait(which, b, c);
    if (!sent) co_return sent.error().with(certainty::not_sent);
    ++b.acted;
    auto const answered = co_await wait(which, b, c);
    bool const denies = which == flaw::denies;
    if (!answered)
      co_return answered.error().with(denies ? certainty::not_sent : certainty::maybe_executed);
    co_return q;
  }

  flaw which_;
  below& below_;
};

std::vector<std::string> check_flawed(flaw which) {
  below b;
  service_check how;
  how.silence = [&](world&) { b.silent = true; };
  how.acted = [&] { return b.acted; };
  auto make = [&](world&) {
    b = below{};
    return flawed{which, b};
  };
  return check_service(make, "a request", how);
}

/// What is said of it begins with this, among other things perhaps.
void rejects(flaw which, std::string_view promise) {
  auto const broken = check_flawed(which);
  bool const said = std::any_of(broken.begin(), broken.end(),
                                [&](auto const& b) { return b.starts_with(promise); });
  BOOST_TEST(said, "flaw " << static_cast<int>(which) << " was not rejected: " << promise);
  if (said) return;
  for (auto const& b : broken) BOOST_TEST_MESSAGE("  but: " << b);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_service_without_flaw_conforms) { report(check_flawed(flaw::none)); }

BOOST_AUTO_TEST_CASE(a_service_that_fails_is_rejected) {
  rejects(flaw::fails_always, "the sample request succeeds (when nothing is in its way");
  rejects(flaw::fails_the_second_time, "the sample request succeeds (for the second time");
}

BOOST_AUTO_TEST_CASE(a_service_that_ignores_the_deadline_is_rejected) {
  rejects(flaw::ignores_the_deadline, "a call ends by its deadline");
  rejects(flaw::ignores_a_passed_deadline, "a call that its deadline ends has timed out");
  rejects(flaw::ends_late_as_reset, "a call that its deadline ends has timed out");
  rejects(flaw::acts_after_the_deadline, "a call whose deadline has passed is not sent");
}

BOOST_AUTO_TEST_CASE(a_service_that_ignores_cancellation_is_rejected) {
  rejects(flaw::ignores_cancellation, "a cancelled call ends soon");
  rejects(flaw::ends_as_reset_when_cancelled, "a cancelled call fails as cancelled");
}

BOOST_AUTO_TEST_CASE(a_service_that_denies_what_was_done_is_rejected) {
  rejects(flaw::denies, "a failure that says that nothing was done is true");
}

BOOST_AUTO_TEST_CASE(a_service_that_throws_is_rejected) {
  rejects(flaw::throws, "a failure is a value and never an exception");
  rejects(flaw::throws_when_late, "a failure is a value and never an exception");
  rejects(flaw::throws_in_a_chain, "no exception leaves a chain of its own");
}

BOOST_AUTO_TEST_CASE(a_service_that_leaves_a_chain_behind_is_rejected) {
  rejects(flaw::leaves_a_chain, "nothing that a call started outlives it");
  rejects(flaw::leaves_a_chain_when_cancelled, "nothing that a call started outlives it");
}

BOOST_AUTO_TEST_CASE(a_service_that_keeps_references_is_rejected) {
  rejects(flaw::keeps_references, "request and call are taken by value");
}

BOOST_AUTO_TEST_CASE(a_service_whose_calls_disturb_each_other_is_rejected) {
  rejects(flaw::takes_one_at_a_time, "each of many at once succeeds");
  rejects(flaw::cancels_its_neighbours, "cancelling some calls leaves the others alone");
}

BOOST_AUTO_TEST_CASE(a_service_that_turns_on_the_spot_is_rejected) {
  rejects(flaw::turns_on_the_spot, "the sample request succeeds");
}

BOOST_AUTO_TEST_CASE(what_is_left_behind_is_shown_with_its_place) {
  bool shown = false;
  for (auto const& b : check_flawed(flaw::leaves_a_chain))
    shown = shown || b.find("linger") != std::string::npos;
  BOOST_TEST(shown);
}

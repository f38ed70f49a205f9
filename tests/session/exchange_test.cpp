#define BOOST_TEST_MODULE exchange
#include "../support/hand_stream.hpp"

#include <cleat/base/spawn.hpp>
#include <cleat/session/session.hpp>
#include <cleat/sim/world.hpp>
#include <toggle/protocol.hpp>

#include <boost/test/unit_test.hpp>

#include <string>
#include <utility>
#include <vector>

using cleat::certainty;
using cleat::failure;
using cleat::kind;
using cleat::scope;
using cleat::task;
using toggle::protocol;
using toggle::request;
using namespace std::chrono_literals;

namespace {

using session = cleat::session<protocol, hand_stream>;
using reply = cleat::result<toggle::response>;
using strings = std::vector<std::string>;
constexpr auto each = boost::test_tools::per_element();

std::string text_of(failure const* why) {
  return why == nullptr
             ? "success"
             : std::string{to_string(why->why())} + ", " + std::string{to_string(why->sure())};
}

/// Notes attempts as they begin and end, with how long they took.
class attempts final : public cleat::event_table {
 public:
  attempts() {
    set_self(this);
    set<cleat::attempt_started>([](void const* self, cleat::attempt_started const&) noexcept {
      static_cast<attempts const*>(self)->all.emplace_back("begins");
    });
    set<cleat::attempt_ended>([](void const* self, cleat::attempt_ended const& e) noexcept {
      static_cast<attempts const*>(self)->all.push_back(text_of(e.error) + " after " +
                                                        std::to_string(e.elapsed / 1ns));
    });
  }
  mutable strings all;
};

/// One session, and an opener as `persistent` is one.
class home final : public cleat::detail::session_opener<session> {
 public:
  session& open(cleat::environment&) override {
    ++opened;
    return s;
  }

  /// Runs the session beside a test body.
  void run(task<> body) {
    auto runs = [](home& h) -> task<> { static_cast<void>(co_await h.s.run()); };
    auto all = [](home& h, task<> other, task<> b) -> task<> {
      cleat::environment& env = co_await cleat::this_chain::environment;
      scope beside{env};
      beside.spawn(std::move(other));
      co_await std::move(b);
      h.s.close();
      co_await beside.join();
    };
    time.run(all(*this, runs(*this), std::move(body)));
  }
  [[nodiscard]] cleat::call new_call() {
    cleat::call c = time.new_call();
    c.tighten(c.now() + 5s);
    c.events = &told;
    return c;
  }
  /// One attempt, on the session that is open when it begins.
  task<> attempt(reply& into) {
    session::exchange asked{*this, request::turn("lamp", true), new_call()};
    into = co_await std::move(asked);
  }
  task<> ask(reply& into) { into = co_await s.call(request::turn("lamp", true), new_call()); }
  task<> pause(cleat::duration d = 1ns) {
    static_cast<void>(co_await cleat::sleep_until(time.now() + d));
  }
  void answer() {
    auto const asked = protocol{}.decode(wire.taken()).has_item()->message;
    cleat::byte_buffer bytes;
    BOOST_REQUIRE(protocol{}.encode(toggle::message::ack(asked, true), bytes).has_value());
    wire.say(cleat::as_text(bytes));
  }

  cleat::sim::world time{1};
  hand_stream::wire wire{time.executor()};
  session s{hand_stream{wire}, protocol{}};
  attempts told;
  int opened = 0;
};

reply none() { return failure{kind::invalid}; }

}  // namespace

BOOST_AUTO_TEST_CASE(an_attempt_is_told_when_it_begins_and_when_it_ends) {
  home h;
  auto body = [](home& at) -> task<> {
    cleat::environment& env = co_await cleat::this_chain::environment;
    scope beside{env};
    reply r = none();
    beside.spawn(at.attempt(r));
    co_await at.pause(2s);
    BOOST_TEST(at.told.all == strings{"begins"}, each);
    at.answer();
    co_await beside.join();
    BOOST_TEST(r.has_value());
    BOOST_TEST(at.opened == 1);
    BOOST_TEST(at.told.all == (strings{"begins", "success after 2000000000"}), each);

    beside.spawn(at.attempt(r));
    co_await beside.join();
    BOOST_TEST((!r && r.error().why() == kind::timed_out));
    BOOST_TEST(at.told.all.back() == "timed_out, maybe_executed after 5000000000");
  };
  h.run(body(h));
}

BOOST_AUTO_TEST_CASE(a_call_of_a_session_itself_is_no_attempt) {
  home h;
  auto body = [](home& at) -> task<> {
    reply r = none();
    co_await at.ask(r);
    BOOST_TEST((!r && r.error().why() == kind::timed_out));
    BOOST_TEST(at.told.all.empty());
  };
  h.run(body(h));
}

BOOST_AUTO_TEST_CASE(an_attempt_that_is_cancelled_before_it_begins_opens_nothing) {
  home h;
  auto body = [](home& at) -> task<> {
    cleat::environment& env = co_await cleat::this_chain::environment;
    scope beside{env};
    reply r = none();
    auto late = [](home& from, reply& into) -> task<> {
      co_await from.pause(1s);
      co_await from.attempt(into);
    };
    beside.spawn(late(at, r));
    beside.cancel();
    co_await beside.join();
    BOOST_TEST((!r && r.error().why() == kind::cancelled));
    BOOST_TEST((r.error().sure() == certainty::not_sent));
    BOOST_TEST(at.opened == 0);
    BOOST_TEST(at.told.all == (strings{"begins", "cancelled, not_sent after 0"}), each);
  };
  h.run(body(h));
}

BOOST_AUTO_TEST_CASE(a_call_that_is_cancelled_when_its_end_is_decided_keeps_it) {
  home h;
  auto body = [](home& at) -> task<> {
    cleat::environment& env = co_await cleat::this_chain::environment;
    scope beside{env};
    reply r = none();
    beside.spawn(at.ask(r));
    co_await at.pause();
    at.s.close();
    beside.cancel();  // before the caller goes on
    co_await beside.join();
    BOOST_TEST((!r && r.error().why() == kind::shut_down));
  };
  h.run(body(h));
}

BOOST_AUTO_TEST_CASE(
    a_caller_that_goes_with_its_context_leaves_its_number_taken_and_its_place_free) {
  cleat::session_options options;
  options.calls_max = 1;
  cleat::sim::world time{1};
  hand_stream::wire wire{time.executor()};
  session s{hand_stream{wire}, protocol{}, options};
  {
    cleat::sim::world others{2};
    auto asks = [](session& of, cleat::call c) -> task<> {
      static_cast<void>(co_await of.call(request::turn("lamp", true), c));
    };
    others.spawn(asks(s, time.new_call()));
    others.spawn(asks(s, time.new_call()));
    others.run_for(1ns);
    BOOST_TEST(s.pending() == 2U);
  }
  BOOST_TEST(s.pending() == 0U);
  BOOST_TEST(s.unanswered() == 1U);
}

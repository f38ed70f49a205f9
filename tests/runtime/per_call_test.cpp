#define BOOST_TEST_MODULE per_call
// Over real sockets, against the library's own server; time moves by hand.
#include "../support/full_listener.hpp"
#include "../support/hand_time.hpp"
#include "../support/scripted_names.hpp"

#include <cleat/base/spawn.hpp>
#include <cleat/observe/observe.hpp>
#include <cleat/runtime/per_call.hpp>
#include <cleat/runtime/server.hpp>
#include <cleat/transport/tcp.hpp>
#include <toggle/protocol.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/test/unit_test.hpp>

#include <optional>
#include <string>
#include <utility>

namespace asio = boost::asio;
using cleat::any_stream;
using cleat::bytes_view;
using cleat::certainty;
using cleat::failure;
using cleat::kind;
using cleat::result;
using cleat::server;
using cleat::task;
using cleat::tcp;
using cleat::test::full_listener;
using cleat::test::hand_time;
using cleat::test::scripted_names;
using toggle::message;
using toggle::protocol;
using toggle::request;
using namespace std::chrono_literals;

namespace {

using reply = result<toggle::response>;
using service = cleat::per_call_service<protocol, tcp>;

static_assert(cleat::Service<service>);

// ---- what a server may do with a connection --------------------------------------------------------

/// Serves with a session and this answer.
server::handler answering(std::function<task<result<message>>(message)> answer) {
  return [answer = std::move(answer)](any_stream s) -> task<> {
    cleat::session<protocol, any_stream> speaks{std::move(s), protocol{}};
    speaks.serve = answer;
    static_cast<void>(co_await speaks.run());
  };
}

task<result<message>> yes(message m) { co_return message::ack(m, m.state.value_or(false)); }
task<result<message>> no(message m) { co_return message::nack(m, "too hot"); }

/// Waits for the request, takes it, sends these bytes, and waits for the other side to close.
server::handler sending(std::string bytes, bool then_close = false) {
  return [bytes, then_close](any_stream s) -> task<> {
    std::array<std::byte, 4096> memory;
    static_cast<void>(co_await s.readable());
    static_cast<void>(s.read(memory));
    bytes_view const all = cleat::as_bytes(bytes);
    static_cast<void>(s.write(std::span{&all, 1}));
    if (then_close) co_return;
    for (;;) {
      auto const ready = co_await s.readable();
      if (!ready) co_return;
      auto const n = s.read(memory);
      if (!n) co_return;
    }
  };
}

server::handler silent() { return sending(""); }

// ---- who listens -------------------------------------------------------------------------------------

/// Writes down the events of an attempt, a word each.
class diary {
 public:
  using listens_to =
      cleat::event_list<cleat::attempt_started, cleat::attempt_ended, cleat::connect_ended,
                        cleat::frame_sent, cleat::frame_received, cleat::answer_missing,
                        cleat::decode_failed, cleat::session_ended>;

  void on(cleat::attempt_started const&) noexcept { note("attempt", nullptr); }
  void on(cleat::attempt_ended const& e) noexcept { note("end", e.error); }
  void on(cleat::connect_ended const& e) noexcept {
    note("connect", e.error);
    address = e.address;
  }
  void on(cleat::frame_sent const& e) noexcept {
    note("sent", e.error);
    of_the_call = of_the_call && e.of != nullptr;
    sent_id = e.id;
  }
  void on(cleat::frame_received const& e) noexcept {
    note("received", e.error);
    of_the_call = of_the_call && e.of != nullptr;
    received_id = e.id;
  }
  void on(cleat::answer_missing const& e) noexcept { note("missing", &e.why); }
  void on(cleat::decode_failed const& e) noexcept { note("unreadable", &e.why); }
  void on(cleat::session_ended const&) noexcept { note("session", nullptr); }

  std::string text;
  std::string address;
  std::string sent_id;
  std::string received_id;
  bool of_the_call = true;

 private:
  void note(std::string_view word, failure const* error) {
    if (!text.empty()) text += ' ';
    text += word;
    if (error != nullptr) {
      text += ':';
      text += cleat::to_string(error->why());
    }
  }
};

// ---- the call --------------------------------------------------------------------------------------

/// A call on its way.
class calling {
 public:
  calling(hand_time& time, service through, cleat::call const& c)
      : time_(time), service_(std::move(through)) {
    auto done = [this](std::exception_ptr, reply r) { outcome.emplace(std::move(r)); };
    cleat::spawn(time.context.get_executor(), service_(request::turn("lamp", true), c),
                 asio::bind_cancellation_slot(signal.slot(), done));
  }
  void cancel() { signal.emit(asio::cancellation_type::terminal); }
  reply const& wait() {
    time_.run_until([&] { return outcome.has_value(); });
    return *outcome;
  }
  void fails_as(kind why, certainty sure) {
    auto const& r = wait();
    BOOST_REQUIRE(!r.has_value());
    BOOST_TEST_CONTEXT(r.error().message()) {
      BOOST_TEST((r.error().why() == why));
      BOOST_TEST((r.error().sure() == sure));
    }
  }

  std::optional<reply> outcome;
  asio::cancellation_signal signal;

 private:
  hand_time& time_;
  service service_;
};

/// A server that does one thing, and calls to it.
class fixture {
 public:
  explicit fixture(server::handler serve = silent()) : it(listening(), std::move(serve)) {
    cleat::spawn(time.context.get_executor(), it.run(),
                 [this](std::exception_ptr, failure) { stopped = true; });
  }
  ~fixture() {
    it.stop();
    time.run_until([&] { return stopped; });
    BOOST_TEST(cleat::chain_count(time.context) == 0U);
    BOOST_TEST((time.clock().next_due() == cleat::never));
  }

  [[nodiscard]] service client() const {
    return cleat::per_call<protocol>(tcp{"127.0.0.1", it.port()});
  }
  /// A call that is listened to.
  cleat::call new_call(cleat::duration limit = 1h) {
    auto c = time.new_call();
    c.tighten(c.now() + limit);
    c.events = &events;
    return c;
  }
  /// The request has arrived at the server, and all that can be done was done.
  void run_until_served() {
    time.run_until(
        [&] { return it.connections() == 1 && book.text.find("sent") != book.text.npos; });
    time.poll();
  }
  /// The server has noticed that the connection is over.
  void run_until_closed() {
    time.run_until([&] { return it.connections() == 0; });
  }

  hand_time time;
  server it;
  diary book;
  cleat::tee<diary> events{book};
  bool stopped = false;

 private:
  cleat::any_listener listening() {
    auto const executor = time.context.get_executor();
    return std::move(cleat::network::of(executor).listen(executor, "127.0.0.1", 0)).value();
  }
};

std::uint16_t closed_port() {
  asio::io_context context;
  asio::ip::tcp::acceptor const a{context, {asio::ip::address_v4::loopback(), 0}};
  return a.local_endpoint().port();
}

}  // namespace

BOOST_AUTO_TEST_CASE(gives_a_call_its_answer_on_a_connection_of_its_own) {
  fixture f{answering(yes)};
  for (int i = 0; i < 3; ++i) {
    calling c{f.time, f.client(), f.new_call()};
    auto const& r = c.wait();
    BOOST_REQUIRE(r.has_value());
    BOOST_TEST((r->state == true));
    f.run_until_closed();
  }
}

BOOST_AUTO_TEST_CASE(serves_many_calls_beside_each_other) {
  fixture f{answering(yes)};
  auto through = f.client();
  int answered = 0;
  for (int i = 0; i < 20; ++i) {
    cleat::spawn(f.time.context.get_executor(), through(request::turn("lamp", true), f.new_call()),
                 [&](std::exception_ptr, reply const& r) { answered += r.has_value() ? 1 : 0; });
  }
  f.time.run_until([&] { return answered == 20; });
  f.run_until_closed();
}

BOOST_AUTO_TEST_CASE(tells_its_observer_what_happens_in_the_order_in_which_it_happens) {
  fixture f{answering(yes)};
  calling c{f.time, f.client(), f.new_call()};
  BOOST_TEST(c.wait().has_value());
  BOOST_TEST(f.book.text == "attempt connect sent received session end");
  BOOST_TEST(f.book.address == "127.0.0.1:" + std::to_string(f.it.port()));
  BOOST_TEST(f.book.of_the_call);
  BOOST_TEST(f.book.sent_id.size() == 16U);
  BOOST_TEST(f.book.sent_id == f.book.received_id);
}

BOOST_AUTO_TEST_CASE(a_refusal_of_the_peer_is_a_failure_with_its_words) {
  fixture f{answering(no)};
  calling c{f.time, f.client(), f.new_call()};
  c.fails_as(kind::rejected, certainty::rejected);
  BOOST_TEST(c.outcome->error().detail() == "too hot");
  BOOST_TEST(f.book.text == "attempt connect sent received:rejected session end:rejected");
}

BOOST_AUTO_TEST_CASE(a_peer_that_nobody_listens_for_is_refused_and_nothing_was_sent) {
  fixture f;
  auto const port = closed_port();
  calling c{f.time, cleat::per_call<protocol>(tcp{"127.0.0.1", port}), f.new_call()};
  c.fails_as(kind::refused, certainty::not_sent);
  BOOST_TEST(c.outcome->error().detail() == "127.0.0.1:" + std::to_string(port));
  BOOST_TEST(f.book.text == "attempt connect:refused end:refused");
}

BOOST_AUTO_TEST_CASE(a_name_without_an_address_is_unresolved_and_nothing_was_sent) {
  fixture f;
  scripted_names::instance().fail("nobody.test", EAI_NONAME);
  calling c{f.time, cleat::per_call<protocol>(tcp{"nobody.test", 9000}), f.new_call()};
  c.fails_as(kind::unresolved, certainty::not_sent);
  BOOST_TEST(f.book.text == "attempt connect:unresolved end:unresolved");
}

BOOST_AUTO_TEST_CASE(a_request_that_cannot_be_written_is_invalid_and_nothing_was_sent) {
  fixture f;
  std::optional<reply> outcome;
  auto through = f.client();
  cleat::spawn(f.time.context.get_executor(), through(request::turn("", true), f.new_call()),
               [&](std::exception_ptr, reply r) { outcome.emplace(std::move(r)); });
  f.time.run_until([&] { return outcome.has_value(); });
  BOOST_TEST((!*outcome && outcome->error().why() == kind::invalid));
  BOOST_TEST((outcome->error().sure() == certainty::not_sent));
}

// ---- limits ------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(connecting_ends_at_its_limit_and_nothing_was_sent) {
  fixture f;
  full_listener const full;
  auto through = cleat::per_call<protocol>(tcp{"127.0.0.1", full.port()}).connect_within(1s);
  calling c{f.time, std::move(through), f.new_call()};
  f.time.poll();
  f.time.advance(1s - 1ns);
  f.time.poll();
  BOOST_TEST(!c.outcome.has_value());
  f.time.advance(1ns);
  c.fails_as(kind::timed_out, certainty::not_sent);
  BOOST_TEST(f.book.text == "attempt connect:timed_out end:timed_out");
}

BOOST_AUTO_TEST_CASE(looking_up_the_name_counts_as_connecting) {
  fixture f;
  scripted_names::instance().hang("slow.test");
  auto through = cleat::per_call<protocol>(tcp{"slow.test", 9000}).connect_within(1s);
  calling c{f.time, std::move(through), f.new_call()};
  f.time.poll();
  scripted_names::instance().wait_until_hanging(1);
  f.time.advance(1s);
  c.fails_as(kind::timed_out, certainty::not_sent);
  scripted_names::instance().let_go();
  scripted_names::instance().wait_until_hanging(0);
}

BOOST_AUTO_TEST_CASE(waiting_for_the_answer_ends_at_its_limit_and_the_peer_may_have_acted) {
  fixture f;
  calling c{f.time, f.client().connect_within(1min).answer_within(1s), f.new_call()};
  f.run_until_served();
  f.time.advance(1s - 1ns);
  f.time.poll();
  BOOST_TEST(!c.outcome.has_value());
  f.time.advance(1ns);
  c.fails_as(kind::timed_out, certainty::maybe_executed);
  BOOST_TEST(f.book.text == "attempt connect sent missing:timed_out session end:timed_out");
  f.run_until_closed();
}

BOOST_AUTO_TEST_CASE(the_deadline_of_the_call_holds_if_it_is_nearer_than_the_limits) {
  fixture f;
  calling c{f.time, f.client().connect_within(1h).answer_within(1h), f.new_call(1s)};
  f.run_until_served();
  f.time.advance(1s);
  c.fails_as(kind::timed_out, certainty::maybe_executed);

  full_listener const full;
  auto through = cleat::per_call<protocol>(tcp{"127.0.0.1", full.port()}).connect_within(1h);
  calling d{f.time, std::move(through), f.new_call(1s)};
  f.time.poll();
  f.time.advance(1s);
  d.fails_as(kind::timed_out, certainty::not_sent);
  f.run_until_closed();
}

// ---- peers that misbehave ----------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_frame_that_cannot_be_read_is_passed_over) {
  // A frame with JSON that ends too early: the answer may still come.
  fixture f{sending(std::string{"\xF0\x0D\x01\x00\x00\x00\x01{", 8})};
  calling c{f.time, f.client().answer_within(1s), f.new_call()};
  f.time.run_until([&] { return f.book.text.find("unreadable") != f.book.text.npos; });
  f.time.poll();
  BOOST_TEST(!c.outcome.has_value());
  f.time.advance(1s);
  c.fails_as(kind::timed_out, certainty::maybe_executed);
  BOOST_TEST(c.outcome->error().detail() == "passed over 1 stray frame");
  BOOST_TEST(f.book.text ==
             "attempt connect sent unreadable:malformed missing:timed_out session end:timed_out");
  f.run_until_closed();
}

BOOST_AUTO_TEST_CASE(bytes_that_are_no_frame_fail_at_once_as_malformed) {
  fixture f{sending("HTTP/1.1 400 Bad Request\r\n\r\n")};
  calling c{f.time, f.client(), f.new_call()};
  c.fails_as(kind::malformed, certainty::maybe_executed);
  BOOST_TEST(c.outcome->error().offset() == 0U);
  f.run_until_closed();
}

BOOST_AUTO_TEST_CASE(a_peer_that_closes_instead_of_answering_may_have_acted) {
  fixture f{sending("", true)};
  calling c{f.time, f.client(), f.new_call()};
  c.fails_as(kind::closed, certainty::maybe_executed);
  f.run_until_closed();
}

BOOST_AUTO_TEST_CASE(a_peer_that_closes_in_the_middle_of_its_answer_may_have_acted) {
  fixture f{sending(std::string{"\xF0\x0D\x01\x00\x00", 5}, true)};
  calling c{f.time, f.client(), f.new_call()};
  auto const& r = c.wait();
  BOOST_TEST(!r.has_value());
  BOOST_TEST((r.error().sure() == certainty::maybe_executed));
  f.run_until_closed();
}

// ---- cancellation ------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(cancelled_while_its_name_is_looked_up_nothing_was_sent) {
  fixture f;
  scripted_names::instance().hang("slow.test");
  calling c{f.time, cleat::per_call<protocol>(tcp{"slow.test", 9000}), f.new_call()};
  f.time.poll();
  scripted_names::instance().wait_until_hanging(1);
  c.cancel();
  c.fails_as(kind::cancelled, certainty::not_sent);
  BOOST_TEST(f.book.text == "attempt connect:cancelled end:cancelled");
  scripted_names::instance().let_go();
  scripted_names::instance().wait_until_hanging(0);
}

BOOST_AUTO_TEST_CASE(cancelled_while_it_connects_nothing_was_sent) {
  fixture f;
  full_listener const full;
  calling c{f.time, cleat::per_call<protocol>(tcp{"127.0.0.1", full.port()}), f.new_call()};
  f.time.poll();
  c.cancel();
  c.fails_as(kind::cancelled, certainty::not_sent);
  BOOST_TEST(f.book.text == "attempt connect:cancelled end:cancelled");
}

BOOST_AUTO_TEST_CASE(cancelled_while_it_waits_for_its_answer_the_peer_may_have_acted) {
  fixture f;
  calling c{f.time, f.client(), f.new_call()};
  f.run_until_served();
  c.cancel();
  c.fails_as(kind::cancelled, certainty::maybe_executed);
  BOOST_TEST(f.book.text == "attempt connect sent missing:cancelled session end:cancelled");
  f.run_until_closed();
}

BOOST_AUTO_TEST_CASE(cancelled_after_any_number_of_steps_it_ends_and_leaves_nothing) {
  bool untouched = false;
  for (int steps = 0; !untouched; ++steps) {
    BOOST_REQUIRE(steps < 1000);
    fixture f{answering(yes)};
    calling c{f.time, f.client(), f.new_call()};
    for (int i = 0; i < steps && !c.outcome; ++i) {
      f.time.context.restart();
      BOOST_REQUIRE(f.time.context.run_one_for(20s) == 1U);
    }
    untouched = c.outcome.has_value();
    bool const was_sent = f.book.text.find("sent") != std::string::npos;
    c.cancel();
    auto const& r = c.wait();
    if (untouched) {
      BOOST_TEST(r.has_value());
    } else if (!r) {
      BOOST_TEST((r.error().why() == kind::cancelled));
      BOOST_TEST(
          (r.error().sure() == (was_sent ? certainty::maybe_executed : certainty::not_sent)));
    }
  }  // the fixture looks for what is left
}

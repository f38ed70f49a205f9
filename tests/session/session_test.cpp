#define BOOST_TEST_MODULE session
#include "../support/hand_stream.hpp"

#include <cleat/base/spawn.hpp>
#include <cleat/session/session.hpp>
#include <cleat/sim/world.hpp>
#include <cleat/transport/memory.hpp>
#include <toggle/protocol.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace asio = boost::asio;
using cleat::bytes_view;
using cleat::certainty;
using cleat::environment;
using cleat::failure;
using cleat::kind;
using cleat::memory_stream;
using cleat::result;
using cleat::scope;
using cleat::task;
using cleat::use_task;
using toggle::message;
using toggle::protocol;
using toggle::request;
using namespace std::chrono_literals;

namespace {

using session = cleat::session<protocol, memory_stream>;
using reply = result<toggle::response>;

task<> run_one(session& s) { static_cast<void>(co_await s.run()); }

/// Two ends and a test body beside them; both ends are closed and joined after it.
class fixture {
 public:
  explicit fixture(cleat::session_options client_options = {}, memory_stream::options pipe = {},
                   cleat::session_options server_options = {})
      : ends(cleat::memory_pair(context.get_executor(), pipe)),
        client(std::move(ends.first), protocol{}, client_options),
        server(std::move(ends.second), protocol{}, server_options) {}

  void run(task<> body) {
    auto all = [](fixture& f, task<> b) -> task<> {
      environment& env = co_await cleat::this_chain::environment;
      scope beside{env};
      beside.spawn(run_one(f.client));
      beside.spawn(run_one(f.server));
      co_await std::move(b);
      f.client.close();
      f.server.close();
      co_await beside.join();
    };
    auto done = cleat::spawn(context.get_executor(), all(*this, std::move(body)), asio::use_future);
    context.run();
    done.get();
    BOOST_TEST(cleat::chain_count(context) == 0U);
    BOOST_TEST(client.pending() == 0U);
  }

  cleat::call new_call(std::chrono::nanoseconds limit = 5s) {
    cleat::call c{context.get_executor()};
    c.tighten(c.now() + limit);
    return c;
  }

  asio::io_context context;
  std::pair<memory_stream, memory_stream> ends;
  session client;
  session server;
};

task<> hop() { co_await asio::post(co_await cleat::this_chain::executor, use_task); }
task<> hops(int n) {
  for (int i = 0; i < n; ++i) co_await hop();
}

/// Answers everything at once.
task<result<message>> yes(message m) { co_return message::ack(m, m.state.value_or(false)); }

}  // namespace

BOOST_AUTO_TEST_CASE(gives_a_call_its_answer) {
  fixture f;
  f.server.serve = yes;
  auto body = [](fixture& fx) -> task<> {
    reply const r = co_await fx.client.call(request::turn("lamp", true), fx.new_call());
    BOOST_REQUIRE(r.has_value());
    BOOST_TEST(r->state.value());
    BOOST_TEST(r->framed);
  };
  f.run(body(f));
}

BOOST_AUTO_TEST_CASE(is_the_same_at_both_ends) {
  fixture f;
  f.server.serve = yes;
  f.client.serve = [](message m) -> task<result<message>> {
    co_return message::nack(m, "not a lamp");
  };
  auto body = [](fixture& fx) -> task<> {
    auto const call = fx.new_call();
    auto ask = [&](session& s) -> task<reply> {
      reply r = co_await s.call(request::turn("lamp", true), call);
      co_return r;
    };
    auto const [a, b] = co_await cleat::when_all(ask(fx.client), ask(fx.server));
    BOOST_TEST(a.has_value());
    BOOST_TEST(
        (!b && b.error().why() == kind::rejected && b.error().sure() == certainty::rejected));
    BOOST_TEST(b.error().detail() == "not a lamp");
  };
  f.run(body(f));
}

BOOST_AUTO_TEST_CASE(matches_answers_that_come_in_any_order_one_byte_at_a_time) {
  memory_stream::options pipe;
  pipe.read_bytes_max = 1;
  fixture f{{}, pipe};
  // Later requests are answered first.
  f.server.serve = [](message m) -> task<result<message>> {
    int const place = std::stoi(std::string{m.device_id->view().substr(4)});
    co_await hops(2000 - place * 100);
    co_return message::ack(m, place % 2 == 0);
  };
  auto body = [](fixture& fx) -> task<> {
    std::vector<int> order;
    auto ask = [&](int i) -> task<> {
      reply const r =
          co_await fx.client.call(request::turn("lamp" + std::to_string(i), true), fx.new_call());
      BOOST_REQUIRE(r.has_value());
      BOOST_TEST(r->state.value() == (i % 2 == 0));
      BOOST_TEST(r->device_id.view() == "lamp" + std::to_string(i));
      order.push_back(i);
    };
    environment& env = co_await cleat::this_chain::environment;
    scope beside{env};
    for (int i = 0; i < 10; ++i) beside.spawn(ask(i));
    co_await beside.join();
    BOOST_TEST(order.size() == 10U);
    BOOST_TEST(order.front() == 9);
  };
  f.run(body(f));
}

BOOST_AUTO_TEST_CASE(ends_a_call_at_its_deadline_and_keeps_the_late_answer_from_the_next_caller) {
  fixture f;
  cleat::event go;
  std::vector<message> asked;
  f.server.serve = [&](message m) -> task<result<message>> {
    asked.push_back(m);
    if (asked.size() == 1) static_cast<void>(co_await go.wait());
    co_return message::ack(m, asked.size() == 1);
  };
  auto body = [&](fixture& fx) -> task<> {
    reply const first = co_await fx.client.call(request::turn("lamp", true), fx.new_call(5ms));
    BOOST_TEST((!first && first.error().why() == kind::timed_out));
    BOOST_TEST((first.error().sure() == certainty::maybe_executed));
    BOOST_TEST(fx.client.unanswered() == 1U);
    go.set();
    reply const second = co_await fx.client.call(request::turn("lamp", false), fx.new_call());
    BOOST_TEST(second.has_value());
    BOOST_TEST(fx.client.unanswered() == 0U);
  };
  f.run(body(f));
}

BOOST_AUTO_TEST_CASE(an_expired_call_sends_nothing) {
  fixture f;
  f.server.serve = yes;
  auto body = [](fixture& fx) -> task<> {
    reply const r = co_await fx.client.call(request::turn("lamp", true), fx.new_call(-1ms));
    BOOST_TEST(
        (!r && r.error().why() == kind::timed_out && r.error().sure() == certainty::not_sent));
    BOOST_TEST(fx.client.outbound_bytes() == 0U);
  };
  f.run(body(f));
}

BOOST_AUTO_TEST_CASE(a_cancelled_call_leaves_the_stream_usable_in_each_of_its_phases) {
  // waiting for a place, staged behind bytes that the peer does not take, half written, written
  for (std::string const phase : {"waiting", "staged", "half written", "written"}) {
    BOOST_TEST_CONTEXT(phase) {
      cleat::session_options options;
      if (phase == "waiting") options.calls_max = 1;
      memory_stream::options pipe;
      if (phase != "written") pipe.buffer_bytes_max = 40;  // less than a frame
      fixture f{options, pipe};
      cleat::event go;
      bool held = true;
      f.server.serve = [&](message m) -> task<result<message>> {
        while (held) {
          auto const woken = co_await go.wait();
          if (!woken) co_return woken.error();
        }
        co_return message::ack(m, true);
      };
      asio::cancellation_signal signal;
      reply cancelled{failure{kind::invalid}};
      reply first{failure{kind::invalid}};
      std::vector<std::string> served;
      f.server.respond = [&](message const& m) { served.emplace_back(m.device_id->view()); };

      auto victim = [&](fixture& fx) -> task<> {
        cancelled = co_await fx.client.call(request::turn("victim", true), fx.new_call());
      };
      auto other = [&](fixture& fx) -> task<> {
        first = co_await fx.client.call(request::turn("other", true), fx.new_call());
      };
      auto body = [&](fixture& fx) -> task<> {
        environment& env = co_await cleat::this_chain::environment;
        scope beside{env};
        if (phase == "waiting" || phase == "staged") beside.spawn(other(fx));
        cleat::spawn(fx.context.get_executor(), victim(fx),
                     asio::bind_cancellation_slot(signal.slot(), asio::detached));
        if (phase == "written") co_await hops(20);
        signal.emit(asio::cancellation_type::terminal);
        co_await hops(50);
        held = false;
        go.set();
        co_await beside.join();
        reply const after = co_await fx.client.call(request::turn("after", true), fx.new_call());
        BOOST_TEST(after.has_value());
      };
      f.run(body(f));
      BOOST_REQUIRE(!cancelled.has_value());
      BOOST_TEST((cancelled.error().why() == kind::cancelled));
      bool const withdrawn = phase == "waiting" || phase == "staged";
      BOOST_TEST((cancelled.error().sure() ==
                  (withdrawn ? certainty::not_sent : certainty::maybe_executed)));
      BOOST_TEST((std::count(served.begin(), served.end(), "victim") == (withdrawn ? 0 : 1)));
      if (withdrawn) BOOST_TEST(first.has_value());
      BOOST_TEST(served.back() == "after");
    }
  }
}

BOOST_AUTO_TEST_CASE(fails_what_is_under_way_when_the_peer_goes_and_says_how_sure_it_is) {
  cleat::session_options options;
  options.calls_max = 1;
  fixture f{options};
  f.server.serve = [&](message) -> task<result<message>> {
    f.server.close();
    co_return failure{kind::shut_down};
  };
  auto body = [](fixture& fx) -> task<> {
    auto ask = [&](session& s) -> task<reply> {
      reply r = co_await s.call(request::turn("lamp", true), fx.new_call());
      co_return r;
    };
    auto const [sent, waiting] = co_await cleat::when_all(ask(fx.client), ask(fx.client));
    BOOST_TEST((!sent && sent.error().why() == kind::closed &&
                sent.error().sure() == certainty::maybe_executed));
    BOOST_TEST((!waiting && waiting.error().why() == kind::closed &&
                waiting.error().sure() == certainty::not_sent));
    reply const later = co_await fx.client.call(request::turn("lamp", true), fx.new_call());
    BOOST_TEST((!later && later.error().why() == kind::closed &&
                later.error().sure() == certainty::not_sent));
  };
  f.run(body(f));
}

BOOST_AUTO_TEST_CASE(bounds_the_calls_that_wait) {
  cleat::session_options options;
  options.calls_max = 2;
  options.waiting_max = 3;
  fixture f{options};
  auto body = [](fixture& fx) -> task<> {
    int overloaded = 0;
    int late = 0;
    auto ask = [&]() -> task<> {
      reply const r = co_await fx.client.call(request::turn("lamp", true), fx.new_call(20ms));
      BOOST_REQUIRE(!r.has_value());
      overloaded += r.error().why() == kind::overloaded ? 1 : 0;
      late += r.error().why() == kind::timed_out ? 1 : 0;
    };
    environment& env = co_await cleat::this_chain::environment;
    scope beside{env};
    for (int i = 0; i < 7; ++i) beside.spawn(ask());
    co_await beside.join();
    BOOST_TEST(overloaded == 2);
    BOOST_TEST(late == 5);
  };
  f.run(body(f));
}

BOOST_AUTO_TEST_CASE(disconnects_a_peer_that_leaves_too_many_requests_unanswered) {
  cleat::session_options options;
  options.unanswered_max = 2;
  fixture f{options};
  auto body = [](fixture& fx) -> task<> {
    for (int i = 0; i < 3; ++i) {
      reply const r = co_await fx.client.call(request::turn("lamp", true), fx.new_call(1ms));
      BOOST_TEST((!r && r.error().why() == kind::timed_out));
    }
    BOOST_TEST(fx.client.ended());
  };
  f.run(body(f));
}

BOOST_AUTO_TEST_CASE(sends_in_one_write_what_is_staged_while_the_reader_works) {
  fixture f;
  std::vector<std::size_t> reads;  // how many messages came in each read
  int since = 0;
  f.server.respond = [&](message const&) {
    if (since++ == 0)
      asio::post(f.context, [&] { reads.push_back(std::size_t(std::exchange(since, 0))); });
  };
  f.server.serve = yes;
  auto body = [](fixture& fx) -> task<> {
    auto loop = [&]() -> task<> {
      for (int i = 0; i < 5; ++i) {
        reply const r = co_await fx.client.call(request::turn("lamp", true), fx.new_call());
        BOOST_TEST(r.has_value());
      }
    };
    environment& env = co_await cleat::this_chain::environment;
    scope beside{env};
    for (int i = 0; i < 8; ++i) beside.spawn(loop());
    co_await beside.join();
  };
  f.run(body(f));
  BOOST_TEST(reads.size() <= 8U);  // 40 requests in five or so batches, not in 40
  BOOST_TEST(reads.back() == 8U);
}

BOOST_AUTO_TEST_CASE(pauses_reading_from_a_peer_that_does_not_take_its_answers) {
  memory_stream::options pipe;
  pipe.buffer_bytes_max = 4096;
  fixture f{{}, pipe};
  // The client's end is used raw: it asks without end and reads nothing.
  auto [near, far] = cleat::memory_pair(f.context.get_executor(), pipe);
  cleat::session_options options;
  options.outbound_bytes_max = 2000;
  options.write_stall_max = 50ms;
  session flooded{std::move(far), protocol{}, options};
  flooded.serve = yes;
  std::size_t most = 0;
  std::optional<failure> why;
  auto body = [&](fixture&) -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    auto serve = [&]() -> task<> { why = co_await flooded.run(); };
    auto flood = [&]() -> task<> {
      cleat::byte_buffer frames;
      protocol const p;
      auto const m = message::turn("lamp", "0123456789abcdef", true);
      for (int i = 0; i < 100; ++i) BOOST_REQUIRE(p.encode(m, frames).has_value());
      bytes_view left{frames};
      while (!left.empty()) {
        auto const n = near.write(std::span{&left, 1});
        if (!n) break;
        left = left.subspan(*n);
        most = std::max(most, flooded.outbound_bytes());
        auto const ready = co_await near.writable();
        if (!ready) break;
        co_await hop();
      }
    };
    scope beside{env};
    beside.spawn(serve());
    beside.spawn(flood());
    co_await beside.join();
  };
  f.run(body(f));
  BOOST_TEST(most > 1000U);
  BOOST_TEST(most < 2000U + 4096U * 2);
  BOOST_REQUIRE(why.has_value());
  BOOST_TEST((why->why() == kind::timed_out));
  BOOST_TEST(why->detail() == "the peer takes no bytes");
}

BOOST_AUTO_TEST_CASE(asks_more_at_once_than_fits_on_the_way_without_stopping_itself) {
  asio::io_context context;
  memory_stream::options pipe;
  pipe.buffer_bytes_max = 1000;
  auto [near, far] = cleat::memory_pair(context.get_executor(), pipe);
  cleat::session_options options;
  options.outbound_bytes_max = 2000;
  session a{std::move(near), protocol{}, options};
  session b{std::move(far), protocol{}, options};
  b.serve = yes;
  int answered = 0;
  auto ask = [&](session& s) -> task<> {
    cleat::call c{context.get_executor()};
    c.tighten(c.now() + 1min);
    reply const r = co_await s.call(request::turn("lamp", true), c);
    answered += r.has_value() ? 1 : 0;
  };
  auto body = [&]() -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    scope running{env};
    running.spawn(run_one(a));
    running.spawn(run_one(b));
    scope asking{env};
    for (int i = 0; i < 300; ++i) {
      asking.spawn(ask(a));
    }
    co_await asking.join();
    a.close();
    b.close();
    co_await running.join();
  };
  auto done = cleat::spawn(context.get_executor(), body(), asio::use_future);
  context.run();
  done.get();
  BOOST_TEST(answered == 300);
}

BOOST_AUTO_TEST_CASE(closing_sends_no_call_that_waited_for_a_place) {
  cleat::session_options options;
  options.calls_max = 1;
  fixture f{options};
  std::vector<std::string> served;
  f.server.respond = [&](message const& m) { served.emplace_back(m.device_id->view()); };
  auto body = [&](fixture& fx) -> task<> {
    std::vector<certainty> sure;
    auto ask = [&](std::string device) -> task<> {
      reply const r = co_await fx.client.call(request::turn(device, true), fx.new_call());
      BOOST_REQUIRE(!r.has_value());
      sure.push_back(r.error().sure());
    };
    environment& env = co_await cleat::this_chain::environment;
    scope beside{env};
    beside.spawn(ask("sent"));
    beside.spawn(ask("waiting"));
    fx.client.close();
    co_await beside.join();
    co_await hops(10);
    BOOST_TEST((sure == std::vector{certainty::maybe_executed, certainty::not_sent}));
    BOOST_TEST((served == std::vector<std::string>{"sent"}));
  };
  f.run(body(f));
}

BOOST_AUTO_TEST_CASE(sends_all_answers_however_many_become_ready_at_once) {
  cleat::session_options tight;
  tight.outbound_bytes_max = 500;
  memory_stream::options pipe;
  pipe.buffer_bytes_max = 400;
  fixture f{{}, pipe, tight};
  int asked = 0;
  f.server.serve = [&](message m) -> task<result<message>> {
    ++asked;
    while (asked < 40) co_await hop();
    co_return message::ack(m, true);
  };
  auto body = [&](fixture& fx) -> task<> {
    int answered = 0;
    auto ask = [&]() -> task<> {
      reply const r = co_await fx.client.call(request::turn("lamp", true), fx.new_call(1min));
      answered += r.has_value() ? 1 : 0;
    };
    environment& env = co_await cleat::this_chain::environment;
    scope beside{env};
    for (int i = 0; i < 40; ++i) beside.spawn(ask());
    co_await beside.join();
    BOOST_TEST(answered == 40);
  };
  f.run(body(f));
}

BOOST_AUTO_TEST_CASE(a_handler_that_throws_ends_the_session_and_the_exception_leaves_through_run) {
  asio::io_context context;
  auto [near, far] = cleat::memory_pair(context.get_executor());
  session client{std::move(near), protocol{}};
  session server{std::move(far), protocol{}};
  server.serve = [](message) -> task<result<message>> {
    co_await hop();
    throw std::runtime_error("lamp broken");
  };
  std::string thrown;
  auto serving = [&]() -> task<> {
    try {
      static_cast<void>(co_await server.run());
    } catch (std::runtime_error const& e) {
      thrown = e.what();
    }
  };
  auto body = [&]() -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    scope beside{env};
    beside.spawn(serving());
    beside.spawn(run_one(client));
    cleat::call c{context.get_executor()};
    c.tighten(c.now() + 5s);
    reply const r = co_await client.call(request::turn("lamp", true), c);
    BOOST_TEST((!r && r.error().why() == kind::closed));
    co_await beside.join();
  };
  auto done = cleat::spawn(context.get_executor(), body(), asio::use_future);
  context.run();
  done.get();
  BOOST_TEST(thrown == "lamp broken");
}

BOOST_AUTO_TEST_CASE(does_not_blame_a_peer_that_takes_nothing_while_nothing_waits) {
  cleat::session_options options;
  options.write_stall_max = 20ms;
  memory_stream::options pipe;
  pipe.buffer_bytes_max = 91;  // one request
  cleat::sim::world world{1};
  auto nobody_reads = [&]() -> task<> {
    auto [near, far] = cleat::memory_pair(world.executor(), pipe);
    session client{std::move(near), protocol{}, options};
    environment& env = co_await cleat::this_chain::environment;
    auto ask = [&](std::chrono::nanoseconds limit) -> task<> {
      cleat::call c = world.new_call();
      c.tighten(c.now() + limit);
      static_cast<void>((co_await client.call(request::turn("DEVICE123", true), c)).has_value());
    };
    scope beside{env};
    beside.spawn(run_one(client));
    beside.spawn(ask(1h));   // fills the pipe
    beside.spawn(ask(1ms));  // waits behind it, and is taken back
    auto const slept = co_await cleat::sleep_until(world.now() + 60ms);
    BOOST_TEST(slept.has_value());
    BOOST_TEST(!client.ended());
    client.close();
    co_await beside.join();
  };
  world.run(nobody_reads());
}

BOOST_AUTO_TEST_CASE(drops_the_oldest_push_when_nobody_takes_them) {
  cleat::session_options options;
  options.pushes_max = 3;
  fixture f{options};
  auto body = [](fixture& fx) -> task<> {
    for (char id = 'a'; id < 'f'; ++id) {
      auto const sent =
          fx.server.send(message::turn(std::string_view{&id, 1}, "0123456789abcdef", true));
      BOOST_TEST(sent.has_value());
    }
    co_await hops(10);
    std::string got;
    for (int i = 0; i < 3; ++i) {
      auto const m = co_await fx.client.next_push(fx.new_call().deadline());
      if (m) got += m->device_id->view();
    }
    BOOST_TEST(got == "cde");
    auto const none = co_await fx.client.next_push(fx.new_call(1ms).deadline());
    BOOST_TEST((!none && none.error().why() == kind::timed_out));
  };
  f.run(body(f));
}

BOOST_AUTO_TEST_CASE(bounds_the_bytes_of_pushes_and_tells_of_each_that_it_drops) {
  class drops final : public cleat::event_table {
   public:
    drops() {
      set_self(this);
      set<cleat::push_dropped>([](void const* self, cleat::push_dropped const&) noexcept {
        ++static_cast<drops const*>(self)->count;
      });
    }
    mutable int count = 0;
  };
  auto const a_push = [](std::string_view id) {
    return message::turn(id, "0123456789abcdef", true);
  };
  cleat::byte_buffer one;
  BOOST_REQUIRE(protocol{}.encode(a_push("a"), one).has_value());
  drops told;
  cleat::session_options options;
  options.pushes_bytes_max = 2 * one.size() - 1;  // not two, and not the large one
  options.events = &told;
  fixture f{options};
  auto body = [&](fixture& fx) -> task<> {
    for (std::string_view const id : {"a", "b", "c", "d"})
      BOOST_TEST(fx.server.send(a_push(id)).has_value());
    co_await hops(10);
    BOOST_TEST(told.count == 3);
    std::string const large(64, 'x');
    for (int i = 0; i < 2; ++i) BOOST_TEST(fx.server.send(a_push(large)).has_value());
    co_await hops(10);
    auto const first = co_await fx.client.next_push(fx.new_call(1ms).deadline());
    BOOST_REQUIRE(first.has_value());
    bool const fits = one.size() - 1 + large.size() <= options.pushes_bytes_max;
    BOOST_TEST(first->device_id->view() == (fits ? std::string_view{large} : "d"));
    BOOST_TEST(told.count == 5);
    auto const none = co_await fx.client.next_push(fx.new_call(1ms).deadline());
    BOOST_TEST(!none.has_value());
  };
  f.run(body(f));
}

namespace {

/// Requests of one peer, as many as fit into a pipe.
cleat::byte_buffer flood(std::size_t frames) {
  cleat::byte_buffer all;
  for (std::size_t i = 0; i < frames; ++i)
    BOOST_REQUIRE(protocol{}.encode(message::turn("x", "0123456789abcdef", true), all).has_value());
  return all;
}

}  // namespace

BOOST_AUTO_TEST_CASE(floods_of_many_peers_delay_a_good_one_by_a_few_frames_only) {
  constexpr std::size_t peers = 50;
  constexpr std::size_t frames = 400;
  cleat::sim::world world{1};
  cleat::session_options options;
  options.frames_per_turn_max = 4;
  options.requests_max = frames;
  std::size_t heard = 0;
  std::vector<memory_stream> floods;
  std::vector<std::unique_ptr<session>> victims;
  auto const bytes = flood(frames);
  for (std::size_t i = 0; i < peers; ++i) {
    auto [near, far] = cleat::memory_pair(world.executor());
    bytes_view const all{bytes};
    BOOST_REQUIRE(far.write(std::span{&all, 1}).value() == bytes.size());
    floods.push_back(std::move(far));
    victims.push_back(std::make_unique<session>(std::move(near), protocol{}, options));
    victims.back()->serve = [&](message) -> task<result<message>> {
      ++heard;
      co_return failure{kind::cancelled};
    };
  }
  auto good = cleat::memory_pair(world.executor());
  session client{std::move(good.first), protocol{}};
  session server{std::move(good.second), protocol{}, options};
  server.serve = yes;
  auto body = [&](cleat::sim::world& w) -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    scope beside{env};
    for (auto const& v : victims) beside.spawn(run_one(*v));
    beside.spawn(run_one(client));
    beside.spawn(run_one(server));
    for (int i = 0; i < 10; ++i) {
      std::size_t const before = heard;
      cleat::call c = w.new_call();
      c.tighten(w.now() + 1s);
      reply const r = co_await client.call(request::turn("lamp", true), c);
      BOOST_TEST(r.has_value());
      BOOST_TEST(heard - before <= 10 * options.frames_per_turn_max);
    }
    while (heard < peers * frames) co_await hop();  // and nothing of a flood is lost
    for (auto const& v : victims) v->close();
    client.close();
    server.close();
    co_await beside.join();
  };
  world.run(body(world));
  BOOST_TEST(heard == peers * frames);
}

BOOST_AUTO_TEST_CASE(what_is_left_of_a_turn_is_worked_through_in_its_order) {
  for (std::size_t const bytes_max : {std::size_t{1}, std::size_t{200}, std::size_t{65536}}) {
    BOOST_TEST_CONTEXT(bytes_max) {
      cleat::session_options options;
      options.frames_per_turn_max = 3;
      options.bytes_per_turn_max = bytes_max;
      fixture f{{}, {}, options};
      std::string got;
      f.server.respond = [&](message const& m) { got += m.device_id->view(); };
      auto body = [&](fixture& fx) -> task<> {
        for (char id = 'a'; id <= 'z'; ++id) {
          BOOST_TEST(fx.client.send(message::turn({&id, 1}, "0123456789abcdef", true)).has_value());
        }
        co_await hops(200);
        BOOST_TEST(got == "abcdefghijklmnopqrstuvwxyz");
      };
      f.run(body(f));
    }
  }
}

BOOST_AUTO_TEST_CASE(is_cancelled_and_closed_in_the_middle_of_a_flood) {
  for (bool const cancelled : {true, false}) {
    BOOST_TEST_CONTEXT(cancelled) {
      cleat::sim::world world{1};
      cleat::session_options options;
      options.frames_per_turn_max = 1;
      std::size_t heard = 0;
      auto ends = cleat::memory_pair(world.executor());
      auto const bytes = flood(100);
      bytes_view const all{bytes};
      BOOST_REQUIRE(ends.second.write(std::span{&all, 1}).value() == bytes.size());
      session victim{std::move(ends.first), protocol{}, options};
      victim.respond = [&](message const&) { ++heard; };
      auto body = [&](session& s) -> task<> {
        environment& env = co_await cleat::this_chain::environment;
        scope beside{env};
        beside.spawn(run_one(s));
        co_await hops(10);
        if (cancelled) {
          beside.cancel();
        } else {
          s.close();
        }
        co_await beside.join();
      };
      world.run(body(victim));
      BOOST_TEST(victim.ended());
      BOOST_TEST(heard > 0U);
      BOOST_TEST(heard < 20U);
    }
  }
}

BOOST_AUTO_TEST_CASE(ends_as_malformed_when_the_stream_is_lost) {
  fixture f;
  auto [near, far] = cleat::memory_pair(f.context.get_executor());
  session client{std::move(near), protocol{}};
  auto body = [&](fixture& fx) -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    scope beside{env};
    beside.spawn(run_one(client));
    auto garble = [&]() -> task<> {
      co_await hop();
      bytes_view const bytes = cleat::as_bytes("HTTP/1.1 400 Bad Request");
      BOOST_TEST(far.write(std::span{&bytes, 1}).has_value());
    };
    beside.spawn(garble());
    reply const r = co_await client.call(request::turn("lamp", true), fx.new_call());
    BOOST_TEST((!r && r.error().why() == kind::malformed &&
                r.error().sure() == certainty::maybe_executed));
    BOOST_TEST(r.error().offset() == 0U);
    co_await beside.join();
  };
  f.run(body(f));
}

BOOST_AUTO_TEST_CASE(goes_away_with_its_context_while_calls_wait) {
  auto alive = std::make_shared<int>(0);
  std::weak_ptr<int> const watch = alive;
  {
    fixture f;
    auto body = [&](fixture& fx, std::shared_ptr<int> p) -> task<> {
      reply const r = co_await fx.client.call(request::turn("lamp", true), fx.new_call(1h));
      BOOST_TEST(!r.has_value());
      ++*p;
    };
    cleat::spawn(f.context.get_executor(), run_one(f.client));
    cleat::spawn(f.context.get_executor(), body(f, std::move(alive)));
    f.context.poll();
    BOOST_TEST(f.client.pending() == 1U);
  }
  BOOST_TEST(watch.expired());
}

namespace {

/// Two requests under way have all the numbers that there are.
class two_numbers : public protocol {
 public:
  two_numbers() noexcept : protocol() {}
  [[nodiscard]] result<cleat::opened<message>> open(request const& r, cleat::call const& c,
                                                    std::uint64_t number) const {
    return protocol::open(r, c, number % 2);
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(ends_when_the_peer_leaves_every_number_unanswered) {
  using session_type = cleat::session<two_numbers, memory_stream>;
  cleat::sim::world world{1};
  auto ends = cleat::memory_pair(world.executor());
  session_type s{std::move(ends.first), two_numbers{}};
  auto body = [](cleat::sim::world& w, session_type& to) -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    scope beside{env};
    auto runs = [](session_type& it) -> task<> { static_cast<void>(co_await it.run()); };
    beside.spawn(runs(to));
    for (auto const sure :
         {certainty::maybe_executed, certainty::maybe_executed, certainty::not_sent}) {
      cleat::call c = w.new_call();
      c.tighten(w.now() + 1s);
      reply const r = co_await to.call(request::turn("lamp", true), c);
      BOOST_REQUIRE(!r.has_value());
      BOOST_TEST((r.error().why() == kind::timed_out));
      BOOST_TEST((r.error().sure() == sure));
    }
    BOOST_TEST(to.ended());
    co_await beside.join();
  };
  world.run(body(world, s));
  BOOST_TEST((world.elapsed() == 2s));
}

// ---- to the byte, to the frame and to the nanosecond: the peer is the test, and time is simulated

namespace {

using strings = std::vector<std::string>;
constexpr auto each = boost::test_tools::per_element();

message a_push(std::string_view device) { return message::turn(device, "0123456789abcdef", true); }
std::string framed(message const& m) {
  cleat::byte_buffer bytes;
  BOOST_REQUIRE(protocol{}.encode(m, bytes).has_value());
  return std::string{cleat::as_text(bytes)};
}
/// Of a request or a push that names this device.
std::size_t frame_bytes(std::string_view device) { return framed(a_push(device)).size(); }

/// One end of a session.
template <class P = protocol>
class one_end {
 public:
  explicit one_end(cleat::session_options options = {}, P p = P{})
      : s(hand_stream{wire}, std::move(p), options) {}

  /// Runs it beside a test body, and closes it after that.
  void run(task<> body) {
    auto all = [](one_end& f, task<> b) -> task<> {
      environment& env = co_await cleat::this_chain::environment;
      scope beside{env};
      beside.spawn(f.run_it());
      co_await std::move(b);
      f.s.close();
      co_await beside.join();
    };
    time.run(all(*this, std::move(body)));
    BOOST_TEST(s.pending() == 0U);
  }
  task<> run_it() {
    why = co_await s.run();
    ended_at = time.elapsed();
  }

  task<> ask(std::string device, reply& into, std::chrono::nanoseconds limit = 5s,
             cleat::event_table const* events = nullptr) {
    cleat::call c = time.new_call();
    c.tighten(c.now() + limit);
    c.events = events;
    into = co_await s.call(request::turn(device, true), c);
  }
  /// Until all has been done that can be done now, and this time has passed.
  task<> pause(std::chrono::nanoseconds d = 1ns) {
    static_cast<void>(co_await cleat::sleep_until(time.now() + d));
  }
  /// The messages in what the peer has taken, as far as they are whole.
  [[nodiscard]] std::vector<message> messages() const {
    std::vector<message> got;
    bytes_view left = wire.taken();
    while (!left.empty()) {
      auto step = protocol{}.decode(left);
      auto* const item = step.has_item();
      if (item == nullptr) break;
      left = left.subspan(item->used);
      got.push_back(std::move(item->message));
    }
    return got;
  }
  /// The devices that they name.
  [[nodiscard]] strings heard() const {
    strings devices;
    for (message const& m : messages()) devices.emplace_back(m.device_id->view());
    return devices;
  }
  /// The peer answers the n-th of them.
  void answer(std::size_t n) { wire.say(framed(message::ack(messages().at(n), true))); }

  cleat::sim::world time{1};
  hand_stream::wire wire{time.executor()};
  cleat::session<P, hand_stream> s;
  std::optional<failure> why;  ///< how it ended
  std::chrono::nanoseconds ended_at{};
};

reply unasked() { return failure{kind::invalid}.with_detail("was not asked"); }

bool failed(reply const& r, kind why, certainty sure) {
  return !r && r.error().why() == why && r.error().sure() == sure;
}

/// Notes the frames that it is told were sent, by the devices in their bytes.
class sent_frames final : public cleat::event_table {
 public:
  sent_frames() {
    set_self(this);
    set<cleat::frame_sent>([](void const* self, cleat::frame_sent const& e) noexcept {
      auto& told = static_cast<sent_frames const*>(self)->all;
      if (e.error != nullptr) {
        told.emplace_back(e.bytes.empty() ? "not whole" : "not begun");
        return;
      }
      protocol const speaks;
      auto step = speaks.decode(e.bytes);
      auto* const item = step.has_item();
      bool const whole = item != nullptr && item->used == e.bytes.size() &&
                         speaks.id(item->message).view() == e.id;
      told.emplace_back(whole ? item->message.device_id->view() : "not the frame");
    });
    set<cleat::answer_missing>([](void const* self, cleat::answer_missing const& e) noexcept {
      auto const& me = *static_cast<sent_frames const*>(self);
      me.all.emplace_back("no answer");
      me.waited = e.elapsed;
    });
  }
  mutable strings all;
  mutable std::chrono::nanoseconds waited{};
};

}  // namespace

BOOST_AUTO_TEST_CASE(what_is_sent_behind_a_withdrawn_call_is_told_with_its_own_bytes) {
  sent_frames told;
  cleat::session_options options;
  options.events = &told;
  one_end f{options};
  f.wire.take_nothing();
  f.wire.take(10);  // less than a frame
  auto body = [&]() -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    reply begun = unasked();
    reply withdrawn = unasked();
    reply later = unasked();
    scope beside{env};
    scope victim{env};
    beside.spawn(f.ask("begun", begun, 5s, &told));
    BOOST_TEST(f.s.send(a_push("a push before")).has_value());
    victim.spawn(f.ask("the one that is withdrawn", withdrawn, 5s, &told));
    BOOST_TEST(f.s.send(a_push("a push behind")).has_value());
    beside.spawn(f.ask("later", later, 5s, &told));
    victim.cancel();
    co_await victim.join();
    BOOST_TEST(failed(withdrawn, kind::cancelled, certainty::not_sent));
    while (f.s.outbound_bytes() != 0) {
      BOOST_TEST(told.all == f.heard(), each);  // not before its last byte has left
      f.wire.take(1);
      co_await f.pause();
    }
    f.s.close();
    co_await beside.join();
  };
  f.run(body());
  told.all.resize(4);  // behind them: two that got no answer
  BOOST_TEST(told.all == (strings{"begun", "a push before", "a push behind", "later"}), each);
}

BOOST_AUTO_TEST_CASE(of_a_call_that_ends_early_is_told_how_far_it_came) {
  std::size_t const whole = frame_bytes("lamp");
  for (std::size_t const taken : {std::size_t{0}, std::size_t{1}, whole - 1, whole}) {
    for (bool const closed : {false, true}) {
      BOOST_TEST_CONTEXT(taken << (closed ? ", closed" : ", cancelled")) {
        sent_frames told;
        one_end f;
        f.wire.take_nothing();
        f.wire.take(taken);
        reply r = unasked();
        auto body = [&]() -> task<> {
          environment& env = co_await cleat::this_chain::environment;
          scope beside{env};
          beside.spawn(f.ask("lamp", r, 5s, &told));
          co_await f.pause(2ms);
          if (closed) {
            f.s.close();
          } else {
            beside.cancel();
          }
          co_await beside.join();
          BOOST_TEST(f.s.unanswered() == (taken == 0 || closed ? f.s.unanswered() : 1U));
          BOOST_TEST(f.s.outbound_bytes() == (taken == 0 && !closed ? 0 : whole - taken));
        };
        f.run(body());
        BOOST_TEST(failed(r, closed ? kind::shut_down : kind::cancelled,
                          taken == 0 ? certainty::not_sent : certainty::maybe_executed));
        strings expected{"lamp", "no answer"};
        if (taken < whole) expected = {"not whole"};
        if (taken == 0) expected = closed ? strings{"not begun"} : strings{};
        BOOST_TEST(told.all == expected, each);
        BOOST_TEST((told.waited == (taken == whole ? 2ms : 0ms)));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_call_behind_a_whole_frame_is_withdrawn_until_its_first_byte_has_left) {
  for (std::size_t const more : {0U, 1U}) {
    BOOST_TEST_CONTEXT(more) {
      one_end f;
      f.wire.take_nothing();
      f.wire.take(frame_bytes("first") + more);
      auto body = [&]() -> task<> {
        environment& env = co_await cleat::this_chain::environment;
        reply first = unasked();
        reply second = unasked();
        scope beside{env};
        scope victim{env};
        beside.spawn(f.ask("first", first));
        victim.spawn(f.ask("second", second));
        co_await f.pause();
        victim.cancel();
        co_await victim.join();
        BOOST_TEST(failed(second, kind::cancelled,
                          more == 0 ? certainty::not_sent : certainty::maybe_executed));
        f.wire.take(hand_stream::wire::all);
        co_await f.pause();
        BOOST_TEST(f.heard() == (more == 0 ? strings{"first"} : strings{"first", "second"}), each);
        f.answer(0);
        co_await beside.join();
        BOOST_TEST(first.has_value());
      };
      f.run(body());
    }
  }
}

BOOST_AUTO_TEST_CASE(a_place_that_a_call_gave_up_goes_to_the_next_at_once) {
  for (std::string const how : {"cancelled", "expired", "unreadable", "answered"}) {
    for (bool const sent : {true, false}) {
      if (!sent && (how == "unreadable" || how == "answered")) continue;
      BOOST_TEST_CONTEXT(how << (sent ? ", sent" : ", not sent")) {
        cleat::session_options options;
        options.calls_max = 1;
        one_end f{options};
        if (!sent) f.wire.take_nothing();
        auto body = [&]() -> task<> {
          environment& env = co_await cleat::this_chain::environment;
          reply first = unasked();
          reply second = unasked();
          scope beside{env};
          scope victim{env};
          victim.spawn(f.ask("first", first, how == "expired" ? 10ms : 5s));
          beside.spawn(f.ask("second", second));
          co_await f.pause(10ms - 1ns);
          BOOST_TEST(f.heard() == (sent ? strings{"first"} : strings{}), each);
          if (how == "cancelled") victim.cancel();
          if (how == "unreadable") {
            std::string frame = framed(message::ack(f.messages().at(0), true));
            frame.replace(frame.find("ack"), 3, "???");
            f.wire.say(frame);
          }
          if (how == "answered") f.answer(0);
          co_await f.pause(1ns);
          co_await hops(5);
          BOOST_TEST(f.s.pending() == 1U);
          if (sent) {
            BOOST_TEST(f.heard() == (strings{"first", "second"}), each);
          } else {
            BOOST_TEST(f.s.outbound_bytes() == frame_bytes("second"));
          }
          f.s.close();
          co_await beside.join();
          co_await victim.join();
          BOOST_TEST(first.has_value() == (how == "answered"));
        };
        f.run(body());
        BOOST_TEST((f.time.elapsed() < 11ms));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(who_asks_again_with_its_answer_goes_behind_those_that_wait) {
  cleat::session_options options;
  options.calls_max = 1;
  one_end f{options};
  auto body = [&]() -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    reply waited = unasked();
    auto twice = [&]() -> task<> {
      for (std::string const device : {"first", "again"}) {
        reply r = unasked();
        co_await f.ask(device, r);
        BOOST_TEST(r.has_value());
      }
    };
    scope beside{env};
    beside.spawn(twice());
    beside.spawn(f.ask("second", waited));
    for (std::size_t i = 0; i < 3; ++i) {
      co_await f.pause();
      f.answer(i);
    }
    co_await beside.join();
    BOOST_TEST(f.heard() == (strings{"first", "second", "again"}), each);
  };
  f.run(body());
}

BOOST_AUTO_TEST_CASE(a_paused_reader_goes_on_when_a_withdrawal_makes_room) {
  for (bool const cancelled : {true, false}) {
    BOOST_TEST_CONTEXT(cancelled) {
      cleat::session_options options;
      options.outbound_bytes_max = frame_bytes("victim") - 1;
      one_end f{options};
      f.wire.take_nothing();
      std::size_t heard = 0;
      f.s.respond = [&](message const&) { ++heard; };
      auto body = [&]() -> task<> {
        environment& env = co_await cleat::this_chain::environment;
        reply r = unasked();
        scope victim{env};
        victim.spawn(f.ask("victim", r, cancelled ? 5s : 10ms));
        f.wire.say(framed(a_push("one")));
        co_await f.pause(1ms);
        f.wire.say(framed(a_push("two")));
        co_await f.pause(9ms - 1ns);
        BOOST_TEST(heard == 1U);  // read when it came, and then it paused
        if (cancelled) victim.cancel();
        co_await f.pause(1ns);
        co_await victim.join();
        co_await hops(5);
        BOOST_TEST(heard == 2U);
        BOOST_TEST((f.time.elapsed() == 10ms));
      };
      f.run(body());
    }
  }
}

BOOST_AUTO_TEST_CASE(who_reads_on_beside_a_waiting_reader_goes_on_when_a_withdrawal_makes_room) {
  // What came before the first request is read before it is sent, and that was more than a turn.
  cleat::session_options options;
  options.frames_per_turn_max = 1;
  options.outbound_bytes_max = frame_bytes("victim") - 1;
  one_end f{options,
            protocol{toggle::protocol_options{false, cleat::f00d_options{cleat::unframed::ack}}}};
  f.wire.take_nothing();
  std::size_t heard = 0;
  f.s.respond = [&](message const&) { ++heard; };
  auto body = [&]() -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    reply r = unasked();
    scope victim{env};
    f.wire.say(framed(a_push("one")) + framed(a_push("two")) + framed(a_push("three")));
    victim.spawn(f.ask("victim", r));
    co_await f.pause(1ms);
    BOOST_TEST(heard == 1U);
    victim.cancel();
    co_await victim.join();
    co_await f.pause();
    BOOST_TEST(heard == 3U);
  };
  f.run(body());
}

BOOST_AUTO_TEST_CASE(calls_that_wait_for_room_leave_as_the_peer_takes_bytes) {
  cleat::session_options options;
  options.outbound_bytes_max = 2 * frame_bytes("lamp");
  for (std::size_t const at_a_time : {std::size_t{1}, std::size_t{50}, hand_stream::wire::all}) {
    BOOST_TEST_CONTEXT(at_a_time) {
      one_end f{options};
      f.wire.take_nothing();
      auto body = [&]() -> task<> {
        environment& env = co_await cleat::this_chain::environment;
        std::vector<reply> replies(10, unasked());
        scope beside{env};
        for (reply& r : replies) beside.spawn(f.ask("lamp", r));
        for (int n = 0; n < 2000 && f.heard().size() < replies.size(); ++n) {
          f.wire.take(at_a_time);
          co_await f.pause();
        }
        BOOST_TEST(f.heard().size() == replies.size());
        beside.cancel();
        co_await beside.join();
      };
      f.run(body());
    }
  }
}

BOOST_AUTO_TEST_CASE(calls_that_waited_before_it_runs_leave_when_it_does) {
  cleat::session_options options;
  options.outbound_bytes_max = 2 * frame_bytes("lamp");
  one_end f{options};
  f.wire.take_nothing();
  auto body = [&]() -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    std::vector<reply> replies(10, unasked());
    scope beside{env};
    for (reply& r : replies) beside.spawn(f.ask("lamp", r));
    f.wire.take(hand_stream::wire::all);
    scope running{env};
    running.spawn(f.run_it());
    co_await f.pause();
    BOOST_TEST(f.heard().size() == replies.size());
    f.s.close();
    co_await beside.join();
    co_await running.join();
  };
  f.time.run(body());
}

BOOST_AUTO_TEST_CASE(bounds_its_outbound_bytes_to_the_byte) {
  std::size_t const frame = frame_bytes("lamp");
  for (std::size_t const less : {0U, 1U}) {
    BOOST_TEST_CONTEXT(less) {
      // Calls take half of it: another one is staged while at most half is.
      {
        cleat::session_options options;
        options.outbound_bytes_max = 2 * frame - less;
        one_end f{options};
        f.wire.take_nothing();
        auto body = [&]() -> task<> {
          environment& env = co_await cleat::this_chain::environment;
          std::vector<reply> replies(4, unasked());
          scope beside{env};
          for (reply& r : replies) beside.spawn(f.ask("lamp", r));
          co_await f.pause();
          BOOST_TEST(f.s.outbound_bytes() == (2 - less) * frame);
          beside.cancel();
          co_await beside.join();
        };
        f.run(body());
      }
      // Beyond all of it nothing more is read; beyond twice as much nothing more is staged.
      cleat::session_options options;
      options.outbound_bytes_max = frame - less;
      one_end f{options};
      f.wire.take_nothing();
      std::size_t heard = 0;
      f.s.respond = [&](message const&) { ++heard; };
      auto body = [&]() -> task<> {
        BOOST_TEST(f.s.send(a_push("lamp")).has_value());
        f.wire.say(framed(a_push("one")));
        co_await f.pause();
        f.wire.say(framed(a_push("two")));
        co_await f.pause();
        BOOST_TEST(heard == 2U - less);
        BOOST_TEST(f.s.send(a_push("lamp")).has_value());
        BOOST_TEST(f.s.send(a_push("lamp")).has_value() == (less == 0));
        auto const refused = f.s.send(a_push("lamp"));
        BOOST_TEST((!refused && refused.error().why() == kind::overloaded &&
                    refused.error().sure() == certainty::not_sent));
        BOOST_TEST(f.s.outbound_bytes() == (3 - less) * frame);
        f.wire.take(hand_stream::wire::all);
        co_await f.pause();
        BOOST_TEST(heard == 2U);
      };
      f.run(body());
    }
  }
}

BOOST_AUTO_TEST_CASE(bounds_calls_under_way_and_calls_that_wait_exactly) {
  cleat::session_options options;
  options.calls_max = 2;
  options.waiting_max = 3;
  one_end f{options};
  auto body = [&]() -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    std::vector<reply> replies(6, unasked());
    scope beside{env};
    for (reply& r : replies) beside.spawn(f.ask("lamp", r));
    co_await f.pause();
    BOOST_TEST(f.heard().size() == 2U);
    BOOST_TEST(f.s.pending() == 5U);
    BOOST_TEST(failed(replies[5], kind::overloaded, certainty::not_sent));
    for (std::size_t i = 0; i < 5; ++i) {
      f.answer(i);
      co_await f.pause();
      BOOST_TEST(f.heard().size() == std::min<std::size_t>(5, 3 + i));
      BOOST_TEST(replies[i].has_value());
    }
    co_await beside.join();
  };
  f.run(body());
}

BOOST_AUTO_TEST_CASE(serves_so_many_requests_at_once_and_not_one_more) {
  for (bool const together : {true, false}) {
    BOOST_TEST_CONTEXT(together) {
      cleat::session_options options;
      options.requests_max = 3;
      one_end f{options};
      cleat::event one_may_end;
      std::size_t served = 0;
      f.s.serve = [&](message m) -> task<result<message>> {
        if (++served == 1) static_cast<void>(co_await one_may_end.wait());
        while (served > 1 && m.device_id->view() != "first") {
          auto const slept = co_await cleat::sleep_until(f.time.now() + 1h);
          if (!slept) break;
        }
        co_return message::ack(m, true);
      };
      auto body = [&]() -> task<> {
        auto ask = [&](strings devices) -> task<> {
          std::string all;
          for (std::string const& device : devices) {
            all += framed(a_push(device));
            if (together) continue;
            f.wire.say(std::exchange(all, {}));
            co_await f.pause();
          }
          f.wire.say(all);
          co_await f.pause();
        };
        strings const three{"first", "second", "third"};
        strings const fourth{"fourth"};
        strings const fifth{"fifth"};
        co_await ask(three);
        BOOST_TEST(served == 3U);
        BOOST_TEST(!f.s.ended());
        one_may_end.set();
        co_await f.pause();
        BOOST_TEST(f.heard().size() == 1U);
        co_await ask(fourth);  // there is a place for it again
        BOOST_TEST(served == 4U);
        BOOST_TEST(!f.s.ended());
        co_await ask(fifth);
        BOOST_TEST(served == 4U);
        BOOST_TEST(f.s.ended());
      };
      f.run(body());
      BOOST_REQUIRE(f.why.has_value());
      BOOST_TEST((f.why->why() == kind::overloaded));
      BOOST_TEST(f.why->detail() == "the peer asks too much at once");
    }
  }
}

BOOST_AUTO_TEST_CASE(keeps_so_many_pushes_and_bytes_of_pushes_exactly) {
  std::size_t const frame = frame_bytes("a");
  for (std::size_t const less : {0U, 1U}) {
    BOOST_TEST_CONTEXT(less) {
      auto const kept = [](cleat::session_options const& options) {
        one_end f{options};
        std::string got;
        auto body = [&]() -> task<> {
          f.wire.say(framed(a_push("a")) + framed(a_push("b")) + framed(a_push("c")));
          co_await f.pause();
          for (;;) {
            auto const m = co_await f.s.next_push(f.time.now());
            if (!m) break;
            got += m->device_id->view();
          }
        };
        f.run(body());
        return got;
      };
      cleat::session_options count;
      count.pushes_max = 3 - less;
      BOOST_TEST(kept(count) == (less == 0 ? "abc" : "bc"));
      cleat::session_options bytes;
      bytes.pushes_bytes_max = 3 * frame - less;
      BOOST_TEST(kept(bytes) == (less == 0 ? "abc" : "bc"));
      cleat::session_options one;
      one.pushes_bytes_max = frame - less;
      BOOST_TEST(kept(one) == (less == 0 ? "c" : ""));
      cleat::session_options none;
      none.pushes_max = 1 - less;
      BOOST_TEST(kept(none) == (less == 0 ? "c" : ""));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_peer_may_leave_so_many_requests_unanswered_and_not_one_more) {
  cleat::session_options options;
  options.unanswered_max = 2;
  one_end f{options};
  auto body = [&]() -> task<> {
    for (std::size_t i = 1; i <= 3; ++i) {
      reply r = unasked();
      co_await f.ask("lamp", r, 1ms);
      BOOST_TEST(failed(r, kind::timed_out, certainty::maybe_executed));
      BOOST_TEST(f.s.ended() == (i == 3));
      if (i < 3) BOOST_TEST(f.s.unanswered() == i);
    }
  };
  f.run(body());
  BOOST_REQUIRE(f.why.has_value());
  BOOST_TEST(f.why->detail() == "the peer left too many requests unanswered");
}

BOOST_AUTO_TEST_CASE(a_late_answer_frees_what_its_request_had_taken) {
  cleat::session_options options;
  options.unanswered_max = 1;
  one_end f{options};
  auto body = [&]() -> task<> {
    for (std::size_t i = 0; i < 5; ++i) {
      reply r = unasked();
      co_await f.ask("lamp", r, 1ms);
      BOOST_TEST(f.s.unanswered() == 1U);
      f.answer(i);
      co_await f.pause();
      BOOST_TEST(f.s.unanswered() == 0U);
    }
    BOOST_TEST(!f.s.ended());
  };
  f.run(body());
}

BOOST_AUTO_TEST_CASE(a_turn_is_so_many_frames_or_so_many_bytes_to_the_end_of_a_frame) {
  std::size_t const frame = frame_bytes("x");
  struct turn {
    std::size_t frames_max;
    std::size_t bytes_max;
    std::size_t frames;
  };
  std::size_t const many = 1000;
  for (turn const t : {turn{3, many * frame, 3}, turn{1, many * frame, 1}, turn{0, many * frame, 1},
                       turn{many, 2 * frame, 2}, turn{many, 2 * frame + 1, 3}, turn{many, 0, 1},
                       turn{4, 4 * frame, 4}}) {
    BOOST_TEST_CONTEXT(t.frames_max << " frames, " << t.bytes_max << " bytes") {
      cleat::session_options options;
      options.frames_per_turn_max = t.frames_max;
      options.bytes_per_turn_max = t.bytes_max;
      one_end f{options};
      std::vector<std::size_t> turns;
      std::size_t since = 0;
      f.s.respond = [&](message const&) {
        if (since++ == 0) {
          asio::post(f.time.context, [&] { turns.push_back(std::exchange(since, 0)); });
        }
      };
      auto body = [&]() -> task<> {
        std::string all;
        for (int i = 0; i < 10; ++i) all += framed(a_push("x"));
        f.wire.say(all);
        co_await f.pause();
      };
      f.run(body());
      std::vector<std::size_t> expected(10 / t.frames, t.frames);
      if (10 % t.frames != 0) expected.push_back(10 % t.frames);
      BOOST_TEST(turns == expected, each);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_peer_that_takes_nothing_is_given_up_so_long_after_its_last_byte) {
  cleat::session_options options;
  options.write_stall_max = 20ms;
  one_end f{options};
  f.wire.take_nothing();
  auto body = [&]() -> task<> {
    BOOST_TEST(f.s.send(a_push("lamp")).has_value());
    for (int i = 0; i < 3; ++i) {
      co_await f.pause(20ms - 1ns);
      BOOST_TEST(!f.s.ended());
      f.wire.take(1);
      co_await hops(5);
    }
    co_await f.pause(1s);
  };
  f.run(body());
  BOOST_TEST((f.ended_at == 3 * (20ms - 1ns) + 20ms));
  BOOST_REQUIRE(f.why.has_value());
  BOOST_TEST(f.why->detail() == "the peer takes no bytes");
}

BOOST_AUTO_TEST_CASE(a_peer_is_watched_again_when_more_waits_behind_a_withdrawn_call) {
  cleat::session_options options;
  options.write_stall_max = 20ms;
  one_end f{options};
  f.wire.take_nothing();
  auto body = [&]() -> task<> {
    reply r = unasked();
    co_await f.ask("lamp", r, 10ms);  // alone, and taken back
    BOOST_TEST(f.s.outbound_bytes() == 0U);
    co_await f.pause(40ms);
    BOOST_TEST(!f.s.ended());
    BOOST_TEST(f.s.send(a_push("lamp")).has_value());
    co_await f.pause(1s);
  };
  f.run(body());
  BOOST_TEST((f.ended_at == 70ms));
}

BOOST_AUTO_TEST_CASE(calls_end_at_their_deadlines_in_whatever_order_these_come) {
  cleat::session_options options;
  options.calls_max = 3;  // two of them wait for a place
  one_end f{options};
  auto body = [&]() -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    std::vector<std::chrono::nanoseconds> at;
    auto ask = [&](std::chrono::nanoseconds limit) -> task<> {
      reply r = unasked();
      co_await f.ask("lamp", r, limit);
      BOOST_TEST((!r && r.error().why() == kind::timed_out));
      BOOST_TEST((f.time.elapsed() == limit));
      at.push_back(f.time.elapsed());
    };
    scope beside{env};
    for (auto const limit : {30ms, 20ms, 50ms, 10ms, 15ms}) beside.spawn(ask(limit));
    co_await beside.join();
    BOOST_TEST(at.size() == 5U);
    reply r = unasked();
    co_await f.ask("lamp", r, 0ms);
    BOOST_TEST(failed(r, kind::timed_out, certainty::not_sent));
  };
  f.run(body());
}

BOOST_AUTO_TEST_CASE(who_waits_for_a_push_goes_on_with_it_or_with_the_end) {
  cleat::session_options options;
  options.stray_frames_max = 1;  // what somebody waits for is of use
  one_end f{options};
  auto body = [&]() -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    strings got;
    auto waits = [&]() -> task<> {
      for (;;) {
        auto const m = co_await f.s.next_push();
        got.emplace_back(m ? m->device_id->view() : to_string(m.error().why()));
        if (!m) break;
      }
    };
    scope beside{env};
    beside.spawn(waits());
    co_await f.pause();
    f.wire.say(framed(a_push("one")));
    co_await f.pause();
    BOOST_TEST(got == strings{"one"}, each);
    f.wire.end(failure{kind::reset});
    co_await f.pause();
    BOOST_TEST(got == (strings{"one", "reset"}), each);
    co_await beside.join();
  };
  f.run(body());
}

BOOST_AUTO_TEST_CASE(a_stream_that_cannot_be_waited_for_ends_the_session) {
  for (bool const writing : {false, true}) {
    BOOST_TEST_CONTEXT("writing " << writing) {
      one_end f;
      if (writing) f.wire.take_nothing();
      auto body = [&]() -> task<> {
        environment& env = co_await cleat::this_chain::environment;
        scope beside{env};
        reply r = unasked();
        beside.spawn(f.ask("lamp", r));
        co_await f.pause();
        if (writing) {
          f.wire.fail_writable(failure{kind::reset});
        } else {
          f.wire.fail_readable(failure{kind::reset});
        }
        co_await f.pause();
        BOOST_TEST(f.s.ended());
        co_await beside.join();
        BOOST_TEST(
            failed(r, kind::reset, writing ? certainty::not_sent : certainty::maybe_executed));
      };
      f.run(body());
    }
  }
}

BOOST_AUTO_TEST_CASE(who_half_closes_gets_what_it_asked_for_and_then_the_end) {
  for (std::string const how : {"answered", "late", "not taken", "taken"}) {
    BOOST_TEST_CONTEXT(how) {
      cleat::session_options options;
      options.half_closed_max = 100ms;
      one_end f{options};
      f.s.serve = [&](message m) -> task<result<message>> {
        auto const slept = co_await cleat::sleep_until(f.time.now() + (how == "late" ? 1s : 10ms));
        if (!slept) co_return slept.error();
        co_return message::ack(m, true);
      };
      if (how == "not taken" || how == "taken") f.wire.take_nothing();
      auto body = [&]() -> task<> {
        environment& env = co_await cleat::this_chain::environment;
        scope beside{env};
        reply ours = unasked();
        result<message> push = failure{kind::invalid};
        auto waits = [&]() -> task<> { push = co_await f.s.next_push(); };
        if (how == "answered") beside.spawn(f.ask("ours", ours));
        beside.spawn(waits());
        co_await f.pause();
        f.wire.say(framed(a_push("lamp")));
        f.wire.end(failure{kind::closed});
        co_await f.pause();
        // Nobody on our side waits any longer for what cannot come.
        BOOST_TEST(!f.s.ended());
        BOOST_TEST(!f.s.takes_calls());
        BOOST_TEST((!push && push.error().why() == kind::closed));
        if (how == "answered") BOOST_TEST(failed(ours, kind::closed, certainty::maybe_executed));
        reply later = unasked();
        co_await f.ask("later", later);
        BOOST_TEST(failed(later, kind::closed, certainty::not_sent));
        co_await f.pause(50ms);
        if (how == "taken") f.wire.take(hand_stream::wire::all);
        co_await f.pause(1s);
        co_await beside.join();
      };
      f.run(body());
      BOOST_REQUIRE(f.why.has_value());
      BOOST_TEST((f.why->why() == kind::closed));
      bool const whole = how == "answered" || how == "taken";
      strings const heard = f.heard();
      BOOST_TEST((std::count(heard.begin(), heard.end(), "lamp") == (whole ? 1 : 0)));
      auto const at = how == "answered" ? 10ms : how == "taken" ? 50ms : 100ms;
      BOOST_TEST((f.ended_at >= at && f.ended_at < at + 10us));
    }
  }
}

BOOST_AUTO_TEST_CASE(an_answer_counts_from_the_first_byte_of_its_request_on) {
  for (std::size_t const taken : {0U, 1U}) {
    BOOST_TEST_CONTEXT(taken) {
      one_end f;
      auto body = [&]() -> task<> {
        environment& env = co_await cleat::this_chain::environment;
        reply first = unasked();
        reply second = unasked();
        scope beside{env};
        beside.spawn(f.ask("lamp", first));
        co_await f.pause();
        message guessed = f.messages().at(0);  // its number, and what follows it
        auto const number = std::stoull(std::string{guessed.msg_id.view()}, nullptr, 16) + 1;
        guessed.msg_id = cleat::hex16(number).view();
        f.wire.take_nothing();
        f.wire.take(taken);
        beside.spawn(f.ask("lamp", second));
        f.wire.say(framed(message::ack(guessed, true)));
        co_await f.pause();
        BOOST_TEST(second.has_value() == (taken == 1));
        f.s.close();
        co_await beside.join();
      };
      f.run(body());
    }
  }
}

BOOST_AUTO_TEST_CASE(closing_hands_over_what_a_handler_has_just_staged) {
  one_end f;
  f.s.respond = [&](message const& m) {
    BOOST_TEST(f.s.send(message::ack(m, true)).has_value());
    f.s.close();
  };
  auto body = [&]() -> task<> {
    f.wire.say(framed(a_push("lamp")));
    co_await f.pause();
    BOOST_TEST(f.s.ended());
    BOOST_TEST(f.wire.is_closed());
  };
  f.run(body());
  BOOST_TEST(f.heard() == strings{"lamp"}, each);
}

BOOST_AUTO_TEST_CASE(an_answer_that_cannot_be_written_is_told_of_and_harms_nobody) {
  sent_frames told;
  cleat::session_options options;
  options.events = &told;
  one_end f{options};
  f.s.serve = [](message m) -> task<result<message>> {
    message answer = message::ack(m, true);
    if (m.device_id->view() == "bad") answer.outcome = std::string(100'000, 'x');
    co_return answer;
  };
  auto body = [&]() -> task<> {
    f.wire.say(framed(a_push("bad")) + framed(a_push("good")));
    co_await f.pause();
    BOOST_TEST(!f.s.ended());
  };
  f.run(body());
  BOOST_TEST(told.all == (strings{"not whole", "good"}), each);
}

BOOST_AUTO_TEST_CASE(a_session_that_is_cancelled_while_it_waits_for_anything_is_shut_down) {
  for (std::string const waits : {"to read", "for room", "for its answers"}) {
    BOOST_TEST_CONTEXT(waits) {
      cleat::session_options options;
      options.outbound_bytes_max = 10;
      one_end f{options};
      f.wire.take_nothing();
      f.s.serve = [&](message) -> task<result<message>> {
        auto const slept = co_await cleat::sleep_until(f.time.now() + 1h);
        co_return slept.error();
      };
      auto body = [&]() -> task<> {
        environment& env = co_await cleat::this_chain::environment;
        scope running{env};
        if (waits == "for room") BOOST_TEST(f.s.send(a_push("lamp")).has_value());
        running.spawn(f.run_it());
        if (waits == "for its answers") {
          f.wire.say(framed(a_push("lamp")));
          f.wire.end(failure{kind::closed});
        }
        co_await f.pause(1ms);
        BOOST_TEST(!f.s.ended());
        running.cancel();
        co_await running.join();
      };
      f.time.run(body());
      BOOST_REQUIRE(f.why.has_value());
      BOOST_TEST((f.why->why() == kind::shut_down));
      BOOST_TEST((f.ended_at == 1ms));
    }
  }
}

BOOST_AUTO_TEST_CASE(numbers_that_are_awaited_are_passed_over_and_a_call_without_one_is_refused) {
  one_end<two_numbers> f;
  auto body = [&]() -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    std::vector<reply> replies(5, unasked());
    scope beside{env};
    for (std::size_t i = 0; i < 3; ++i) beside.spawn(f.ask("lamp", replies[i]));
    co_await f.pause();
    BOOST_TEST(failed(replies[2], kind::overloaded, certainty::not_sent));
    BOOST_TEST(!f.s.ended());
    f.answer(0);
    co_await f.pause();
    BOOST_TEST(replies[0].has_value());
    for (std::size_t i = 3; i < 5; ++i) {  // the other number is in use all the time
      beside.spawn(f.ask("lamp", replies[i]));
      co_await f.pause();
      f.answer(i - 1);
      co_await f.pause();
      BOOST_TEST(replies[i].has_value());
    }
    f.answer(1);
    co_await beside.join();
    BOOST_TEST(replies[1].has_value());
  };
  f.run(body());
}

BOOST_AUTO_TEST_CASE(frames_of_a_long_backlog_are_told_with_their_own_bytes) {
  sent_frames told;
  cleat::session_options options;
  options.events = &told;
  for (std::size_t const at_first : {std::size_t{1}, std::size_t{70'001}, std::size_t{70'050}}) {
    told.all.clear();
    one_end f{options};
    f.wire.take_nothing();
    auto body = [&]() -> task<> {
      environment& env = co_await cleat::this_chain::environment;
      std::vector<reply> replies(500, unasked());
      scope beside{env};
      for (reply& r : replies) {
        beside.spawn(f.ask("lamp", r, 5s, &told));
        BOOST_TEST(f.s.send(a_push("lamp")).has_value());
      }
      f.wire.take(at_first);
      co_await f.pause();
      f.wire.take(hand_stream::wire::all);
      co_await f.pause();
      BOOST_TEST(told.all == f.heard(), each);
      BOOST_TEST(told.all.size() == 1000U);
      beside.cancel();
      co_await beside.join();
    };
    f.run(body());
  }
}

BOOST_AUTO_TEST_CASE(who_half_closes_gets_what_was_said_by_the_reader_itself) {
  one_end f;
  f.wire.take_nothing();
  f.s.respond = [&](message const& m) { BOOST_TEST(f.s.send(message::ack(m, true)).has_value()); };
  auto body = [&]() -> task<> {
    f.wire.say(framed(a_push("lamp")));
    f.wire.end(failure{kind::closed});
    co_await f.pause(1ms);
    BOOST_TEST(!f.s.ended());
    f.wire.take(hand_stream::wire::all);
    co_await f.pause();
    BOOST_TEST(f.s.ended());
  };
  f.run(body());
  BOOST_TEST(f.heard() == strings{"lamp"}, each);
}

BOOST_AUTO_TEST_CASE(who_only_asks_ends_at_once_when_the_peer_says_nothing_more) {
  one_end f;
  f.wire.take_nothing();
  auto body = [&]() -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    reply r = unasked();
    scope beside{env};
    beside.spawn(f.ask("lamp", r));
    co_await f.pause();
    f.wire.end(failure{kind::closed});
    co_await beside.join();
    co_await f.pause();
    BOOST_TEST(failed(r, kind::closed, certainty::not_sent));
    BOOST_TEST(f.s.ended());
  };
  f.run(body());
}

BOOST_AUTO_TEST_CASE(a_request_on_which_respond_closes_is_not_served) {
  one_end f;
  int served = 0;
  f.s.respond = [&](message const&) { f.s.close(); };
  f.s.serve = [&](message m) -> task<result<message>> {
    ++served;
    co_return message::ack(m, true);
  };
  auto body = [&]() -> task<> {
    f.wire.say(framed(message::turn("lamp", "0123456789abcdef", true)));
    co_await f.pause();
    BOOST_TEST(f.s.ended());
    BOOST_TEST(served == 0);
  };
  f.run(body());
}

BOOST_AUTO_TEST_CASE(an_answer_is_told_with_what_it_means) {
  class answers final : public cleat::event_table {
   public:
    answers() {
      set_self(this);
      set<cleat::frame_received>([](void const* self, cleat::frame_received const& e) noexcept {
        static_cast<answers const*>(self)->all.emplace_back(
            e.error == nullptr ? "success" : std::string{to_string(e.error->why())});
      });
    }
    mutable strings all;
  };
  answers told;
  one_end f;
  auto body = [&]() -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    for (bool const refuses : {false, true}) {
      reply r = unasked();
      scope beside{env};
      beside.spawn(f.ask("lamp", r, 5s, &told));
      co_await f.pause();
      message const q = f.messages().back();
      f.wire.say(framed(refuses ? message::nack(q, "no") : message::ack(q, true)));
      co_await beside.join();
      BOOST_TEST(r.has_value() == !refuses);
    }
  };
  f.run(body());
  BOOST_TEST(told.all == (strings{"success", "rejected"}), each);
}

BOOST_AUTO_TEST_CASE(its_end_is_told_once_with_its_peer_and_its_reason) {
  class ends final : public cleat::event_table {
   public:
    ends() {
      set_self(this);
      set<cleat::session_ended>([](void const* self, cleat::session_ended const& e) noexcept {
        static_cast<ends const*>(self)->all.emplace_back(std::string{e.peer} + ": " +
                                                         std::string{to_string(e.why.why())});
      });
    }
    mutable strings all;
  };
  ends told;
  cleat::session_options options;
  options.events = &told;
  options.peer = "lamp";
  one_end f{options};
  auto body = [&]() -> task<> {
    f.wire.end(failure{kind::reset});
    co_await f.pause();
    BOOST_TEST(told.all == strings{"lamp: reset"}, each);
  };
  f.run(body());  // and closes it once more
  BOOST_TEST(told.all.size() == 1U);
}

namespace {

/// Throws in the middle of a frame.
class throws_half_way : public protocol {
 public:
  throws_half_way() noexcept : protocol() {}
  [[nodiscard]] result<void> encode(message const& m, cleat::byte_buffer& out) const {
    auto const done = protocol::encode(m, out);
    if (m.device_id->view() == "bad") throw std::runtime_error{"no"};
    return done;
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_protocol_that_throws_leaves_no_half_frame) {
  one_end<throws_half_way> f;
  f.wire.take_nothing();
  auto body = [&]() -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    reply first = unasked();
    reply bad = unasked();
    scope beside{env};
    beside.spawn(f.ask("first", first));
    co_await f.ask("bad", bad);
    BOOST_TEST(failed(bad, kind::invalid, certainty::not_sent));
    BOOST_TEST(f.s.outbound_bytes() == frame_bytes("first"));
    f.wire.take(hand_stream::wire::all);
    co_await f.pause();
    f.answer(0);
    co_await beside.join();
    BOOST_TEST(first.has_value());
  };
  f.run(body());
}

#define BOOST_TEST_MODULE session
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

#include <map>
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
  auto nobody_reads = [&](asio::io_context& context) -> task<> {
    auto [near, far] = cleat::memory_pair(context.get_executor(), pipe);
    session client{std::move(near), protocol{}, options};
    environment& env = co_await cleat::this_chain::environment;
    auto& time = cleat::clock::of(env.executor());
    auto ask = [&](std::chrono::nanoseconds limit) -> task<> {
      cleat::call c{context.get_executor()};
      c.tighten(c.now() + limit);
      static_cast<void>((co_await client.call(request::turn("DEVICE123", true), c)).has_value());
    };
    scope beside{env};
    beside.spawn(run_one(client));
    beside.spawn(ask(1h));   // fills the pipe
    beside.spawn(ask(1ms));  // waits behind it, and is taken back
    auto const slept = co_await cleat::sleep_until(time.now() + 60ms);
    BOOST_TEST(slept.has_value());
    BOOST_TEST(!client.ended());
    client.close();
    co_await beside.join();
  };
  asio::io_context context;
  auto done = cleat::spawn(context.get_executor(), nobody_reads(context), asio::use_future);
  context.run();
  done.get();
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

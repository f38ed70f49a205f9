#define BOOST_TEST_MODULE stray_frames
// What a session makes of frames that are of no use: the peer is a stream that is written by hand.
#include <cleat/base/spawn.hpp>
#include <cleat/observe/observe.hpp>
#include <cleat/session/session.hpp>
#include <cleat/sim/world.hpp>
#include <cleat/transport/memory.hpp>
#include <toggle/protocol.hpp>

#include <boost/test/unit_test.hpp>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

using cleat::bytes_view;
using cleat::certainty;
using cleat::environment;
using cleat::failure;
using cleat::kind;
using cleat::memory_stream;
using cleat::result;
using cleat::scope;
using cleat::session_options;
using cleat::task;
using cleat::sim::world;
using toggle::message;
using toggle::protocol;
using toggle::request;
using namespace std::chrono_literals;

namespace {

using session = cleat::session<protocol, memory_stream>;
using reply = result<toggle::response>;

/// Counts what it is told, and what of it is left to a summary.
class witness {
 public:
  using listens_to =
      cleat::event_list<cleat::frame_received, cleat::decode_failed, cleat::push_dropped,
                        cleat::frames_passed_over, cleat::answer_missing, cleat::session_ended>;

  void on(cleat::frame_received const& e) noexcept {
    if (missing) ++frames_after_the_call;
    count(e.summed, e.as == cleat::verdict::unmatched || e.as == cleat::verdict::request);
  }
  void on(cleat::decode_failed const& e) noexcept {
    with_a_call += e.of != nullptr ? 1U : 0U;
    count(e.summed, true);
  }
  void on(cleat::push_dropped const& e) noexcept {
    summed_drops += e.summed ? 1U : 0U;
    ++drops;
  }
  void on(cleat::frames_passed_over const& e) noexcept {
    summaries.push_back(e.more);
    peer = e.peer;
  }
  void on(cleat::answer_missing const&) noexcept {
    missing = true;
    if (when_missing) when_missing();
  }
  void on(cleat::session_ended const& e) noexcept {
    end = e.why.message();
    summaries_at_the_end = summaries.size();
  }

  std::size_t told = 0;
  std::size_t summed = 0;
  std::size_t with_a_call = 0;
  std::size_t drops = 0;
  std::size_t summed_drops = 0;
  std::size_t frames_after_the_call = 0;
  std::size_t summaries_at_the_end = 0;
  std::vector<std::uint64_t> summaries;
  std::string peer;
  std::string end;
  bool missing = false;
  std::function<void()> when_missing;

 private:
  void count(bool is_summed, bool stray) {
    if (stray) ++(is_summed ? summed : told);
  }
};

std::string framed(std::string_view payload) {
  std::string out;
  cleat::byte_buffer frame;
  cleat::append(frame, cleat::detail::f00d_header(payload.size()));
  cleat::append(frame, payload);
  return std::string{cleat::as_text(frame)};
}
std::string framed(message const& m) {
  cleat::byte_buffer frame;
  BOOST_REQUIRE(protocol{}.encode(m, frame));
  return std::string{cleat::as_text(frame)};
}
std::string times(std::size_t n, std::string const& s) {
  std::string out;
  for (std::size_t i = 0; i < n; ++i) out += s;
  return out;
}

std::string const stray = framed(message::ack(message::status("lamp", "0123456789abcdef"), true));

task<> run_one(session& s) { static_cast<void>(co_await s.run()); }

class fixture {
 public:
  explicit fixture(session_options options = {}, cleat::unframed mode = cleat::unframed::refuse,
                   std::size_t pipe_bytes = 16U << 20U)
      : ends(cleat::memory_pair(time.executor(), pipe(pipe_bytes))),
        client(std::move(ends.first),
               protocol{toggle::protocol_options{false, cleat::f00d_options{mode}}},
               watched(options)) {}

  void run(task<> body) {
    auto all = [](fixture& f, task<> b) -> task<> {
      environment& env = co_await cleat::this_chain::environment;
      scope beside{env};
      beside.spawn(run_one(f.client));
      co_await std::move(b);
      f.client.close();
      co_await beside.join();
    };
    time.run(all(*this, std::move(body)));
    BOOST_TEST(client.pending() == 0U);
  }

  void says(std::string_view bytes) {
    bytes_view const all = cleat::as_bytes(bytes);
    static_cast<void>(ends.second.write(std::span{&all, 1}));
  }
  /// The request that came last.
  message heard() {
    cleat::byte_buffer bytes(4096);
    auto const n = ends.second.read(bytes);
    BOOST_REQUIRE(n.has_value());
    auto d = protocol{}.decode(bytes_view{bytes}.first(*n));
    BOOST_REQUIRE(d.has_item() != nullptr);
    return d.has_item()->message;
  }
  /// Asks, lets the peer do this with the request, and gives the answer.
  template <class F>
  reply asks(F peer, std::chrono::nanoseconds limit = 5s) {
    reply got{failure{kind::invalid}};
    auto body = [](fixture& f, F& answers, std::chrono::nanoseconds most, reply& into) -> task<> {
      environment& env = co_await cleat::this_chain::environment;
      scope beside{env};
      beside.spawn(f.ask(into, most));
      co_await pause(f.time, 1ms);
      co_await answers(f.heard());
      co_await beside.join();
    };
    run(body(*this, peer, limit, got));
    return got;
  }
  task<> ask(reply& into, std::chrono::nanoseconds limit) {
    cleat::call c = time.new_call();
    c.tighten(c.now() + limit);
    c.events = &events;
    into = co_await client.call(request::turn("lamp", true), c);
  }
  static task<> pause(world& w, std::chrono::nanoseconds d) {
    static_cast<void>(co_await cleat::sleep_until(w.now() + d));
  }
  task<> pause(std::chrono::nanoseconds d) { return pause(time, d); }

  world time{1};
  witness seen;
  cleat::tee<witness> events{seen};
  std::pair<memory_stream, memory_stream> ends;
  session client;

 private:
  static memory_stream::options pipe(std::size_t bytes) {
    memory_stream::options o;
    o.buffer_bytes_max = bytes;
    return o;
  }
  session_options watched(session_options o) {
    o.events = &events;
    o.peer = "DEVICE123";
    return o;
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(passes_over_what_is_not_the_answer_and_takes_the_answer_behind_it) {
  for (std::string const& first :
       {std::string{}, framed(""), framed("{"), framed("\x01\xFF"), framed("[]"), framed("null"),
        framed(R"({"opcode":"heartbeat","device_id":"lamp"})"),
        framed(R"({"opcode":"event","x":1})"), framed(R"({"opcode":"ack","state":true})"),
        framed(R"({"opcode":"ack","msg_id":7})"),
        framed(R"({"opcode":"flash","msg_id":"0123456789abcdef"})"), stray, times(500, stray),
        framed(message::turn("lamp", "0123456789abcdef", false))}) {
    BOOST_TEST_CONTEXT(first) {
      fixture f;
      auto const r = f.asks([&](message q) -> task<> {
        f.says(first);
        co_await f.pause(50ms);
        f.says(framed(message::ack(q, true)));
      });
      BOOST_REQUIRE(r.has_value());
      BOOST_TEST((r->state == true));
      BOOST_TEST(f.seen.told == (first.empty() ? 0U : first.size() > 10'000 ? 10U : 1U));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_frame_that_cannot_be_read_and_bears_our_number_fails_the_call) {
  fixture f;
  auto const r = f.asks([&](message q) -> task<> {
    f.says(framed(R"({"opcode":"flash","msg_id":")" + std::string{q.msg_id.view()} + "\"}"));
    co_return;
  });
  BOOST_REQUIRE(!r.has_value());
  BOOST_TEST((r.error().why() == kind::malformed));
  BOOST_TEST((r.error().sure() == certainty::maybe_executed));
  BOOST_TEST((f.time.elapsed() == 1ms));
}

BOOST_AUTO_TEST_CASE(a_call_that_times_out_says_that_frames_were_passed_over) {
  fixture f;
  auto const r = f.asks([&](message) -> task<> {
    f.says(framed("") + stray);
    co_return;
  });
  BOOST_REQUIRE(!r.has_value());
  BOOST_TEST(r.error().message() ==
             "timed out (passed over 2 stray frames); the peer may have acted");
  BOOST_TEST((f.time.elapsed() == 5s));

  fixture silent;
  auto const none = silent.asks([](message) -> task<> { co_return; });
  BOOST_REQUIRE(!none.has_value());
  BOOST_TEST(none.error().message() == "timed out; the peer may have acted");
}

BOOST_AUTO_TEST_CASE(a_frame_that_cannot_be_read_is_told_with_the_call_if_there_is_exactly_one) {
  for (std::size_t const calls : {0U, 1U, 2U}) {
    for (bool const behind_one_that_was_given_up : {false, true}) {
      fixture f;
      auto body = [&]() -> task<> {
        environment& env = co_await cleat::this_chain::environment;
        scope beside{env};
        std::vector<reply> replies(3, reply{failure{kind::invalid}});
        if (behind_one_that_was_given_up) co_await f.ask(replies[2], 1ms);
        for (std::size_t i = 0; i < calls; ++i) beside.spawn(f.ask(replies[i], 1s));
        co_await f.pause(1ms);
        f.says(framed(""));
        co_await beside.join();
        co_await f.pause(1ms);
      };
      f.run(body());
      BOOST_TEST(f.seen.told == 1U);
      BOOST_TEST(f.seen.with_a_call == (calls == 1 ? 1U : 0U));
    }
  }
}

BOOST_AUTO_TEST_CASE(an_answer_with_our_number_that_names_another_device_is_an_answer) {
  fixture f;
  auto const r = f.asks([&](message q) -> task<> {
    q.device_id = "another";
    f.says(framed(message::ack(q, true)));
    co_return;
  });
  BOOST_REQUIRE(r.has_value());
  BOOST_TEST(r->device_id.view() == "another");
}

BOOST_AUTO_TEST_CASE(what_came_before_the_request_does_not_answer_it) {
  for (std::string const& first : {std::string{"ACK"}, std::string{"ACKACK"}}) {
    fixture f{{}, cleat::unframed::ack};
    f.says(first);
    reply r{failure{kind::invalid}};
    f.run(f.ask(r, 5s));
    BOOST_REQUIRE(!r.has_value());
    BOOST_TEST((r.error().why() == kind::timed_out));
    BOOST_TEST(f.seen.told == first.size() / 3);
  }
  fixture f{{}, cleat::unframed::ack};
  auto const r = f.asks([&](message) -> task<> {
    f.says("ACK");
    co_return;
  });
  BOOST_TEST((r && !r->framed));
}

BOOST_AUTO_TEST_CASE(a_request_beyond_the_outbound_limit_waits_for_its_peer_without_turning_over) {
  session_options tight;
  tight.outbound_bytes_max = 8;
  fixture f{tight, cleat::unframed::ack, 16};
  f.says("ACK");
  auto body = [](fixture& fx) -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    scope beside{env};
    reply r{failure{kind::invalid}};
    beside.spawn(fx.ask(r, 5s));
    co_await fx.pause(1s);
    BOOST_TEST(fx.seen.told == 1U);  // what came before the request did not answer it
    co_await beside.join();
    BOOST_REQUIRE(!r.has_value());
    BOOST_TEST((r.error().why() == kind::timed_out));
  };
  f.run(body(f));
}

BOOST_AUTO_TEST_CASE(an_answer_more_does_not_answer_the_request_that_follows_it) {
  fixture f{{}, cleat::unframed::ack};
  std::vector<bool> answered;
  auto two = [&]() -> task<> {
    for (int i = 0; i < 2; ++i) {
      reply r{failure{kind::invalid}};
      co_await f.ask(r, 5s);
      answered.push_back(r.has_value());
    }
  };
  auto body = [&]() -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    scope beside{env};
    beside.spawn(two());
    co_await f.pause(1ms);
    f.says("ACKACK");  // in one piece
    co_await beside.join();
  };
  f.run(body());
  BOOST_TEST((answered == std::vector<bool>{true, false}));
}

BOOST_AUTO_TEST_CASE(tells_of_ten_and_then_sums_up_once_a_second_and_at_the_end) {
  fixture f;
  auto body = [&]() -> task<> {
    for (int i = 0; i < 25; ++i) {  // four a second
      f.says(stray + framed("") + framed(message::status("lamp", "1")));
      co_await f.pause(250ms);
    }
  };
  f.run(body());
  BOOST_TEST(f.seen.told == 10U);
  BOOST_TEST(f.seen.summed == 65U);
  std::uint64_t sum = 0;
  for (std::uint64_t const more : f.seen.summaries) sum += more;
  BOOST_TEST(sum == 65U);
  BOOST_TEST(f.seen.summaries.size() == 6U);
  BOOST_TEST(f.seen.summaries_at_the_end == 6U);
  BOOST_TEST(f.seen.peer == "DEVICE123");
}

BOOST_AUTO_TEST_CASE(sums_up_nothing_at_the_end_when_each_was_told) {
  fixture f;
  auto body = [&]() -> task<> {
    f.says(times(10, stray));
    co_await f.pause(1ms);
  };
  f.run(body());
  BOOST_TEST(f.seen.told == 10U);
  BOOST_TEST(f.seen.summaries.empty());
}

BOOST_AUTO_TEST_CASE(an_unread_push_that_is_dropped_is_told_of_like_a_stray_frame) {
  session_options options;
  options.pushes_max = 3;
  fixture f{options};
  f.client.respond = [](message const&) {};  // somebody hears them
  auto body = [&]() -> task<> {
    f.says(times(103, framed(message::status("lamp", "1"))));
    co_await f.pause(1ms);
  };
  f.run(body());
  BOOST_TEST(f.seen.drops == 100U);
  BOOST_TEST(f.seen.summed_drops == 90U);
  BOOST_TEST((f.seen.summaries == std::vector<std::uint64_t>{90U}));
}

BOOST_AUTO_TEST_CASE(ten_thousand_stray_frames_in_a_row_end_the_session) {
  fixture f;
  auto const r = f.asks([&](message) -> task<> {
    f.says(times(20'000, stray));
    co_return;
  });
  BOOST_REQUIRE(!r.has_value());
  BOOST_TEST(r.error().message() ==
             "a limit was reached (10000 stray frames in a row); the peer may have acted");
  BOOST_TEST(f.seen.told + f.seen.summed == 10'000U);
  BOOST_TEST((f.seen.summaries == std::vector<std::uint64_t>{9'990U}));
  BOOST_TEST(f.seen.end.find("stray frames in a row") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_frame_of_use_begins_the_row_anew) {
  session_options options;
  options.stray_frames_max = 5;
  for (bool const of_use : {true, false}) {
    fixture f{options};
    f.client.serve = [](message m) -> task<result<message>> { co_return message::ack(m, true); };
    auto body = [&]() -> task<> {
      f.says(times(4, stray) + (of_use ? framed(message::status("lamp", "1")) : std::string{}) +
             times(4, framed("")));
      co_await f.pause(1ms);
      BOOST_TEST(f.client.ended() == !of_use);
    };
    f.run(body());
  }
  options.stray_frames_max = 0;
  fixture f{options};
  auto body = [&]() -> task<> {
    f.says(times(20'000, stray));
    co_await f.pause(1ms);
    BOOST_TEST(!f.client.ended());
  };
  f.run(body());
  BOOST_TEST(f.seen.told + f.seen.summed == 20'000U);
}

BOOST_AUTO_TEST_CASE(an_answer_is_of_use_also_when_nobody_waits_for_it_any_more) {
  session_options options;
  options.stray_frames_max = 5;
  for (bool const late : {false, true}) {
    fixture f{options};
    auto body = [&]() -> task<> {
      environment& env = co_await cleat::this_chain::environment;
      scope beside{env};
      reply r{failure{kind::invalid}};
      beside.spawn(f.ask(r, 10ms));
      co_await f.pause(1ms);
      message const q = f.heard();
      co_await f.pause(late ? 20ms : 1ms);
      f.says(times(4, stray) + framed(message::ack(q, true)) + times(4, stray));
      co_await beside.join();
      co_await f.pause(1ms);
      BOOST_TEST(r.has_value() == !late);
      BOOST_TEST(!f.client.ended());
    };
    f.run(body());
  }
}

BOOST_AUTO_TEST_CASE(decodes_nothing_more_once_the_only_call_has_ended) {
  for (bool const ends : {true, false}) {
    session_options options;
    options.ends_with_call = ends;
    options.stray_frames_max = 0;
    fixture f{options};
    // Before the caller can close it, the reader is woken.
    f.seen.when_missing = [&] { f.says(times(1000, stray)); };
    auto const r = f.asks([](message) -> task<> { co_return; }, 10ms);
    BOOST_TEST((!r && r.error().why() == kind::timed_out));
    BOOST_TEST(f.seen.missing);
    BOOST_TEST((f.seen.frames_after_the_call == 0U) == ends);
  }
}

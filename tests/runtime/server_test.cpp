#define BOOST_TEST_MODULE server
#include "../support/hand_time.hpp"

#include <cleat/base/spawn.hpp>
#include <cleat/runtime/server.hpp>
#include <cleat/session/session.hpp>
#include <toggle/protocol.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using cleat::any_stream;
using cleat::bytes_view;
using cleat::failure;
using cleat::kind;
using cleat::server;
using cleat::task;
using cleat::test::hand_time;
using namespace std::chrono_literals;

namespace {

using socket_type = asio::ip::tcp::socket;

/// Sends back what it receives, until the end.
task<> echo(any_stream s) {
  std::byte b{};
  for (;;) {
    auto const ready = co_await s.readable();
    if (!ready) co_return;
    auto const n = s.read(std::span{&b, 1});
    if (!n) co_return;
    bytes_view const one{&b, *n};
    static_cast<void>(s.write(std::span{&one, 1}));  // a byte always has room here
  }
}

/// A server on a loopback port and its clients, which are plain sockets.
class fixture {
 public:
  explicit fixture(server::handler serve = echo, std::size_t connections_max = 100)
      : it(listening(time.context), std::move(serve), connections_max) {
    auto done = [this](std::exception_ptr e, failure f) {
      thrown = e;
      ended.emplace(f);
    };
    cleat::spawn(time.context.get_executor(), it.run(),
                 asio::bind_cancellation_slot(signal.slot(), done));
    time.poll();
  }
  ~fixture() {
    it.stop();
    run_until_ended();
  }

  socket_type connect() {
    socket_type s{others};
    s.connect({asio::ip::address_v4::loopback(), it.port()});
    return s;
  }
  void run_until_connections(std::size_t n) {
    time.run_until([&] { return it.connections() == n; });
  }
  void run_until_ended() {
    time.run_until([&] { return ended.has_value(); });
    BOOST_TEST(it.connections() == 0U);
    BOOST_TEST(cleat::chain_count(time.context) == 0U);
  }
  /// Whether this connection is served: a byte comes back.
  void answers(socket_type& s) {
    asio::write(s, asio::buffer("x", 1));
    s.non_blocking(true);
    char c = 0;
    boost::system::error_code code;
    time.run_until([&] {
      return s.read_some(asio::buffer(&c, 1), code) == 1 || code != asio::error::would_block;
    });
    BOOST_TEST(c == 'x');
    s.non_blocking(false);
  }
  /// Whether the server has closed this connection, once it has ended.
  static bool is_closed(socket_type& s) {
    char c = 0;
    boost::system::error_code code;
    return s.read_some(asio::buffer(&c, 1), code) == 0 && code.failed();
  }

  asio::cancellation_signal signal;
  hand_time time;
  server it;
  std::optional<failure> ended;
  std::exception_ptr thrown;
  asio::io_context others;

 private:
  static cleat::any_listener listening(asio::io_context& context) {
    auto const executor = context.get_executor();
    return std::move(cleat::network::of(executor).listen(executor, "127.0.0.1", 0)).value();
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(says_where_it_listens) {
  fixture f;
  BOOST_TEST(f.it.port() != 0U);
  BOOST_TEST(f.it.address() == "127.0.0.1:" + std::to_string(f.it.port()));
}

BOOST_AUTO_TEST_CASE(serves_connections_beside_each_other_and_forgets_those_that_end) {
  fixture f;
  auto a = f.connect();
  auto b = f.connect();
  f.answers(b);
  f.answers(a);
  BOOST_TEST(f.it.connections() == 2U);
  a.close();
  f.run_until_connections(1);
  f.answers(b);
}

BOOST_AUTO_TEST_CASE(stops_at_once_with_connections_open_and_closes_them) {
  fixture f;
  std::vector<socket_type> open;
  for (int i = 0; i < 5; ++i) open.push_back(f.connect());
  f.run_until_connections(5);
  f.it.stop();
  f.run_until_ended();
  BOOST_TEST((f.ended->why() == kind::shut_down));
  for (auto& s : open) BOOST_TEST(fixture::is_closed(s));
}

BOOST_AUTO_TEST_CASE(stops_with_its_chain_and_says_that_it_was_cancelled) {
  fixture f;
  auto open = f.connect();
  f.run_until_connections(1);
  f.signal.emit(asio::cancellation_type::terminal);
  f.run_until_ended();
  BOOST_TEST((f.ended->why() == kind::cancelled));
  BOOST_TEST(fixture::is_closed(open));
}

BOOST_AUTO_TEST_CASE(waits_for_a_handler_that_cleans_up) {
  bool cleaned = false;
  auto serve = [&](any_stream s) -> task<> {
    static_cast<void>(co_await s.readable());
    auto const guard = co_await cleat::this_chain::shield;
    auto& time = cleat::clock::of(co_await cleat::this_chain::executor);
    static_cast<void>(co_await cleat::sleep_until(time.now() + 1h));
    cleaned = true;
  };
  fixture f{serve};
  auto open = f.connect();
  f.run_until_connections(1);
  f.it.stop();
  f.time.poll();
  BOOST_TEST(!f.ended.has_value());
  f.time.advance(1h);
  f.run_until_ended();
  BOOST_TEST(cleaned);
}

BOOST_AUTO_TEST_CASE(stopped_before_it_runs_it_ends_at_once) {
  hand_time time;
  auto const executor = time.context.get_executor();
  auto l = cleat::network::of(executor).listen(executor, "127.0.0.1", 0);
  BOOST_REQUIRE(l.has_value());
  server s{std::move(*l), echo};
  s.stop();
  std::optional<failure> ended;
  cleat::spawn(executor, s.run(), [&](std::exception_ptr, failure f) { ended = f; });
  time.poll();
  BOOST_TEST((ended && ended->why() == kind::shut_down));
}

BOOST_AUTO_TEST_CASE(accepts_no_more_than_its_limit_until_one_ends) {
  fixture f{echo, 2};
  auto a = f.connect();
  auto b = f.connect();
  f.answers(a);
  f.answers(b);
  auto c = f.connect();  // the kernel takes it
  asio::write(c, asio::buffer("x", 1));
  f.time.poll();
  f.answers(a);
  BOOST_TEST(f.it.connections() == 2U);
  c.non_blocking(true);
  char got = 0;
  boost::system::error_code code;
  BOOST_TEST(c.read_some(asio::buffer(&got, 1), code) == 0U);
  BOOST_TEST((code == asio::error::would_block));

  b.close();
  f.time.run_until([&] { return c.read_some(asio::buffer(&got, 1), code) == 1; });
  BOOST_TEST(got == 'x');
  BOOST_TEST(f.it.connections() == 2U);
}

BOOST_AUTO_TEST_CASE(stops_and_is_cancelled_at_its_limit_too) {
  for (bool const by_cancelling : {false, true}) {
    fixture f{echo, 1};
    auto a = f.connect();
    f.run_until_connections(1);
    f.time.poll();
    if (by_cancelling) {
      f.signal.emit(asio::cancellation_type::terminal);
    } else {
      f.it.stop();
    }
    f.run_until_ended();
    BOOST_TEST((f.ended->why() == (by_cancelling ? kind::cancelled : kind::shut_down)));
  }
}

BOOST_AUTO_TEST_CASE(goes_on_after_clients_that_break_their_connections) {
  fixture f;
  for (int i = 0; i < 3; ++i) {
    auto s = f.connect();
    if (i % 2 == 0) f.answers(s);
    s.set_option(asio::socket_base::linger(true, 0));
    s.close();  // a reset: after it was accepted, or before
    f.time.poll();
  }
  f.run_until_connections(0);
  auto s = f.connect();
  f.answers(s);
}

BOOST_AUTO_TEST_CASE(gives_back_the_place_of_a_handler_that_throws_and_tells_at_its_end) {
  bool first = true;
  auto serve = [&](any_stream s) -> task<> {
    if (std::exchange(first, false)) throw std::runtime_error("broken");
    co_await echo(std::move(s));
  };
  fixture f{serve, 1};
  auto bad = f.connect();
  auto good = f.connect();
  f.answers(good);
  BOOST_TEST(fixture::is_closed(bad));
  BOOST_TEST(f.it.connections() == 1U);
  f.it.stop();
  f.run_until_ended();
  BOOST_REQUIRE(f.thrown);
  BOOST_CHECK_THROW(std::rethrow_exception(f.thrown), std::runtime_error);
}

namespace {

/// While it lives, this process may open no further file.
class no_descriptors {
 public:
  no_descriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    int const next = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::close(next);
    rlimit none = before_;
    none.rlim_cur = static_cast<rlim_t>(next);  // the lowest that is free
    BOOST_TEST(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  }
  ~no_descriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

}  // namespace

BOOST_AUTO_TEST_CASE(waits_out_a_shortage_of_descriptors) {
  fixture f;
  auto waiting = f.connect();
  auto const start = f.time.now();
  {
    no_descriptors const shortage;
    f.time.run_until([&] { return f.time.clock().next_due() != cleat::never; });
    BOOST_TEST((f.time.clock().next_due() == start + 100ms));
    f.time.advance(100ms);
    f.time.run_until([&] { return f.time.clock().next_due() == start + 200ms; });
  }
  f.time.advance(100ms);
  f.answers(waiting);
}

BOOST_AUTO_TEST_CASE(stopped_after_a_shortage_it_says_that_it_was_shut_down) {
  fixture f;
  auto waiting = f.connect();
  {
    no_descriptors const shortage;
    f.time.run_until([&] { return f.time.clock().next_due() != cleat::never; });
  }
  f.it.stop();
  f.time.advance(100ms);
  f.run_until_ended();
  BOOST_TEST((f.ended->why() == kind::shut_down));
}

BOOST_AUTO_TEST_CASE(who_half_closes_behind_its_requests_gets_their_answers) {
  using session = cleat::session<toggle::protocol, any_stream>;
  using toggle::message;
  enum class way { answered, too_late };
  for (way const how : {way::answered, way::too_late}) {
    hand_time time;
    int asked = 0;
    auto answer = [&](message m) -> task<cleat::result<message>> {
      ++asked;
      auto const slept = co_await cleat::sleep_until(time.now() + 2s);
      if (!slept) co_return slept.error();
      co_return message::ack(m, true);
    };
    std::optional<failure> end;
    auto serve = [&](any_stream s) -> task<> {
      cleat::session_options options;
      options.half_closed_max = how == way::answered ? 3s : 1s;
      session with{std::move(s), toggle::protocol{}, options};
      with.serve = answer;
      end = co_await with.run();
    };
    server it{*cleat::network::of(time.context.get_executor())
                   .listen(time.context.get_executor(), "127.0.0.1", 0),
              serve};
    cleat::spawn(time.context.get_executor(), it.run(), [](std::exception_ptr, failure const&) {});
    asio::io_context elsewhere;
    socket_type client{elsewhere};
    client.connect({asio::ip::make_address_v4("127.0.0.1"), it.port()});
    cleat::byte_buffer ask;
    toggle::protocol const speaks;
    for (std::string_view const id : {"0123456789abcdef", "0123456789abcde0"}) {
      BOOST_TEST(speaks.encode(message::turn("lamp", id, true), ask).has_value());
    }
    asio::write(client, asio::buffer(ask.data(), ask.size()));
    client.shutdown(socket_type::shutdown_send);
    time.run_until([&] { return asked == 2; });
    time.poll();
    for (int i = 0; i < 50 && !end; ++i) {
      time.advance(100ms);
      time.poll();
    }
    std::string got;
    boost::system::error_code code;
    asio::read(client, asio::dynamic_buffer(got), code);
    BOOST_TEST(code == asio::error::eof);
    BOOST_TEST((got.find("cdef") != std::string::npos) == (how == way::answered));
    BOOST_TEST((got.find("cde0") != std::string::npos) == (how == way::answered));
    BOOST_TEST((end && end->why() == kind::closed));
    it.stop();
    time.poll();
  }
}

BOOST_AUTO_TEST_CASE(calls_to_who_half_closes_leave_no_number_taken) {
  using session = cleat::session<toggle::protocol, any_stream>;
  using toggle::message;
  hand_time time;
  session* serving = nullptr;
  std::size_t taken = 99;
  auto answer = [&](message m) -> task<cleat::result<message>> {
    auto const slept = co_await cleat::sleep_until(time.now() + 1s);
    if (!slept) co_return slept.error();
    taken = serving->pending() + serving->unanswered();
    co_return message::ack(m, true);
  };
  int asked = 0;
  auto ask = [](session& of, int& calls) -> task<> {
    cleat::call const c{co_await cleat::this_chain::executor};
    ++calls;
    static_cast<void>(co_await of.call(toggle::request::turn("lamp", true), c));
  };
  auto serve = [&](any_stream s) -> task<> {
    cleat::session_options options;
    options.unanswered_max = 1;
    session with{std::move(s), toggle::protocol{}, options};
    with.serve = answer;
    serving = &with;
    for (int i = 0; i < 3; ++i) cleat::spawn(time.context.get_executor(), ask(with, asked));
    static_cast<void>(co_await with.run());
  };
  server it{*cleat::network::of(time.context.get_executor())
                 .listen(time.context.get_executor(), "127.0.0.1", 0),
            serve};
  cleat::spawn(time.context.get_executor(), it.run(), [](std::exception_ptr, failure const&) {});
  asio::io_context elsewhere;
  socket_type client{elsewhere};
  client.connect({asio::ip::make_address_v4("127.0.0.1"), it.port()});
  time.run_until([&] { return asked == 3; });
  cleat::byte_buffer request;
  toggle::protocol const speaks;
  BOOST_TEST(speaks.encode(message::turn("lamp", "0123456789abcdef", true), request).has_value());
  asio::write(client, asio::buffer(request.data(), request.size()));
  client.shutdown(socket_type::shutdown_send);
  for (int i = 0; i < 100 && taken == 99; ++i) {
    time.poll();
    time.advance(100ms);
  }
  BOOST_TEST(taken == 0U);
  it.stop();
  time.poll();
}

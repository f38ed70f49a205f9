#define BOOST_TEST_MODULE tcp
// Over real loopback sockets, with the system's own name lookup.
#include "../support/full_listener.hpp"
#include "../support/hand_time.hpp"

#include <cleat/base/scope.hpp>
#include <cleat/base/spawn.hpp>
#include <cleat/runtime/block_on.hpp>
#include <cleat/transport/polled_tcp.hpp>
#include <cleat/transport/tcp.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/read.hpp>
#include <boost/test/unit_test.hpp>

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using cleat::any_listener;
using cleat::any_stream;
using cleat::bytes_view;
using cleat::certainty;
using cleat::failure;
using cleat::kind;
using cleat::network;
using cleat::result;
using cleat::task;
using cleat::tcp;
using cleat::tcp_options;
using cleat::tcp_stream;
using cleat::test::full_listener;
using cleat::test::hand_time;
using namespace std::chrono_literals;

namespace {

using socket_type = asio::ip::tcp::socket;

/// Dials, within far more time than it takes.
task<result<any_stream>> dial(tcp peer, cleat::duration limit = 30s) {
  cleat::call c{co_await cleat::this_chain::executor};
  c.tighten(c.now() + limit);
  auto r = co_await peer.dial(c);
  co_return r;
}

failure trouble(task<result<any_stream>> dialling) {
  auto const r = cleat::block_on(std::move(dialling));
  BOOST_REQUIRE(!r.has_value());
  return r.error();
}

result<any_listener> listen(cleat::environment::executor_type const& executor,
                            std::string const& host, std::uint16_t port = 0) {
  return network::of(executor).listen(executor, host, port);
}

task<result<any_stream>> accept(any_listener& l) {
  auto r = co_await l.accept();
  co_return r;
}

task<result<void>> send(any_stream& s, std::string_view text) {
  bytes_view rest = cleat::as_bytes(text);
  while (!rest.empty()) {
    auto const n = s.write(std::span{&rest, 1});
    if (!n) co_return n.error();
    rest = rest.subspan(*n);
    if (rest.empty()) break;
    auto const ready = co_await s.writable();
    if (!ready) co_return ready.error();
  }
  co_return result<void>{};
}

/// Exactly `n` bytes.
task<result<std::string>> receive(any_stream& s, std::size_t n) {
  std::string got(n, '\0');
  std::size_t have = 0;
  while (have < n) {
    auto const ready = co_await s.readable();
    if (!ready) co_return ready.error();
    auto const more = s.read(std::as_writable_bytes(std::span{got}).subspan(have));
    if (!more) co_return more.error();
    have += *more;
  }
  co_return got;
}

/// Bytes there and back between a dialled and an accepted stream; `host` is what is dialled.
void speaks_over(std::string const& listening, std::string const& host) {
  auto body = [](std::string at, std::string to) -> task<> {
    auto const executor = co_await cleat::this_chain::executor;
    auto l = listen(executor, at);
    BOOST_REQUIRE(l.has_value());
    auto [far, near] = co_await cleat::when_all(accept(*l), dial(tcp{to, l->port()}));
    BOOST_REQUIRE(far.has_value());
    BOOST_REQUIRE(near.has_value());
    auto const asked = co_await send(*near, "on?");
    BOOST_TEST(asked.has_value());
    auto const question = co_await receive(*far, 3);
    BOOST_TEST((question && *question == "on?"));
    auto const told = co_await send(*far, "yes");
    BOOST_TEST(told.has_value());
    auto const answer = co_await receive(*near, 3);
    BOOST_TEST((answer && *answer == "yes"));
  };
  cleat::block_on(body(listening, host));
}

bool has_ipv6() {
  asio::io_context context;
  boost::system::error_code code;
  asio::ip::tcp::acceptor a{context};
  if (a.open(asio::ip::tcp::v6(), code)) return false;
  return !a.bind({asio::ip::address_v6::loopback(), 0}, code);
}

/// A port of 127.0.0.1 at which nobody listens.
std::uint16_t closed_port() {
  asio::io_context context;
  asio::ip::tcp::acceptor const a{context, {asio::ip::address_v4::loopback(), 0}};
  return a.local_endpoint().port();
}

bool is_set(int fd, int level, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  BOOST_TEST(::getsockopt(fd, level, option, &value, &size) == 0);
  return value != 0;
}

/// The sockets of this process whose peer is at this port.
std::vector<int> sockets_to(std::uint16_t port) {
  std::vector<int> found;
  for (auto const& entry : std::filesystem::directory_iterator{"/proc/self/fd"}) {
    int const fd = std::stoi(entry.path().filename().string());
    sockaddr_in peer{};
    socklen_t size = sizeof peer;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0 &&
        peer.sin_family == AF_INET && ntohs(peer.sin_port) == port) {
      found.push_back(fd);
    }
  }
  return found;
}

/// Two ends of a connection.
class pair {
 public:
  pair() {
    asio::ip::tcp::acceptor a{context, {asio::ip::address_v4::loopback(), 0}};
    near.connect(a.local_endpoint());
    a.accept(far);
  }
  asio::io_context context;
  socket_type near{context};
  socket_type far{context};
};

}  // namespace

BOOST_AUTO_TEST_CASE(speaks_over_ipv4) { speaks_over("127.0.0.1", "127.0.0.1"); }

BOOST_AUTO_TEST_CASE(speaks_over_ipv6) {
  if (!has_ipv6()) {
    BOOST_TEST_MESSAGE("skipped: this machine has no ::1");
    return;
  }
  speaks_over("::1", "::1");
}

BOOST_AUTO_TEST_CASE(finds_localhost_whichever_family_comes_first) {
  // Where localhost is ::1 first, nobody listens there, and the other address is tried.
  speaks_over("127.0.0.1", "localhost");
}

BOOST_AUTO_TEST_CASE(fails_as_refused_at_once_where_nobody_listens) {
  auto const port = closed_port();
  failure const why = trouble(dial(tcp{"127.0.0.1", port}));
  BOOST_TEST((why.why() == kind::refused));
  BOOST_TEST((why.sure() == certainty::not_sent));
  BOOST_TEST(why.detail() == "127.0.0.1:" + std::to_string(port));
  BOOST_TEST((why.code() == asio::error::connection_refused));
}

BOOST_AUTO_TEST_CASE(fails_as_unresolved_or_at_the_deadline_for_a_name_that_does_not_exist) {
  // The system may ask a server, and the server may not answer.
  failure const why = trouble(dial(tcp{"name.invalid", 9000}, 2s));
  BOOST_TEST((why.why() == kind::unresolved || why.why() == kind::timed_out));
  BOOST_TEST((why.sure() == certainty::not_sent));
  BOOST_TEST(why.detail() == "name.invalid");
}

BOOST_AUTO_TEST_CASE(keeps_its_deadline_where_nobody_answers) {
  full_listener const full;
  hand_time time;
  std::optional<result<any_stream>> outcome;
  auto done = [&](std::exception_ptr, result<any_stream> r) { outcome.emplace(std::move(r)); };
  cleat::spawn(time.context.get_executor(), dial(tcp{"127.0.0.1", full.port()}, 1s), done);
  time.poll();
  time.advance(1s - 1ns);
  time.poll();
  BOOST_TEST(!outcome.has_value());
  time.advance(1ns);
  time.poll();
  BOOST_REQUIRE((outcome && !*outcome));
  failure const& why = outcome->error();
  BOOST_TEST((why.why() == kind::timed_out));
  BOOST_TEST((why.sure() == certainty::not_sent));
  BOOST_TEST(why.detail() == "127.0.0.1:" + std::to_string(full.port()));
  BOOST_TEST(cleat::chain_count(time.context) == 0U);
}

BOOST_AUTO_TEST_CASE(keeps_its_deadline_by_the_machines_own_time_too) {
  full_listener const full;
  failure const why = trouble(dial(tcp{"127.0.0.1", full.port()}, 20ms));
  BOOST_TEST((why.why() == kind::timed_out));
  failure const late = trouble(dial(tcp{"127.0.0.1", full.port()}, -1s));
  BOOST_TEST((late.why() == kind::timed_out));
}

BOOST_AUTO_TEST_CASE(a_cancelled_dial_leaves_nothing_behind) {
  full_listener const full;
  asio::cancellation_signal signal;
  hand_time time;
  std::optional<result<any_stream>> outcome;
  auto done = [&](std::exception_ptr, result<any_stream> r) { outcome.emplace(std::move(r)); };
  cleat::spawn(time.context.get_executor(), dial(tcp{"127.0.0.1", full.port()}),
               asio::bind_cancellation_slot(signal.slot(), done));
  time.poll();
  BOOST_TEST(!outcome.has_value());
  signal.emit(asio::cancellation_type::terminal);
  time.poll();
  BOOST_REQUIRE((outcome && !*outcome));
  BOOST_TEST((outcome->error().why() == kind::cancelled));
  BOOST_TEST((outcome->error().sure() == certainty::not_sent));
  BOOST_TEST(cleat::chain_count(time.context) == 0U);
  BOOST_TEST((time.clock().next_due() == cleat::never));
}

BOOST_AUTO_TEST_CASE(sets_no_delay_and_keep_alive_unless_told_otherwise) {
  for (bool const on : {true, false}) {
    tcp_options options;
    options.no_delay = on;
    options.keep_alive = on;
    pair p;
    int const fd = p.near.native_handle();
    tcp_stream const stream{std::move(p.near), options};
    BOOST_TEST(is_set(fd, IPPROTO_TCP, TCP_NODELAY) == on);
    BOOST_TEST(is_set(fd, SOL_SOCKET, SO_KEEPALIVE) == on);
  }
}

BOOST_AUTO_TEST_CASE(sets_no_delay_and_keep_alive_on_what_it_dials_and_on_what_it_accepts) {
  auto body = []() -> task<> {
    auto l = listen(co_await cleat::this_chain::executor, "127.0.0.1");
    BOOST_REQUIRE(l.has_value());
    auto [far, near] = co_await cleat::when_all(accept(*l), dial(tcp{"127.0.0.1", l->port()}));
    BOOST_REQUIRE((far && near));
    auto const dialled = sockets_to(l->port());
    BOOST_REQUIRE(dialled.size() == 1U);
    sockaddr_in own{};
    socklen_t size = sizeof own;
    BOOST_TEST(::getsockname(dialled[0], reinterpret_cast<sockaddr*>(&own), &size) == 0);
    auto const accepted = sockets_to(ntohs(own.sin_port));
    BOOST_REQUIRE(accepted.size() == 1U);
    for (int const fd : {dialled[0], accepted[0]}) {
      BOOST_TEST(is_set(fd, IPPROTO_TCP, TCP_NODELAY));
      BOOST_TEST(is_set(fd, SOL_SOCKET, SO_KEEPALIVE));
    }
    near->close();
    BOOST_TEST(sockets_to(l->port()).empty());
  };
  cleat::block_on(body());
}

BOOST_AUTO_TEST_CASE(tells_an_orderly_end_from_a_broken_connection_and_from_its_own) {
  std::byte b{};
  {
    pair p;
    tcp_stream stream{std::move(p.near)};
    BOOST_TEST(stream.read(std::span{&b, 1}).value() == 0U);  // nothing yet
    p.far.close();
    auto const r = stream.read(std::span{&b, 1});
    BOOST_TEST((!r && r.error().why() == kind::closed));
  }
  {
    pair p;
    tcp_stream stream{std::move(p.near)};
    p.far.set_option(asio::socket_base::linger(true, 0));
    p.far.close();
    auto const r = stream.read(std::span{&b, 1});
    BOOST_TEST((!r && r.error().why() == kind::reset));
    bytes_view const one{&b, 1};
    auto const w = stream.write(std::span{&one, 1});
    BOOST_TEST((!w && w.error().why() == kind::reset));
  }
  {
    pair p;
    tcp_stream stream{std::move(p.near)};
    stream.close();
    stream.close();
    auto const r = stream.read(std::span{&b, 1});
    BOOST_TEST((!r && r.error().why() == kind::shut_down));
    bytes_view const one{&b, 1};
    auto const w = stream.write(std::span{&one, 1});
    BOOST_TEST((!w && w.error().why() == kind::shut_down));
  }
}

BOOST_AUTO_TEST_CASE(takes_any_number_of_spans_in_their_order) {
  pair p;
  tcp_stream stream{std::move(p.near)};
  std::string text;
  for (int i = 0; i < 100; ++i) text += static_cast<char>('a' + i % 26);
  std::vector<bytes_view> spans;
  for (char const& c : text) spans.push_back(cleat::as_bytes({&c, 1}));
  std::span<bytes_view const> rest{spans};
  while (!rest.empty()) {
    auto const n = stream.write(rest);
    BOOST_REQUIRE(n.has_value());
    BOOST_REQUIRE(*n > 0U);
    rest = rest.subspan(*n);  // a byte each
  }
  stream.close();
  std::string got(200, '\0');
  boost::system::error_code code;
  got.resize(asio::read(p.far, asio::buffer(got), code));
  BOOST_TEST(got == text);
}

BOOST_AUTO_TEST_CASE(names_an_address_as_people_write_it) {
  tcp const name{"lamp.local", 9000};
  tcp const four{"192.0.2.1", 1};
  tcp const six{"2001:db8::1", 65535};
  BOOST_TEST(name.address() == "lamp.local:9000");
  BOOST_TEST(four.address() == "192.0.2.1:1");
  BOOST_TEST(six.address() == "[2001:db8::1]:65535");
}

// ---- listeners -----------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_listener_says_where_it_listens) {
  asio::io_context context;
  auto const l = listen(context.get_executor(), "127.0.0.1");
  BOOST_REQUIRE(l.has_value());
  BOOST_TEST(l->port() != 0U);
  BOOST_TEST(l->address() == "127.0.0.1:" + std::to_string(l->port()));
  if (has_ipv6()) {
    auto const six = listen(context.get_executor(), "::1");
    BOOST_REQUIRE(six.has_value());
    BOOST_TEST(six->address() == "[::1]:" + std::to_string(six->port()));
  }
}

BOOST_AUTO_TEST_CASE(a_port_that_is_taken_is_a_lack_of_resources_and_is_named) {
  asio::io_context context;
  auto const first = listen(context.get_executor(), "127.0.0.1");
  BOOST_REQUIRE(first.has_value());
  auto const second = listen(context.get_executor(), "127.0.0.1", first->port());
  BOOST_REQUIRE(!second.has_value());
  BOOST_TEST((second.error().why() == kind::resources));
  BOOST_TEST((second.error().sure() == certainty::not_sent));
  BOOST_TEST((second.error().code() == asio::error::address_in_use));
  BOOST_TEST(second.error().detail() == "listening on " + first->address());
  BOOST_TEST(second.error().message() ==
             "this machine could not do it: Address already in use (listening on " +
                 first->address() + "); nothing was sent");
}

BOOST_AUTO_TEST_CASE(a_port_is_free_again_as_soon_as_its_listener_is_gone) {
  asio::io_context context;
  std::uint16_t port = 0;
  {
    auto const l = listen(context.get_executor(), "127.0.0.1");
    BOOST_REQUIRE(l.has_value());
    port = l->port();
    socket_type peer{context};
    peer.connect({asio::ip::address_v4::loopback(), port});
  }
  BOOST_TEST(listen(context.get_executor(), "127.0.0.1", port).has_value());
}

BOOST_AUTO_TEST_CASE(listens_on_addresses_and_not_on_names_or_on_others_addresses) {
  asio::io_context context;
  for (auto const* host : {"localhost", "", "192.0.2.1.5", "127.0.0.010", "fe80::1"}) {
    auto const l = listen(context.get_executor(), host);
    BOOST_REQUIRE(!l.has_value());
    BOOST_TEST((l.error().why() == kind::invalid));
    BOOST_TEST((l.error().sure() == certainty::not_sent));
    BOOST_TEST(l.error().detail().starts_with(host));
  }
  auto const l = listen(context.get_executor(), "203.0.113.1");
  BOOST_REQUIRE(!l.has_value());
  BOOST_TEST((l.error().why() == kind::resources));
  BOOST_TEST(l.error().detail() == "listening on 203.0.113.1:0");
}

BOOST_AUTO_TEST_CASE(closing_a_listener_ends_a_wait_and_all_later_ones_as_shut_down) {
  auto body = []() -> task<> {
    cleat::environment& env = co_await cleat::this_chain::environment;
    auto l = listen(env.executor(), "127.0.0.1");
    BOOST_REQUIRE(l.has_value());
    std::optional<result<any_stream>> waited;
    auto wait = [&]() -> task<> {
      auto r = co_await l->accept();
      waited.emplace(std::move(r));
    };
    cleat::scope beside{env};
    beside.spawn(wait());
    BOOST_TEST(!waited.has_value());
    l->close();
    l->close();
    co_await beside.join();
    BOOST_TEST((waited && !*waited && waited->error().why() == kind::shut_down));
    auto const later = co_await l->accept();
    BOOST_TEST((!later && later.error().why() == kind::shut_down));
  };
  cleat::block_on(body());
}

BOOST_AUTO_TEST_CASE(a_cancelled_accept_loses_no_connection) {
  auto body = []() -> task<> {
    cleat::environment& env = co_await cleat::this_chain::environment;
    auto l = listen(env.executor(), "127.0.0.1");
    BOOST_REQUIRE(l.has_value());
    std::optional<result<any_stream>> waited;
    auto wait = [&]() -> task<> {
      auto r = co_await l->accept();
      waited.emplace(std::move(r));
    };
    cleat::scope beside{env};
    beside.spawn(wait());
    beside.cancel();
    co_await beside.join();
    BOOST_TEST((waited && !*waited && waited->error().why() == kind::cancelled));

    auto [far, near] = co_await cleat::when_all(accept(*l), dial(tcp{"127.0.0.1", l->port()}));
    BOOST_TEST((far && near));
  };
  cleat::block_on(body());
}

BOOST_AUTO_TEST_CASE(those_who_listen_sharing_a_port_all_get_connections) {
  // Who gets one is the kernel's choice, by the numbers of the connection: with 256 of them, that
  // one of two gets none is as good as impossible.
  std::array<asio::io_context, 2> loops;
  std::array<int, 2> got{};
  std::vector<any_listener> listeners;
  std::uint16_t port = 0;
  for (auto& loop : loops) {
    auto const executor = loop.get_executor();
    auto l = network::of(executor).listen_sharing(executor, "127.0.0.1", port);
    BOOST_REQUIRE(l.has_value());
    port = l->port();
    listeners.push_back(std::move(*l));
  }
  BOOST_TEST(listeners[0].address() == listeners[1].address());
  auto body = [](any_listener& l, int& n) -> task<> {
    for (;;) {
      auto const stream = co_await l.accept();
      if (!stream) co_return;
      ++n;
    }
  };
  asio::io_context elsewhere;
  for (int sent = 1; sent <= 256; ++sent) {
    socket_type peer{elsewhere};
    peer.connect({asio::ip::address_v4::loopback(), port});
    if (sent == 1) {
      for (std::size_t i = 0; i < 2; ++i)
        cleat::spawn(loops[i].get_executor(), body(listeners[i], got[i]));
    }
    while (got[0] + got[1] < sent) {
      for (auto& loop : loops) loop.poll();
    }
  }
  BOOST_TEST(got[0] > 0);
  BOOST_TEST(got[1] > 0);
  for (std::size_t i = 0; i < 2; ++i) {
    listeners[i].close();
    loops[i].run();
    BOOST_TEST(cleat::chain_count(loops[i]) == 0U);
  }
}

BOOST_AUTO_TEST_CASE(
    nobody_listens_alone_beside_those_who_share_nor_shares_beside_one_who_is_alone) {
  asio::io_context context;
  auto const executor = context.get_executor();
  auto const refused = [](result<any_listener> const& l, std::string const& address) {
    BOOST_REQUIRE(!l.has_value());
    BOOST_TEST((l.error().why() == kind::resources));
    BOOST_TEST((l.error().code() == asio::error::address_in_use));
    BOOST_TEST(l.error().detail() == "listening on " + address);
  };
  auto const shared = network::of(executor).listen_sharing(executor, "127.0.0.1", 0);
  BOOST_REQUIRE(shared.has_value());
  refused(listen(executor, "127.0.0.1", shared->port()), shared->address());

  auto const alone = listen(executor, "127.0.0.1");
  BOOST_REQUIRE(alone.has_value());
  refused(network::of(executor).listen_sharing(executor, "127.0.0.1", alone->port()),
          alone->address());
}

BOOST_AUTO_TEST_CASE(a_connection_that_reached_itself_is_refused_and_gives_its_port_back) {
  asio::io_context context;
  for (auto const* host : {"127.0.0.1", "::1"}) {
    asio::ip::tcp::endpoint const any{asio::ip::make_address(host), 0};
    socket_type alone{context, any.protocol()};
    boost::system::error_code code;
    if (alone.bind(any, code)) continue;  // no IPv6
    auto const own = alone.local_endpoint();
    BOOST_TEST(
        !cleat::detail::reached_itself(alone.native_handle(), own.port()));  // not connected yet
    alone.connect(own);  // a simultaneous open with itself
    BOOST_TEST(cleat::detail::reached_itself(alone.native_handle(), own.port()));

    auto const why = cleat::detail::refused_by_itself(alone.native_handle());
    BOOST_TEST((why.why() == kind::refused));
    alone.close();
    socket_type next{context, any.protocol()};
    next.bind(own, code);
    BOOST_TEST(!code, "the port is still taken: " << code.message());
  }
}

BOOST_AUTO_TEST_CASE(a_connection_to_another_socket_of_this_machine_did_not_reach_itself) {
  asio::io_context context;
  asio::ip::tcp::acceptor listening{context, {asio::ip::make_address("127.0.0.1"), 0}};
  socket_type near{context};
  near.connect(listening.local_endpoint());
  socket_type const far = listening.accept();
  for (socket_type const* s : {&std::as_const(near), &far}) {
    auto const descriptor = const_cast<socket_type*>(s)->native_handle();
    BOOST_TEST(!cleat::detail::reached_itself(descriptor, s->remote_endpoint().port()));
    BOOST_TEST(!cleat::detail::reached_itself(descriptor, s->local_endpoint().port()));
  }
}

#define BOOST_TEST_MODULE transport_kit
// The kit on every transport that there is, on one in forty lines as a stranger would write it, and
// on broken ones that it must reject.
#include <cleat/conformance/transport.hpp>
#include <cleat/runtime/block_on.hpp>
#include <cleat/transport/any_stream.hpp>
#include <cleat/transport/memory.hpp>
#include <cleat/transport/tcp.hpp>

#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace asio = boost::asio;
using cleat::any_stream;
using cleat::bytes_view;
using cleat::environment;
using cleat::failure;
using cleat::kind;
using cleat::memory_stream;
using cleat::result;
using cleat::task;
using cleat::tcp_stream;
using cleat::use_task;

namespace {

/// A transport in forty lines: a Unix socket.
class unix_stream {
 public:
  using socket_type = asio::local::stream_protocol::socket;
  explicit unix_stream(socket_type s) : socket_(std::move(s)) { socket_.non_blocking(true); }

  auto readable() { return socket_.async_wait(socket_type::wait_read, use_task); }
  auto writable() { return socket_.async_wait(socket_type::wait_write, use_task); }
  result<std::size_t> read(std::span<std::byte> into) noexcept {
    boost::system::error_code code;
    std::size_t const n = socket_.read_some(asio::buffer(into.data(), into.size()), code);
    return outcome(code, n);
  }
  result<std::size_t> write(std::span<bytes_view const> gather) noexcept {
    std::size_t all = 0;
    for (bytes_view const b : gather) {
      boost::system::error_code code;
      std::size_t const n = socket_.write_some(asio::buffer(b.data(), b.size()), code);
      if (all == 0 && code) return outcome(code, n);
      all += n;
      if (n < b.size()) break;
    }
    return all;
  }
  void close() noexcept {
    boost::system::error_code ignored;
    socket_.close(ignored);
  }
  [[nodiscard]] environment::executor_type executor() const {
    return const_cast<socket_type&>(socket_).get_executor();
  }

 private:
  static result<std::size_t> outcome(boost::system::error_code code, std::size_t n) {
    if (!code) return n;
    if (code == asio::error::would_block) return std::size_t{0};
    return failure{code};
  }
  socket_type socket_;
};

static_assert(cleat::Transport<unix_stream>);

task<result<std::pair<unix_stream, unix_stream>>> connect_unix() {
  auto const executor = co_await cleat::this_chain::executor;
  unix_stream::socket_type a{executor};
  unix_stream::socket_type b{executor};
  asio::local::connect_pair(a, b);
  co_return std::pair{unix_stream{std::move(a)}, unix_stream{std::move(b)}};
}

task<result<std::pair<tcp_stream, tcp_stream>>> connect_tcp() {
  using protocol = asio::ip::tcp;
  auto const executor = co_await cleat::this_chain::executor;
  protocol::acceptor acceptor{executor, {asio::ip::address_v4::loopback(), 0}};
  protocol::socket a{executor};
  a.connect(acceptor.local_endpoint());
  co_return std::pair{tcp_stream{std::move(a)}, tcp_stream{acceptor.accept()}};
}

memory_stream::options pipe_options;

task<result<std::pair<memory_stream, memory_stream>>> connect_memory() {
  co_return cleat::memory_pair(co_await cleat::this_chain::executor, pipe_options);
}

template <class T>
void conforms(typename cleat::transport_check<T>::connector connect) {
  for (auto const& sentence : cleat::block_on(cleat::check_transport<T>(std::move(connect))))
    BOOST_ERROR(sentence);
}

/// Breaks one promise of a memory stream.
template <class Fault>
class broken_stream {
 public:
  explicit broken_stream(memory_stream s) : stream_(std::move(s)) {}
  task<result<void>> readable() { return fault_.readable(stream_); }
  task<result<void>> writable() { return stream_.writable(); }
  result<std::size_t> read(std::span<std::byte> into) noexcept {
    return fault_.read(stream_, into);
  }
  result<std::size_t> write(std::span<bytes_view const> g) noexcept {
    return fault_.write(stream_, g);
  }
  void close() noexcept { fault_.close(stream_); }
  [[nodiscard]] environment::executor_type executor() const { return stream_.executor(); }

 private:
  memory_stream stream_;
  Fault fault_;
};

struct faultless {
  task<result<void>> readable(memory_stream& s) { return s.readable(); }
  result<std::size_t> read(memory_stream& s, std::span<std::byte> into) { return s.read(into); }
  result<std::size_t> write(memory_stream& s, std::span<bytes_view const> g) { return s.write(g); }
  void close(memory_stream& s) { s.close(); }
};
struct loses_a_byte_when_cancelled : faultless {
  task<result<void>> readable(memory_stream& s) {
    auto r = co_await s.readable();
    bool const cancelled = co_await cleat::this_chain::cancelled;
    if (cancelled) lose = true;
    co_return r;
  }
  result<std::size_t> read(memory_stream& s, std::span<std::byte> into) {
    if (std::exchange(lose, false)) {
      std::byte b{};
      static_cast<void>(s.read(std::span{&b, 1}));
    }
    return s.read(into);
  }
  bool lose = false;
};
struct gathers_backwards : faultless {
  result<std::size_t> write(memory_stream& s, std::span<bytes_view const> g) {
    std::vector<bytes_view> reversed{g.rbegin(), g.rend()};
    return s.write(reversed);
  }
};
struct swallows_the_rest : faultless {
  result<std::size_t> write(memory_stream& s, std::span<bytes_view const> g) {
    auto const n = s.write(g);
    if (!n) return n;
    std::size_t all = 0;
    for (bytes_view const b : g) all += b.size();
    return all;  // says that it took everything
  }
};
struct says_the_end_is_empty : faultless {
  result<std::size_t> read(memory_stream& s, std::span<std::byte> into) {
    auto const n = s.read(into);
    if (!n) return std::size_t{0};
    return n;
  }
};
struct never_closes : faultless {
  void close(memory_stream&) {}
};

template <class Fault>
std::vector<std::string> sentences_about() {
  using broken = broken_stream<Fault>;
  auto connect = []() -> task<result<std::pair<broken, broken>>> {
    auto pair = cleat::memory_pair(co_await cleat::this_chain::executor);
    co_return std::pair{broken{std::move(pair.first)}, broken{std::move(pair.second)}};
  };
  return cleat::block_on(cleat::check_transport<broken>(connect, std::chrono::milliseconds{100}));
}

bool has(std::vector<std::string> const& all, std::string_view part) {
  return std::any_of(all.begin(), all.end(),
                     [&](auto const& s) { return s.find(part) != std::string::npos; });
}

}  // namespace

BOOST_AUTO_TEST_CASE(tcp_conforms) { conforms<tcp_stream>(connect_tcp); }

BOOST_AUTO_TEST_CASE(memory_conforms_with_any_buffer_and_one_byte_at_a_time) {
  for (std::size_t const buffer : {65536U, 100U}) {
    for (std::size_t const reads : {100000U, 1U}) {
      pipe_options.buffer_bytes_max = buffer;
      pipe_options.read_bytes_max = reads;
      conforms<memory_stream>(connect_memory);
    }
  }
  pipe_options = {};
}

BOOST_AUTO_TEST_CASE(any_stream_conforms_over_tcp) {
  auto connect = []() -> task<result<std::pair<any_stream, any_stream>>> {
    auto pair = co_await connect_tcp();
    co_return std::pair{any_stream::of(std::move(pair->first)),
                        any_stream::of(std::move(pair->second))};
  };
  conforms<any_stream>(connect);
}

BOOST_AUTO_TEST_CASE(forty_lines_make_a_transport) { conforms<unix_stream>(connect_unix); }

BOOST_AUTO_TEST_CASE(a_faultless_wrapper_conforms) {
  BOOST_TEST(sentences_about<faultless>().empty());
}

BOOST_AUTO_TEST_CASE(rejects_a_transport_that_loses_a_byte_when_cancelled) {
  BOOST_TEST(has(sentences_about<loses_a_byte_when_cancelled>(), "loses none"));
}

BOOST_AUTO_TEST_CASE(rejects_a_transport_that_changes_the_order_of_a_gather) {
  BOOST_TEST(has(sentences_about<gathers_backwards>(), "in their order"));
}

BOOST_AUTO_TEST_CASE(rejects_a_transport_that_swallows_what_does_not_fit) {
  BOOST_TEST(has(sentences_about<swallows_the_rest>(), "gives 0 when the peer takes nothing"));
}

BOOST_AUTO_TEST_CASE(rejects_a_transport_that_hides_the_end) {
  BOOST_TEST(has(sentences_about<says_the_end_is_empty>(), "at the end of the stream"));
}

BOOST_AUTO_TEST_CASE(rejects_a_transport_that_does_not_close) {
  BOOST_TEST(has(sentences_about<never_closes>(), "after our own close"));
}

// What is not a transport.
static_assert(!cleat::Transport<int>);
static_assert(!cleat::Transport<asio::ip::tcp::socket>);
struct reads_by_waiting : faultless {
  task<result<std::size_t>> read(std::span<std::byte>);
};
static_assert(!cleat::Transport<reads_by_waiting>);

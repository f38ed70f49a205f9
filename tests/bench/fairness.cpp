// Measured by hand: what others suffer while many peers send without a pause. docs/how-to/measure.md.
//
// fairness [PEERS [SECONDS]]: in turns with no flood and with one. The server: PEERS connections send it frames that
// answer nothing, and a client beside them asks it every 5 ms. The client: it has PEERS connections to such peers, each with
// a call that is never answered and ends by its deadline of 100 ms, and asks a good server every 5 ms beside that.

#include <cleat/base/clock.hpp>
#include <cleat/base/spawn.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/runtime/persistent.hpp>
#include <cleat/runtime/run.hpp>
#include <cleat/runtime/server.hpp>
#include <cleat/session/session.hpp>
#include <cleat/transport/network.hpp>
#include <cleat/transport/tcp.hpp>
#include <toggle/protocol.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using cleat::call;
using cleat::result;
using cleat::task;
using namespace std::chrono_literals;
using real = std::chrono::steady_clock;
using ms = std::chrono::duration<double, std::milli>;
namespace asio = boost::asio;

/// 64 KiB of whole frames that answer nothing.
std::vector<std::byte> stray_frames() {
  auto const frame =
      toggle::message::ack(toggle::message::turn("lamp", "0123456789abcdef", true), true);
  cleat::byte_buffer bytes;
  while (bytes.size() < 65536) static_cast<void>(toggle::protocol{}.encode(frame, bytes));
  return {bytes.begin(), bytes.end()};
}

/// Writes stray frames to all its sockets, as fast as they are taken, as long as it lives.
class flooders {
 public:
  explicit flooders(std::vector<int> sockets)
      : sockets_(std::move(sockets)), thread_([this](std::stop_token const& s) { work(s); }) {}

 private:
  void work(std::stop_token const& stopped) {
    auto const bytes = stray_frames();
    std::vector<std::size_t> at(sockets_.size());
    std::vector<pollfd> all;
    for (int s : sockets_) all.push_back({s, POLLOUT, 0});
    std::vector<std::byte> answers(65536);
    while (!stopped.stop_requested()) {
      static_cast<void>(::poll(all.data(), all.size(), 1));
      for (std::size_t i = 0; i < all.size(); ++i) {
        static_cast<void>(::recv(all[i].fd, answers.data(), answers.size(), MSG_DONTWAIT));
        if ((all[i].revents & POLLOUT) == 0) continue;
        auto const n = ::send(all[i].fd, bytes.data() + at[i], bytes.size() - at[i],
                              MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) at[i] = (at[i] + static_cast<std::size_t>(n)) % bytes.size();
      }
    }
  }

  std::vector<int> sockets_;
  std::jthread thread_;
};

class figures {
 public:
  void add(real::duration d) { all_.push_back(d); }
  void print(char const* what) {
    if (all_.empty()) return static_cast<void>(std::printf("%-44s none\n", what));
    std::sort(all_.begin(), all_.end());
    auto const at = [&](double q) {
      return ms{all_[static_cast<std::size_t>(q * static_cast<double>(all_.size() - 1))]}.count();
    };
    std::printf("%-44s %6zu  p50 %7.2f  p99 %7.2f  max %7.2f ms\n", what, all_.size(), at(.5),
                at(.99), at(1));
    all_.clear();
  }

 private:
  std::vector<real::duration> all_;
};

cleat::session_options patient() {
  cleat::session_options o;
  o.stray_frames_max = 0;  // they would be disconnected
  return o;
}

task<> converse(cleat::any_stream stream) {
  cleat::session with{std::move(stream), toggle::protocol{}, patient()};
  with.serve = [](toggle::message m) -> task<result<toggle::message>> {
    co_return toggle::message::ack(m, true);
  };
  static_cast<void>(co_await with.run());
}
task<> serve(cleat::server& s) { static_cast<void>(co_await s.run()); }

/// A server, on the loop that is given.
class shop {
 public:
  explicit shop(asio::io_context& in)
      : server_(*cleat::network::of(in.get_executor()).listen(in.get_executor(), "127.0.0.1", 0),
                converse) {
    cleat::spawn(in.get_executor(), serve(server_));
  }
  [[nodiscard]] std::uint16_t port() const { return server_.port(); }

 private:
  cleat::server server_;
};

/// Asks every 5 ms.
template <class Lamp>
task<> ask_now_and_then(Lamp& lamp, figures& to) {
  auto const executor = co_await cleat::this_chain::executor;
  for (;;) {
    call c{executor};
    c.tighten(c.now() + 10s);
    auto const began = real::now();
    auto const r = co_await lamp(toggle::request::turn("lamp", true), c);
    if (r) to.add(real::now() - began);
    static_cast<void>(co_await cleat::sleep_until(c.now() + 5ms));
  }
}

/// Asks whoever never answers; how late it hears that.
template <class Lamp>
task<> ask_in_vain(Lamp& lamp, figures& to) {
  auto const executor = co_await cleat::this_chain::executor;
  for (;;) {
    call c{executor};
    c.tighten(c.now() + 100ms);
    auto const r = co_await lamp(toggle::request::turn("lamp", true), c);
    if (!r)
      to.add(real::now() - (real::time_point{} + std::chrono::duration_cast<real::duration>(
                                                     c.deadline().time_since_epoch())));
  }
}

void the_server(std::size_t peers, int seconds, bool flood) {
  asio::io_context in{1};
  shop s{in};
  std::jthread loop{[&] { in.run(); }};

  asio::io_context others;
  std::deque<asio::ip::tcp::socket> sockets;
  std::vector<int> raw;
  for (std::size_t i = 0; i < peers; ++i) {
    sockets.emplace_back(others).connect({asio::ip::address_v4::loopback(), s.port()});
    raw.push_back(sockets.back().native_handle());
  }
  std::optional<flooders> all;
  if (flood) all.emplace(raw);

  figures good;
  asio::io_context mine{1};
  auto lamp =
      cleat::deadline(10s) | cleat::persistent<toggle::protocol>(cleat::tcp{"127.0.0.1", s.port()});
  cleat::spawn(mine.get_executor(), ask_now_and_then(lamp, good));
  mine.run_for(std::chrono::seconds{seconds});
  good.print(flood ? "server, flooded: a good client's request"
                   : "server, quiet: a good client's request");
  in.stop();
}

void the_client(std::size_t peers, int seconds, bool flood) {
  asio::io_context good_ones{1};
  shop s{good_ones};
  std::jthread shopkeeper{[&] { good_ones.run(); }};

  asio::io_context others;
  asio::ip::tcp::acceptor door{others, {asio::ip::address_v4::loopback(), 0}};
  door.listen();
  auto const port = door.local_endpoint().port();

  asio::io_context mine{1};
  figures good;
  figures late;
  using lamp = decltype(cleat::persistent<toggle::protocol>(cleat::tcp{"", 0}).with(patient()));
  std::deque<lamp> silent;
  for (std::size_t i = 0; i < peers; ++i) {
    silent.push_back(
        cleat::persistent<toggle::protocol>(cleat::tcp{"127.0.0.1", port}).with(patient()));
    cleat::spawn(mine.get_executor(), ask_in_vain(silent.back(), late));
  }
  auto asked =
      cleat::deadline(10s) | cleat::persistent<toggle::protocol>(cleat::tcp{"127.0.0.1", s.port()});
  cleat::spawn(mine.get_executor(), ask_now_and_then(asked, good));
  mine.run_for(300ms);  // until all are connected

  std::deque<asio::ip::tcp::socket> sockets;
  std::vector<int> raw;
  for (std::size_t i = 0; i < peers; ++i) {
    sockets.push_back(door.accept());
    raw.push_back(sockets.back().native_handle());
  }
  std::optional<flooders> all;
  if (flood) all.emplace(raw);
  mine.run_for(std::chrono::seconds{seconds});
  good.print(flood ? "client, flooded: a request to a good peer"
                   : "client, quiet: a request to a good peer");
  late.print(flood ? "client, flooded: how late a deadline is"
                   : "client, quiet: how late a deadline is");
  good_ones.stop();
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t const peers = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 150;
  int const seconds = argc > 2 ? std::atoi(argv[2]) : 5;
  for (int round = 0; round < 3; ++round) {
    for (bool const flood : {false, true}) the_server(peers, seconds, flood);
    for (bool const flood : {false, true}) the_client(peers, seconds, flood);
  }
}

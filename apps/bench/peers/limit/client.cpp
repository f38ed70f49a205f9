#include "../meter.hpp"
#include "limit.hpp"
#include "message.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace peers {

namespace {

constexpr std::size_t receive_bytes = 256 * std::size_t{1024};

/// A request that waits for its answer.
struct call {
  msg_id id{};
  clock::time_point sent;
};

struct connection {
  int socket = -1;
  std::uint32_t first_call = 0;  // of `window` calls that are this connection's
  std::string rest;              // the beginning of a frame whose end is on its way
};

class client {
 public:
  explicit client(options const& o) : options_(o), meter_(o) {}

  void run() {
    say_and_wait("INIT\n");
    if (options_.reconnects) {
      run_with_a_connection_each();
    } else {
      open_connections();
      meter_.begin();
      // The active ones lie evenly among the others.
      std::size_t const step = connections_.size() / options_.active;
      for (std::uint32_t i = 0; i < options_.active; ++i) start(connections_[i * step], i);
      next_check_ = clock::now() + deadline_check;
      options_.connections == 1 ? run_one() : run_many();
    }
    meter_.finish();
  }

 private:
  // ---- one request at a time ------------------------------------------------------------------

  void run_with_a_connection_each() {
    meter_.begin();
    bool more = true;
    while (more) {
      auto const began = clock::now();
      int const socket = connect();
      ask(socket);
      ::close(socket);
      more = meter_.count(began, clock::now());
    }
  }

  /// Sends a request and waits for its answer.
  void ask(int socket) {
    call c;
    char const* const end = fill(c, 0, clock::now(), out_.data());
    send(socket, out_.data(), end);
    std::size_t have = 0;
    for (;;) {
      have += receive(socket, have, 0);
      found_frame const answer = ack_message.find(in_.data(), have);
      if (answer.bytes > 0) {
        check_id(c, answer.id);
        return;
      }
      if (clock::now() >= c.sent + deadline) fail(no_answer);
    }
  }

  // ---- connections with requests in flight all the time ---------------------------------------

  void open_connections() {
    calls_.resize(std::size_t{options_.active} * options_.window);
    connections_.resize(options_.connections);
    for (connection& c : connections_) {
      c.socket = connect();
      if (options_.connections > 1) ask(c.socket);  // so that each has been used
    }
  }

  /// Sends the first requests of the active connection `number`.
  void start(connection& c, std::uint32_t number) {
    c.first_call = number * options_.window;
    auto const now = clock::now();
    char* out = out_.data();
    for (std::uint32_t i = 0; i < options_.window; ++i) {
      out = fill(calls_[c.first_call + i], c.first_call + i, now, out);
    }
    send(c.socket, out_.data(), out);
  }

  /// Sleeps in `recv`, which comes back in time for the next look at the deadlines.
  void run_one() {
    connection& c = connections_.front();
    for (bool more = true; more;) {
      more = take_answers(c, options_.spins ? MSG_DONTWAIT : 0);
      check_deadlines(clock::now());
    }
  }

  void run_many() {
    int const epoll = ::epoll_create1(0);
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.u64 = i;
      if (::epoll_ctl(epoll, EPOLL_CTL_ADD, connections_[i].socket, &event) != 0) {
        fail_errno("epoll_ctl");
      }
    }
    std::array<epoll_event, 512> events{};
    int const wait_ms = options_.spins ? 0 : static_cast<int>(deadline_check.count());
    for (;;) {
      int const n = ::epoll_wait(epoll, events.data(), static_cast<int>(events.size()), wait_ms);
      for (int i = 0; i < n; ++i) {
        auto const which = events[static_cast<std::size_t>(i)].data.u64;
        if (!take_answers(connections_[which], MSG_DONTWAIT)) return;
      }
      check_deadlines(clock::now());
    }
  }

  /// Matches all answers that have arrived, and sends a new request for each, in one send. False
  /// once there is nothing more to measure.
  bool take_answers(connection& c, int flags) {
    std::size_t const kept = c.rest.copy(in_.data(), c.rest.size());
    std::size_t const received = receive(c.socket, kept, flags);
    if (received == 0) return true;

    auto const now = clock::now();
    char const* at = in_.data();
    char const* const end = at + kept + received;
    char* out = out_.data();
    for (;;) {
      found_frame const answer = ack_message.find(at, static_cast<std::size_t>(end - at));
      if (answer.bytes == 0) break;
      std::uint32_t const number = number_of(c, answer.id);
      call& answered = calls_[number];
      check_id(answered, answer.id);
      if (!meter_.count(answered.sent, now)) return false;
      out = fill(answered, number, now, out);
      at += answer.bytes;
    }
    if (at != end || kept > 0) c.rest.assign(at, end);
    send(c.socket, out_.data(), out);
    return true;
  }

  void check_deadlines(clock::time_point now) {
    if (now < next_check_) return;
    next_check_ = now + deadline_check;
    for (call const& c : calls_) {
      if (now >= c.sent + deadline) fail(no_answer);
    }
  }

  // ---- what both need -------------------------------------------------------------------------

  int connect() const {
    int const socket = ::socket(AF_INET, SOCK_STREAM, 0);
    if (socket < 0) fail_errno("cannot open a socket");
    timeval const to_connect{deadline.count() / 1000, deadline.count() % 1000 * 1000};
    timeval const to_look{0, std::chrono::microseconds{deadline_check}.count()};
    ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &to_connect, sizeof to_connect);
    ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &to_look, sizeof to_look);
    sockaddr_in const address = loopback(options_.port);
    if (::connect(socket, reinterpret_cast<sockaddr const*>(&address), sizeof address) != 0) {
      if (errno == EINPROGRESS) fail("no connection within 1.5 s");
      fail_errno("cannot connect");
    }
    send_without_delay(socket);
    return socket;
  }

  static void send(int socket, char const* begin, char const* end) {
    if (!send_all(socket, begin, static_cast<std::size_t>(end - begin))) {
      fail("the server takes no requests");
    }
  }

  /// Receives behind the first `kept` bytes; 0: nothing came in the time that this may take.
  std::size_t receive(int socket, std::size_t kept, int flags) {
    auto const n = ::recv(socket, in_.data() + kept, in_.size() - kept, flags);
    if (n == 0) fail("the server closed the connection");
    if (n < 0 && errno != EAGAIN && errno != EINTR) fail_errno("cannot receive");
    return n < 0 ? 0 : static_cast<std::size_t>(n);
  }

  /// Makes the request of call `number`, whose msg_id is that number and one never used before.
  char* fill(call& c, std::uint32_t number, clock::time_point now, char* out) {
    c.id = to_msg_id(std::uint64_t{number} << 32U | ++sequence_);
    c.sent = now;
    return toggle_message.write(out, c.id.data());
  }

  [[nodiscard]] std::uint32_t number_of(connection const& c, char const* id) const {
    std::uint32_t number = 0;
    auto const read = std::from_chars(id, id + id_bytes / 2, number, 16);
    bool const whole = read.ec == std::errc{} && read.ptr == id + id_bytes / 2;
    if (!whole || number - c.first_call >= options_.window) fail(nothing_asked);
    return number;
  }

  static void check_id(call const& c, char const* id) {
    if (std::memcmp(c.id.data(), id, id_bytes) != 0) fail(nothing_asked);
  }

  static constexpr char const* nothing_asked = "an answer to what was not asked came";

  options const& options_;
  meter meter_;
  std::uint32_t sequence_ = 0;
  std::vector<connection> connections_;
  std::vector<call> calls_;
  clock::time_point next_check_;
  std::array<char, receive_bytes> in_;
  // As many requests as have answers in `in_`: the shortest answer with a msg_id is a third of one.
  std::array<char, receive_bytes * 4> out_;
};

}  // namespace

void limit_client(options const& o) {
  auto const it = std::make_unique<client>(o);
  it->run();
}

}  // namespace peers

#include <cleat/transport/polled_tcp.hpp>

#include <cleat/transport/tcp.hpp>

#include <boost/asio/error.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace cleat::detail {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

failure of_errno(int number) noexcept {
  return failure{error_code{number, boost::system::system_category()}};
}

/// What a system call moved, or that nothing can be moved yet, or the trouble.
result<std::size_t> moved(ssize_t n) noexcept {
  if (n >= 0) return static_cast<std::size_t>(n);
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return std::size_t{0};
  return of_errno(errno);
}

/// Whether there is nothing to accept any more, and nothing wrong.
bool is_over_already(int number) noexcept {
  return number == EAGAIN || number == EWOULDBLOCK || number == EINTR || number == ECONNABORTED ||
         number == EPROTO;
}

/// Errors are nobody's business here: a connection that is already gone says so at the first read.
void set(int descriptor, tcp_options const& options) noexcept {
  int const on = 1;
  if (options.no_delay) ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (options.keep_alive) ::setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

bool has_peer(int descriptor) noexcept {
  sockaddr_storage peer;
  socklen_t size = sizeof peer;
  return ::getpeername(descriptor, reinterpret_cast<sockaddr*>(&peer), &size) == 0;
}

class polled_stream final : public any_stream::model {
 public:
  explicit polled_stream(poller& with) noexcept : io_(with) {}

  [[nodiscard]] pollable* polled() noexcept override { return &io_; }
  task<result<void>> readable() override { return wait(io_, EPOLLIN); }
  task<result<void>> writable() override { return wait(io_, EPOLLOUT); }

  result<std::size_t> read(std::span<std::byte> into) noexcept override {
    if (into.empty()) return std::size_t{0};
    ssize_t const n = ::recv(io_.descriptor(), into.data(), into.size(), 0);
    if (n == 0) return failure{asio::error::make_error_code(asio::error::eof)};
    return moved(n);
  }
  result<std::size_t> write(std::span<bytes_view const> gather) noexcept override {
    if (gather.size() == 1)
      return moved(::send(io_.descriptor(), gather[0].data(), gather[0].size(), MSG_NOSIGNAL));
    std::array<iovec, 16> spans;
    std::size_t const n = std::min(gather.size(), spans.size());
    for (std::size_t i = 0; i < n; ++i)
      spans[i] = {const_cast<std::byte*>(gather[i].data()), gather[i].size()};
    msghdr message{};
    message.msg_iov = spans.data();
    message.msg_iovlen = n;
    return moved(::sendmsg(io_.descriptor(), &message, MSG_NOSIGNAL));
  }
  void close() noexcept override { io_.close(); }
  [[nodiscard]] environment::executor_type executor() const override { return io_.of().executor(); }

  [[nodiscard]] pollable& io() noexcept { return io_; }

 private:
  static task<result<void>> wait(pollable& io, std::uint32_t what) {
    auto r = co_await ready_wait{io, what};
    co_return r;
  }

  pollable io_;
};

class polled_listener final : public any_listener::model {
 public:
  polled_listener(poller& with, std::string address, std::uint16_t port, int descriptor)
      : io_(with, descriptor), address_(std::move(address)), port_(port) {}

  task<result<any_stream>> accept() override {
    for (;;) {
      auto const ready = co_await ready_wait{io_, EPOLLIN};
      if (!ready) co_return ready.error().with(certainty::not_sent);
      auto accepted = std::make_unique<polled_stream>(io_.of());
      int const descriptor =
          ::accept4(io_.descriptor(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (descriptor >= 0) {
        accepted->io().adopt(descriptor);
        set(descriptor, {});
        co_return any_stream{std::move(accepted)};
      }
      if (!is_over_already(errno)) co_return of_errno(errno).with(certainty::not_sent);
    }
  }
  void close() noexcept override { io_.close(); }
  [[nodiscard]] std::string address() const override { return address_; }
  [[nodiscard]] std::uint16_t port() const override { return port_; }

 private:
  pollable io_;
  std::string address_;
  std::uint16_t port_;
};

/// One of the two ends of a connection, by the system call that tells it.
template <class Ask>
asio::ip::tcp::endpoint end_of(int descriptor, Ask ask) noexcept {
  asio::ip::tcp::endpoint e;
  auto size = static_cast<socklen_t>(e.capacity());
  if (ask(descriptor, e.data(), &size) != 0) return {};
  e.resize(size);
  return e;
}

}  // namespace

bool reached_itself(int descriptor, std::uint16_t dialled_port) noexcept {
  auto const own = end_of(descriptor, ::getsockname);
  return own.port() == dialled_port && own == end_of(descriptor, ::getpeername);
}

failure refused_by_itself(int descriptor) noexcept {
  linger const at_once{1, 0};
  ::setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  return failure{asio::error::make_error_code(asio::error::connection_refused)};
}

task<result<any_stream>> polled_connect(poller& with, asio::ip::tcp::endpoint to,
                                        tcp_options options, time_point deadline) {
  auto const wrong = [&to](failure const& why) {
    return why.with(certainty::not_sent)
        .with_detail(to_address(to.address().to_string(), to.port()));
  };
  auto stream = std::make_unique<polled_stream>(with);
  int const descriptor =
      ::socket(to.protocol().family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
  if (descriptor < 0) co_return wrong(of_errno(errno));
  stream->io().adopt(descriptor);
  set(descriptor, options);
  if (::connect(descriptor, to.data(), static_cast<socklen_t>(to.size())) != 0) {
    if (errno != EINPROGRESS) co_return wrong(of_errno(errno));
    // A peer on this machine has answered by now; only a wait costs the round through the poller.
    while (!has_peer(descriptor)) {
      auto const ready = co_await timed_ready_wait{stream->io(), EPOLLOUT, deadline};
      if (!ready) co_return wrong(ready.error());
      int trouble = 0;
      socklen_t size = sizeof trouble;
      ::getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &trouble, &size);
      if (trouble != 0) co_return wrong(of_errno(trouble));
    }
  }
  if (reached_itself(descriptor, to.port())) co_return wrong(refused_by_itself(descriptor));
  co_return any_stream{std::move(stream)};
}

std::unique_ptr<any_listener::model> polled_listen(poller& with,
                                                   asio::ip::tcp::acceptor listening) {
  error_code ignored;
  auto const at = listening.local_endpoint(ignored);
  auto address = to_address(at.address().to_string(), at.port());
  listening.non_blocking(true, ignored);
  int const descriptor = listening.release(ignored);
  return std::make_unique<polled_listener>(with, std::move(address), at.port(), descriptor);
}

}  // namespace cleat::detail

#pragma once

#include <cleat/transport/any_stream.hpp>
#include <cleat/transport/network.hpp>

#include <boost/asio/ip/tcp.hpp>

#include <cstdint>
#include <string>

namespace cleat {

/// A TCP connection (RFC 9293) as a stream of bytes. Thread safety: use it on its executor.
class tcp_stream {
 public:
  using socket_type = boost::asio::ip::tcp::socket;

  /// Takes over a connected socket and makes it non-blocking.
  explicit tcp_stream(socket_type socket, tcp_options const& options = {});

  auto readable() { return socket_.async_wait(socket_type::wait_read, use_task); }
  result<std::size_t> read(std::span<std::byte> into) noexcept;
  auto writable() { return socket_.async_wait(socket_type::wait_write, use_task); }
  result<std::size_t> write(std::span<bytes_view const> gather) noexcept;
  void close() noexcept;
  [[nodiscard]] environment::executor_type executor() { return socket_.get_executor(); }
  [[nodiscard]] environment::executor_type executor() const {
    return const_cast<socket_type&>(socket_).get_executor();
  }

 private:
  socket_type socket_;
};

static_assert(Transport<tcp_stream>);

/// A peer's TCP address, to be dialled: `tcp{"192.0.2.1", 9000}`, `tcp{"lamp.local", 9000}`,
/// `tcp{"::1", 9000}`.
///
/// Dialling goes through the execution context's `network`, so that a simulation can stand in for
/// it. Names are resolved anew each time; of several addresses the next one is tried beside the
/// others after a quarter of a second, or 10 ms after the one before if one has failed by then
/// (RFC 8305, "happy eyeballs"), so that a dead first one costs little. A host that is neither a name
/// nor an address of one meaning (`host_text`) fails as `invalid`, and a connection that reached
/// itself, since nobody listened there, as `refused`.
class tcp {
 public:
  using stream_type = any_stream;

  tcp(std::string host, std::uint16_t port, tcp_options options = {})
      : host_(std::move(host)), port_(port), options_(options) {}

  [[nodiscard]] task<result<any_stream>> dial(call const& c) const;
  [[nodiscard]] std::string address() const;

 private:
  std::string host_;
  std::uint16_t port_;
  tcp_options options_;
};

static_assert(Dialer<tcp>);

/// `host:port`, with brackets round an IPv6 address.
[[nodiscard]] std::string to_address(std::string_view host, std::uint16_t port);

}  // namespace cleat

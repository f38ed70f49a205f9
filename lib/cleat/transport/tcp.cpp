#include <cleat/transport/tcp.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>

#include <algorithm>
#include <array>

namespace cleat {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

result<std::size_t> outcome(error_code const& code, std::size_t n) noexcept {
  if (!code) return n;
  if (code == asio::error::would_block || code == asio::error::try_again ||
      code == asio::error::interrupted) {
    return std::size_t{0};
  }
  return failure{code};
}

}  // namespace

tcp_stream::tcp_stream(socket_type socket, tcp_options const& options)
    : socket_(std::move(socket)) {
  error_code ignored;  // a connection that is already gone says so at the first read
  socket_.non_blocking(true, ignored);
  if (options.no_delay) socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  if (options.keep_alive) socket_.set_option(asio::socket_base::keep_alive(true), ignored);
}

result<std::size_t> tcp_stream::read(std::span<std::byte> into) noexcept {
  error_code code;
  std::size_t const n = socket_.read_some(asio::buffer(into.data(), into.size()), code);
  return outcome(code, n);
}

result<std::size_t> tcp_stream::write(std::span<bytes_view const> gather) noexcept {
  std::array<asio::const_buffer, 16> spans;
  std::size_t const n = std::min(gather.size(), spans.size());
  for (std::size_t i = 0; i < n; ++i)
    spans[i] = asio::const_buffer{gather[i].data(), gather[i].size()};
  error_code code;
  std::size_t const sent = socket_.write_some(std::span{spans.data(), n}, code);
  return outcome(code, sent);
}

void tcp_stream::close() noexcept {
  error_code ignored;
  socket_.close(ignored);
}

task<result<any_stream>> tcp::dial(call const& c) const {
  auto const deadline = c.deadline();
  auto& net = network::of(co_await this_chain::executor);
  auto got = co_await net.dial(host_, port_, options_, deadline);
  co_return got;
}

std::string tcp::address() const { return to_address(host_, port_); }

std::string to_address(std::string_view host, std::uint16_t port) {
  bool const v6 = host.find(':') != std::string_view::npos;
  std::string out;
  if (v6) out += '[';
  out += host;
  if (v6) out += ']';
  out += ':';
  out += std::to_string(port);
  return out;
}

}  // namespace cleat

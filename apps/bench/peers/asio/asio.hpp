#pragma once

#include "../frame.hpp"
#include "../program.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <stdexcept>
#include <string>

/// Boost.Asio as a competent user writes it by hand: coroutines, a read for the header and one for
/// the body, a write for each message, and a timer that is armed again for each deadline.
namespace peers {

void asio_server(options const& o);
void asio_client(options const& o);

/// Reads a frame and returns its payload.
inline boost::asio::awaitable<std::string> read_frame(boost::asio::ip::tcp::socket& from) {
  namespace asio = boost::asio;
  frame_header header{};
  co_await asio::async_read(from, asio::buffer(header), asio::use_awaitable);
  auto const length = payload_bytes_of(header.data());
  if (!length) throw std::runtime_error{"what came is no frame of this protocol"};
  std::string payload(*length, '\0');
  co_await asio::async_read(from, asio::buffer(payload), asio::use_awaitable);
  co_return payload;
}

}  // namespace peers

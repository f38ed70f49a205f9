#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <cstdint>
#include <string>

namespace cleat::test {

/// An address that swallows connection attempts: its listener accepts nothing and its queue is full, so that the kernel
/// answers nobody any more. On Linux; over loopback, so that it needs no network.
class full_listener {
 public:
  using tcp = boost::asio::ip::tcp;

  explicit full_listener(std::string const& address = "127.0.0.1", std::uint16_t port = 0)
      : acceptor_(context_), filler_(context_) {
    tcp::endpoint const at{boost::asio::ip::make_address(address), port};
    acceptor_.open(at.protocol());
    acceptor_.bind(at);
    acceptor_.listen(0);  // room for one
    filler_.connect(acceptor_.local_endpoint());
  }

  [[nodiscard]] std::uint16_t port() const { return acceptor_.local_endpoint().port(); }

 private:
  boost::asio::io_context context_;
  tcp::acceptor acceptor_;
  tcp::socket filler_;
};

}  // namespace cleat::test

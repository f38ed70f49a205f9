#include "limit.hpp"

#include <cerrno>

#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

namespace peers {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void send_without_delay(int socket) {
  int const on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

bool send_all(int socket, char const* bytes, std::size_t n) {
  while (n > 0) {
    auto const sent = ::send(socket, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      bytes += sent;
      n -= static_cast<std::size_t>(sent);
    } else if (errno == EAGAIN) {
      pollfd writable{socket, POLLOUT, 0};
      if (::poll(&writable, 1, static_cast<int>(deadline.count())) == 0) return false;
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

}  // namespace peers

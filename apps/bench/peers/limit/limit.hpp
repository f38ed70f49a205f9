#pragma once

#include "../program.hpp"

#include <cstddef>
#include <cstdint>

#include <netinet/in.h>

/// What the kernel allows: the least that a server and a client have to do. Bytes are preformatted,
/// no JSON is parsed, and one system call sends all that there is to send.
namespace peers {

void limit_server(options const& o);
void limit_client(options const& o);

[[nodiscard]] sockaddr_in loopback(std::uint16_t port);
void send_without_delay(int socket);

/// Sends everything. A send buffer that is full is waited for, up to the deadline; false if the
/// other side takes no more.
[[nodiscard]] bool send_all(int socket, char const* bytes, std::size_t n);

}  // namespace peers

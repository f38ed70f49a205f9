#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace bench {

/// What one run is to do, in the words of the driver.
class options {
 public:
  std::uint16_t port = 0;
  /// Connections; of these so many have requests under way, evenly spread.
  std::size_t connections = 1;
  std::size_t active = 0;
  /// Requests under way on each active connection.
  std::size_t window = 1;
  /// A connection for each request.
  bool connect_each = false;
  std::chrono::nanoseconds warm = std::chrono::milliseconds{300};
  std::chrono::nanoseconds measure = std::chrono::seconds{1};
  std::uint64_t requests_max = UINT64_MAX;
  /// A deadline on a session, and nothing else: no retry, no observers.
  bool bare = false;
  /// Where each packet and call is logged, a JSON object a line; empty: nowhere, and only
  /// what goes wrong is told, on stderr.
  std::string packets;
  /// Before it sleeps, the event loop looks for work this long; zero: it sleeps at once.
  std::chrono::nanoseconds spin{0};
  /// Event loops of the server, one a thread.
  unsigned threads = 1;
};

}  // namespace bench

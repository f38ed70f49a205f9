#pragma once

#include "peers/program.hpp"

#include <chrono>
#include <string>

namespace bench {

/// What one run is to do: the same as any peer's, and how.
class options : public peers::options {
 public:
  /// A deadline on a session, and nothing else: no retry, no observers.
  bool bare = false;
  /// Where each packet and call is logged, a JSON object a line; empty: nowhere, and only
  /// what goes wrong is told, on stderr.
  std::string packets;
  /// Before it sleeps, the event loop looks for work this long; zero: it sleeps at once.
  std::chrono::nanoseconds spin{0};
  /// Event loops of the server, one a thread. With several, what the meter counts is nearly right.
  unsigned threads = 1;
};

}  // namespace bench

#pragma once

#include "peers/program.hpp"

#include <chrono>
#include <string>

namespace bench {

/// What stands on a session, and who hears of it.
enum class stack : unsigned char {
  none,   ///< nothing, and nobody
  three,  ///< metrics, deadline, retry
  six,    ///< metrics, deadline, limit, retry, rate, breaker
  all,    ///< metrics and log, deadline, retry: what the toggler has
};

/// What one run is to do: the same as any peer's, and how.
class options : public peers::options {
 public:
  /// What stands on the client's session. With `all` the server has its observers too.
  stack layers = stack::all;
  /// Where each packet and call is logged, a JSON object a line; empty: nowhere, and only
  /// what goes wrong is told, on stderr.
  std::string packets;
  /// Before it sleeps, the event loop looks for work this long; zero: it sleeps at once.
  std::chrono::nanoseconds spin{0};
  /// Event loops of the server, one a thread. With several, what the meter counts is nearly right.
  unsigned threads = 1;
};

}  // namespace bench

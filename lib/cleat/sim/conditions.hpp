#pragma once

#include <cleat/base/clock.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace cleat::sim {

/// How a simulated network treats what passes through it. All probabilities are 0 at first: a calm network with some
/// latency.
///
/// Only what can happen to TCP: inside one connection no byte is lost, doubled or overtaken.
class conditions {
 public:
  conditions() noexcept {}

  /// One way, evenly spread; a dial takes two of them.
  duration latency_min = std::chrono::milliseconds{1};
  duration latency_max = std::chrono::milliseconds{5};
  /// In flight and not yet read, each way; more is not accepted.
  std::size_t window_bytes = 65536;

  double short_write = 0;  ///< of a write: only a part is accepted
  double split = 0;        ///< of a write: arrives in up to four pieces
  double join = 0;         ///< of a write: waits 40 ms, so that later ones arrive with it (RFC 896)
  double stall = 0;        ///< of a write: it and all behind it come up to `stall_max` later
  duration stall_max = std::chrono::seconds{10};
  double reset =
      0;  ///< of a write: the connection breaks, before these bytes arrived or just after
  double vanish =
      0;            ///< of a write: from now on nothing arrives at either end, and neither is told
  double slow = 0;  ///< of a connection: both ends get few bytes at a time, with pauses between
  double refuse = 0;  ///< of a dial: refused
  double hang = 0;    ///< of a dial: never answered
};

/// What a simulated network did beside carrying bytes.
enum class fault : std::uint8_t {
  short_write,
  split,
  join,
  stall,
  reset_before,  ///< the bytes were lost with the connection
  reset_after,   ///< the bytes arrived, what would come back does not
  vanish,
  slow,
  refuse,
  hang,
  cut,    ///< a host was cut off (a partition)
  crash,  ///< a host went down with all its connections
};

inline constexpr std::array faults{fault::short_write, fault::split,        fault::join,
                                   fault::stall,       fault::reset_before, fault::reset_after,
                                   fault::vanish,      fault::slow,         fault::refuse,
                                   fault::hang,        fault::cut,          fault::crash};

/// A word for summaries: `reset_before`.
[[nodiscard]] std::string_view to_string(fault f) noexcept;

/// What becomes of one dial, where a script says so.
enum class dial_fate : std::uint8_t { connect, refuse, hang };

}  // namespace cleat::sim

#pragma once

#include <cleat/base/borrowed_text.hpp>
#include <cleat/base/clock.hpp>
#include <cleat/base/events.hpp>

#include <chrono>
#include <cstddef>

namespace cleat {

/// The bounds of one session, and who is told.
class session_options {
 public:
  session_options() noexcept {}

  /// Calls whose answers are awaited at once; further ones wait for a place, by their deadlines.
  std::size_t calls_max = 1024;
  /// Calls that wait for a place; further ones fail as `overloaded`.
  std::size_t waiting_max = 1024;
  /// Calls given up by their callers whose answers may still come. A peer that leaves more
  /// unanswered is disconnected (`timed_out`); so is one that leaves all numbers of the protocol
  /// unanswered, when another call wants one.
  std::size_t unanswered_max = 1024;
  /// Requests of the peer that are being served; a peer that asks more at once is disconnected
  /// (`overloaded`).
  std::size_t requests_max = 1024;
  /// Pushes that wait for `next_push`; beyond that the oldest is dropped.
  std::size_t pushes_max = 256;
  /// The bytes of their frames; beyond that the oldest is dropped, and a push that is larger than
  /// this is dropped itself. Requests that arrive where no `serve` is set are kept and bounded in
  /// the same way.
  std::size_t pushes_bytes_max = 1U << 20U;
  /// Bytes that wait to be sent; beyond that calls wait for room and reading from this peer pauses.
  std::size_t outbound_bytes_max = 1U << 20U;
  /// Frames of the peer that are worked through in one turn of the loop; then timers and the other
  /// peers have theirs. At least one is.
  std::size_t frames_per_turn_max = 256;
  /// Bytes that are read and worked through in one turn, to the end of a frame. What was read and
  /// not worked through is kept: at most 64 KiB beside a frame that is not whole.
  std::size_t bytes_per_turn_max = 65536;
  /// How long a peer that has closed its direction of the connection is still answered.
  duration half_closed_max = std::chrono::seconds{10};
  /// A peer that takes no byte for so long while some wait is disconnected (`timed_out`).
  duration write_stall_max = std::chrono::seconds{10};
  /// Frames in a row that are of no use: answers that nobody waits for, frames that cannot be read,
  /// requests that nobody serves. They are passed over; a peer that sends so many is disconnected
  /// (`overloaded`). 0: never.
  std::size_t stray_frames_max = 10'000;
  /// The session ends with its first call: nothing is read any more once that was answered, was
  /// cancelled or timed out. For connections that serve one call.
  bool ends_with_call = false;

  /// Told of what belongs to no call; calls bring their own.
  event_table const* events = nullptr;
  /// The peer's label in these events; lives as long as the session, and cannot be a temporary
  /// string.
  borrowed_text peer;
};

}  // namespace cleat

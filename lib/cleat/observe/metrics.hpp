#pragma once

#include <cleat/observe/observe.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace prometheus {
class Registry;
}

namespace cleat {

class log_sink;

/// What `metrics` may be told; all of it may be left as it is.
class metrics_options {
 public:
  metrics_options() = default;

  /// In front of each family's name.
  std::string prefix = "tcp_comm_";
  /// How many distinct peers get series of their own; the rest share `device_id="other"`.
  std::size_t peers_max = 1000;
  /// Reasons of decode errors that are shown as 0 from the start: messages of the codec's error
  /// codes. The first 32 reasons, these included, get series of their own; the rest share
  /// `reason="other"`.
  std::vector<std::string> decode_reasons = {"malformed"};
};

/// Counts packets for Prometheus. `device_id` is `call::peer`, or `unknown` for an event without a
/// call or a call without a peer.
///
/// | family | labels | counts |
/// |---|---|---|
/// | `packet_sent_total` | device_id, outcome | frames given to the kernel, or not |
/// | `packet_recv_total` | device_id, outcome | frames received, and answers that did not come |
/// | `packet_latency_seconds` | device_id | from the request written to its answer or refusal |
/// | `packet_retransmit_total` | device_id, reason | further attempts, by the `kind` before |
/// | `decode_errors_total` | device_id, reason | bytes the codec could not read, by its error |
/// | `layer_actions_total` | device_id, action | what layers did with calls, by `action` |
/// | `breaker_state` | device_id | a gauge: 0 closed, 1 half open, 2 open |
/// | `log_records_dropped_total` | | records that logs lost, see `add_log` |
///
/// `outcome` is one of success, error, timeout, closed, decode_error. Received frames are
/// `success`, but `error` if they refuse a call or answer none (unmatched, late). An awaited answer
/// that never came counts as timeout, closed, decode_error or error. An unreadable frame counts in
/// `packet_recv_total` once: with the call that it ended, if the stream was lost and the call is
/// known (`answer_missing` follows), and otherwise at once.
///
/// The last three appear when they are first needed: a counter with the first action of its kind, or
/// the first record that is lost, the gauge with the first time that a breaker of the peer opens. It
/// shows the last change; a peer has
/// one breaker, or they share one gauge. Peers without series of their own have none.
///
/// In labels U+FFFD stands for what is not UTF-8, and for control characters and line ends of all
/// kinds, which some readers of the format stumble over; a newline is escaped, as the format says.
///
/// Once a peer has been seen, counting allocates nothing: its counters are held. They are atomic;
/// the table of peers is behind a shared mutex, held for the look-up only and not at all while one
/// peer is counted repeatedly. When memory runs out an event is not counted.
///
/// Thread safety: all members may be called from any thread.
class metrics {
 public:
  using listens_to = event_list<frame_sent, frame_received, answer_missing, retry_scheduled,
                                decode_failed, layer_acted>;

  /// Throws `std::invalid_argument` if the prefix makes no valid metric name.
  explicit metrics(metrics_options options = {});
  ~metrics();
  metrics(metrics const&) = delete;
  metrics& operator=(metrics const&) = delete;

  /// Makes the series of this peer, all 0, so that every family is there before anything happened.
  void add_peer(std::string_view peer);

  /// Counts what this log loses, added up over all that are added. It outlives the metrics.
  void add_log(log_sink const& log);

  /// Everything in Prometheus' text format, version 0.0.4.
  [[nodiscard]] std::string exposition() const;

  /// For a program's own families, shown with the others. Of packets it shows what had been counted
  /// when `exposition` was last asked.
  [[nodiscard]] prometheus::Registry& registry() noexcept;

  void on(frame_sent const& e) noexcept;
  void on(frame_received const& e) noexcept;
  void on(answer_missing const& e) noexcept;
  void on(retry_scheduled const& e) noexcept;
  void on(decode_failed const& e) noexcept;
  void on(layer_acted const& e) noexcept;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace cleat

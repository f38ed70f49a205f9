#pragma once

#include <cleat/observe/log_sink.hpp>
#include <cleat/observe/observe.hpp>

#include <cstdint>
#include <mutex>
#include <unordered_map>

namespace cleat {

/// Writes what happens to a `log_sink`.
///
/// | `event` | level | of its own |
/// |---|---|---|
/// | `tcp_packet` | `packets`, or WARNING | direction, msg_id, raw_packet_hex, elapsed_ms, outcome |
/// | `answer_missing` | WARNING | the same: an answer that came but could not be read |
/// | `retry` | WARNING | wait_ms, reason, failure |
/// | `retry_budget_empty` | WARNING | reason, failure |
/// | `layer` | WARNING, INFO or DEBUG | action, elapsed_ms, reason, failure |
/// | `connect` | DEBUG, or WARNING | address, elapsed_ms, outcome, reason, failure |
/// | `call` | `calls`, or ERROR | attempts, elapsed_ms, outcome, certainty, reason, failure |
/// | `push_dropped` | WARNING | |
/// | `frames_passed_over` | WARNING | more, elapsed_ms: a summary, see below |
/// | `session_ended` | DEBUG | reason, failure |
///
/// All have device_id (`call::peer`; may be empty), and those of a call correlation_id, op_id and
/// attempt. `reason` is the word of the failure's kind, `failure` its sentence.
///
/// A `tcp_packet` is a frame sent or received, bytes that could not be read (outcome decode_error),
/// or an answer that never came (no bytes; outcome timeout, closed, error). Those that failed are
/// WARNING, but not if the caller gave up; so are answers noteworthy in themselves:
/// `"reply":"unframed"` and `"unmatched"` and `"late"`. Of a packet the first 4 KiB are shown, and
/// `raw_packet_truncated` is true if there are more.
///
/// Of the frames of a connection that are of no use (unmatched, unreadable, requests that nobody
/// serves, pushes that were dropped) the first ten have records of their own; the others are summed
/// up in a `frames_passed_over` at most once a second, and at the end of the connection.
///
/// A `layer` is something that a layer did with a call (`layer_acted`), in the word of its `action`.
/// What tells of trouble is WARNING (a call turned away, cut short or answered by a stopgap, a
/// breaker that opens, a mirror that differs), a breaker on its way back INFO, and what happens
/// every day DEBUG. `elapsed_ms` stands where there is a time, `reason` and `failure` where there
/// is a failure.
///
/// A record that is not enabled costs the check of one atomic. One that is is made before `on`
/// returns, which takes some microseconds, and written later: `on` never waits for a place.
///
/// Thread safety: all members may be called from any thread.
class log {
 public:
  using listens_to = event_list<call_ended, retry_scheduled, retry_budget_empty, layer_acted,
                                connect_ended, frame_sent, frame_received, answer_missing,
                                decode_failed, push_dropped, frames_passed_over, session_ended>;

  /// `to` outlives it. `packets` and `calls` are the levels of those with which nothing is wrong.
  explicit log(log_sink& to, log_level packets = log_level::debug,
               log_level calls = log_level::info) noexcept
      : to_(to), packets_(packets), calls_(calls) {}
  log(log const&) = delete;
  log& operator=(log const&) = delete;

  void set_level(log_level l) noexcept { to_.set_level(l); }

  void on(call_ended const& e) noexcept {
    auto const level = e.error == nullptr ? calls_ : log_level::error;
    if (to_.enabled(level)) write(e, level);
  }
  void on(retry_scheduled const& e) noexcept {
    if (to_.enabled(log_level::warning)) write(e, log_level::warning);
  }
  void on(retry_budget_empty const& e) noexcept {
    if (to_.enabled(log_level::warning)) write(e, log_level::warning);
  }
  void on(layer_acted const& e) noexcept {
    auto const level = of(e.what);
    if (to_.enabled(level)) write(e, level);
  }
  void on(connect_ended const& e) noexcept {
    auto const level = e.error == nullptr ? log_level::debug : of_failed(*e.error);
    if (to_.enabled(level)) write(e, level);
  }
  void on(frame_sent const& e) noexcept {
    auto const level = e.error == nullptr ? packets_ : of_failed(*e.error);
    if (to_.enabled(level)) write(e, level);
  }
  void on(frame_received const& e) noexcept {
    if (e.summed) return;
    bool const strange =
        e.as == verdict::late || e.as == verdict::unmatched || e.note == "unframed";
    auto const level = strange ? log_level::warning : packets_;
    if (to_.enabled(level)) write(e, level);
  }
  void on(answer_missing const& e) noexcept {
    auto const level = of_failed(e.why);
    if (to_.enabled(level)) write(e, level);
  }
  void on(decode_failed const& e) noexcept {
    if (!e.summed && to_.enabled(log_level::warning)) write(e, log_level::warning);
  }
  void on(push_dropped const& e) noexcept {
    if (!e.summed && to_.enabled(log_level::warning)) write(e, log_level::warning);
  }
  void on(frames_passed_over const& e) noexcept {
    if (to_.enabled(log_level::warning)) write(e, log_level::warning);
  }
  void on(session_ended const& e) noexcept {
    if (to_.enabled(log_level::debug)) write(e, log_level::debug);
  }

 private:
  [[nodiscard]] log_level of_failed(failure const& f) const noexcept {
    bool const wanted = f.why() == kind::cancelled || f.why() == kind::shut_down;
    return wanted ? packets_ : log_level::warning;
  }

  [[nodiscard]] static constexpr log_level of(action a) noexcept {
    switch (a) {
      case action::limit_rejected:
      case action::limit_dropped:
      case action::rate_rejected:
      case action::breaker_rejected:
      case action::breaker_opened:
      case action::idempotent_rejected:
      case action::hedge_budget_empty:
      case action::fallback_used:
      case action::shadow_differed:
      case action::shadow_failed:
      case action::timeout_expired:
        return log_level::warning;
      case action::breaker_half_opened:
      case action::breaker_closed:
        return log_level::info;
      case action::limit_queued:
      case action::rate_delayed:
      case action::hedge_sent:
      case action::hedge_won:
      case action::idempotent_replayed:
      case action::idempotent_joined:
      case action::canary_taken:
      case action::shadow_sent:
      case action::shadow_skipped:
        return log_level::debug;
    }
    return log_level::debug;
  }

  void write(call_ended const& e, log_level l) noexcept;
  void write(retry_scheduled const& e, log_level l) noexcept;
  void write(retry_budget_empty const& e, log_level l) noexcept;
  void write(layer_acted const& e, log_level l) noexcept;
  void write(connect_ended const& e, log_level l) noexcept;
  void write(frame_sent const& e, log_level l) noexcept;
  void write(frame_received const& e, log_level l) noexcept;
  void write(answer_missing const& e, log_level l) noexcept;
  void write(decode_failed const& e, log_level l) noexcept;
  void write(push_dropped const& e, log_level l) noexcept;
  void write(frames_passed_over const& e, log_level l) noexcept;
  void write(session_ended const& e, log_level l) noexcept;

  /// How many attempts a call made that ends now.
  std::uint32_t take_attempts(call_ended const& e);

  log_sink& to_;
  log_level const packets_;
  log_level const calls_;
  std::mutex mutex_;
  /// Of calls that were tried again: a call that ends well does not say how often. By operation,
  /// bounded.
  std::unordered_map<std::uint64_t, std::uint32_t> attempts_;
};

}  // namespace cleat

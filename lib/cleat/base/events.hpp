#pragma once

#include <cleat/base/call.hpp>
#include <cleat/base/failure.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <tuple>

namespace cleat {

// The events of the framework: a closed set. What they refer to lives only as long as the
// notification.

/// A call enters the pipeline.
struct call_started {
  call const& of;
};

/// A call leaves the pipeline. `error` is null when it succeeded.
struct call_ended {
  call const& of;
  failure const* error;
  duration elapsed;
};

/// One attempt begins, and ends. A pipeline without retry has exactly one.
struct attempt_started {
  call const& of;
};
struct attempt_ended {
  call const& of;
  failure const* error;
  duration elapsed;
};

/// Another attempt follows after `wait`. `of` is the attempt that failed.
struct retry_scheduled {
  call const& of;
  failure const& why;
  duration wait;
};

/// Another attempt would have been made, but the retry budget is empty.
struct retry_budget_empty {
  call const& of;
  failure const& why;
};

/// What a layer of the catalogue may do with a call other than hand it on, or do beside it.
enum class action : std::uint8_t {
  limit_queued,         ///< waits for a place
  limit_rejected,       ///< no place, and none to wait for one
  limit_dropped,        ///< gave its place in the queue up to a younger call
  rate_delayed,         ///< waits for a token
  rate_rejected,        ///< no token in time
  breaker_rejected,     ///< the breaker is open
  breaker_opened,       ///< this call's failure opened it
  breaker_half_opened,  ///< this call is the first trial
  breaker_closed,       ///< this call's success closed it
  hedge_sent,           ///< a second attempt goes beside the first
  hedge_won,            ///< and answered first
  hedge_budget_empty,   ///< it would have been sent, but the budget is empty
  idempotent_replayed,  ///< got the recorded answer of the same operation
  idempotent_joined,    ///< waits for the same operation, which is under way
  idempotent_rejected,  ///< no room to remember its answer
  fallback_used,        ///< answered otherwise, after a failure
  canary_taken,         ///< went to the candidate
  shadow_sent,          ///< goes to the mirror too
  shadow_skipped,       ///< could have been mirrored, but too many mirrored calls are under way
  shadow_differed,      ///< the mirror answered otherwise
  shadow_failed,        ///< the mirror failed where the primary did not
  timeout_expired,      ///< the service below did not keep the deadline, and was cancelled
};

/// How many values `action` has.
inline constexpr std::size_t action_count = static_cast<std::size_t>(action::timeout_expired) + 1;

/// A stable lower-case word for logs and metric labels, e.g. `breaker_opened`.
[[nodiscard]] constexpr std::string_view to_string(action a) noexcept {
  switch (a) {
    case action::limit_queued:
      return "limit_queued";
    case action::limit_rejected:
      return "limit_rejected";
    case action::limit_dropped:
      return "limit_dropped";
    case action::rate_delayed:
      return "rate_delayed";
    case action::rate_rejected:
      return "rate_rejected";
    case action::breaker_rejected:
      return "breaker_rejected";
    case action::breaker_opened:
      return "breaker_opened";
    case action::breaker_half_opened:
      return "breaker_half_opened";
    case action::breaker_closed:
      return "breaker_closed";
    case action::hedge_sent:
      return "hedge_sent";
    case action::hedge_won:
      return "hedge_won";
    case action::hedge_budget_empty:
      return "hedge_budget_empty";
    case action::idempotent_replayed:
      return "idempotent_replayed";
    case action::idempotent_joined:
      return "idempotent_joined";
    case action::idempotent_rejected:
      return "idempotent_rejected";
    case action::fallback_used:
      return "fallback_used";
    case action::canary_taken:
      return "canary_taken";
    case action::shadow_sent:
      return "shadow_sent";
    case action::shadow_skipped:
      return "shadow_skipped";
    case action::shadow_differed:
      return "shadow_differed";
    case action::shadow_failed:
      return "shadow_failed";
    case action::timeout_expired:
      return "timeout_expired";
  }
  return "unknown";
}

/// A layer did something with a call. `why` is the failure that it answers to or gives, if there is
/// one; `elapsed` a time that belongs to it (how long a call is to wait or has waited), or zero.
struct layer_acted {
  call const& of;
  action what;
  failure const* why = nullptr;
  duration elapsed = {};
};

/// A connection was made, or not.
struct connect_ended {
  call const& of;
  std::string_view address;
  failure const* error;
  duration elapsed;
};

/// A whole frame was handed to the kernel (`error` null), or could not be. `of` is null for pushes
/// and answers.
struct frame_sent {
  call const* of;
  std::string_view id;  ///< the codec's matching key, readable
  std::span<std::byte const> bytes;
  failure const* error;
  duration elapsed;  ///< since the request was given to the session
};

/// What the session made of a received frame.
enum class verdict : unsigned char {
  request,   ///< the peer asks us
  progress,  ///< a call goes on, nearer to its end
  answer,    ///< the final answer to a call
  push,      ///< nobody asked
  late,      ///< the answer to a call whose caller gave up
  unmatched  ///< an answer that nobody waits for
};

/// A whole frame was received and understood. `of` is the call that it belongs to, if any; `error`
/// is not null when it is the peer's refusal of that call.
struct frame_received {
  call const* of;
  std::string_view id;
  std::span<std::byte const> bytes;
  verdict as;
  std::string_view note;  ///< the codec's remark, e.g. "unframed"; usually empty
  failure const* error;
  duration elapsed;     ///< since the request was written; zero without a call
  bool summed = false;  ///< see `frames_passed_over`
};

/// The request was written (or may have been) and the wait for its answer ended without one.
struct answer_missing {
  call const& of;
  std::string_view id;
  failure const& why;
  duration elapsed;  ///< since the request was written
};

/// Bytes that the codec could not read. `lost`: the stream is of no more use. `of` is the only
/// pending call, if there is exactly one.
struct decode_failed {
  call const* of;
  std::span<std::byte const> bytes;
  failure const& why;
  bool lost;
  std::string_view id = {};  ///< that call's matching key
  duration elapsed = {};     ///< since that call's request was written
  bool summed = false;       ///< see `frames_passed_over`
};

/// A push was dropped because its consumer was too slow, or there is none.
struct push_dropped {
  std::string_view peer;
  bool summed = false;  ///< see `frames_passed_over`
};

/// `more` frames were of no use: answers that nobody waits for, frames that cannot be read, requests
/// that nobody serves, pushes that were dropped. Each has an event of its own, to be counted. Beyond
/// the first ten of a connection these events are `summed`: who writes a line for each leaves them
/// out, and writes one for this event, which comes at most once a second, and at the end of the
/// connection. `of` is the only pending call, if there is exactly one.
struct frames_passed_over {
  call const* of;
  std::string_view peer;
  std::uint64_t more;  ///< since the last such event, or since the tenth stray frame
  duration elapsed;    ///< since then
};

/// A session has ended; `why` says how.
struct session_ended {
  std::string_view peer;
  failure const& why;
};

namespace detail {

template <class... Events>
struct event_hooks {
  template <class E>
  using hook = void (*)(void const* self, E const& event) noexcept;
  std::tuple<hook<Events>...> hooks{};
};

using all_event_hooks =
    event_hooks<call_started, call_ended, attempt_started, attempt_ended, retry_scheduled,
                retry_budget_empty, layer_acted, connect_ended, frame_sent, frame_received,
                answer_missing, decode_failed, push_dropped, frames_passed_over, session_ended>;

}  // namespace detail

/// One entry for each event: a function, or null when nobody listens. See `observe/observe.hpp` for
/// filling one.
///
/// Thread safety: immutable once calls are under way; the functions may be called from any thread.
class event_table {
 public:
  template <class E>
  using hook = detail::all_event_hooks::hook<E>;

  event_table() noexcept = default;

  /// Whether somebody listens: ask before doing work for an event.
  template <class E>
  [[nodiscard]] bool listens() const noexcept {
    return std::get<hook<E>>(hooks_.hooks) != nullptr;
  }

  template <class E>
  void notify(E const& event) const noexcept {
    if (auto const h = std::get<hook<E>>(hooks_.hooks)) h(self_, event);
  }

 protected:
  template <class E>
  void set(hook<E> h) noexcept {
    std::get<hook<E>>(hooks_.hooks) = h;
  }
  void set_self(void const* self) noexcept { self_ = self; }

 private:
  detail::all_event_hooks hooks_;
  void const* self_ = nullptr;
};

/// Tells `table`, which may be null.
template <class E>
void notify(event_table const* table, E const& event) noexcept {
  if (table != nullptr) table->notify(event);
}

/// Whether anybody would be told.
template <class E>
[[nodiscard]] bool listens(event_table const* table) noexcept {
  return table != nullptr && table->listens<E>();
}

}  // namespace cleat

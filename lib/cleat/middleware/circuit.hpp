#pragma once

#include <cleat/base/failure.hpp>
#include <cleat/base/time.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace cleat {

namespace detail {

/// How many calls ended in a sliding window of time, and how many of them badly. The window goes on
/// in tenths of its length: it holds the tenth that is under way and the nine before it. O(1), and
/// no memory but its own.
class outcome_window {
 public:
  explicit outcome_window(duration length) noexcept
      : slot_(std::max(length / static_cast<duration::rep>(slots), duration{1})) {}

  void add(bool failed, time_point now) noexcept {
    move_on(now);
    count& here = counts_[index(at_)];
    ++here.calls;
    ++all_.calls;
    if (failed) {
      ++here.failures;
      ++all_.failures;
    }
  }
  void clear() noexcept {
    counts_ = {};
    all_ = {};
  }
  /// Whether no failure is in it, at this time.
  [[nodiscard]] bool is_clear(time_point now) const noexcept {
    return all_.failures == 0 || now.time_since_epoch() / slot_ - at_ >= slots;
  }
  [[nodiscard]] std::uint64_t calls() const noexcept { return all_.calls; }
  [[nodiscard]] std::uint64_t failures() const noexcept { return all_.failures; }

 private:
  static constexpr std::int64_t slots = 10;
  struct count {
    std::uint64_t calls = 0;
    std::uint64_t failures = 0;
  };

  static constexpr std::size_t index(std::int64_t slot) noexcept {
    return static_cast<std::size_t>(slot % slots);
  }
  void move_on(time_point now) noexcept {
    std::int64_t const to = now.time_since_epoch() / slot_;
    std::int64_t const passed = std::min(to - at_, slots);
    for (std::int64_t i = 1; i <= passed; ++i) {
      count& old = counts_[index(at_ + i)];
      all_.calls -= old.calls;
      all_.failures -= old.failures;
      old = {};
    }
    at_ = std::max(at_, to);
  }

  duration slot_;
  std::int64_t at_ = 0;
  std::array<count, slots> counts_{};
  count all_;
};

}  // namespace detail

/// Whether a peer is worth asking: the state of a circuit breaker.
///
/// - *closed*: every call is let through. Too many failures open it.
/// - *open*: no call is let through, until its time has passed.
/// - *half open*: a few calls are let through, as trials. When enough have succeeded it closes; the
/// first one that fails opens it again, for twice as long as the last time.
///
/// What began before the last change of state says nothing of the peer as it is now, and changes
/// nothing. (After Nygard, "Release It!", 2007; the trials and the window as in Polly and
/// resilience4j.)
///
/// A pure state machine: it is told the time. Thread safety: none.
class circuit {
 public:
  struct settings {
    unsigned failures = 5;    ///< so many in a row open it; 0: no number of them does
    double ratio = 0;         ///< this share of the calls in `window` opens it; 0: no share does
    unsigned calls_min = 20;  ///< … if there were so many calls in it
    duration window = std::chrono::seconds{10};    ///< goes on in tenths
    duration open_for = std::chrono::seconds{5};   ///< how long it is open the first time
    duration open_max = std::chrono::seconds{60};  ///< and after many failed trials
    unsigned trials = 1;     ///< so many calls at once when it is half open, at least 1
    unsigned successes = 0;  ///< so many close it then; 0: as many as `trials`
  };

  enum class state : std::uint8_t { closed, open, half_open };

  /// The right to make one call. Goes back by one of `succeeded`, `failed` and `abandoned`, once.
  class pass {
   private:
    friend circuit;
    std::uint64_t generation_ = 0;
    bool trial_ = false;
  };

  /// The answer to `admit`.
  class admission {
   public:
    bool let_through = false;
    bool half_opened = false;  ///< this is the first trial
    duration wait{};  ///< if not let through: until it is half open, or zero if it already is
    pass with;        ///< if let through
  };

  /// What the end of a call changed.
  class turn {
   public:
    enum class to : std::uint8_t { same, opened, closed };
    to what = to::same;
    duration time{};  ///< opened: how long it stays open; closed: how long it was not
  };

  circuit() noexcept : circuit(settings{}) {}
  explicit circuit(settings const& s) noexcept : with_(s), window_(s.window) {
    with_.open_for = std::max(with_.open_for, duration::zero());
    with_.open_max = std::max(with_.open_max, with_.open_for);
    with_.trials = std::max(with_.trials, 1U);
    if (with_.successes == 0) with_.successes = with_.trials;
  }

  /// May a call be made?
  [[nodiscard]] admission admit(time_point now) noexcept {
    admission a;
    if (state_ == state::open) {
      if (now < until_) {
        a.wait = until_ - now;
        return a;
      }
      // At least one place is free: the trial that ended the last half-open time has left its own.
      change_to(state::half_open);
      successes_ = 0;
      a.half_opened = true;
    }
    if (state_ == state::half_open) {
      if (trials_ >= with_.trials) return a;
      ++trials_;
      a.with.trial_ = true;
    }
    ++under_way_;
    a.with.generation_ = generation_;
    a.let_through = true;
    return a;
  }

  /// The peer answered.
  turn succeeded(pass const& p, time_point now) noexcept {
    leave(p);
    if (p.generation_ != generation_) return {};
    if (state_ == state::half_open) {
      if (++successes_ < with_.successes) return {};
      change_to(state::closed);
      window_.clear();
      in_a_row_ = 0;
      return ended(turn::to::closed, now - since_);
    }
    in_a_row_ = 0;
    if (with_.ratio > 0) window_.add(false, now);
    return {};
  }

  /// The peer or the way to it is in trouble.
  turn failed(pass const& p, time_point now,
              failure const& why = failure{kind::timed_out}) noexcept {
    leave(p);
    if (p.generation_ != generation_) return {};
    why_ = why.why();
    if (state_ == state::half_open) {
      open_for_ = open_for_ > with_.open_max / 2 ? with_.open_max : open_for_ * 2;
      ++failures_;
      return open(now);
    }
    ++in_a_row_;
    if (with_.ratio > 0) window_.add(true, now);
    remember_from(now);
    if (!too_many()) return {};
    open_for_ = with_.open_for;
    since_ = now;
    failures_ = with_.failures != 0 && in_a_row_ >= with_.failures ? in_a_row_ : window_.failures();
    return open(now);
  }

  /// The call ended and says nothing of the peer, or was never finished.
  void abandoned(pass const& p) noexcept { leave(p); }

  /// Why it is not closed, for people: " after 5 failures, the last: refused". Empty if it is.
  [[nodiscard]] std::string cause() const {
    if (state_ == state::closed) return {};
    return " after " + std::to_string(failures_) +
           (failures_ == 1 ? " failure: " : " failures, the last: ") + std::string{to_string(why_)};
  }

  /// An open one stays open after its time, until somebody asks.
  [[nodiscard]] state current() const noexcept { return state_; }
  /// Whether no call is under way and it remembers no failure, or only one that is older than ten
  /// times `open_max` (counted from the end of the open time).
  [[nodiscard]] bool is_forgettable(time_point now) const noexcept {
    if (under_way_ != 0) return false;
    if (state_ == state::closed && in_a_row_ == 0 && window_.is_clear(now)) return true;
    return now >= forgettable_;
  }
  /// Trials under way.
  [[nodiscard]] unsigned trials() const noexcept { return trials_; }
  [[nodiscard]] settings const& with() const noexcept { return with_; }

 private:
  static turn ended(turn::to what, duration time) noexcept {
    turn t;
    t.what = what;
    t.time = time;
    return t;
  }
  void leave(pass const& p) noexcept {
    --under_way_;
    if (p.trial_) --trials_;
  }
  void change_to(state s) noexcept {
    state_ = s;
    ++generation_;
  }
  turn open(time_point now) noexcept {
    change_to(state::open);
    until_ = saturated_add(now, open_for_);
    remember_from(until_);
    return ended(turn::to::opened, open_for_);
  }
  void remember_from(time_point t) noexcept {
    constexpr duration::rep times = 10;
    duration const so_long =
        with_.open_max > duration::max() / times ? duration::max() : with_.open_max * times;
    forgettable_ = saturated_add(t, so_long);
  }
  [[nodiscard]] bool too_many() const noexcept {
    if (with_.failures != 0 && in_a_row_ >= with_.failures) return true;
    if (with_.ratio <= 0 || window_.calls() < with_.calls_min) return false;
    return static_cast<double>(window_.failures()) >=
           with_.ratio * static_cast<double>(window_.calls());
  }

  settings with_;
  detail::outcome_window window_;
  state state_ = state::closed;
  std::uint64_t generation_ = 0;  ///< of the state: one more with each change
  unsigned in_a_row_ = 0;         ///< closed: failures since the last success
  unsigned successes_ = 0;        ///< half open: trials that succeeded
  unsigned trials_ = 0;           ///< under way, whenever they began
  std::size_t under_way_ = 0;     ///< calls that were let through, trials among them
  std::uint64_t failures_ = 0;    ///< not closed: those that opened it, and of trials since
  kind why_ = kind::timed_out;    ///< of the last failure
  duration open_for_{};           ///< the last time
  time_point until_{};            ///< open: so long
  time_point forgettable_{};      ///< the last failure is forgotten then, if that is needed
  time_point since_{};            ///< not closed: since then
};

}  // namespace cleat

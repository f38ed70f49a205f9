#pragma once

#include <cleat/base/time.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace cleat {

/// So many tokens a time, and a few at once: a bucket that holds `burst` tokens, is full at first,
/// and gets a new one every `per / tokens`. Tokens that are still to come may be taken too: each
/// taker is told when its token is there, in the order of taking.
///
/// In any time `t` at most `burst + tokens * t / per` tokens become usable, whatever was taken
/// before: nothing is made up for beyond the burst. Time is counted in parts of a nanosecond, so
/// that no rate drifts; a token's time is rounded up to a whole one. (The Generic Cell Rate
/// Algorithm in its virtual scheduling form, ITU-T I.371, whose only state is one time.)
///
/// A pure state machine: it is told the time, which never goes back. Thread safety: none.
class token_bucket {
 public:
  struct settings {
    std::uint32_t tokens = 1;  ///< in each `per`; at least 1, at most one a nanosecond
    duration per = std::chrono::seconds{1};  ///< at least 1 ns
    std::uint32_t burst = 1;                 ///< at least 1
    std::size_t waiting_max = 1000;  ///< how many may wait for a token that is still to come
  };

  class token;

  token_bucket() noexcept : token_bucket(settings{}) {}
  explicit token_bucket(settings s) noexcept : settings_(s) {
    settings_.per = std::max(settings_.per, duration{1});
    auto const most = static_cast<std::uint64_t>(in_ns(settings_.per));
    settings_.tokens =
        static_cast<std::uint32_t>(std::clamp<std::uint64_t>(settings_.tokens, 1, most));
    settings_.burst = std::max(settings_.burst, 1U);
  }

  [[nodiscard]] settings const& with() const noexcept { return settings_; }

  /// When the next token is there: `now`, or later.
  [[nodiscard]] time_point next(time_point now) const noexcept {
    return to_time(std::max(to_parts(now), full_ - part() * (settings_.burst - 1)));
  }

  /// Whether it is full, and nobody waits.
  [[nodiscard]] bool is_forgettable(time_point now) const noexcept {
    return waiting_ == 0 && full_ <= to_parts(now);
  }
  /// How many wait for their tokens.
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_; }
  [[nodiscard]] bool may_wait() const noexcept { return waiting_ < settings_.waiting_max; }

 private:
  /// A time in parts of `1 / tokens` ns: a token takes exactly `per` of them.
  __extension__ using wide = __int128;

  [[nodiscard]] wide to_parts(time_point t) const noexcept {
    return static_cast<wide>(in_ns(t.time_since_epoch())) * settings_.tokens;
  }
  [[nodiscard]] time_point to_time(wide parts) const noexcept {
    wide ns = parts / settings_.tokens;
    if (parts % settings_.tokens > 0) ++ns;
    ns = std::min<wide>(ns, in_ns(never.time_since_epoch()));
    return time_point{std::chrono::duration_cast<duration>(
        std::chrono::nanoseconds{static_cast<std::int64_t>(ns)})};
  }
  [[nodiscard]] wide part() const noexcept { return in_ns(settings_.per); }
  static constexpr std::int64_t in_ns(duration d) noexcept {
    return std::chrono::nanoseconds{d}.count();
  }

  settings settings_;
  std::size_t waiting_ = 0;
  wide full_ = -(wide{1} << 100U);  ///< when the bucket is full if nobody takes any more
};

/// A token that was taken, there or still to come.
class token_bucket::token {
 public:
  /// Takes the one that is `next(now)`.
  token(token_bucket& from, time_point now) noexcept
      : bucket_(&from), at_(from.next(now)), waits_(at_ > now || from.waiting_ != 0) {
    from.full_ = std::max(from.to_parts(now), from.full_) + from.part();
    full_after_ = from.full_;
    if (waits_) ++from.waiting_;
  }
  token(token const&) = delete;
  token& operator=(token const&) = delete;
  /// Gives it back if it was not used and nobody took one after it: then it is as if it had never
  /// been taken. Otherwise it is lost: those who came later were told their times.
  ~token() {
    if (bucket_ == nullptr) return;
    if (bucket_->full_ == full_after_) bucket_->full_ -= bucket_->part();
    end_wait();
  }

  /// When it is there.
  [[nodiscard]] time_point at() const noexcept { return at_; }
  /// Whether one waits for it: it is not there yet, or those before still wait for theirs.
  [[nodiscard]] bool waits() const noexcept { return waits_; }
  /// It is there and spent.
  void use() noexcept {
    end_wait();
    bucket_ = nullptr;
  }

 private:
  void end_wait() noexcept {
    if (std::exchange(waits_, false)) --bucket_->waiting_;
  }

  token_bucket* bucket_;
  time_point at_;
  wide full_after_ = 0;
  bool waits_;
};

}  // namespace cleat

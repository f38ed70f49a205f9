#pragma once

#include <cleat/base/time.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace cleat {

/// Limits retries to a share of the requests, so that a peer in trouble is not asked many times as
/// much. Each request deposits a part of a token, each retry takes a whole one; beside that a floor
/// of so many retries a second is always allowed, for those who ask seldom. (After Finagle's retry
/// budget and gRPC's A6.)
///
/// No fraction of a token is lost, however often it is asked.
///
/// A pure state machine: it is told the time. Thread safety: none.
class retry_budget {
 public:
  struct settings {
    double deposit = 0.2;    ///< tokens a request
    double floor = 10;       ///< retries a second that are always allowed; as many at once
    double saved_max = 100;  ///< tokens that quiet times can save up
  };

  retry_budget() noexcept : retry_budget(settings{}) {}
  explicit retry_budget(settings s) noexcept
      : with_(s),
        deposit_(to_parts(s.deposit)),
        floor_rate_(to_parts(s.floor)),
        saved_max_(to_parts(s.saved_max)),
        floor_(floor_rate_) {}

  /// Whether a new one would allow no more than this one.
  [[nodiscard]] bool is_forgettable(time_point now) const noexcept {
    return refilled(now).floor >= floor_rate_;
  }
  [[nodiscard]] settings const& with() const noexcept { return with_; }

  /// A request (not a retry) is made.
  void deposit() noexcept { saved_ = std::min(saved_ + deposit_, saved_max_); }

  /// Takes a token if there is one.
  [[nodiscard]] bool withdraw(time_point now) noexcept {
    refill(now);
    for (std::int64_t* const from : {&floor_, &saved_}) {
      if (*from >= token) {
        *from -= token;
        return true;
      }
    }
    return false;
  }

 private:
  static constexpr std::int64_t token = 1'000'000;  ///< parts in a token
  static constexpr std::int64_t ns_per_second = 1'000'000'000;
  static constexpr double tokens_max = 1e6;
  /// More than `tokens_max` is as good as that many; what is no number is none.
  static constexpr std::int64_t to_parts(double tokens) noexcept {
    double const some = std::min(std::max(0.0, tokens), tokens_max);
    return static_cast<std::int64_t>(some * static_cast<double>(token));
  }

  __extension__ using wide = __int128;

  struct level {
    std::int64_t floor;
    std::int64_t rest;  ///< beyond, in parts of a second's: less than one part
  };

  [[nodiscard]] level refilled(time_point now) const noexcept {
    now = std::max(now, last_);
    std::int64_t const full = std::max(floor_rate_, token);
    auto const ns = std::chrono::nanoseconds{now - last_}.count();
    wide const more = static_cast<wide>(floor_rate_) * ns + rest_;
    wide const parts = floor_ + more / ns_per_second;
    if (parts >= full) return {full, 0};
    return {static_cast<std::int64_t>(parts), static_cast<std::int64_t>(more % ns_per_second)};
  }
  void refill(time_point now) noexcept {
    level const l = refilled(now);
    floor_ = l.floor;
    rest_ = l.rest;
    last_ = last_ == never ? now : std::max(last_, now);
  }

  settings with_;
  std::int64_t deposit_;
  std::int64_t floor_rate_;
  std::int64_t saved_max_;
  std::int64_t floor_;
  std::int64_t rest_ = 0;
  std::int64_t saved_ = 0;
  time_point last_ = never;
};

}  // namespace cleat

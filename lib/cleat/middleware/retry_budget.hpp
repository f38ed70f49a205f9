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
      : deposit_(to_parts(s.deposit)),
        floor_rate_(to_parts(s.floor)),
        saved_max_(to_parts(s.saved_max)),
        floor_(floor_rate_) {}

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
  static constexpr std::int64_t us_per_second = 1'000'000;
  static constexpr double tokens_max = 1e6;
  /// More than `tokens_max` is as good as that many; what is no number is none.
  static constexpr std::int64_t to_parts(double tokens) noexcept {
    double const some = tokens > 0 ? std::min(tokens, tokens_max) : 0;
    return static_cast<std::int64_t>(some * static_cast<double>(token));
  }

  void refill(time_point now) noexcept {
    using std::chrono::microseconds;
    if (last_ == never) last_ = now;
    // Longer than it takes to fill the floor is as good as that long.
    std::chrono::seconds const most{floor_rate_ > 0 ? 1 + token / floor_rate_ : 0};
    auto const us = std::chrono::duration_cast<microseconds>(std::min<duration>(now - last_, most));
    floor_ =
        std::min(std::max(floor_rate_, token), floor_ + floor_rate_ * us.count() / us_per_second);
    last_ = now;
  }

  std::int64_t deposit_;
  std::int64_t floor_rate_;
  std::int64_t saved_max_;
  std::int64_t floor_;
  std::int64_t saved_ = 0;
  time_point last_ = never;
};

}  // namespace cleat

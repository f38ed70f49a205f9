#pragma once

#include <cleat/base/mix.hpp>
#include <cleat/base/time.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace cleat {

/// How long to wait before another attempt: a pure function of how many failed and of 64 random
/// bits.
class backoff {
 public:
  /// Evenly distributed in [0, min(`most`, `base` · 2^(n−1))] after n failures: "full jitter",
  /// which spreads clients best (Brooker, "Exponential backoff and jitter", 2015).
  [[nodiscard]] static constexpr backoff full_jitter(duration base, duration most) noexcept {
    return {base, most, duration{-1}};
  }
  /// `base` · 2^(n−1) plus evenly distributed [0, `jitter`], at most `most` in all.
  [[nodiscard]] static constexpr backoff additive(duration base, duration jitter,
                                                  duration most = std::chrono::hours{1}) noexcept {
    return {base, most, jitter};
  }

  /// The wait after `failures` (1 or more) failed attempts.
  [[nodiscard]] constexpr duration wait(unsigned failures, std::uint64_t random) const noexcept {
    duration d = base_;
    for (unsigned n = 1; n < failures && d < most_; ++n) d = d > most_ / 2 ? most_ : d * 2;
    d = std::min(d, most_);
    if (jitter_ < duration::zero()) return scaled(d, random);
    return d + std::min(most_ - d, scaled(jitter_, random));
  }

 private:
  constexpr backoff(duration base, duration most, duration jitter) noexcept
      : base_(base), most_(most), jitter_(jitter) {}

  static constexpr duration scaled(duration d, std::uint64_t random) noexcept {
    return duration{
        static_cast<duration::rep>(scale(random, static_cast<std::uint64_t>(d.count()) + 1))};
  }

  duration base_;
  duration most_;
  duration jitter_;  ///< negative: full
};

}  // namespace cleat

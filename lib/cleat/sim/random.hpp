#pragma once

#include <cleat/base/clock.hpp>
#include <cleat/base/entropy.hpp>

#include <cstddef>
#include <cstdint>

namespace cleat::sim {

/// Random numbers that follow from a seed: the same on every compiler and library. (The standard's distributions are
/// not.) Draw once in an expression: the order of two draws is the compiler's choice.
///
/// Thread safety: none.
class random {
 public:
  /// `stream` tells generators of one seed apart: each has numbers of its own.
  explicit random(std::uint64_t seed, std::uint64_t stream = 0) noexcept
      : state_(mix64(seed + mix64(stream + 1))) {}

  /// 64 evenly distributed bits (SplitMix64).
  [[nodiscard]] std::uint64_t next() noexcept {
    state_ += 0x9E3779B97F4A7C15ULL;
    return mix64(state_);
  }
  /// Evenly distributed in [0, bound); 0 for a bound of 0.
  [[nodiscard]] std::uint64_t below(std::uint64_t bound) noexcept { return scale(next(), bound); }
  /// Evenly distributed in [low, high].
  [[nodiscard]] std::uint64_t between(std::uint64_t low, std::uint64_t high) noexcept {
    return low + below(high - low + 1);
  }
  [[nodiscard]] duration between(duration low, duration high) noexcept {
    return low + duration{static_cast<duration::rep>(
                     below(static_cast<std::uint64_t>((high - low).count()) + 1))};
  }
  /// True with this probability. Draws also for 0 and 1, so that one probability changed leaves the others their
  /// numbers.
  [[nodiscard]] bool chance(double probability) noexcept {
    constexpr double all = 18446744073709551616.0;  // 2^64: the product is exact
    std::uint64_t const drawn = next();
    return probability >= 1 || drawn < static_cast<std::uint64_t>(probability * all);
  }
  /// One of several things: `pick(modes)`.
  template <class Range>
  [[nodiscard]] auto const& pick(Range const& from) noexcept {
    return from[static_cast<std::size_t>(below(from.size()))];
  }

 private:
  std::uint64_t state_;
};

}  // namespace cleat::sim

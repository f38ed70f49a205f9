#pragma once

#include "program.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace peers {

/// How often which time was measured, in buckets a thousandth apart.
class histogram {
 public:
  void add(std::chrono::nanoseconds time) noexcept;
  /// The time in microseconds that the fraction `part` of all did not exceed.
  [[nodiscard]] double quantile(double part) const noexcept;

 private:
  static constexpr unsigned bits = 10;
  static constexpr unsigned octaves = 26;  // up to about a minute; what is longer counts as that

  std::array<std::uint32_t, std::size_t{octaves + 1} << bits> counts_{};
  std::uint64_t total_ = 0;
};

/// What a client measures, and when: after the warm-up, for as long as its options say.
class meter {
 public:
  explicit meter(options const& o) : options_(o) {}

  /// Says READY, and begins the warm-up when it may.
  void begin();

  /// Counts an answer to what was sent at `sent`. False once there is nothing more to measure.
  [[nodiscard]] bool count(clock::time_point sent, clock::time_point now);

  /// Says END and, when it may, the figures; then ends the program.
  [[noreturn]] void finish() const;

 private:
  enum class phase { warm_up, measuring, over };

  options const& options_;
  histogram times_;
  phase phase_ = phase::warm_up;
  clock::time_point warm_;   // the end of the warm-up
  clock::time_point start_;  // of measuring
  clock::time_point end_;
  std::uint64_t requests_ = 0;  // measured
  std::uint64_t total_ = 0;     // with those of the warm-up
  std::uint64_t allocations_ = 0;
};

}  // namespace peers

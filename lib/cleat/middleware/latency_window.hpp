#pragma once

#include <cleat/base/time.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace cleat {

/// A quantile of the last latencies: within 1/32 of the true one (and 1 µs, the unit it counts in).
///
/// The samples are counted in a log-linear histogram, 16 bins for each power of two up to 71
/// minutes, as in HdrHistogram. Two halves take turns: when the newer one is full, the older one is
/// forgotten. So the window holds the last `half` to 2 · `half` samples. One quantile is followed
/// from sample to sample, so that asking for it costs nothing, and a sample next to nothing. About
/// 2 kB.
///
/// A pure state machine, without a clock. Thread safety: none.
class latency_window {
 public:
  struct settings {
    double quantile = 0.95;      ///< in (0, 1]
    std::uint16_t half = 500;    ///< samples in each half, at least 1
    std::uint32_t needed = 100;  ///< without so many there is no quantile; 1 to `half`
  };

  latency_window() noexcept : latency_window(settings{}) {}
  explicit latency_window(settings s) noexcept : with_(s) {
    with_.quantile = std::min(std::max(0.0, with_.quantile), 1.0);  // what is no number is 0
    with_.half = std::max<std::uint16_t>(with_.half, 1);
    with_.needed = std::min<std::uint32_t>(with_.needed, with_.half);
    with_.needed = std::max(with_.needed, 1U);
  }

  void add(duration latency) noexcept {
    if (newer_size_ == with_.half) forget();
    std::size_t const b = bin_of(latency);
    ++newer_[b];
    ++newer_size_;
    ++size_;
    if (b < at_) ++below_;
    follow();
  }

  /// The smallest latency that at least the quantile's share of the samples does not exceed; none
  /// while samples are few.
  [[nodiscard]] std::optional<duration> quantile() const noexcept {
    if (size_ < with_.needed) return std::nullopt;
    return middle_of(at_);
  }

  /// Always: without one nothing is hedged that would not be with it, but for `at_first`.
  [[nodiscard]] static bool is_forgettable(time_point /*now*/) noexcept { return true; }
  /// Samples in the window.
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
  [[nodiscard]] settings const& with() const noexcept { return with_; }

 private:
  static constexpr unsigned fine_bits = 4;
  static constexpr std::size_t fine = std::size_t{1} << fine_bits;
  static constexpr std::uint64_t most = 0xFFFFFFFF;  ///< µs
  static constexpr std::size_t bins = fine * (32 - fine_bits + 1);

  /// Below 16 µs a bin for each; then the four bits after the first one say which of its power's.
  static std::size_t bin_of(duration latency) noexcept {
    using std::chrono::microseconds;
    auto const whole = std::chrono::duration_cast<microseconds>(latency).count();
    std::uint64_t const us =
        std::min(static_cast<std::uint64_t>(std::max<std::int64_t>(whole, 0)), most);
    if (us < fine) return us;
    auto const shift = static_cast<unsigned>(std::bit_width(us)) - 1 - fine_bits;
    return shift * fine + (us >> shift);
  }
  static duration middle_of(std::size_t bin) noexcept {
    if (bin < 2 * fine) return std::chrono::microseconds{bin};
    std::size_t const shift = bin / fine - 1;
    std::uint64_t const from = (bin - shift * fine) << shift;
    return std::chrono::microseconds{from + (std::uint64_t{1} << shift) / 2};
  }

  [[nodiscard]] std::uint32_t in(std::size_t bin) const noexcept {
    return std::uint32_t{newer_[bin]} + older_[bin];
  }
  void forget() noexcept {
    size_ = newer_size_;
    older_ = newer_;
    newer_ = {};
    newer_size_ = 0;
    below_ = 0;
    for (std::size_t b = 0; b < at_; ++b) below_ += in(b);
  }
  /// Goes to the bin that holds the sample of the quantile's rank.
  void follow() noexcept {
    auto const exact = std::ceil(with_.quantile * static_cast<double>(size_));
    auto const rank = std::clamp(static_cast<std::uint32_t>(exact), 1U, size_);
    while (below_ >= rank) below_ -= in(--at_);
    while (below_ + in(at_) < rank) below_ += in(at_++);
  }

  settings with_;
  std::array<std::uint16_t, bins> newer_{};
  std::array<std::uint16_t, bins> older_{};
  std::uint32_t newer_size_ = 0;
  std::uint32_t size_ = 0;
  std::size_t at_ = 0;       ///< the bin of the quantile
  std::uint32_t below_ = 0;  ///< samples in the bins before it
};

}  // namespace cleat

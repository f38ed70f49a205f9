#pragma once

#include <cleat/base/environment.hpp>

#include <boost/asio/execution_context.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace cleat {

/// One step of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
/// 2014): a bijective mixing of 64 bits, good enough for identifiers and jitter, not for secrets.
[[nodiscard]] constexpr std::uint64_t mix64(std::uint64_t x) noexcept {
  x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27U)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31U);
}

/// The randomness of one execution context; a simulation seeds it. Not for secrets.
///
/// Thread safety: all members may be called from any thread.
class entropy final : public boost::asio::execution_context::service {
 public:
  using key_type = entropy;
  static boost::asio::execution_context::id id;

  explicit entropy(boost::asio::execution_context& context);

  [[nodiscard]] static entropy& of(environment::executor_type const& executor);

  /// 64 evenly distributed bits.
  [[nodiscard]] std::uint64_t next() noexcept {
    return mix64(state_.fetch_add(step, std::memory_order_relaxed) + step);
  }
  /// What so many calls of `next` in a row would give.
  template <std::size_t N>
  [[nodiscard]] std::array<std::uint64_t, N> next() noexcept {
    std::uint64_t at = state_.fetch_add(N * step, std::memory_order_relaxed);
    std::array<std::uint64_t, N> all;
    for (auto& bits : all) bits = mix64(at += step);
    return all;
  }
  /// Evenly distributed in [0, bound); 0 for a bound of 0. Our own, since the standard's differ
  /// between libraries.
  [[nodiscard]] std::uint64_t below(std::uint64_t bound) noexcept { return scale(next(), bound); }

  /// `bits` scaled to [0, bound), by multiplication (Lemire 2019, without the rejection: biased by
  /// < 2^-32 for bounds below 2^32).
  [[nodiscard]] static constexpr std::uint64_t scale(std::uint64_t bits,
                                                     std::uint64_t bound) noexcept {
    __extension__ using wide = unsigned __int128;
    return static_cast<std::uint64_t>((static_cast<wide>(bits) * bound) >> 64U);
  }

  /// From here on the same numbers as any other `entropy` with this seed.
  void seed(std::uint64_t value) noexcept { state_.store(value, std::memory_order_relaxed); }

 private:
  static constexpr std::uint64_t step = 0x9E3779B97F4A7C15ULL;
  void shutdown() override {}

  std::atomic<std::uint64_t> state_;
};

}  // namespace cleat

#pragma once

#include <cleat/base/environment.hpp>
#include <cleat/base/mix.hpp>

#include <boost/asio/execution_context.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace cleat {

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

  /// From here on the same numbers as any other `entropy` with this seed.
  void seed(std::uint64_t value) noexcept { state_.store(value, std::memory_order_relaxed); }

 private:
  static constexpr std::uint64_t step = 0x9E3779B97F4A7C15ULL;
  void shutdown() override {}

  std::atomic<std::uint64_t> state_;
};

}  // namespace cleat

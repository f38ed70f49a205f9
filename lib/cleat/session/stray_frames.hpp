#pragma once

#include <cleat/base/time.hpp>

#include <chrono>
#include <cstdint>
#include <utility>

namespace cleat::detail {

/// Counts the frames of a peer that are of no use, so that telling of them costs little: each of the
/// first of a connection has an event of its own, and the others a summary a second.
class stray_frames {
 public:
  /// So many are told one by one.
  static constexpr std::uint32_t told_max = 10;
  /// So long they are summed.
  static constexpr duration summed_for = std::chrono::seconds{1};

  /// One more; says whether it is left to a summary.
  bool add(time_point now) noexcept {
    if (told_ == told_max) {
      ++untold_;
      return true;
    }
    ++told_;
    since_ = now;
    return false;
  }
  /// Those of which no event and no summary has told.
  [[nodiscard]] std::uint64_t untold() const noexcept { return untold_; }
  [[nodiscard]] duration waited(time_point now) const noexcept { return now - since_; }
  [[nodiscard]] bool summary_due(time_point now) const noexcept {
    return untold_ != 0 && waited(now) >= summed_for;
  }
  /// A summary tells of them.
  std::uint64_t take(time_point now) noexcept {
    since_ = now;
    return std::exchange(untold_, 0);
  }

 private:
  std::uint64_t untold_ = 0;
  time_point since_{};
  std::uint32_t told_ = 0;
};

}  // namespace cleat::detail

#pragma once

#include <algorithm>
#include <cstddef>

namespace cleat::detail {

/// How much of what a peer sends is read and worked through before the others have their turn.
class turn_limit {
 public:
  turn_limit(std::size_t frames_max, std::size_t bytes_max) noexcept
      : frames_left_(std::max<std::size_t>(frames_max, 1)),
        bytes_max_(std::max<std::size_t>(bytes_max, 1)) {}

  void did_read(std::size_t bytes) noexcept { read_ += bytes; }
  void did_take(std::size_t frame_bytes) noexcept {
    --frames_left_;
    taken_ += frame_bytes;
  }
  /// No further frame is worked through.
  [[nodiscard]] bool is_over() const noexcept { return frames_left_ == 0 || taken_ >= bytes_max_; }
  [[nodiscard]] bool may_read() const noexcept { return !is_over() && read_ < bytes_max_; }

 private:
  std::size_t frames_left_;
  std::size_t bytes_max_;
  std::size_t read_ = 0;
  std::size_t taken_ = 0;
};

}  // namespace cleat::detail

#pragma once

#include <cleat/base/pooled_queue.hpp>

#include <cstddef>
#include <utility>

namespace cleat::detail {

/// Messages that wait until somebody takes them, bounded in number and in bytes. The oldest goes
/// first.
template <class Message>
class kept_pushes {
 public:
  [[nodiscard]] bool empty() const noexcept { return kept_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return kept_.size(); }

  /// Keeps `m`, whose frame had so many bytes, and gives the number of messages that were dropped
  /// for it. A message that is larger than all the room is dropped itself.
  std::size_t keep(Message&& m, std::size_t bytes, std::size_t count_max, std::size_t bytes_max) {
    if (bytes > bytes_max || count_max == 0) return 1;
    std::size_t dropped = 0;
    for (; kept_.size() >= count_max || bytes_ > bytes_max - bytes; ++dropped) drop_oldest();
    kept_.emplace_back(std::move(m), bytes);
    bytes_ += bytes;
    return dropped;
  }

  /// The oldest.
  [[nodiscard]] Message take() {
    Message m = std::move(kept_.front().what);
    drop_oldest();
    return m;
  }

 private:
  struct kept {
    kept(Message&& m, std::size_t n) : what(std::move(m)), bytes(n) {}
    Message what;
    std::size_t bytes;
  };

  void drop_oldest() noexcept {
    bytes_ -= kept_.front().bytes;
    kept_.pop_front();
  }

  pooled_queue<kept> kept_;
  std::size_t bytes_ = 0;
};

}  // namespace cleat::detail

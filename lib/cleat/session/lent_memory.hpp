#pragma once

#include <cleat/base/standard.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace cleat::detail {

/// Memory to read into, lent for as long as the object lives and shared by all sessions of a
/// thread: an idle connection has none. Several may be held at once (a reader may resume somebody
/// who starts to read).
class lent_memory {
 public:
  static constexpr std::size_t bytes = 65536;

  lent_memory() {
    if (spare_.empty()) {
      block_ = std::make_unique_for_overwrite<std::byte[]>(bytes);
    } else {
      block_ = std::move(spare_.back());
      spare_.pop_back();
    }
  }
  lent_memory(lent_memory const&) = delete;
  lent_memory& operator=(lent_memory const&) = delete;
  ~lent_memory() {
    if (spare_.size() < kept_max) spare_.push_back(std::move(block_));
  }

  [[nodiscard]] std::span<std::byte> span() const noexcept { return {block_.get(), bytes}; }

 private:
  static constexpr std::size_t kept_max = 4;
  static inline thread_local std::vector<std::unique_ptr<std::byte[]>> spare_;
  std::unique_ptr<std::byte[]> block_;
};

}  // namespace cleat::detail

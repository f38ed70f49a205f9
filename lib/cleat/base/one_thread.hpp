#pragma once

#include <cleat/base/standard.hpp>

#include <atomic>

namespace cleat::detail {

/// Notices that two threads run chains on the plain executor of one execution context at the same time, and ends the
/// program with a sentence (`misuse`). One thread after the other is right, and so are strands, which nobody watches.
class one_thread {
 public:
  /// While it lives, this thread runs such chains.
  class turn {
   public:
    /// Null: nothing is watched.
    explicit turn(one_thread* of) noexcept {
      if (of == nullptr) return;
      void const* const me = __builtin_thread_pointer();
      if (of->running_.load(std::memory_order_relaxed) == me) return;  // further out on this stack
      void const* nobody = nullptr;
      // Relaxed: this makes nothing right that a race detector may find.
      if (!of->running_.compare_exchange_strong(nobody, me, std::memory_order_relaxed)) refuse();
      of_ = of;
    }
    turn(turn const&) = delete;
    turn& operator=(turn const&) = delete;
    ~turn() {
      if (of_ != nullptr) of_->running_.store(nullptr, std::memory_order_relaxed);
    }

   private:
    one_thread* of_ = nullptr;
  };

 private:
  [[noreturn]] static void refuse() noexcept;

  std::atomic<void const*> running_ = nullptr;
};

}  // namespace cleat::detail

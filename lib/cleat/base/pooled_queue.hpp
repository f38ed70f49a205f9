#pragma once

#include <cleat/base/frame_memory.hpp>

#include <cstddef>
#include <new>
#include <utility>

namespace cleat::detail {

/// First in, first out, of things that come and go: empty it holds no memory, and what it takes
/// comes from the thread's pool.
template <class T>
class pooled_queue {
 public:
  pooled_queue() = default;
  pooled_queue(pooled_queue const&) = delete;
  pooled_queue& operator=(pooled_queue const&) = delete;
  ~pooled_queue() {
    while (!empty()) pop_front();
  }

  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] T& front() noexcept { return first_->value; }

  template <class... A>
  void emplace_back(A&&... args) {
    void* const memory = frame_memory::allocate(sizeof(node));
    node* made = nullptr;
    try {
      made = new (memory) node(std::forward<A>(args)...);
    } catch (...) {
      frame_memory::deallocate(memory, sizeof(node));
      throw;
    }
    (last_ != nullptr ? last_->next : first_) = made;
    last_ = made;
    ++size_;
  }
  void pop_front() noexcept {
    node* const gone = first_;
    first_ = gone->next;
    if (first_ == nullptr) last_ = nullptr;
    --size_;
    gone->~node();
    frame_memory::deallocate(gone, sizeof(node));
  }

  /// Calls `f` with each, the oldest first.
  template <class F>
  void for_each(F const& f) {
    for (node* n = first_; n != nullptr; n = n->next) f(n->value);
  }

 private:
  struct node {
    static_assert(alignof(T) <= alignof(std::max_align_t));
    template <class... A>
    explicit node(A&&... args) : value(std::forward<A>(args)...) {}
    T value;
    node* next = nullptr;
  };

  node* first_ = nullptr;
  node* last_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace cleat::detail

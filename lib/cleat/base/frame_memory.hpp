#pragma once

#include <cleat/base/standard.hpp>

#include <array>
#include <cstddef>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#define CLEAT_FRAME_POOL 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CLEAT_FRAME_POOL 0
#endif
#endif
#ifndef CLEAT_FRAME_POOL
#define CLEAT_FRAME_POOL 1
#endif

namespace cleat::detail {

/// Memory for coroutine frames: per thread, free lists in size classes of 64 bytes, so that a
/// steady state allocates nothing. A block always comes from `::operator new` with its class's
/// size, whoever frees it: translation units built with AddressSanitizer (which bypass the lists,
/// to see every use after free) mix with those that are not.
class frame_memory {
  static constexpr std::size_t class_bytes = 64;
  static constexpr std::size_t class_count = 32;  // frames up to 2 KiB
  static constexpr unsigned kept_max = 256;       // blocks a class and thread

  struct block {
    block* next;
  };
  struct free_list {
    block* head;
    unsigned size;
  };

  /// Trivially destructible on purpose: frames may be freed while the thread's other objects are
  /// being destroyed.
  struct lists {
    std::array<free_list, class_count> by_class;
    bool closed;
  };

  static constexpr std::size_t class_of(std::size_t bytes) noexcept {
    return (bytes + class_bytes - 1) / class_bytes;
  }

 public:
  static void* allocate(std::size_t bytes) {
    std::size_t const c = class_of(bytes);
#if CLEAT_FRAME_POOL
    if (c < class_count) {
      free_list& list = mine_.by_class[c];
      if (block* const b = list.head) {
        list.head = b->next;
        --list.size;
        return b;
      }
    }
#endif
    return ::operator new(c * class_bytes);
  }

  static void deallocate(void* p, std::size_t bytes) noexcept {
#if CLEAT_FRAME_POOL
    std::size_t const c = class_of(bytes);
    if (c < class_count && !mine_.closed) {
      free_list& list = mine_.by_class[c];
      if (list.size < kept_max) {
        if (list.size == 0) watch_thread_exit();
        list.head = new (p) block{list.head};
        ++list.size;
        return;
      }
    }
#endif
    static_cast<void>(bytes);
    ::operator delete(p);
  }

 private:
  struct reaper {
    ~reaper() {
      mine_.closed = true;
      for (free_list& list : mine_.by_class) {
        while (block* const b = list.head) {
          list.head = b->next;
          ::operator delete(b);
        }
        list.size = 0;
      }
    }
    void touch() const noexcept {}
  };

  static void watch_thread_exit() noexcept {
    thread_local reaper const r;
    r.touch();
  }

  static inline constinit thread_local lists mine_{};
};

}  // namespace cleat::detail

#pragma once

#include <cleat/base/bytes.hpp>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace cleat::detail {

/// Bytes on their way out, in order. Positions count from the beginning of the session, so that
/// whoever staged a frame can tell how far it has come: not begun, begun, gone.
class outbound {
 public:
  using position = std::uint64_t;

  /// Where to encode the next frame.
  [[nodiscard]] byte_buffer& buffer() noexcept {
    if (bytes_.capacity() == 0) spare::take(bytes_);
    return bytes_;
  }
  /// The position behind the last byte.
  [[nodiscard]] position end() const noexcept { return base_ + bytes_.size(); }
  /// The position of the first byte that was not handed over yet.
  [[nodiscard]] position sent() const noexcept { return base_ + sent_; }

  [[nodiscard]] bool empty() const noexcept { return sent_ == bytes_.size(); }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size() - sent_; }
  [[nodiscard]] bytes_view unsent() const noexcept { return bytes_view{bytes_}.subspan(sent_); }
  /// Bytes that are still held, sent or not.
  [[nodiscard]] bytes_view between(position begin, position end) const noexcept {
    assert(begin >= base_ && end <= this->end());
    return bytes_view{bytes_}.subspan(begin - base_, end - begin);
  }

  void mark_sent(std::size_t n) noexcept { sent_ += n; }

  /// Takes back bytes of which none was sent.
  void withdraw(position begin, position end) noexcept {
    assert(begin >= sent() && end <= this->end());
    auto const first = bytes_.begin() + static_cast<std::ptrdiff_t>(begin - base_);
    bytes_.erase(first, first + static_cast<std::ptrdiff_t>(end - begin));
    if (bytes_.empty()) spare::give(bytes_);
  }

  /// Forgets what lies before `needed` (which was sent), when that is everything or much.
  void trim(position needed) {
    assert(needed >= base_ && needed <= sent());
    std::size_t const n = needed - base_;
    if (n == bytes_.size()) {
      spare::give(bytes_);
    } else if (n > kept_bytes_max) {
      bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(n));
    } else {
      return;
    }
    base_ += n;
    sent_ -= n;
  }

 private:
  static constexpr std::size_t kept_bytes_max = 65536;

  /// Empty buffers with memory, shared by all sessions of a thread: an idle connection has none.
  class spare {
   public:
    static void take(byte_buffer& into) noexcept {
      if (closed_ || pool_.buffers.empty()) return;
      into = std::move(pool_.buffers.back());
      pool_.buffers.pop_back();
    }
    static void give(byte_buffer& used) noexcept {
      byte_buffer whole = std::move(used);
      whole.clear();
      // Not what one large batch took.
      if (closed_ || whole.capacity() > kept_bytes_max || pool_.buffers.size() >= kept_max) return;
      pool_.buffers.push_back(std::move(whole));
    }

   private:
    static constexpr std::size_t kept_max = 64;
    struct pool {
      pool() { buffers.reserve(kept_max); }
      pool(pool const&) = delete;
      pool& operator=(pool const&) = delete;
      ~pool() { closed_ = true; }
      std::vector<byte_buffer> buffers;
    };
    static inline constinit thread_local bool closed_ = false;  ///< the thread ends
    static inline thread_local pool pool_;
  };

  byte_buffer bytes_;
  position base_ = 0;
  std::size_t sent_ = 0;
};

}  // namespace cleat::detail

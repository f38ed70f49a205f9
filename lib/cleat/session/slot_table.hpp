#pragma once

#include <cleat/base/clock.hpp>
#include <cleat/codec/protocol.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>

namespace cleat::detail {

class exchange_base;

/// A request that was staged: the keys under which its answers come, and who waits for them.
/// Without anybody it is a tombstone: its caller gave up, and the answer that may still come
/// belongs to nobody else.
class slot {
 public:
  match_keys keys;
  exchange_base* by = nullptr;
  std::uint64_t begin = 0;  ///< positions in `outbound`
  std::uint64_t end = 0;
  time_point written_at = never;

  [[nodiscard]] bool written() const noexcept { return written_at != never; }
  [[nodiscard]] slot* next() const noexcept { return next_; }
  [[nodiscard]] slot* before() const noexcept { return before_; }

 private:
  friend class slot_table;
  slot* before_ = nullptr;
  slot* next_ = nullptr;
};

/// The slots of one session in the order in which they were staged. Their memory is reused.
class slot_table {
 public:
  slot_table() = default;
  slot_table(slot_table const&) = delete;
  slot_table& operator=(slot_table const&) = delete;

  [[nodiscard]] std::size_t live() const noexcept { return live_; }
  [[nodiscard]] std::size_t buried() const noexcept { return buried_; }
  [[nodiscard]] slot* first() const noexcept { return first_; }
  /// The oldest slot that is not written; those behind it are not either.
  [[nodiscard]] slot* first_unwritten() const noexcept;

  slot& add(match_keys const& keys, exchange_base& by, std::uint64_t begin, std::uint64_t end);
  /// The oldest slot with this key.
  [[nodiscard]] slot* find(match_key key) const noexcept;
  /// Nobody waits for it any more, but its answer may come.
  void bury(slot& s) noexcept;
  void remove(slot& s) noexcept;

 private:
  std::deque<slot> memory_;
  slot* free_ = nullptr;
  slot* first_ = nullptr;
  slot* last_ = nullptr;
  std::size_t live_ = 0;
  std::size_t buried_ = 0;
};

}  // namespace cleat::detail

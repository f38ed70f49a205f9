#pragma once

#include <cleat/base/clock.hpp>
#include <cleat/codec/protocol.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace cleat::detail {

class exchange_base;

/// A request that was staged: the keys under which its answers come, and who waits for them.
/// Without anybody it is a tombstone: its caller gave up, and the answer that may still come
/// belongs to nobody else.
class slot {
 public:
  exchange_base* by = nullptr;
  std::uint64_t begin = 0;  ///< positions in `outbound`
  std::uint64_t end = 0;
  time_point written_at = never;

  [[nodiscard]] bool written() const noexcept { return written_at != never; }
  /// Its answer may be one that bears no number.
  [[nodiscard]] bool in_order() const noexcept {
    return std::any_of(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(key_count_),
                       [](entry const& e) { return e.key.shared(); });
  }
  [[nodiscard]] slot* next() const noexcept { return next_; }
  [[nodiscard]] slot* before() const noexcept { return before_; }

 private:
  friend class slot_table;

  /// One key, and its place in the index.
  struct entry {
    match_key key;
    slot* of = nullptr;
    entry* next = nullptr;
  };

  slot* before_ = nullptr;
  slot* next_ = nullptr;
  std::size_t key_count_ = 0;
  std::array<entry, match_keys::size_max> entries_;
};

/// The slots of one session in the order in which they were staged. Slots come from the thread's
/// pool, so that an idle session holds none. Few are searched in their order, many by an index, which
/// stays once it was needed.
class slot_table {
 public:
  slot_table() = default;
  slot_table(slot_table const&) = delete;
  slot_table& operator=(slot_table const&) = delete;
  ~slot_table();

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
  using entry = slot::entry;

  [[nodiscard]] std::size_t bucket_of(match_key key) const noexcept;
  void grow_index();
  void enter(entry& e) noexcept;
  void leave(entry& e) noexcept;

  slot* first_ = nullptr;
  slot* last_ = nullptr;
  std::size_t live_ = 0;
  std::size_t buried_ = 0;
  /// Chains of entries, the oldest first; empty while there were few slots. A power of two.
  std::vector<entry*> index_;
};

}  // namespace cleat::detail

#include <cleat/session/slot_table.hpp>

#include <cleat/base/entropy.hpp>
#include <cleat/base/frame_memory.hpp>

#include <new>

namespace cleat::detail {

namespace {

constexpr std::size_t few = 8;

}  // namespace

slot_table::~slot_table() {
  while (first_ != nullptr) remove(*first_);
}

slot& slot_table::add(match_keys const& keys, exchange_base& by, std::uint64_t begin,
                      std::uint64_t end) {
  std::size_t const size = live_ + buried_ + 1;
  if (size > few && size * 2 > index_.size()) grow_index();

  auto* const s = new (frame_memory::allocate(sizeof(slot))) slot;
  s->by = &by;
  s->begin = begin;
  s->end = end;
  for (match_key const& k : keys) {
    entry& e = s->entries_[s->key_count_++];
    e.key = k;
    e.of = s;
    if (!index_.empty()) enter(e);
  }
  s->before_ = last_;
  (last_ != nullptr ? last_->next_ : first_) = s;
  last_ = s;
  ++live_;
  return *s;
}

slot* slot_table::find(match_key key) const noexcept {
  if (!index_.empty()) {
    for (entry* e = index_[bucket_of(key)]; e != nullptr; e = e->next) {
      if (e->key == key) return e->of;
    }
    return nullptr;
  }
  for (slot* s = first_; s != nullptr; s = s->next_) {
    for (std::size_t i = 0; i < s->key_count_; ++i) {
      if (s->entries_[i].key == key) return s;
    }
  }
  return nullptr;
}

slot* slot_table::first_unwritten() const noexcept {
  slot* found = nullptr;
  for (slot* s = last_; s != nullptr && !s->written(); s = s->before_) found = s;
  return found;
}

void slot_table::bury(slot& s) noexcept {
  s.by = nullptr;
  --live_;
  ++buried_;
}

void slot_table::remove(slot& s) noexcept {
  --(s.by != nullptr ? live_ : buried_);
  (s.before_ != nullptr ? s.before_->next_ : first_) = s.next_;
  (s.next_ != nullptr ? s.next_->before_ : last_) = s.before_;
  if (!index_.empty()) {
    for (std::size_t i = 0; i < s.key_count_; ++i) leave(s.entries_[i]);
  }
  s.~slot();
  frame_memory::deallocate(&s, sizeof(slot));
}

std::size_t slot_table::bucket_of(match_key key) const noexcept {
  return static_cast<std::size_t>(mix64(key.value() + key.space())) & (index_.size() - 1);
}

void slot_table::grow_index() {
  index_.assign(index_.empty() ? 8 * few : 2 * index_.size(), nullptr);
  for (slot* s = first_; s != nullptr; s = s->next_) {
    for (std::size_t i = 0; i < s->key_count_; ++i) enter(s->entries_[i]);
  }
}

void slot_table::enter(entry& e) noexcept {
  entry** at = &index_[bucket_of(e.key)];
  while (*at != nullptr) at = &(*at)->next;
  e.next = nullptr;
  *at = &e;
}

void slot_table::leave(entry& e) noexcept {
  entry** at = &index_[bucket_of(e.key)];
  while (*at != &e) at = &(*at)->next;
  *at = e.next;
}

}  // namespace cleat::detail

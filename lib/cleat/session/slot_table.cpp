#include <cleat/session/slot_table.hpp>

#include <algorithm>

namespace cleat::detail {

slot& slot_table::add(match_keys const& keys, exchange_base& by, std::uint64_t begin,
                      std::uint64_t end) {
  slot* s = free_;
  if (s != nullptr) {
    free_ = s->next_;
  } else {
    s = &memory_.emplace_back();
  }
  s->keys = keys;
  s->by = &by;
  s->begin = begin;
  s->end = end;
  s->written_at = never;
  s->next_ = nullptr;
  s->before_ = last_;
  (last_ != nullptr ? last_->next_ : first_) = s;
  last_ = s;
  ++live_;
  return *s;
}

slot* slot_table::find(match_key key) const noexcept {
  // Answers mostly come in the order of the requests: the search ends at the first slots.
  for (slot* s = first_; s != nullptr; s = s->next_) {
    if (std::find(s->keys.begin(), s->keys.end(), key) != s->keys.end()) return s;
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
  s.by = nullptr;
  s.next_ = free_;
  free_ = &s;
}

}  // namespace cleat::detail

#pragma once

#include <cleat/base/mix.hpp>
#include <cleat/base/time.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace cleat {

/// Which operation of which peer: the same number means something else to another peer.
struct operation_key {
  std::string peer;
  std::uint64_t operation;

  /// The same without owning the name, for looking up.
  struct view {
    std::string_view peer;
    std::uint64_t operation;
  };
  [[nodiscard]] view as_view() const noexcept { return {peer, operation}; }

  /// For unordered containers.
  struct hash {
    using is_transparent = void;
    std::size_t operator()(view k) const noexcept {
      return static_cast<std::size_t>(mix64(mix64(fnv1a(k.peer)) ^ k.operation));
    }
    std::size_t operator()(operation_key const& k) const noexcept { return (*this)(k.as_view()); }
  };
  struct equal {
    using is_transparent = void;
    template <class A, class B>
    bool operator()(A const& a, B const& b) const noexcept {
      return a.operation == b.operation && a.peer == b.peer;
    }
  };
};

/// How much an `answer_window` remembers.
struct answer_bounds {
  std::size_t answers_max = 1'000;             ///< of all peers together; at most `answers_limit`
  duration keeps = std::chrono::seconds{300};  ///< from the recording on; at most `keeps_limit`

  static constexpr std::size_t answers_limit = 1'000'000;
  static constexpr duration keeps_limit = std::chrono::hours{24};
};

/// Remembers how operations were answered, for a while and up to a number of answers; then it
/// forgets the one that was asked for longest ago.
///
/// Each member does a bounded amount of work, but for the hash table's growing. A pure state
/// machine: it is told the time, which does not go back. Thread safety: none.
template <class Value>
class answer_window {
 public:
  using settings = answer_bounds;

  struct found {
    Value const& answer;  ///< good until the next `record`
    duration age;         ///< since it was recorded
  };

  /// Bounds beyond their limits are taken for these.
  explicit answer_window(answer_bounds b = {}) noexcept
      : answers_max_(std::min(b.answers_max, answer_bounds::answers_limit)),
        keeps_(std::clamp(b.keeps, duration::zero(), answer_bounds::keeps_limit)) {}
  answer_window(answer_window const&) = delete;
  answer_window& operator=(answer_window const&) = delete;

  /// What was recorded for this operation less than `keeps` ago. Counts as a use.
  [[nodiscard]] std::optional<found> find(operation_key::view k, time_point now) {
    drop_old(now);
    auto const it = entries_.find(k);
    if (it == entries_.end()) return std::nullopt;
    entry& e = it->second;
    if (is_old(e, now)) {
      drop(e);
      return std::nullopt;
    }
    by_use_.remove(e);
    by_use_.push_back(e);
    return found{e.value, now - e.recorded};
  }

  /// The answer to an operation, instead of an earlier one.
  void record(operation_key k, Value answer, time_point now) {
    drop_old(now);
    if (answers_max_ == 0) return;
    if (auto const it = entries_.find(k); it != entries_.end()) drop(it->second);
    if (entries_.size() >= answers_max_) drop(*by_use_.first());
    auto const it = entries_.try_emplace(std::move(k), std::move(answer), now).first;
    it->second.key = &it->first;
    by_use_.push_back(it->second);
    by_age_.push_back(it->second);
  }

  /// An answer will be recorded: until `is_recorded` it is not forgettable.
  void expect() noexcept { ++expected_; }
  void is_recorded() noexcept { --expected_; }
  /// Whether it holds no answer that could be given, and expects none.
  [[nodiscard]] bool is_forgettable(time_point now) const noexcept {
    return expected_ == 0 && (by_age_.last() == nullptr || is_old(*by_age_.last(), now));
  }

  /// Whether another answer would push one out, when those that are expected have come.
  [[nodiscard]] bool is_full() const noexcept {
    return answers_max_ != 0 && entries_.size() + expected_ >= answers_max_;
  }

  /// How many answers it holds; some may be too old to be given.
  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

 private:
  struct entry;
  struct links {
    entry* before = nullptr;
    entry* after = nullptr;
  };
  struct entry {
    entry(Value&& v, time_point now) : value(std::move(v)), recorded(now) {}
    Value value;
    time_point recorded;
    operation_key const* key = nullptr;
    links use;
    links age;
  };

  /// Entries in an order; each knows its neighbours.
  template <links entry::* Links>
  class order {
   public:
    [[nodiscard]] entry* first() const noexcept { return first_; }
    [[nodiscard]] entry* last() const noexcept { return last_; }
    void push_back(entry& e) noexcept {
      e.*Links = links{last_, nullptr};
      (last_ != nullptr ? (last_->*Links).after : first_) = &e;
      last_ = &e;
    }
    void remove(entry& e) noexcept {
      links const of = e.*Links;
      (of.before != nullptr ? (of.before->*Links).after : first_) = of.after;
      (of.after != nullptr ? (of.after->*Links).before : last_) = of.before;
    }

   private:
    entry* first_ = nullptr;
    entry* last_ = nullptr;
  };

  [[nodiscard]] bool is_old(entry const& e, time_point now) const noexcept {
    return now - e.recorded >= keeps_;
  }
  /// At most two: more than can come in, and no call pays for all the others.
  void drop_old(time_point now) {
    for (int i = 0; i < 2 && by_age_.first() != nullptr && is_old(*by_age_.first(), now); ++i)
      drop(*by_age_.first());
  }
  void drop(entry& e) {
    by_use_.remove(e);
    by_age_.remove(e);
    entries_.erase(entries_.find(*e.key));
  }

  std::size_t answers_max_;
  duration keeps_;
  std::size_t expected_ = 0;
  std::unordered_map<operation_key, entry, operation_key::hash, operation_key::equal> entries_;
  order<&entry::use> by_use_;
  order<&entry::age> by_age_;
};

}  // namespace cleat

#pragma once

#include <cleat/base/failure.hpp>
#include <cleat/base/time.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace cleat {

/// What `per_peer` keeps for each peer. `is_forgettable(now)` says that nobody gains by its being
/// forgotten: no call uses it, and a new one would let nothing through that this one would not.
template <class State>
concept PeerState = std::constructible_from<State, typename State::settings const&> &&
                    requires(State const& s, time_point now) {
                      { s.is_forgettable(now) } -> std::same_as<bool>;
                    };

/// A `State` for each peer, made from the same settings when the peer is first met. One in trouble
/// does not stop the others.
///
/// Bounded: beyond `peers_max` a new peer takes the place of one that can be forgotten, of those the
/// one that was asked for longest ago. If there is none, the new peer gets no state. So nobody
/// resets a state by going through many names, and no two peers ever share one.
///
/// A new peer costs a constant time as long as one of the oldest can be forgotten. If none can, all
/// are looked at; when that was in vain several times, at most once in 10 ms.
///
/// Thread safety: none.
template <PeerState State>
class per_peer {
 public:
  using settings = typename State::settings;
  static constexpr std::size_t peers_max_default = 10'000;

  explicit per_peer(settings s, std::size_t peers_max = peers_max_default)
      : table_(std::make_unique<table>(s, peers_max)) {}

  /// The state of this peer; null if it is a new one and there is no room. Good until the next call
  /// of `of`, and as long as it is not forgettable.
  [[nodiscard]] State* of(std::string_view peer, time_point now) {
    table& t = *table_;
    if (t.last != nullptr && t.last->name() == peer) return &t.last->state;
    auto found = t.states.find(peer);
    if (found == t.states.end()) {
      if (t.states.size() >= t.peers_max && !t.forget_one(now)) return nullptr;
      found = t.states.try_emplace(std::string{peer}, t.with).first;
      found->second.key = &found->first;
    } else {
      t.remove(found->second);
    }
    t.push_back(found->second);
    t.last = &found->second;
    return &t.last->state;
  }

  [[nodiscard]] settings const& with() const noexcept { return table_->with; }
  [[nodiscard]] std::size_t peers_max() const noexcept { return table_->peers_max; }
  /// How many peers have a state.
  [[nodiscard]] std::size_t size() const noexcept { return table_->states.size(); }

  /// What a call is told whose peer gets no state.
  [[nodiscard]] failure refusal() const {
    return failure{kind::overloaded, certainty::not_sent}.with_detail(
        "a new peer, beyond " + std::to_string(table_->peers_max) +
        " that cannot be forgotten; see peers_max");
  }

 private:
  struct node {
    explicit node(settings const& s) : state(s) {}
    [[nodiscard]] std::string_view name() const noexcept { return *key; }

    State state;
    std::string const* key = nullptr;
    node* before = nullptr;
    node* after = nullptr;
  };
  struct hash : std::hash<std::string_view> {
    using is_transparent = void;
  };

  /// Keeps its place when its owner is moved.
  struct table {
    table(settings s, std::size_t n) : with(std::move(s)), peers_max(n == 0 ? 1 : n) {}

    void push_back(node& n) noexcept {
      n.before = youngest;
      n.after = nullptr;
      (youngest != nullptr ? youngest->after : oldest) = &n;
      youngest = &n;
    }
    void remove(node& n) noexcept {
      (n.before != nullptr ? n.before->after : oldest) = n.after;
      (n.after != nullptr ? n.after->before : youngest) = n.before;
    }
    bool forget_one(time_point now) {
      if (in_vain >= in_vain_max && now < next_look) return false;
      for (node* n = oldest; n != nullptr; n = n->after) {
        if (!n->state.is_forgettable(now)) continue;
        remove(*n);
        if (last == n) last = nullptr;
        states.erase(states.find(n->name()));
        in_vain = 0;
        return true;
      }
      ++in_vain;
      next_look = saturated_add(now, std::chrono::milliseconds{10});
      return false;
    }

    static constexpr unsigned in_vain_max = 8;

    settings with;
    std::size_t peers_max;
    std::unordered_map<std::string, node, hash, std::equal_to<>> states;
    node* oldest = nullptr;  ///< by when they were asked for
    node* youngest = nullptr;
    node* last = nullptr;  ///< whom the last call was for
    unsigned in_vain = 0;  ///< looks at all of them, one after the other
    time_point next_look{};
  };

  std::unique_ptr<table> table_;
};

}  // namespace cleat

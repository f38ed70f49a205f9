#pragma once

#include <cleat/base/standard.hpp>

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace cleat {

/// A `State` for each peer, made from the same settings when the peer is first met; beyond a bound
/// of peers all others share one. One in trouble does not stop the others.
///
/// References stay good as long as it lives, and when it is moved, but for that of `others`.
///
/// Thread safety: none.
template <class State>
class per_peer {
 public:
  using settings = typename State::settings;
  static constexpr std::size_t peers_max = 10'000;

  explicit per_peer(settings s) : settings_(s), others_(settings_) {}
  per_peer(per_peer&&) = default;
  per_peer& operator=(per_peer&&) = default;

  [[nodiscard]] State& of(std::string_view peer) {
    if (last_ != nullptr && last_->first == peer) return last_->second;
    auto found = states_.find(peer);
    if (found == states_.end()) {
      if (states_.size() >= peers_max) return others_;
      found = states_.try_emplace(std::string{peer}, settings_).first;
    }
    last_ = &*found;
    return last_->second;
  }

  [[nodiscard]] settings const& with() const noexcept { return settings_; }

 private:
  struct hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  using map = std::unordered_map<std::string, State, hash, std::equal_to<>>;

  settings settings_;
  State others_;
  map states_;
  typename map::value_type* last_ = nullptr;  ///< whom the last call was for
};

}  // namespace cleat

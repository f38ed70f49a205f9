#pragma once

#include <cleat/base/mix.hpp>

#include <array>
#include <atomic>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace cleat {

/// A share of all keys, in hundredths of a per cent: 0 is none, `whole` is all of them.
///
/// Which keys it holds follows from the keys alone: it is the same in each process, on each platform
/// and after each restart, and nothing is remembered. When it grows, those that it held stay in it.
/// Shares with different salts are independent of each other. A number as a key counts as its
/// decimal text. The order of the rules: what is in `deny` is not held, what is in `allow` is, and
/// for all others a hash decides. Keys are public to whoever can choose them: this is no protection.
///
/// Thread safety: `set` and the rest may be called from any thread.
class share {
 public:
  static constexpr std::uint32_t whole = 10'000;

  struct settings {
    std::uint32_t parts = 0;         ///< of `whole`
    std::uint64_t salt = 0;          ///< another one, another choice of keys
    std::vector<std::string> allow;  ///< held however small the share is, even if it is 0
    std::vector<std::string> deny;   ///< never held, even if the share is `whole`
  };

  /// Throws `std::invalid_argument` for more than `whole`.
  explicit share(std::uint32_t parts) : parts_(checked(parts)) {}
  explicit share(settings const& s)
      : parts_(checked(s.parts)),
        salt_(s.salt),
        allow_(s.allow.begin(), s.allow.end()),
        deny_(s.deny.begin(), s.deny.end()) {}

  /// From here on. Throws `std::invalid_argument` for more than `whole`, and stays as it is.
  void set(std::uint32_t parts) { parts_.store(checked(parts), std::memory_order_relaxed); }
  [[nodiscard]] std::uint32_t parts() const noexcept {
    return parts_.load(std::memory_order_relaxed);
  }

  [[nodiscard]] bool holds(std::string_view key) const {
    if (!deny_.empty() && deny_.contains(key)) return false;
    if (!allow_.empty() && allow_.contains(key)) return true;
    return place_of(key) < parts();
  }
  [[nodiscard]] bool holds(std::uint64_t key) const {
    std::array<char, 20> digits{};
    char const* const end = std::to_chars(digits.data(), digits.data() + digits.size(), key).ptr;
    return holds(std::string_view{digits.data(), static_cast<std::size_t>(end - digits.data())});
  }

  /// Where a key stands, from 0 to `whole` - 1: it is held by any share that is larger.
  [[nodiscard]] std::uint32_t place_of(std::string_view key) const noexcept {
    return static_cast<std::uint32_t>(scale(mix64(fnv1a(key) ^ salt_), whole));
  }

 private:
  struct hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  using keys = std::unordered_set<std::string, hash, std::equal_to<>>;

  static std::uint32_t checked(std::uint32_t parts) {
    if (parts <= whole) return parts;
    throw std::invalid_argument{
        "a share is given in hundredths of a per cent, from 0 to 10000, and cannot be " +
        std::to_string(parts)};
  }

  std::atomic<std::uint32_t> parts_;
  std::uint64_t salt_ = 0;
  keys allow_;
  keys deny_;
};

}  // namespace cleat

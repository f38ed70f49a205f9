#pragma once

#include <cleat/base/standard.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string_view>
#include <type_traits>

namespace cleat {

/// A piece of text of at most `N` bytes, held in place: no heap, trivially copyable.
///
/// What does not fit is cut at a UTF-8 boundary and the last byte kept becomes `~`, so that a
/// reader can tell. Used where an unbounded string would let a peer decide how much memory an error
/// or a key takes.
template <std::size_t N>
class text {
  static_assert(N >= 2 && N <= 255);

 public:
  constexpr text() noexcept {
    // What is behind the end is never looked at; only a constant has to have all its bytes.
    if (std::is_constant_evaluated()) bytes_.fill('\0');
  }
  // NOLINTNEXTLINE(google-explicit-constructor)
  constexpr text(std::string_view s) noexcept : text() { assign(s); }
  // NOLINTNEXTLINE(google-explicit-constructor)
  constexpr text(char const* s) noexcept : text(std::string_view{s}) {}

  constexpr void assign(std::string_view s) noexcept {
    std::size_t n = std::min(s.size(), N);
    bool const cut = s.size() > N;
    if (cut) {
      --n;
      while (n > 0 && (static_cast<unsigned char>(s[n]) & 0xC0U) == 0x80U) --n;
    }
    std::copy_n(s.data(), n, bytes_.data());
    if (cut) bytes_[n++] = '~';
    size_ = static_cast<std::uint8_t>(n);
  }

  [[nodiscard]] constexpr std::string_view view() const noexcept { return {bytes_.data(), size_}; }
  constexpr operator std::string_view() const noexcept {
    return view();
  }  // NOLINT(google-explicit-constructor)
  [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }

  /// The most bytes that fit.
  static constexpr std::size_t size_max = N;

  friend constexpr bool operator==(text const& a, text const& b) noexcept {
    return a.view() == b.view();
  }
  friend std::ostream& operator<<(std::ostream& out, text const& t) { return out << t.view(); }

 private:
  std::array<char, N> bytes_;  // NOLINT(*-member-init)
  std::uint8_t size_ = 0;
};

}  // namespace cleat

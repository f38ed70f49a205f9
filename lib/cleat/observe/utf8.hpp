#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace cleat {

/// How many bytes the first character of `s` has; 0 if `s` is empty or does not begin with
/// well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
[[nodiscard]] constexpr std::size_t utf8_length(std::string_view s) noexcept {
  if (s.empty()) return 0;
  auto const at = [&](std::size_t i) {
    return i < s.size() ? static_cast<unsigned char>(s[i]) : static_cast<unsigned char>(0);
  };
  auto const continues = [&](std::size_t i) { return (at(i) & 0xC0U) == 0x80U; };
  unsigned const first = at(0);
  if (first < 0x80) return 1;
  if (first < 0xC2) return 0;
  if (first < 0xE0) return continues(1) ? 2 : 0;
  if (first < 0xF0) {
    if (first == 0xE0 && at(1) < 0xA0) return 0;
    if (first == 0xED && at(1) > 0x9F) return 0;
    return continues(1) && continues(2) ? 3 : 0;
  }
  if (first > 0xF4) return 0;
  if (first == 0xF0 && at(1) < 0x90) return 0;
  if (first == 0xF4 && at(1) > 0x8F) return 0;
  return continues(1) && continues(2) && continues(3) ? 4 : 0;
}

/// What stands for a byte that is not UTF-8: U+FFFD.
inline constexpr std::string_view utf8_replacement = "\xEF\xBF\xBD";

/// `s` with each byte that is not part of well-formed UTF-8 replaced: one bad name must not make a
/// whole log line or a whole scrape unreadable.
[[nodiscard]] inline std::string to_utf8(std::string_view s) {
  std::string out;
  out.reserve(s.size());
  while (!s.empty()) {
    std::size_t const n = utf8_length(s);
    out += n != 0 ? s.substr(0, n) : utf8_replacement;
    s.remove_prefix(n != 0 ? n : 1);
  }
  return out;
}

}  // namespace cleat

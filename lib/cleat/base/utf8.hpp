#pragma once

#include <cleat/base/standard.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace cleat {

/// How many bytes the first character of `s` has; 0 if `s` is empty or does not begin with
/// well-formed UTF-8 (RFC 3629, section 4: no overlong forms, no surrogates, nothing beyond
/// U+10FFFF).
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

/// The number of a character, which is the whole of its well-formed UTF-8.
[[nodiscard]] constexpr char32_t utf8_code_point(std::string_view character) noexcept {
  auto const at = [&](std::size_t i) { return static_cast<unsigned char>(character[i]); };
  std::size_t const n = character.size();
  char32_t c = n == 1 ? at(0) : at(0) & (0x7FU >> n);
  for (std::size_t i = 1; i < n; ++i) c = c << 6U | (at(i) & 0x3FU);
  return c;
}

/// Whether all of `s` is well-formed UTF-8. Empty text is.
[[nodiscard]] bool is_utf8(std::string_view s) noexcept;

/// What stands for a byte that is not UTF-8: U+FFFD.
inline constexpr std::string_view utf8_replacement = "\xEF\xBF\xBD";

/// `s` with each byte that is not part of well-formed UTF-8 replaced: one bad name must not make a
/// whole log line or a whole scrape unreadable.
[[nodiscard]] std::string to_utf8(std::string_view s);

/// Whether a character does something to a terminal instead of being shown: control characters
/// (U+0000 to U+001F, U+007F to U+009F), what ends a line or a paragraph (U+2028, U+2029), and what
/// changes the direction of the text after it (U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to
/// U+2069).
[[nodiscard]] constexpr bool steers_terminal(char32_t c) noexcept {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x61C || c == 0x200E || c == 0x200F ||
         (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

/// `s` as it may be shown on a terminal, in one line: a question mark stands for each character
/// that `steers_terminal`, and for each byte that is not UTF-8. Use it for every word that a peer,
/// a file or a command line has chosen.
[[nodiscard]] std::string printable(std::string_view s);

}  // namespace cleat

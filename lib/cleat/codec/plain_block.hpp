#pragma once

#include <cleat/base/standard.hpp>

#include <array>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <type_traits>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

// A byte is plain if it stands for itself in a JSON text: printable ASCII but for `"` and `\`. Texts
// are looked at in blocks of sixteen bytes.

namespace cleat::detail {

using plain_block = std::array<char, 16>;

/// Bit n is set if byte n of the block is not plain.
[[nodiscard]] inline unsigned not_plain(char const* block) noexcept {
#ifdef __SSE2__
  auto const bytes = _mm_loadu_si128(reinterpret_cast<__m128i const*>(block));  // NOLINT(*-cast)
  auto const quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
  auto const backslashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
  auto const others = _mm_cmplt_epi8(bytes, _mm_set1_epi8(' '));  // signed: from 0x80 on, too
  return static_cast<unsigned>(
      _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quotes, backslashes), others)));
#else
  unsigned found = 0;
  for (unsigned i = 0; i < plain_block{}.size(); ++i) {
    auto const c = static_cast<signed char>(block[i]);
    found |= static_cast<unsigned>(c == '"' || c == '\\' || c < ' ') << i;
  }
  return found;
#endif
}

/// What is shorter than a block, with zeros behind it, which are not plain.
[[nodiscard]] inline plain_block short_block(std::string_view s) noexcept {
  plain_block block{};
  // Two copies of fixed size, which may overlap, in place of one whose size is not known.
  auto const both_ends = [&](auto n) {
    std::memcpy(block.data(), s.data(), n);
    std::memcpy(block.data() + s.size() - n, s.data() + s.size() - n, n);
  };
  if (s.size() >= 8) {
    both_ends(std::integral_constant<std::size_t, 8>{});
  } else if (s.size() >= 4) {
    both_ends(std::integral_constant<std::size_t, 4>{});
  } else {
    for (std::size_t i = 0; i < s.size(); ++i) block[i] = s[i];
  }
  return block;
}

}  // namespace cleat::detail

#include <cleat/codec/utf8.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace cleat {

namespace {

/// What a lead byte asks for: how many bytes follow, and the range of the first of them. Zero: not
/// a lead byte.
struct sequence {
  unsigned following;
  unsigned char low;
  unsigned char high;
};

sequence sequence_of(unsigned char lead) noexcept {
  if (lead >= 0xC2 && lead <= 0xDF) return {1, 0x80, 0xBF};
  if (lead == 0xE0) return {2, 0xA0, 0xBF};
  if (lead == 0xED) return {2, 0x80, 0x9F};
  if (lead >= 0xE1 && lead <= 0xEF) return {2, 0x80, 0xBF};
  if (lead == 0xF0) return {3, 0x90, 0xBF};
  if (lead >= 0xF1 && lead <= 0xF3) return {3, 0x80, 0xBF};
  if (lead == 0xF4) return {3, 0x80, 0x8F};
  return {0, 0, 0};
}

bool is_ascii(std::uint64_t eight) noexcept { return (eight & 0x8080808080808080U) == 0; }

std::uint64_t eight_at(char const* from) noexcept {
  std::uint64_t eight = 0;
  std::memcpy(&eight, from, sizeof eight);
  return eight;
}

/// Whether at least eight bytes are there, and all are ASCII.
bool is_long_ascii(std::string_view s) noexcept {
  if (s.size() < 8) return false;
  char const* const last = s.data() + s.size() - 8;  // overlaps what was looked at already
  for (char const* at = s.data(); at < last; at += 8) {
    if (!is_ascii(eight_at(at))) return false;
  }
  return is_ascii(eight_at(last));
}

}  // namespace

bool is_utf8(std::string_view s) noexcept {
  if (is_long_ascii(s)) return true;
  for (std::size_t i = 0; i < s.size();) {
    auto const lead = static_cast<unsigned char>(s[i++]);
    if (lead < 0x80) continue;
    sequence const want = sequence_of(lead);
    if (want.following == 0 || s.size() - i < want.following) return false;
    unsigned char low = want.low;
    unsigned char high = want.high;
    for (unsigned n = 0; n < want.following; ++n, ++i) {
      auto const c = static_cast<unsigned char>(s[i]);
      if (c < low || c > high) return false;
      low = 0x80;
      high = 0xBF;
    }
  }
  return true;
}

}  // namespace cleat

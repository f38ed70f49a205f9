#include <cleat/codec/json_plain.hpp>
#include <cleat/codec/plain_block.hpp>

#include <bit>
#include <cstdint>

namespace cleat::detail {

namespace {

/// How many bytes at the beginning of `s` are plain.
std::size_t plain_prefix(std::string_view s) noexcept {
  constexpr std::size_t block_bytes = plain_block{}.size();
  std::size_t at = 0;
  for (; s.size() - at >= block_bytes; at += block_bytes) {
    unsigned const found = not_plain(s.data() + at);
    if (found != 0) return at + static_cast<std::size_t>(std::countr_zero(found));
  }
  plain_block const last = short_block({s.data() + at, s.size() - at});
  return at + static_cast<std::size_t>(std::countr_zero(not_plain(last.data())));
}

constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

}  // namespace

bool plain_json::take_text(std::string_view& to) noexcept {
  char const* const begin = at_ + 1;
  std::size_t const size = plain_prefix({begin, left() - 1});
  at_ = begin + size;
  if (at_ == end_ || *at_ != '"') return false;
  ++at_;
  to = {begin, size};
  return true;
}

/// Up to 18 digits, for which 64 bits are always enough. What follows them is judged by whoever
/// takes the next name, or the end.
bool plain_json::take_integer(json_integer& to) noexcept {
  constexpr std::ptrdiff_t digits_max = 18;
  bool const minus = *at_ == '-';
  char const* const begin = minus ? at_ + 1 : at_;
  char const* p = begin;
  std::uint64_t magnitude = 0;
  for (; p != end_ && is_digit(*p); ++p) {
    if (p - begin == digits_max) return false;
    magnitude = magnitude * 10 + static_cast<std::uint64_t>(*p - '0');
  }
  if (p == begin || (p - begin > 1 && *begin == '0')) return false;
  to = {magnitude, minus && magnitude != 0};
  at_ = p;
  return true;
}

}  // namespace cleat::detail

#include <cleat/base/utf8.hpp>

#include <cstdint>
#include <cstring>

namespace cleat {

namespace {

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
    if (static_cast<unsigned char>(s[i]) < 0x80) {
      ++i;
      continue;
    }
    std::size_t const n = utf8_length(s.substr(i));
    if (n == 0) return false;
    i += n;
  }
  return true;
}

std::string to_utf8(std::string_view s) {
  std::string out;
  out.reserve(s.size());
  while (!s.empty()) {
    std::size_t const n = utf8_length(s);
    out += n != 0 ? s.substr(0, n) : utf8_replacement;
    s.remove_prefix(n != 0 ? n : 1);
  }
  return out;
}

std::string printable(std::string_view s) {
  std::string out;
  out.reserve(s.size());
  while (!s.empty()) {
    std::size_t const n = utf8_length(s);
    bool const shown = n != 0 && !steers_terminal(utf8_code_point(s.substr(0, n)));
    out += shown ? s.substr(0, n) : std::string_view{"?"};
    s.remove_prefix(n != 0 ? n : 1);
  }
  return out;
}

}  // namespace cleat

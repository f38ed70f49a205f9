#include <cleat/base/bytes.hpp>

namespace cleat {

std::string to_hex(bytes_view b) {
  std::string out;
  out.reserve(b.size() * 3);
  for (std::byte const value : b) {
    auto const v = std::to_integer<unsigned>(value);
    if (!out.empty()) out += ' ';
    out += "0123456789abcdef"[v >> 4U];
    out += "0123456789abcdef"[v & 15U];
  }
  return out;
}

}  // namespace cleat

#include <cleat/base/bytes.hpp>

namespace cleat {

std::string to_hex(bytes_view b) {
  std::string out(b.size() * 3, ' ');
  std::size_t at = 0;
  for (std::byte const value : b) {
    auto const v = std::to_integer<unsigned>(value);
    out[at++] = "0123456789abcdef"[v >> 4U];
    out[at++] = "0123456789abcdef"[v & 15U];
    ++at;
  }
  if (!out.empty()) out.pop_back();
  return out;
}

}  // namespace cleat

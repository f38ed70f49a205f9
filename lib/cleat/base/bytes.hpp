#pragma once

#include <cleat/base/standard.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cleat {

/// Bytes that somebody lends for reading.
using bytes_view = std::span<std::byte const>;

/// A growing buffer of bytes. Keeps its memory when cleared.
using byte_buffer = std::vector<std::byte>;

[[nodiscard]] inline bytes_view as_bytes(std::string_view s) noexcept {
  return std::as_bytes(std::span<char const>{s.data(), s.size()});
}

[[nodiscard]] inline std::string_view as_text(bytes_view b) noexcept {
  return {reinterpret_cast<char const*>(b.data()), b.size()};  // NOLINT(*-reinterpret-cast)
}

inline void append(byte_buffer& to, bytes_view what) {
  to.insert(to.end(), what.begin(), what.end());
}
inline void append(byte_buffer& to, std::string_view what) { append(to, as_bytes(what)); }

/// Two-digit lower-case hexadecimal, separated by spaces: `f0 0d 01`.
[[nodiscard]] std::string to_hex(bytes_view b);

}  // namespace cleat

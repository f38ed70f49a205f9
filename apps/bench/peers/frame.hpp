#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace peers {

/// `F0 0D`, a version, and the length of the payload in four bytes, the highest first.
inline constexpr std::size_t header_bytes = 7;
inline constexpr std::size_t payload_bytes_max = 64 * std::size_t{1024};

using frame_header = std::array<char, header_bytes>;

[[nodiscard]] constexpr frame_header header_of(std::size_t payload_bytes) {
  auto const byte = [=](int shift) {
    return static_cast<char>(static_cast<std::uint8_t>(payload_bytes >> shift));
  };
  return {'\xF0', '\x0D', '\x01', byte(24), byte(16), byte(8), byte(0)};
}

/// The length of the payload, or nothing if this is no header of the protocol. Reads
/// `header_bytes` bytes.
[[nodiscard]] constexpr std::optional<std::size_t> payload_bytes_of(char const* header) {
  if (header[0] != '\xF0' || header[1] != '\x0D' || header[2] != '\x01') return std::nullopt;
  std::size_t length = 0;
  for (std::size_t i = 3; i < header_bytes; ++i) {
    length = length << 8U | static_cast<std::uint8_t>(header[i]);
  }
  if (length > payload_bytes_max) return std::nullopt;
  return length;
}

}  // namespace peers

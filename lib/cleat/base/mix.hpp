#pragma once

#include <cleat/base/standard.hpp>

#include <cstdint>
#include <string_view>

namespace cleat {

/// One step of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
/// 2014): a bijective mixing of 64 bits, good enough for identifiers and jitter, not for secrets.
[[nodiscard]] constexpr std::uint64_t mix64(std::uint64_t x) noexcept {
  x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27U)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31U);
}

/// `bits` scaled to [0, bound), by multiplication (Lemire 2019, without the rejection: biased by
/// < 2^-32 for bounds below 2^32).
[[nodiscard]] constexpr std::uint64_t scale(std::uint64_t bits, std::uint64_t bound) noexcept {
  __extension__ using wide = unsigned __int128;
  return static_cast<std::uint64_t>((static_cast<wide>(bits) * bound) >> 64U);
}

/// FNV-1a of 64 bits: the same on every platform, in every run. Its high bits are poor: mix it.
[[nodiscard]] constexpr std::uint64_t fnv1a(std::string_view s) noexcept {
  std::uint64_t h = 0xCBF29CE484222325ULL;
  for (char const c : s) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return h;
}

}  // namespace cleat

#pragma once

#include <cleat/base/text.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace cleat {

namespace detail {

/// Two digits for each byte.
inline constexpr auto hex_pairs = [] {
  std::array<std::array<char, 2>, 256> pairs{};
  for (std::size_t i = 0; i < pairs.size(); ++i)
    pairs[i] = {"0123456789abcdef"[i >> 4U], "0123456789abcdef"[i & 15U]};
  return pairs;
}();

/// What a lower-case digit is worth; 255 for any other character.
inline constexpr auto hex_values = [] {
  std::array<std::uint8_t, 256> values{};
  values.fill(255);
  for (std::uint8_t i = 0; i < 16; ++i)
    values[static_cast<unsigned char>("0123456789abcdef"[i])] = i;
  return values;
}();

}  // namespace detail

/// 16 lower-case hexadecimal digits.
[[nodiscard]] constexpr text<16> hex16(std::uint64_t value) noexcept {
  std::array<char, 16> digits{};
  for (std::size_t i = digits.size(); i != 0; i -= 2, value >>= 8U) {
    auto const& pair = detail::hex_pairs[value & 255U];
    digits[i - 2] = pair[0];
    digits[i - 1] = pair[1];
  }
  return text<16>{std::string_view{digits.data(), digits.size()}};
}

/// The value of exactly 16 lower-case hexadecimal digits; nothing for any other text.
[[nodiscard]] constexpr std::optional<std::uint64_t> parse_hex16(std::string_view s) noexcept {
  if (s.size() != 16) return std::nullopt;
  std::uint64_t value = 0;
  unsigned seen = 0;
  for (char const c : s) {
    unsigned const digit = detail::hex_values[static_cast<unsigned char>(c)];
    seen |= digit;
    value = value << 4U | (digit & 15U);
  }
  if (seen == 255) return std::nullopt;
  return value;
}

/// A time-ordered unique identifier, UUID version 7 (RFC 9562, section 5.7). For logs only.
class uuid7 {
 public:
  constexpr uuid7() noexcept = default;
  /// From the time on the wall and 128 random bits, of which 74 are used.
  constexpr uuid7(std::chrono::system_clock::time_point at, std::uint64_t random_a,
                  std::uint64_t random_b) noexcept {
    auto const ms = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(at.time_since_epoch()).count());
    high_ = ms << 16U | 0x7000U | (random_a & 0x0FFFU);
    low_ = 0x8000000000000000ULL | (random_b >> 2U);
  }

  /// The usual form: 8-4-4-4-12 lower-case digits.
  [[nodiscard]] constexpr text<36> to_text() const noexcept {
    auto const h = hex16(high_);
    auto const l = hex16(low_);
    std::array<char, 36> out{};
    std::size_t n = 0;
    auto const put = [&](std::string_view s) {
      for (char const c : s) out[n++] = c;
    };
    put(h.view().substr(0, 8));
    put("-");
    put(h.view().substr(8, 4));
    put("-");
    put(h.view().substr(12));
    put("-");
    put(l.view().substr(0, 4));
    put("-");
    put(l.view().substr(4));
    return text<36>{std::string_view{out.data(), out.size()}};
  }

  /// Whatever was made of a time has its variant in there.
  [[nodiscard]] constexpr bool empty() const noexcept { return low_ == 0; }
  friend constexpr bool operator==(uuid7 const&, uuid7 const&) noexcept = default;

 private:
  std::uint64_t high_ = 0;
  std::uint64_t low_ = 0;
};

}  // namespace cleat

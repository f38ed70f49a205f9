#include <common/duration.hpp>

#include <array>
#include <charconv>
#include <cstdint>
#include <utility>

namespace apps {
namespace {

using std::chrono::nanoseconds;

constexpr std::int64_t ns_max = 1000 * std::int64_t{3600} * 1'000'000'000;
constexpr std::array<std::pair<std::string_view, std::int64_t>, 5> units{{
    {"ms", 1'000'000},
    {"s", 1'000'000'000},
    {"", 1'000'000'000},
    {"m", 60 * std::int64_t{1'000'000'000}},
    {"h", 3600 * std::int64_t{1'000'000'000}},
}};

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

/// With one decimal, unless that is a zero.
std::string tenths(std::int64_t n) {
  std::string out = std::to_string(n / 10);
  if (n % 10 != 0) {
    out += '.';
    out += std::to_string(n % 10);
  }
  return out;
}

}  // namespace

std::optional<nanoseconds> parse_duration(std::string_view word) {
  std::size_t n = 0;
  std::size_t digits = 0;
  std::size_t points = 0;
  for (; n < word.size() && (is_digit(word[n]) || word[n] == '.'); ++n) {
    ++(is_digit(word[n]) ? digits : points);
  }
  if (digits == 0 || points > 1) return std::nullopt;
  double value = 0;
  auto const read = std::from_chars(word.data(), word.data() + n, value, std::chars_format::fixed);
  if (read.ec != std::errc{} || read.ptr != word.data() + n) return std::nullopt;
  for (auto const& [name, ns] : units) {
    if (word.substr(n) != name) continue;
    double const total = value * static_cast<double>(ns);
    if (total > static_cast<double>(ns_max)) return std::nullopt;
    return nanoseconds{static_cast<std::int64_t>(total)};
  }
  return std::nullopt;
}

std::string to_words(nanoseconds d) {
  auto const ms = (d.count() + 500'000) / 1'000'000;
  if (ms < 1000) return std::to_string(ms) + " ms";
  if (ms < 60'000) return tenths((ms + 50) / 100) + " s";
  return tenths((ms + 3000) / 6000) + " min";
}

}  // namespace apps

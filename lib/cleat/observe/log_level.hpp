#pragma once

#include <cleat/base/result.hpp>

#include <cstdint>
#include <string_view>

namespace cleat {

/// How much a log record matters. A log set to one level shows that and everything above.
enum class log_level : std::uint8_t { debug, info, warning, error };

/// As in records: `DEBUG`, `INFO`, `WARNING`, `ERROR`.
[[nodiscard]] constexpr std::string_view to_string(log_level l) noexcept {
  switch (l) {
    case log_level::debug:
      return "DEBUG";
    case log_level::info:
      return "INFO";
    case log_level::warning:
      return "WARNING";
    case log_level::error:
      return "ERROR";
  }
  return "ERROR";
}

/// From such a word, in any case. Anything else is `invalid`, and the detail says what is allowed.
[[nodiscard]] result<log_level> parse_log_level(std::string_view word);

}  // namespace cleat

#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace apps {

/// A length of time as people write it: `250ms`, `1.5s`, `2` (seconds), `1m`, `1h`. Nothing for any
/// other text, for negative ones, and for more than a thousand hours.
[[nodiscard]] std::optional<std::chrono::nanoseconds> parse_duration(std::string_view word);

/// For people: `12 ms`, `1.5 s`, `2 min`.
[[nodiscard]] std::string to_words(std::chrono::nanoseconds d);

}  // namespace apps

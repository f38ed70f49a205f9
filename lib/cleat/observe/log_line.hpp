#pragma once

#include <cleat/base/standard.hpp>

#include <boost/json/fwd.hpp>

#include <chrono>
#include <string>

namespace cleat {

/// `2026-11-22T16:19:00.123Z` (RFC 3339, milliseconds, UTC).
[[nodiscard]] std::string to_rfc3339(std::chrono::system_clock::time_point at);

/// Appends one JSON object and a newline. Numbers are written as people write them (12.345,
/// not 1.2345E1); bytes that are not UTF-8 are replaced.
void append_json_line(std::string& to, boost::json::object const& record);

/// Appends a line for people, from the fields ts, level, module, line and message; all others
/// follow as `key=value`. Control characters are escaped, so that nothing in a field makes a line
/// of its own.
void append_text_line(std::string& to, boost::json::object const& record, bool colour);

}  // namespace cleat

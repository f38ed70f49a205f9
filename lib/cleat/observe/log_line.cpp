#include <cleat/observe/log_line.hpp>

#include <cleat/base/utf8.hpp>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <string_view>

namespace cleat {
namespace {

namespace json = boost::json;

std::string_view view(json::string_view s) noexcept { return {s.data(), s.size()}; }

void append_escape(std::string& to, char32_t c) {
  to += "\\u";
  for (unsigned shift = 16; shift != 0;) {
    shift -= 4;
    to += "0123456789abcdef"[(c >> shift) & 15U];
  }
}

/// The inside of a JSON string. What would steer a terminal, or end a line for some readers, is
/// written as an escape.
void append_escaped(std::string& to, std::string_view s) {
  while (!s.empty()) {
    char const c = s.front();
    std::size_t n = 1;
    if (c == '"' || c == '\\') {
      to += '\\';
      to += c;
    } else if (c == '\n') {
      to += "\\n";
    } else if (n = utf8_length(s); n == 0) {
      to += utf8_replacement;
      n = 1;
    } else if (auto const point = utf8_code_point(s.substr(0, n)); steers_terminal(point)) {
      append_escape(to, point);
    } else {
      to += s.substr(0, n);
    }
    s.remove_prefix(n);
  }
}

void append_string(std::string& to, std::string_view s) {
  to += '"';
  append_escaped(to, s);
  to += '"';
}

template <class Number>
void append_number(std::string& to, Number n) {
  std::array<char, 32> digits{};
  auto const done = std::to_chars(digits.data(), digits.data() + digits.size(), n);
  to.append(digits.data(), done.ptr);
}

void append_value(std::string& to, json::value const& v);

void append_object(std::string& to, json::object const& o) {
  char before = '{';
  if (o.empty()) to += before;
  for (auto const& field : o) {
    to += before;
    append_string(to, view(field.key()));
    to += ':';
    append_value(to, field.value());
    before = ',';
  }
  to += '}';
}

void append_value(std::string& to, json::value const& v) {
  switch (v.kind()) {
    case json::kind::null:
      to += "null";
      break;
    case json::kind::bool_:
      to += v.get_bool() ? "true" : "false";
      break;
    case json::kind::int64:
      append_number(to, v.get_int64());
      break;
    case json::kind::uint64:
      append_number(to, v.get_uint64());
      break;
    case json::kind::double_:
      if (std::isfinite(v.get_double())) {
        append_number(to, v.get_double());
      } else {
        to += "null";  // JSON has no other numbers
      }
      break;
    case json::kind::string:
      append_string(to, view(v.get_string()));
      break;
    case json::kind::object:
      append_object(to, v.get_object());
      break;
    case json::kind::array: {
      char before = '[';
      if (v.get_array().empty()) to += before;
      for (json::value const& each : v.get_array()) {
        to += before;
        append_value(to, each);
        before = ',';
      }
      to += ']';
      break;
    }
  }
}

/// The fields that a text line shows in places of their own.
constexpr std::array<std::string_view, 5> placed{"ts", "level", "module", "line", "message"};

std::string_view string_of(json::object const& record, std::string_view key) {
  auto const* const v = record.if_contains(key);
  return v != nullptr && v->is_string() ? view(v->get_string()) : std::string_view{};
}

std::string_view colour_of(std::string_view level) noexcept {
  if (level == "ERROR") return "\x1b[31m";
  if (level == "WARNING") return "\x1b[33m";
  if (level == "DEBUG") return "\x1b[2m";
  return "";
}

bool is_plain(std::string_view s) noexcept {
  return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) {
    return c > ' ' && c < '\x7F' && c != '"' && c != '\\' && c != '=';
  });
}

template <class Unsigned>
void append_padded(std::string& to, Unsigned n, std::size_t width) {
  std::array<char, 20> digits{};
  auto const done = std::to_chars(digits.data(), digits.data() + digits.size(), n);
  auto const size = static_cast<std::size_t>(done.ptr - digits.data());
  to.append(width > size ? width - size : 0, '0').append(digits.data(), size);
}

}  // namespace

std::string to_rfc3339(std::chrono::system_clock::time_point at) {
  using namespace std::chrono;
  auto const day = floor<days>(at);
  year_month_day const date{day};
  hh_mm_ss const time{floor<milliseconds>(at - day)};
  auto const number = [](auto n) { return static_cast<unsigned long long>(n); };
  std::string out;
  append_padded(out, number(std::max(0, static_cast<int>(date.year()))), 4);
  append_padded(out += '-', number(static_cast<unsigned>(date.month())), 2);
  append_padded(out += '-', number(static_cast<unsigned>(date.day())), 2);
  append_padded(out += 'T', number(time.hours().count()), 2);
  append_padded(out += ':', number(time.minutes().count()), 2);
  append_padded(out += ':', number(time.seconds().count()), 2);
  append_padded(out += '.', number(time.subseconds().count()), 3);
  return out += 'Z';
}

void append_json_line(std::string& to, json::object const& record) {
  append_object(to, record);
  to += '\n';
}

void append_text_line(std::string& to, json::object const& record, bool colour) {
  std::string_view const level = string_of(record, "level");
  std::string_view const paint = colour ? colour_of(level) : std::string_view{};
  append_escaped(to, string_of(record, "ts"));
  (to += ' ') += paint;
  to += level;
  if (!paint.empty()) to += "\x1b[0m";
  to.append(level.size() < 8 ? 8 - level.size() : 1, ' ');
  append_escaped(to, string_of(record, "module"));
  if (auto const* const line = record.if_contains("line")) append_value(to += ':', *line);
  to += "  ";
  append_escaped(to, string_of(record, "message"));
  for (auto const& field : record) {
    std::string_view const key = view(field.key());
    if (std::find(placed.begin(), placed.end(), key) != placed.end()) continue;
    to += ' ';
    append_escaped(to, key);
    to += '=';
    if (field.value().is_string() && is_plain(view(field.value().get_string()))) {
      to += view(field.value().get_string());
    } else {
      append_value(to, field.value());
    }
  }
  to += '\n';
}

}  // namespace cleat

#include <cleat/codec/json.hpp>
#include <cleat/codec/utf8.hpp>

#include <array>
#include <charconv>

namespace cleat {

namespace {

void write_escaped(std::string_view s, byte_buffer& out) {
  append(out, "\"");
  std::size_t plain = 0;  // where the run that needs no escape begins
  for (std::size_t i = 0; i < s.size(); ++i) {
    auto const c = static_cast<unsigned char>(s[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    append(out, s.substr(plain, i - plain));
    plain = i + 1;
    switch (c) {
      case '"':
        append(out, "\\\"");
        break;
      case '\\':
        append(out, "\\\\");
        break;
      case '\b':
        append(out, "\\b");
        break;
      case '\f':
        append(out, "\\f");
        break;
      case '\n':
        append(out, "\\n");
        break;
      case '\r':
        append(out, "\\r");
        break;
      case '\t':
        append(out, "\\t");
        break;
      default: {
        std::array<char, 6> const escape{
            '\\', 'u', '0', '0', "0123456789abcdef"[c >> 4U], "0123456789abcdef"[c & 15U]};
        append(out, std::string_view{escape.data(), escape.size()});
      }
    }
  }
  append(out, s.substr(plain));
  append(out, "\"");
}

void write_integer(json_integer n, byte_buffer& out) {
  std::array<char, 24> digits{};
  char* first = digits.data();
  if (n.negative) *first++ = '-';
  char const* const end = std::to_chars(first, digits.data() + digits.size(), n.magnitude).ptr;
  append(out, std::string_view{digits.data(), static_cast<std::size_t>(end - digits.data())});
}

/// Writes the value, or says what is wrong with it.
std::optional<json_errc> write_value(json_scalar const& v, byte_buffer& out) {
  if (auto const* const b = std::get_if<bool>(&v)) {
    append(out, *b ? std::string_view{"true"} : std::string_view{"false"});
  } else if (auto const* const n = std::get_if<json_integer>(&v)) {
    write_integer(*n, out);
  } else if (auto const* const s = std::get_if<std::string_view>(&v)) {
    if (!is_utf8(*s)) return json_errc::invalid_utf8;
    write_escaped(*s, out);
  } else {
    return json_errc::unknown_value;
  }
  return std::nullopt;
}

}  // namespace

namespace detail {

result<void> json_write(void const* message, std::span<json_field const> fields, byte_buffer& out) {
  std::size_t const mark = out.size();
  append(out, "{");
  bool first = true;
  for (json_field const& field : fields) {
    json_scalar const v = field.load(message);
    if (std::holds_alternative<std::monostate>(v)) continue;
    append(out, first ? std::string_view{"\""} : std::string_view{",\""});
    append(out, field.name());
    append(out, "\":");
    if (auto const wrong = write_value(v, out)) {
      out.resize(mark);
      return json_write_failure(*wrong, field.name());
    }
    first = false;
  }
  append(out, "}");
  return {};
}

}  // namespace detail

}  // namespace cleat

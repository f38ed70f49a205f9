#include <cleat/codec/json_text.hpp>

#include <cleat/base/utf8.hpp>

#include <algorithm>
#include <array>
#include <cstdint>

namespace cleat::detail {

namespace {

/// Also of the end, which is none.
constexpr int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// What a backslash and this stand for; 0: nothing.
constexpr char short_escape(char c) noexcept {
  switch (c) {
    case '"':
    case '\\':
    case '/':
      return c;
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    default:
      return 0;
  }
}

constexpr bool is_high(std::uint32_t unit) noexcept { return unit >= 0xD800 && unit < 0xDC00; }
constexpr bool is_low(std::uint32_t unit) noexcept { return unit >= 0xDC00 && unit < 0xE000; }

void append_utf8(std::string& to, std::uint32_t c) {
  auto const put = [&](std::uint32_t byte) { to += static_cast<char>(byte); };
  auto const rest = [&](unsigned shift) { put(0x80U | (c >> shift & 0x3FU)); };
  if (c < 0x80) return put(c);
  if (c < 0x800) {
    put(0xC0U | c >> 6U);
  } else if (c < 0x10000) {
    put(0xE0U | c >> 12U);
    rest(6);
  } else {
    put(0xF0U | c >> 18U);
    rest(12);
    rest(6);
  }
  rest(0);
}

/// Copies a text, character by character.
class text_reader {
 public:
  text_reader(std::string_view raw, std::string& to) noexcept : raw_(raw), to_(to) {}

  /// Gives the first place that is not right.
  std::size_t read() {
    while (at_ < raw_.size()) {
      if (raw_[at_] == '\\') {
        escape();
      } else {
        character();
      }
    }
    return wrong_;
  }

 private:
  void wrong(std::size_t at) noexcept { wrong_ = std::min(wrong_, at); }
  [[nodiscard]] char byte(std::size_t at) const noexcept {
    return at < raw_.size() ? raw_[at] : '\0';
  }

  void character() {
    std::size_t const n = utf8_length(raw_.substr(at_));
    if (n == 0 || static_cast<unsigned char>(raw_[at_]) < 0x20) wrong(at_);
    to_ += n != 0 ? raw_.substr(at_, n) : utf8_replacement;
    at_ += std::max<std::size_t>(n, 1);
  }

  void escape() {
    if (char const c = short_escape(byte(at_ + 1)); c != 0) {
      to_ += c;
      at_ += 2;
      return;
    }
    std::uint32_t first = 0;
    if (!unit(at_, first)) return lost(1);
    if (is_low(first)) {
      wrong(at_);
      return lost(6);
    }
    if (!is_high(first)) {
      append_utf8(to_, first);
      at_ += 6;
      return;
    }
    std::uint32_t second = 0;
    if (!unit(at_ + 6, second)) return lost(6);
    if (!is_low(second)) {
      wrong(at_ + 6);
      return lost(6);
    }
    append_utf8(to_, 0x10000U + ((first - 0xD800U) << 10U) + (second - 0xDC00U));
    at_ += 12;
  }

  /// The value of `\uXXXX`; or says where it is none.
  bool unit(std::size_t at, std::uint32_t& value) noexcept {
    for (char const c : {'\\', 'u'}) {
      if (byte(at) != c) {
        wrong(at);
        return false;
      }
      ++at;
    }
    for (std::size_t const end = at + 4; at != end; ++at) {
      int const digit = hex_digit(byte(at));
      if (digit < 0) {
        wrong(at);
        return false;
      }
      value = value << 4U | static_cast<std::uint32_t>(digit);
    }
    return true;
  }

  void lost(std::size_t bytes) {
    to_ += utf8_replacement;
    at_ += bytes;
  }

  std::string_view raw_;
  std::string& to_;
  std::size_t at_ = 0;
  std::size_t wrong_ = json_text::all_right;
};

/// Whether each byte stands for itself.
bool is_literal(std::string_view raw) noexcept {
  auto const odd = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == '\\'; };
  return std::none_of(raw.begin(), raw.end(), odd) && is_utf8(raw);
}

}  // namespace

json_text read_text(std::string_view raw, std::string& buffer) {
  if (is_literal(raw)) return {raw, json_text::all_right};
  buffer.clear();
  std::size_t const wrong = text_reader{raw, buffer}.read();
  return {buffer, wrong};
}

}  // namespace cleat::detail

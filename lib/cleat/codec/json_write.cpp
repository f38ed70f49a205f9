#include <cleat/base/utf8.hpp>
#include <cleat/codec/json_writer.hpp>
#include <cleat/codec/plain_block.hpp>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>

namespace cleat::detail {

namespace {

/// Copies `s`, and up to a block more; or stops where it is not plain.
bool copy_plain(std::string_view s, char* to) noexcept {
  constexpr std::size_t block_bytes = plain_block{}.size();
  for (; s.size() >= block_bytes; s.remove_prefix(block_bytes), to += block_bytes) {
    if (not_plain(s.data()) != 0) return false;
    std::memcpy(to, s.data(), block_bytes);
  }
  plain_block const last = short_block(s);
  std::memcpy(to, last.data(), block_bytes);
  return static_cast<std::size_t>(std::countr_zero(not_plain(last.data()))) == s.size();
}

/// The escape of a byte that does not stand for itself and has a short one; empty: it has none.
constexpr std::string_view short_escape(unsigned char c) noexcept {
  switch (c) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      return {};
  }
}

constexpr bool wants_escape(char c) noexcept {
  return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\';
}

}  // namespace

bool json_writer::put_text(std::string_view s) {
  if (chunk_bytes - used_ >= s.size() + 2 + plain_block{}.size() &&
      copy_plain(s, chunk_.data() + used_ + 1)) {
    chunk_[used_] = '"';
    used_ += s.size() + 2;
    chunk_[used_ - 1] = '"';
    return true;
  }
  if (!is_utf8(s)) return false;
  put("\"");
  put_escaped(s);
  put("\"");
  return true;
}

result<void> json_writer::finish() {
  if (!refused_.empty()) {
    out_.resize(mark_);
    return json_write_failure(wrong_, refused_);
  }
  put(before_ == '{' ? "{}" : "}");
  flush();
  return {};
}

bool json_writer::refuse(std::string_view name, json_errc why) {
  refused_ = name;
  wrong_ = why;
  return false;
}

void json_writer::put_escaped(std::string_view s) {
  while (true) {
    auto const run = static_cast<std::size_t>(std::ranges::find_if(s, wants_escape) - s.begin());
    put(s.substr(0, run));
    if (run == s.size()) return;
    auto const c = static_cast<unsigned char>(s[run]);
    if (std::string_view const escape = short_escape(c); !escape.empty()) {
      put(escape);
    } else {
      put("\\u00");
      put(std::string_view{"0123456789abcdef"}.substr(c >> 4U, 1));
      put(std::string_view{"0123456789abcdef"}.substr(c & 15U, 1));
    }
    s.remove_prefix(run + 1);
  }
}

void json_writer::put_integer(json_integer n) {
  if (n.negative) chunk_[used_++] = '-';
  char* const first = chunk_.data() + used_;
  used_ += static_cast<std::size_t>(
      std::to_chars(first, chunk_.data() + chunk_bytes, n.magnitude).ptr - first);
}

void json_writer::put_behind(std::string_view s) {
  flush();
  append(out_, s);
}

void json_writer::flush() {
  append(out_, std::string_view{chunk_.data(), used_});
  used_ = 0;
}

}  // namespace cleat::detail

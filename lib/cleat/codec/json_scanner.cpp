#include <cleat/codec/json_scanner.hpp>

#include <string>

namespace cleat::detail {

namespace {

/// What a number or a word has, also those that are not JSON: `NaN`, `-Infinity`.
constexpr bool is_word(char c) noexcept {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '+' ||
         c == '-' || c == '.' || c == '_';
}

}  // namespace

void json_scanner::skip_space() noexcept {
  while (at_ != s_.size() &&
         (s_[at_] == ' ' || s_[at_] == '\t' || s_[at_] == '\n' || s_[at_] == '\r')) {
    ++at_;
  }
}

bool json_scanner::take(char c) noexcept {
  skip_space();
  if (next() != c || at_end()) return false;
  ++at_;
  return true;
}

bool json_scanner::take_text() noexcept {
  if (next() != '"') return false;
  for (++at_; at_ < s_.size(); ++at_) {
    if (s_[at_] == '"') {
      ++at_;
      return true;
    }
    if (s_[at_] == '\\') ++at_;
  }
  at_ = s_.size();
  return false;
}

bool json_scanner::take_name(std::string_view& name) noexcept {
  skip_space();
  std::size_t const begin = at_ + 1;
  if (!take_text()) return false;
  name = s_.substr(begin, at_ - 1 - begin);
  return take(':');
}

bool json_scanner::take_word() noexcept {
  std::size_t const begin = at_;
  while (at_ != s_.size() && is_word(s_[at_])) ++at_;
  return at_ != begin;
}

bool json_scanner::take_value() {
  std::string closes;  // what ends each object and array that is open
  std::string_view name;
  for (;;) {
    skip_space();
    char const c = next();
    if (c == '{' || c == '[') {
      ++at_;
      closes += c == '{' ? '}' : ']';
      if (take(closes.back())) {
        closes.pop_back();
      } else if (c == '[' || take_name(name)) {
        continue;
      } else {
        return false;
      }
    } else if (!(c == '"' ? take_text() : take_word())) {
      return false;
    }
    // A value has ended, and perhaps those that it stands in.
    while (!closes.empty() && take(closes.back())) closes.pop_back();
    if (closes.empty()) return true;
    if (!take(',') || (closes.back() == '}' && !take_name(name))) return false;
  }
}

}  // namespace cleat::detail

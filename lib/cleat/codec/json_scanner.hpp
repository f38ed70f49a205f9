#pragma once

#include <cleat/base/standard.hpp>

#include <cstddef>
#include <string_view>

namespace cleat::detail {

/// Goes through a JSON text, value by value. It finds where each ends and judges the structure only:
/// texts, brackets, colons and commas; what stands inside a text or a number it leaves to others.
///
/// What takes something says whether it stood there. If not, `at` is the first byte that cannot be
/// right, or the end.
class json_scanner {
 public:
  explicit json_scanner(std::string_view s) noexcept : s_(s) {}

  [[nodiscard]] std::size_t at() const noexcept { return at_; }
  [[nodiscard]] bool at_end() const noexcept { return at_ == s_.size(); }
  /// The next byte; 0 at the end.
  [[nodiscard]] char next() const noexcept { return at_end() ? '\0' : s_[at_]; }
  /// What was passed over since `from`.
  [[nodiscard]] std::string_view since(std::size_t from) const noexcept {
    return s_.substr(from, at_ - from);
  }
  void skip_space() noexcept;
  /// Goes on behind `n` more bytes, which are there.
  void advance(std::size_t n) noexcept { at_ += n; }
  /// Takes `c`, behind white space.
  [[nodiscard]] bool take(char c) noexcept;
  /// Takes a text, which begins here, with both quotes.
  [[nodiscard]] bool take_text() noexcept;
  /// Takes a member's name and the colon, behind white space. `name` stands between the quotes.
  [[nodiscard]] bool take_name(std::string_view& name) noexcept;
  /// Takes any value, behind white space, however many objects and arrays stand in one another.
  [[nodiscard]] bool take_value();

 private:
  [[nodiscard]] bool take_word() noexcept;

  std::string_view s_;
  std::size_t at_ = 0;
};

}  // namespace cleat::detail

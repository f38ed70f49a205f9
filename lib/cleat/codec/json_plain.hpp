#pragma once

#include <cleat/codec/json_member.hpp>

#include <array>
#include <cstddef>
#include <cstring>
#include <string_view>

namespace cleat::detail {

/// Reads a flat object as most programs write it: members in a known order, plain texts, whole
/// numbers, no white space but for one space before a name and before a value. It takes nothing
/// that is not JSON, and what it does not take it says nothing about: a whole parser judges that.
class plain_json {
 public:
  explicit plain_json(std::string_view s) noexcept : at_(s.data()), end_(s.data() + s.size()) {}

  /// Takes the name of the next member, if it is this one. `token` is the name in quotes and a
  /// colon.
  template <std::size_t N>
  [[nodiscard, gnu::always_inline]] bool take_name(std::array<char, N> const& token) noexcept {
    if (left() < N + 3 || *at_ != before_) return false;  // `,"name":1}` is the least
    char const* const name = at_[1] == ' ' ? at_ + 2 : at_ + 1;
    if (std::memcmp(name, token.data(), N) != 0) return false;
    at_ = name + N;
    if (*at_ == ' ') ++at_;
    before_ = ',';
    return true;
  }
  /// Takes a value, if it is plain, and gives it to `store`, which says what is wrong with it.
  template <class Store>
  [[nodiscard, gnu::always_inline]] bool take_value(Store store) {
    if (at_ == end_) return false;
    if (*at_ == '"') {
      std::string_view text;
      return take_text(text) && !store(text);
    }
    if (*at_ == 't') return take_word("true") && !store(true);
    if (*at_ == 'f') return take_word("false") && !store(false);
    json_integer number;
    return take_integer(number) && !store(number);
  }
  /// Nothing is left but the end of an object that had members.
  [[nodiscard]] bool ends() const noexcept { return before_ == ',' && left() == 1 && *at_ == '}'; }

 private:
  [[nodiscard]] std::size_t left() const noexcept { return static_cast<std::size_t>(end_ - at_); }
  [[nodiscard]] bool take_word(std::string_view word) noexcept {
    if (!std::string_view{at_, left()}.starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  [[nodiscard]] bool take_text(std::string_view& to) noexcept;
  [[nodiscard]] bool take_integer(json_integer& to) noexcept;

  char const* at_;
  char const* end_;
  char before_ = '{';  ///< what stands before the next member
};

}  // namespace cleat::detail

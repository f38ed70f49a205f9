#pragma once

#include <cleat/base/bytes.hpp>
#include <cleat/base/result.hpp>
#include <cleat/codec/json_member.hpp>

#include <array>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <variant>

namespace cleat::detail {

/// Writes one flat object behind what a buffer holds. Collects in place what goes there, so that
/// the buffer grows once.
class json_writer {
 public:
  explicit json_writer(byte_buffer& out) noexcept : out_(out), mark_(out.size()) {}

  /// Writes a member; false if its value cannot be written. `token` is its name in quotes and a
  /// colon.
  template <std::size_t N>
  [[gnu::always_inline]] bool put_member(std::array<char, N> const& token, json_scalar const& v) {
    if (std::holds_alternative<std::monostate>(v)) return true;
    static_assert(1 + N + scalar_bytes_max <= chunk_bytes);
    if (chunk_bytes - used_ < 1 + N + scalar_bytes_max) flush();
    chunk_[used_] = before_;
    before_ = ',';
    std::memcpy(chunk_.data() + used_ + 1, token.data(), N);
    used_ += 1 + N;
    if (auto const* const s = std::get_if<std::string_view>(&v)) {
      return put_text(*s) || refuse({token.data() + 1, N - 3}, json_errc::invalid_utf8);
    }
    if (auto const* const b = std::get_if<bool>(&v)) {
      *b ? put_word("true") : put_word("false");
      return true;
    }
    auto const* const n = std::get_if<json_integer>(&v);
    if (n == nullptr) return refuse({token.data() + 1, N - 3}, json_errc::unknown_value);
    put_integer(*n);
    return true;
  }
  /// Ends the object; or leaves the buffer as it was and says what was wrong with which member.
  [[nodiscard]] result<void> finish();

 private:
  static constexpr std::size_t chunk_bytes = 256;
  /// What is not a text has no more.
  static constexpr std::size_t scalar_bytes_max = 24;

  void put(std::string_view s) {
    if (s.size() > chunk_bytes - used_) return put_behind(s);
    put_word(s);
  }
  /// What there is room for.
  void put_word(std::string_view s) {
    std::memcpy(chunk_.data() + used_, s.data(), s.size());
    used_ += s.size();
  }
  /// What the chunk has no room for.
  void put_behind(std::string_view s);
  /// False: it is not UTF-8.
  [[nodiscard]] bool put_text(std::string_view s);
  void put_escaped(std::string_view s);
  void put_integer(json_integer n);
  void flush();
  bool refuse(std::string_view name, json_errc why);

  byte_buffer& out_;
  std::size_t mark_;
  std::size_t used_ = 0;
  json_errc wrong_ = {};
  char before_ = '{';         ///< what stands before the next member
  std::string_view refused_;  ///< the member that cannot be written, for `wrong_`
  std::array<char, chunk_bytes>
      chunk_;  // NOLINT(*-member-init): `used_` says how much of it is there
};

}  // namespace cleat::detail

#pragma once

#include <cleat/base/text.hpp>
#include <cleat/codec/json_errc.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

namespace cleat {

/// A whole number as JSON writes it: sign and magnitude.
struct json_integer {
  std::uint64_t magnitude = 0;
  bool negative = false;
};

/// A whole number beyond 64 bits: no member holds it.
struct json_overflow {};

/// What a field may hold, on its way in or out. `monostate` is `null` on the way in and "left out"
/// on the way out.
using json_scalar =
    std::variant<std::monostate, bool, json_integer, json_overflow, std::string_view>;

/// The name of an enumerator in JSON. Declare, beside the enumeration, `constexpr
/// std::array<json_name<colour>, 2> json_names(colour) { return {{{colour::red, "red"}, ...}}; }`.
template <class Enum>
struct json_name {
  Enum value;
  std::string_view name;
};

template <class T>
concept JsonEnum = std::is_enum_v<T> && requires(T e) { json_names(e).size(); };

template <class T>
concept JsonInteger =
    std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, char> && sizeof(T) <= 8;

/// How a member of type `T` is stored and loaded. `store` says what is wrong, or nothing; `limit`
/// is what a text may have in bytes, or a number in bits. Specialise it for a type of your own.
///
/// It may also have `static bool store_part(T& to, json_scalar const& from)`, which is asked for the
/// value of a hint that `store` did not take: it keeps a part of it, or says no.
template <class T>
struct json_member;

template <>
struct json_member<bool> {
  static constexpr std::string_view expected = "true or false";
  static constexpr std::size_t limit = 0;
  static std::optional<json_errc> store(bool& to, json_scalar const& from) {
    bool const* const b = std::get_if<bool>(&from);
    if (b == nullptr) return json_errc::mistyped_field;
    to = *b;
    return std::nullopt;
  }
  static json_scalar load(bool from) { return from; }
};

template <JsonInteger T>
struct json_member<T> {
  static constexpr std::string_view expected = "a whole number";
  static constexpr std::size_t limit = sizeof(T) * 8;
  static std::optional<json_errc> store(T& to, json_scalar const& from) {
    if (std::holds_alternative<json_overflow>(from)) return json_errc::out_of_range;
    json_integer const* const n = std::get_if<json_integer>(&from);
    if (n == nullptr) return json_errc::mistyped_field;
    auto max = static_cast<std::uint64_t>(std::numeric_limits<T>::max());
    if (n->negative && n->magnitude != 0) max = std::is_signed_v<T> ? max + 1 : 0;
    if (n->magnitude > max) return json_errc::out_of_range;
    to = static_cast<T>(n->negative ? std::uint64_t{0} - n->magnitude : n->magnitude);
    return std::nullopt;
  }
  static json_scalar load(T from) {
    auto const bits = static_cast<std::uint64_t>(from);
    bool const negative = std::is_signed_v<T> && from < T{0};
    return json_integer{negative ? std::uint64_t{0} - bits : bits, negative};
  }
};

template <>
struct json_member<std::string> {
  static constexpr std::string_view expected = "a text";
  static constexpr std::size_t limit = 0;
  static std::optional<json_errc> store(std::string& to, json_scalar const& from) {
    auto const* const s = std::get_if<std::string_view>(&from);
    if (s == nullptr) return json_errc::mistyped_field;
    to.assign(*s);
    return std::nullopt;
  }
  static json_scalar load(std::string const& from) { return std::string_view{from}; }
};

template <std::size_t N>
struct json_member<text<N>> {
  static constexpr std::string_view expected = "a text";
  static constexpr std::size_t limit = N;
  static std::optional<json_errc> store(text<N>& to, json_scalar const& from) {
    auto const* const s = std::get_if<std::string_view>(&from);
    if (s == nullptr) return json_errc::mistyped_field;
    if (s->size() > N) return json_errc::too_long;
    to.assign(*s);
    return std::nullopt;
  }
  /// Cut, as `text` cuts.
  static bool store_part(text<N>& to, json_scalar const& from) {
    auto const* const s = std::get_if<std::string_view>(&from);
    if (s != nullptr) to.assign(*s);
    return s != nullptr;
  }
  static json_scalar load(text<N> const& from) { return from.view(); }
};

template <JsonEnum T>
struct json_member<T> {
  static constexpr std::string_view expected = "one of its names";
  static constexpr std::size_t limit = 0;
  static std::optional<json_errc> store(T& to, json_scalar const& from) {
    auto const* const s = std::get_if<std::string_view>(&from);
    if (s == nullptr) return json_errc::mistyped_field;
    for (auto const& known : json_names(T{})) {
      if (known.name != *s) continue;
      to = known.value;
      return std::nullopt;
    }
    return json_errc::unknown_value;
  }
  /// A value without a name cannot be written.
  static json_scalar load(T from) {
    for (auto const& known : json_names(from)) {
      if (known.value == from) return known.name;
    }
    return json_overflow{};
  }
};

/// Left out when empty; absent and `null` both read as empty.
template <class T>
struct json_member<std::optional<T>> {
  static constexpr std::string_view expected = json_member<T>::expected;
  static constexpr std::size_t limit = json_member<T>::limit;
  static std::optional<json_errc> store(std::optional<T>& to, json_scalar const& from) {
    if (std::holds_alternative<std::monostate>(from)) {
      to.reset();
      return std::nullopt;
    }
    return json_member<T>::store(to.emplace(), from);
  }
  static bool store_part(std::optional<T>& to, json_scalar const& from)
    requires requires(T& value) { json_member<T>::store_part(value, from); }
  {
    return json_member<T>::store_part(to.emplace(), from);
  }
  static json_scalar load(std::optional<T> const& from) {
    if (!from) return std::monostate{};
    return json_member<T>::load(*from);
  }
};

}  // namespace cleat

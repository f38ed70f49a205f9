#pragma once

#include <cleat/base/bytes.hpp>
#include <cleat/base/result.hpp>
#include <cleat/codec/json_member.hpp>
#include <cleat/codec/json_plain.hpp>
#include <cleat/codec/json_writer.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace cleat {

/// So deep is JSON judged; what nobody declared may be deeper.
inline constexpr std::size_t json_depth_max = 32;

/// What is made of the fields of a message that are declared as hints.
enum class json_hints : std::uint8_t {
  lenient,  ///< whatever they hold, the message can be read
  strict,   ///< they are judged as all other fields are
};

/// One field of a message: its name in JSON, and the member that holds it.
///
/// A field made by `of` is essential: what its member cannot hold makes the message malformed. It is
/// required unless the member is a `std::optional`. A field made by `hint` never costs the message.
class json_field {
 public:
  /// The longest name, in bytes.
  static constexpr std::size_t name_bytes_max = 64;

  /// `json_field::of<&message::state>("state")`. The name is printable ASCII without `"` and `\`;
  /// another one does not compile.
  template <auto Member>
  [[nodiscard]] static consteval json_field of(std::string_view name) {
    check(name);
    return json_field{name, access<Member>{}, false};
  }
  /// A field that helps, and without which the message still says what it has to: the wait before
  /// another try, the reason of a refusal. It is never required, and read leniently
  /// (`json_hints`): in a text U+FFFD stands for what is not UTF-8, a `text<N>` is cut, and every
  /// other value that the member cannot hold counts as not given. So does a hint that stands there
  /// twice. What is not given leaves the member as a default-constructed message has it.
  template <auto Member>
  [[nodiscard]] static consteval json_field hint(std::string_view name) {
    check(name);
    return json_field{name, access<Member>{}, true};
  }

  [[nodiscard]] constexpr std::string_view name() const noexcept { return name_; }
  [[nodiscard]] constexpr bool required() const noexcept { return required_; }
  [[nodiscard]] constexpr bool is_hint() const noexcept { return hint_; }
  /// In words, after "expected".
  [[nodiscard]] constexpr std::string_view expected() const noexcept { return expected_; }
  /// Bytes of a text, bits of a number; 0: none.
  [[nodiscard]] constexpr std::size_t limit() const noexcept { return limit_; }

  [[nodiscard]] std::optional<json_errc> store(void* message, json_scalar const& from) const {
    return store_(message, from);
  }
  /// As much of a value as the member can hold, or nothing.
  void store_hint(void* message, json_scalar const& from) const {
    if (store_(message, from) && !store_part_(message, from)) clear_(message);
  }
  /// The value is not given.
  void clear(void* message) const { clear_(message); }
  [[nodiscard]] json_scalar load(void const* message) const { return load_(message); }

 private:
  static consteval void check(std::string_view name) {
    if (name.empty() || name.size() > name_bytes_max) throw "a field's name has 1 to 64 bytes";
    for (char const c : name) {
      if (c < ' ' || c > '~' || c == '"' || c == '\\') throw "a field's name is plain ASCII";
    }
  }

  template <class T>
  struct is_optional : std::false_type {};
  template <class T>
  struct is_optional<std::optional<T>> : std::true_type {};

  template <class Pointer>
  struct parts;
  template <class Message, class T>
  struct parts<T Message::*> {
    using message = Message;
    using type = T;
  };

  template <auto Member>
  struct access {
    using message = typename parts<decltype(Member)>::message;
    using type = typename parts<decltype(Member)>::type;
    static std::optional<json_errc> store(void* m, json_scalar const& from) {
      return json_member<type>::store(static_cast<message*>(m)->*Member, from);
    }
    static bool store_part([[maybe_unused]] void* m, [[maybe_unused]] json_scalar const& from) {
      [[maybe_unused]] auto& to = static_cast<message*>(m)->*Member;
      if constexpr (requires { json_member<type>::store_part(to, from); }) {
        return json_member<type>::store_part(to, from);
      }
      return false;
    }
    static void clear(void* m) {
      message const made{};
      static_cast<message*>(m)->*Member = made.*Member;
    }
    static json_scalar load(void const* m) {
      return json_member<type>::load(static_cast<message const*>(m)->*Member);
    }
  };

  template <class Access>
  consteval json_field(std::string_view name, Access, bool hint)
      : name_(name),
        expected_(json_member<typename Access::type>::expected),
        limit_(json_member<typename Access::type>::limit),
        store_(&Access::store),
        store_part_(&Access::store_part),
        clear_(&Access::clear),
        load_(&Access::load),
        required_(!hint && !is_optional<typename Access::type>::value),
        hint_(hint) {}

  std::string_view name_;
  std::string_view expected_;
  std::size_t limit_;
  std::optional<json_errc> (*store_)(void*, json_scalar const&);
  bool (*store_part_)(void*, json_scalar const&);
  void (*clear_)(void*);
  json_scalar (*load_)(void const*);
  bool required_;
  bool hint_;
};

/// A message that says its fields, once, in the order in which they are written:
///
///     struct reading {
///       text<16> sensor;
///       std::int32_t value = 0;
///       std::optional<std::string> note;
///       static constexpr auto json_fields() {
///         return std::array{cleat::json_field::of<&reading::sensor>("sensor"),
///                           cleat::json_field::of<&reading::value>("value"),
///                           cleat::json_field::hint<&reading::note>("note")};
///       }
///     };
///
/// Members may be `bool`, integers, `std::string`, `text<N>`, enumerations with `json_names`,
/// `std::optional` of these, and whatever `json_member` is specialised for.
template <class M>
concept JsonMessage = std::default_initializable<M> && std::movable<M> &&
                      requires { std::span<json_field const>{M::json_fields()}; };

/// Refuses, while compiling, a table with two fields of one name or with more than 64 fields.
template <JsonMessage M>
consteval auto checked_json_fields() {
  auto const fields = M::json_fields();
  if (fields.size() > 64) throw "a message has at most 64 fields";
  for (std::size_t i = 0; i < fields.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (fields[i].name() == fields[j].name()) throw "two fields have one name";
    }
  }
  return fields;
}

/// The field table of a message.
template <JsonMessage M>
inline constexpr auto json_table = checked_json_fields<M>();

namespace detail {

/// Judges all of `payload`, whatever it is.
[[nodiscard]] result<void> json_read(bytes_view payload, std::span<json_field const> fields,
                                     void* into, json_hints hints);

/// A field's name as it stands before its value: `"state":`.
template <JsonMessage M, std::size_t Field>
inline constexpr auto json_token = [] {
  constexpr std::string_view name = json_table<M>[Field].name();
  std::array<char, name.size() + 3> token{'"'};
  std::copy(name.begin(), name.end(), token.begin() + 1);
  token[name.size() + 1] = '"';
  token[name.size() + 2] = ':';
  return token;
}();

/// Takes one field if it stands here, or goes without it.
template <JsonMessage M, std::size_t Field>
[[nodiscard]] bool read_plain(plain_json& from, M& message) {
  constexpr json_field const& field = json_table<M>[Field];
  if (!from.take_name(json_token<M, Field>)) return !field.required();
  return from.take_value([&](json_scalar const& v) { return field.store(&message, v); });
}

/// Reads a message that is written plainly, its fields in declared order. Anything else is not said
/// to be wrong, only not read; `message` may then hold a part of it.
template <JsonMessage M>
[[nodiscard]] bool read_plain(bytes_view payload, M& message) {
  plain_json from{as_text(payload)};
  auto const read = [&]<std::size_t... Field>(std::index_sequence<Field...>) {
    return (read_plain<M, Field>(from, message) && ...);
  };
  return read(std::make_index_sequence<json_table<M>.size()>{}) && from.ends();
}

/// Reads a message however it is written, or says what is wrong with it.
template <JsonMessage M>
[[nodiscard, gnu::noinline]] result<void> read_whole(bytes_view payload, M& message,
                                                     json_hints hints) {
  message = M{};
  return json_read(payload, json_table<M>, &message, hints);
}

/// Writes one field; false if its value cannot be written, which the writer then knows.
template <JsonMessage M, std::size_t Field>
bool write(M const& message, json_writer& to) {
  return to.put_member(json_token<M, Field>, json_table<M>[Field].load(&message));
}

}  // namespace detail

/// Reads one message, which is all of `payload` but for white space around it.
///
/// - Fields that the message does not declare are skipped, whatever they hold: numbers beyond all
///   bounds, half of a surrogate pair, bytes that are not UTF-8, words that are not JSON (`NaN`).
///   Only the structure has to be right there too: quotes, brackets, colons and commas.
/// - A declared field that stands there twice is an error: readers disagree about which one counts
///   (RFC 8259, section 4), and we shall not guess.
/// - Fields that are declared as hints never make the message malformed, unless `hints` says so.
/// - `null` is a missing value: fine for an optional field, mistyped for a required one.
/// - A number with a fraction or an exponent is not a whole number, whatever its value.
/// - Errors: `kind::malformed`, a `json_errc`. The offset is that of the offending byte; of the
///   value, if a field is mistyped, out of range, too long or a duplicate; of the closing brace, if
///   a field is missing.
/// - No heap, but for `std::string` members beyond their own room and (kept by the thread for the
///   next time) for texts with escapes.
/// - Declared fields in declared order, in plain ASCII and without white space to speak of, are read
///   several times as fast as everything else.
///
/// `message` is as default-constructed; after an error it may hold anything.
template <JsonMessage M>
[[nodiscard]] result<void> json_read(bytes_view payload, M& message,
                                     json_hints hints = json_hints::lenient) {
  if (detail::read_plain(payload, message)) return {};
  return detail::read_whole(payload, message, hints);
}

/// The same, giving the message back.
template <JsonMessage M>
[[nodiscard]] result<M> json_read(bytes_view payload, json_hints hints = json_hints::lenient) {
  result<M> message;
  if (auto read = json_read(payload, *message, hints); !read) message = read.error();
  return message;
}

/// Appends a message as compact JSON, its fields in declared order, empty optional ones left out.
///
/// Errors: `kind::invalid` with `invalid_utf8` or, for an enumerator without a name,
/// `unknown_value`; `detail` names the field, and `out` is as it was.
template <JsonMessage M>
[[nodiscard]] result<void> json_write(M const& message, byte_buffer& out) {
  detail::json_writer to{out};
  auto const write = [&]<std::size_t... Field>(std::index_sequence<Field...>) {
    return (detail::write<M, Field>(message, to) && ...);
  };
  static_cast<void>(write(std::make_index_sequence<json_table<M>.size()>{}));  // `to` knows
  return to.finish();
}

}  // namespace cleat

// The JSON layer: what it reads it writes, and reads again to the same value; of the fields that are
// declared it takes what Boost.JSON takes and nothing else; errors have a place. Also the texts: UTF-8, and pieces of it.
#include "fuzz.hpp"

#include <cleat/base/text.hpp>
#include <cleat/base/utf8.hpp>
#include <cleat/codec/json.hpp>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

namespace {

namespace json = boost::json;
using cleat::byte_buffer;
using cleat::bytes_view;
using cleat::json_errc;
using fuzz::require;

enum class colour : std::uint8_t { red, green };

constexpr std::array<cleat::json_name<colour>, 2> json_names(colour) noexcept {
  return {{{colour::red, "red"}, {colour::green, "green"}}};
}

/// A field of every kind, with short names.
struct sample {
  std::optional<bool> b;
  std::optional<std::int8_t> i;
  std::optional<std::uint16_t> u;
  std::optional<std::int64_t> l;
  std::optional<std::uint64_t> m;
  std::optional<std::string> s;
  std::optional<cleat::text<8>> t;
  std::optional<colour> e;
  std::int32_t r = 0;  ///< the only one that must be there
  std::optional<std::uint8_t> h;
  std::optional<cleat::text<8>> n;

  friend bool operator==(sample const&, sample const&) = default;

  static constexpr auto json_fields() {
    using cleat::json_field;
    return std::array{json_field::of<&sample::b>("b"),  json_field::of<&sample::i>("i"),
                      json_field::of<&sample::u>("u"),  json_field::of<&sample::l>("l"),
                      json_field::of<&sample::m>("m"),  json_field::of<&sample::s>("s"),
                      json_field::of<&sample::t>("t"),  json_field::of<&sample::e>("e"),
                      json_field::of<&sample::r>("r"),  json_field::hint<&sample::h>("h"),
                      json_field::hint<&sample::n>("n")};
  }
};

/// What another reader makes of it; nothing if it is not JSON.
std::optional<json::value> judged_by_boost(std::string_view text) {
  json::parse_options options;
  options.max_depth = cleat::json_depth_max;
  boost::system::error_code ec;
  json::value v = json::parse(text, ec, {}, options);
  if (ec) return std::nullopt;
  return v;
}

template <class T>
bool same(std::optional<T> const& mine, json::object const& theirs, std::string_view name) {
  json::value const* const v = theirs.if_contains(name);
  if (v == nullptr || v->is_null()) return !mine;
  if (!mine) return false;
  if constexpr (std::is_same_v<T, bool>) {
    return v->is_bool() && v->get_bool() == *mine;
  } else if constexpr (std::is_same_v<T, colour>) {
    return v->is_string() && v->get_string() == json_names(*mine)[std::size_t(*mine)].name;
  } else if constexpr (std::is_integral_v<T>) {
    boost::system::error_code ec;
    return !v->is_double() && v->to_number<T>(ec) == *mine && !ec;
  } else {
    return v->is_string() && v->get_string() == std::string_view{*mine};
  }
}

/// A hint may be left out, and a text that is one may be cut; else it is what another reader reads.
bool same_hints(sample const& m, json::object const& o) {
  json::value const* const n = o.if_contains("n");
  return (!m.h || same(m.h, o, "h")) &&
         (!m.n || (n != nullptr && n->is_string() &&
                   *m.n == cleat::text<8>{std::string_view{n->get_string()}}));
}

/// Whether the outermost object has a member that is not declared, or a hint, or has a name with
/// escapes: what is in there may be what Boost.JSON refuses.
bool has_forgiven_member(std::string_view s) {
  std::size_t depth = 0;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '{' || s[i] == '[') ++depth;
    if (s[i] == '}' || s[i] == ']') --depth;
    if (s[i] != '"') continue;
    std::size_t const begin = ++i;
    while (i < s.size() && s[i] != '"') i += s[i] == '\\' ? 2U : 1U;
    if (depth != 1 || i >= s.size()) continue;
    std::size_t const behind = s.find_first_not_of(" \t\r\n", i + 1);
    if (behind == s.npos || s[behind] != ':') continue;
    std::string_view const name = s.substr(begin, i - begin);
    if (name.size() != 1 || std::string_view{"biulmster"}.find(name) == name.npos) return true;
  }
  return false;
}

void check_value(sample const& m, json::value const& v) {
  require(v.is_object(), "what is read is an object");
  json::object const& o = v.get_object();
  require(same(m.b, o, "b") && same(m.i, o, "i") && same(m.u, o, "u") && same(m.l, o, "l") &&
              same(m.m, o, "m") && same(m.s, o, "s") && same(m.t, o, "t") && same(m.e, o, "e") &&
              same(std::optional{m.r}, o, "r") && same_hints(m, o),
          "a field has the value that another reader gives it");
}

void check_round_trip(sample const& m) {
  byte_buffer out(2, std::byte{0xA5});
  require(cleat::json_write(m, out).has_value(), "what was read can be written");
  bytes_view const written = bytes_view{out}.subspan(2);
  auto const again = cleat::json_read<sample>(written);
  require(again.has_value() && *again == m, "what was written is read to the same value");
  byte_buffer twice;
  require(cleat::json_write(*again, twice).has_value() &&
              std::equal(twice.begin(), twice.end(), written.begin(), written.end()),
          "and written to the same bytes");
}

void check_message(bytes_view input) {
  auto const mine = cleat::json_read<sample>(input);
  auto const theirs = judged_by_boost(cleat::as_text(input));
  if (mine) {
    require(theirs || has_forgiven_member(cleat::as_text(input)), "what is not JSON is not read");
    if (theirs) check_value(*mine, *theirs);
    check_round_trip(*mine);
    return;
  }
  cleat::failure const& why = mine.error();
  require(why.why() == cleat::kind::malformed, "an error of reading is malformed");
  require(why.code().category() == cleat::json_category(), "an error of reading is a json_errc");
  require(why.offset() <= input.size(), "the offset of an error is in the input");
  require(cleat::is_utf8(why.message()), "an error can be shown");
  auto const e = static_cast<json_errc>(why.code().value());
  if (e == json_errc::malformed || e == json_errc::too_deep) {
    require(!theirs, "what is JSON is not malformed");
  }
  if (e == json_errc::missing_field) {
    require(theirs || has_forgiven_member(cleat::as_text(input)),
            "a field is missed only in what is JSON");
    require(input[why.offset()] == std::byte{'}'}, "a missing field is missed at the end");
  }
}

void check_text(std::string_view s) {
  std::size_t whole = 0;
  while (std::size_t const n = cleat::utf8_length(s.substr(whole))) whole += n;
  bool const good = cleat::is_utf8(s);
  require(good == (whole == s.size()), "both judges of UTF-8 agree");
  require(cleat::is_utf8(s.substr(0, whole)), "a prefix of whole characters is UTF-8");
  require(cleat::is_utf8(cleat::to_utf8(s)), "what is mended is UTF-8");
  require(cleat::is_utf8(cleat::printable(s)), "what is printable is UTF-8");
  cleat::text<8> const cut{s};
  require(!good || cleat::is_utf8(cut.view()), "a text is cut between characters");
}

/// A text that is not UTF-8 is not written, and nothing is left of the attempt.
void check_writing(std::string_view s) {
  sample m;
  m.s = s;
  byte_buffer out(2, std::byte{0xA5});
  auto const written = cleat::json_write(m, out);
  require(written.has_value() == cleat::is_utf8(s), "what is UTF-8, and nothing else, is written");
  if (!written) {
    require(out.size() == 2, "a write that fails leaves the buffer as it was");
    return;
  }
  auto const read = cleat::json_read<sample>(bytes_view{out}.subspan(2));
  require(read.has_value() && *read == m, "any text is read as it was written");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  bytes_view const input = fuzz::bytes_of(data, size);
  check_message(input);
  check_text(cleat::as_text(input));
  check_writing(cleat::as_text(input));
  return 0;
}

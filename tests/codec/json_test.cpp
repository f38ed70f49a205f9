#define BOOST_TEST_MODULE json
#include <cleat/base/utf8.hpp>
#include <cleat/codec/json.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <new>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>

using cleat::json_errc;
using cleat::json_field;
using cleat::json_read;
using cleat::json_write;
using cleat::kind;
using namespace std::string_literals;
using namespace std::string_view_literals;

namespace {

std::size_t allocations = 0;

}  // namespace

void* operator new(std::size_t n) {
  ++allocations;
  if (void* const p = std::malloc(n == 0 ? 1 : n)) return p;  // NOLINT(*-no-malloc)
  throw std::bad_alloc{};
}
void operator delete(void* p) noexcept { std::free(p); }               // NOLINT(*-no-malloc)
void operator delete(void* p, std::size_t) noexcept { std::free(p); }  // NOLINT(*-no-malloc)

namespace {

enum class colour : std::uint8_t { red, green, nameless };

constexpr std::array<cleat::json_name<colour>, 2> json_names(colour) {
  return {{{colour::red, "red"}, {colour::green, "green"}}};
}

struct reading {
  bool on = false;
  std::int64_t wide = 0;
  std::uint32_t narrow = 0;
  std::string words;
  cleat::text<8> name;
  colour paint = colour::red;
  std::optional<std::int8_t> tiny;
  std::optional<std::string> note;
  std::optional<cleat::text<4>> tag;
  std::optional<colour> trim;

  friend bool operator==(reading const&, reading const&) = default;

  static constexpr auto json_fields() {
    return std::array{
        json_field::of<&reading::on>("on"),         json_field::of<&reading::wide>("wide"),
        json_field::of<&reading::narrow>("narrow"), json_field::of<&reading::words>("words"),
        json_field::of<&reading::name>("name"),     json_field::of<&reading::paint>("paint"),
        json_field::of<&reading::tiny>("tiny"),     json_field::of<&reading::note>("note"),
        json_field::of<&reading::tag>("tag"),       json_field::of<&reading::trim>("trim")};
  }
};

/// Nothing is required, so that one field can be looked at alone.
struct loose {
  std::optional<bool> on;
  std::optional<std::int8_t> tiny;
  std::optional<std::int64_t> wide;
  std::optional<std::uint64_t> huge;
  std::optional<std::string> words;
  std::optional<cleat::text<4>> tag;
  std::optional<colour> paint;

  static constexpr auto json_fields() {
    return std::array{json_field::of<&loose::on>("on"),       json_field::of<&loose::tiny>("tiny"),
                      json_field::of<&loose::wide>("wide"),   json_field::of<&loose::huge>("huge"),
                      json_field::of<&loose::words>("words"), json_field::of<&loose::tag>("tag"),
                      json_field::of<&loose::paint>("paint")};
  }
};

static_assert(cleat::JsonMessage<reading>);
static_assert(cleat::JsonMessage<loose>);

struct no_fields {};
struct fields_of_another_kind {
  static constexpr auto json_fields() { return std::array{1, 2}; }
};
static_assert(!cleat::JsonMessage<no_fields>);
static_assert(!cleat::JsonMessage<fields_of_another_kind>);
static_assert(!cleat::JsonEnum<kind>);  // no names
static_assert(!cleat::JsonInteger<bool>);

constexpr std::string_view whole =
    R"({"on":true,"wide":-9223372036854775808,"narrow":4294967295,"words":"w","name":"12345678",)"
    R"("paint":"green"})";

std::string written(auto const& message) {
  cleat::byte_buffer out;
  BOOST_REQUIRE(json_write(message, out));
  return std::string{cleat::as_text(out)};
}

/// One broken message: its text, the error, where it is, and what the detail says.
struct broken {
  std::string_view text;
  json_errc code;
  std::size_t offset;
  std::string_view detail;
};

template <class Message>
void check_broken(broken const& b) {
  BOOST_TEST_CONTEXT(b.text) {
    auto const r = json_read<Message>(cleat::as_bytes(b.text));
    BOOST_REQUIRE(!r);
    BOOST_TEST(r.error().code() == make_error_code(b.code));
    BOOST_TEST(r.error().code().message() == make_error_code(b.code).message());
    BOOST_TEST((r.error().why() == kind::malformed));
    BOOST_TEST(r.error().offset() == b.offset);
    if (!b.detail.empty()) BOOST_TEST(r.error().detail() == b.detail);
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(reads_every_type_of_member) {
  auto const r = json_read<reading>(cleat::as_bytes(
      R"( {"on":true, "wide":-9223372036854775808,"narrow":4294967295,"words":"a\"b\\c\u00e9\ud83d\ude00\n",)"
      R"("name":"12345678","paint":"green","tiny":-128,"note":"","tag":"t","trim":"red"} )"));
  BOOST_REQUIRE(r);
  BOOST_TEST(r->on);
  BOOST_TEST(r->wide == std::numeric_limits<std::int64_t>::min());
  BOOST_TEST(r->narrow == 4294967295U);
  BOOST_TEST(r->words == "a\"b\\c\xC3\xA9\xF0\x9F\x98\x80\n");
  BOOST_TEST(r->name.view() == "12345678");
  BOOST_TEST((r->paint == colour::green));
  BOOST_TEST(int{r->tiny.value()} == -128);
  BOOST_TEST(r->note.value().empty());
  BOOST_TEST(r->tag.value().view() == "t");
  BOOST_TEST((r->trim == colour::red));
}

BOOST_AUTO_TEST_CASE(writes_compact_json_in_declared_order) {
  reading m;
  m.on = true;
  m.wide = std::numeric_limits<std::int64_t>::min();
  m.narrow = 4294967295U;
  m.words = "w";
  m.name = "12345678";
  m.paint = colour::green;
  BOOST_TEST(written(m) == whole);

  m.tiny = std::int8_t{-1};
  m.note = "n";
  m.trim = colour::red;
  BOOST_TEST(written(m) == std::string{whole.substr(0, whole.size() - 1)} +
                               R"(,"tiny":-1,"note":"n","trim":"red"})");
}

BOOST_AUTO_TEST_CASE(reads_what_it_writes) {
  reading m;
  for (int c = 0; c < 256; ++c) {
    std::string const s(1, static_cast<char>(c));
    if (cleat::is_utf8(s)) m.words += s;
  }
  m.words += "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xF4\x8F\xBF\xBF";
  m.name = "\x01\x1F\x7F\"\\/\b\f";
  auto const r = json_read<reading>(cleat::as_bytes(written(m)));
  BOOST_REQUIRE(r);
  BOOST_TEST((*r == m));
}

BOOST_AUTO_TEST_CASE(escapes_what_json_wants_escaped_and_nothing_else) {
  loose m;
  m.words = "\"\\/\b\f\n\r\t\x01\x1F\x7F\xC3\xA9"s + std::string(1, '\0');
  BOOST_TEST(written(m) ==
             "{\"words\":\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7F\xC3\xA9\\u0000\"}");
  BOOST_TEST(written(loose{}) == "{}");
}

BOOST_AUTO_TEST_CASE(refuses_to_write_what_is_not_utf8_and_leaves_the_buffer_as_it_was) {
  loose m;
  m.on = true;
  for (std::string_view const bad :
       {"\xFF"sv, "\xC0\x80"sv, "\xED\xA0\x80"sv, "\xE2\x82"sv, "\xF4\x90\x80\x80"sv, "a\x80"sv}) {
    m.words = bad;
    cleat::byte_buffer out;
    out.reserve(64);
    cleat::append(out, "before"sv);
    auto const r = json_write(m, out);
    BOOST_REQUIRE(!r);
    BOOST_TEST(r.error().code() == make_error_code(json_errc::invalid_utf8));
    BOOST_TEST((r.error().why() == kind::invalid));
    BOOST_TEST((r.error().sure() == cleat::certainty::not_sent));
    BOOST_TEST(r.error().detail() == "words");
    BOOST_TEST(cleat::as_text(out) == "before");
  }
  loose nameless;
  nameless.paint = colour::nameless;
  cleat::byte_buffer out;
  BOOST_TEST(json_write(nameless, out).error().code() == make_error_code(json_errc::unknown_value));
  BOOST_TEST(out.empty());
}

BOOST_AUTO_TEST_CASE(skips_unknown_fields_whatever_they_hold) {
  auto const r = json_read<loose>(cleat::as_bytes(
      R"({"x":{"on":5,"tag":["too long",{"on":{}}],"":null},"y":[1,[2,[3e400]],"\u00e9\""],"z":1.5e3,)"
      R"("z":null,"a_name_that_is_longer_than_any_name_of_a_field_could_be_in_this_library_0123456789":0,)"
      R"("on":true,"w":99999999999999999999999999})"));
  BOOST_REQUIRE(r);
  BOOST_TEST(r->on.value());
  BOOST_TEST(!r->tag);
}

BOOST_AUTO_TEST_CASE(judges_nothing_of_an_unknown_field_but_its_structure) {
  for (std::string_view const value : {"1e99999999999",
                                       "-1E+99999999999",
                                       "1e400",
                                       "01",
                                       "+1",
                                       ".5",
                                       "5.",
                                       "-",
                                       "1e",
                                       "0x1F",
                                       "NaN",
                                       "-Infinity",
                                       "True",
                                       "undefined",
                                       R"("\ud83d")",
                                       R"("\udc00\ud83d")",
                                       R"("\ud83dx")",
                                       R"("\u12")",
                                       R"("\x41")",
                                       R"("\\")",
                                       R"("\"")",
                                       "\"f\xFCr\"",
                                       "\"\xED\xA0\x80\"",
                                       "\"\xF0\x9F\"",
                                       "\"\n\t\x01\"",
                                       R"([1e99999999999,{"\ud83d":"\ud83d","":NaN}, [ ] , { } ])"})
    BOOST_TEST_CONTEXT(value) {
      for (std::string const& text : {R"({"x":)" + std::string{value} + R"(,"on":true})",
                                      R"({"on":true,"x": )" + std::string{value} + " }",
                                      R"({"x":{"y":[)" + std::string{value} + R"(]},"on":true})"}) {
        auto const r = json_read<loose>(cleat::as_bytes(text));
        BOOST_REQUIRE(r);
        BOOST_TEST(r->on.value());
      }
    }
  for (std::string_view const name :
       {"\xFC", R"(\ud83d)", R"(\x)", "on\xFF", R"(\u006f\u006e\ud800)"}) {
    BOOST_TEST_CONTEXT(name) {
      auto const text = "{\"" + std::string{name} + R"(":[],"on":true})";
      auto const r = json_read<loose>(cleat::as_bytes(text));
      BOOST_REQUIRE(r);
      BOOST_TEST(r->on.value());
    }
  }
}

BOOST_AUTO_TEST_CASE(judges_the_structure_of_an_unknown_field) {
  using enum json_errc;
  for (broken const& b : {
           broken{R"({"x":})", malformed, 5, "syntax error"},
           broken{R"({"x":,"on":true})", malformed, 5, "syntax error"},
           broken{R"({"x":'1'})", malformed, 5, "syntax error"},
           broken{R"({"x":1 2})", malformed, 7, "syntax error"},
           broken{R"({"x":"a" "b"})", malformed, 9, "syntax error"},
           broken{R"({"x" 1})", malformed, 5, "syntax error"},
           broken{R"({"x":[1,]})", malformed, 8, "syntax error"},
           broken{R"({"x":[,1]})", malformed, 6, "syntax error"},
           broken{R"({"x":[1}})", malformed, 7, "syntax error"},
           broken{R"({"x":{"y":1]})", malformed, 11, "syntax error"},
           broken{R"({"x":{1:2}})", malformed, 6, "syntax error"},
           broken{R"({"x":{"y":1,}})", malformed, 12, "syntax error"},
           broken{R"({"x":{"y"}})", malformed, 9, "syntax error"},
           broken{R"({"x":[1)", malformed, 7, "incomplete JSON"},
           broken{R"({"x":{"y":)", malformed, 10, "incomplete JSON"},
           broken{R"({"x":"abc)", malformed, 9, "incomplete JSON"},
           broken{R"({"x":"abc\"})", malformed, 12, "incomplete JSON"},
           broken{R"({"x":"abc\)", malformed, 10, "incomplete JSON"},
           broken{R"({"x":1,"y)", malformed, 9, "incomplete JSON"},
       }) {
    check_broken<loose>(b);
  }
}

namespace {

/// What a peer must say, and what it may say beside it.
struct answer {
  cleat::text<8> id;
  std::optional<bool> again;
  std::optional<std::uint32_t> wait;
  std::optional<std::string> why;
  std::optional<cleat::text<8>> who;
  std::optional<colour> light;
  std::uint8_t level = 7;

  friend bool operator==(answer const&, answer const&) = default;

  static constexpr auto json_fields() {
    return std::array{
        json_field::of<&answer::id>("id"),        json_field::hint<&answer::again>("again"),
        json_field::hint<&answer::wait>("wait"),  json_field::hint<&answer::why>("why"),
        json_field::hint<&answer::who>("who"),    json_field::hint<&answer::light>("light"),
        json_field::hint<&answer::level>("level")};
  }
};

static_assert(!cleat::json_table<answer>[6].required(), "a hint is never required");

answer read_hint(std::string_view name, std::string_view value) {
  std::string text = R"({"id":"1",")";
  text.append(name).append(R"(":)").append(value) += '}';
  auto const r = json_read<answer>(cleat::as_bytes(text));
  BOOST_TEST_CONTEXT(text) {
    BOOST_REQUIRE(r);
    BOOST_TEST(r->id.view() == "1");
  }
  return *r;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_hint_that_can_be_read_is_read) {
  BOOST_TEST((read_hint("again", "true").again == true));
  BOOST_TEST((read_hint("wait", "0").wait == 0U));
  BOOST_TEST((read_hint("wait", "-0").wait == 0U));
  BOOST_TEST((read_hint("wait", "4294967295").wait == 4294967295U));
  BOOST_TEST((read_hint("why", R"( "\u00e9\ud83d\ude00" )").why == "\xC3\xA9\xF0\x9F\x98\x80"));
  BOOST_TEST((read_hint("who", R"("12345678")").who->view() == "12345678"));
  BOOST_TEST((read_hint("light", R"("green")").light == colour::green));
  BOOST_TEST(int{read_hint("level", "3").level} == 3);
  BOOST_TEST((read_hint("\\u0061gain", "true").again == true));
}

BOOST_AUTO_TEST_CASE(a_hint_that_cannot_be_read_counts_as_not_given) {
  answer nothing;
  nothing.id = "1";
  for (std::string_view const value :
       {"null", "-1", "500.0", "1e3", "5e-1", "4294967296", "99999999999999999999", "1e99999999999",
        "\"500\"", "\"\"", "true", "{}", "{\"ms\":500}", "[]", "[500]", "NaN", "0500", "+5", "-"}) {
    BOOST_TEST((read_hint("wait", value) == nothing), "wait: " << value);
  }
  for (std::string_view const value : {"null", "\"yes\"", "1", "0", "True", "{}", "[true]"}) {
    BOOST_TEST((read_hint("again", value) == nothing), "again: " << value);
  }
  for (std::string_view const value : {"null", "7", "true", "{}", "[\"busy\"]"}) {
    BOOST_TEST((read_hint("why", value) == nothing), "why: " << value);
    BOOST_TEST((read_hint("who", value) == nothing), "who: " << value);
    BOOST_TEST((read_hint("light", value) == nothing), "light: " << value);
  }
  BOOST_TEST((read_hint("light", "\"blue\"") == nothing));
  for (std::string_view const value : {"null", "256", "-1", "\"3\"", "[]"}) {
    BOOST_TEST((read_hint("level", value) == nothing), "level: " << value);
  }
  BOOST_TEST((read_hint("wait", R"(1,"wait":2)") == nothing));
  BOOST_TEST((read_hint("why", R"("a","wh\u0079":"a")") == nothing));
}

BOOST_AUTO_TEST_CASE(a_text_that_is_a_hint_is_repaired_or_cut) {
  constexpr std::string_view fffd = "\xEF\xBF\xBD";
  auto const why = [](std::string_view raw) {
    return read_hint("why", '"' + std::string{raw} + '"').why.value_or("(none)");
  };
  std::string const mark{fffd};
  BOOST_TEST(why("f\xFCr") == "f" + mark + "r");
  BOOST_TEST(why("\xFF\xFE") == mark + mark);
  BOOST_TEST(why("\xE2\x82") == mark + mark);
  BOOST_TEST(why("\xED\xA0\x80") == mark + mark + mark);
  BOOST_TEST(why(R"(\ud83d)") == mark);
  BOOST_TEST(why(R"(\ud83dx)") == mark + "x");
  BOOST_TEST(why(R"(\ud83d\n)") == mark + "\n");
  BOOST_TEST(why(R"(\ud83d\ud83d\ude00)") == mark + "\xF0\x9F\x98\x80");
  BOOST_TEST(why(R"(a\udc00b)") == "a" + mark + "b");
  BOOST_TEST(why(R"(C:\Users)") == "C:" + mark + "Users");
  BOOST_TEST(why(R"(\u12)") == mark + "u12");
  BOOST_TEST(why("a\nb") == "a\nb");
  BOOST_TEST((read_hint("who", R"("123456789")").who->view() == "1234567~"));
  BOOST_TEST((read_hint("who", "\"\xFC\"").who->view() == fffd));
}

BOOST_AUTO_TEST_CASE(a_hint_is_judged_as_all_fields_are_if_that_is_asked_for) {
  using cleat::json_hints;
  auto const strictly = [](std::string_view text) {
    auto const r = json_read<answer>(cleat::as_bytes(text), json_hints::strict);
    BOOST_REQUIRE(!r);
    return r.error();
  };
  auto const yes = strictly(R"({"id":"1","again":"yes"})");
  BOOST_TEST(yes.code() == make_error_code(json_errc::mistyped_field));
  BOOST_TEST(yes.detail() == "again: expected true or false");
  BOOST_TEST(yes.offset() == 18U);
  BOOST_TEST(strictly(R"({"id":"1","wait":-1})").code() ==
             make_error_code(json_errc::out_of_range));
  BOOST_TEST(strictly(R"({"id":"1","who":"123456789"})").code() ==
             make_error_code(json_errc::too_long));
  BOOST_TEST(strictly("{\"id\":\"1\",\"why\":\"f\xFCr\"}").offset() == 18U);
  BOOST_TEST(strictly(R"({"id":"1","why":"a","why":"a"})").code() ==
             make_error_code(json_errc::duplicate_field));
  BOOST_TEST(json_read<answer>(cleat::as_bytes(R"({"id":"1"})"), json_hints::strict).has_value());
}

BOOST_AUTO_TEST_CASE(a_hint_does_not_excuse_what_is_essential_or_the_structure) {
  check_broken<answer>({R"({"again":"yes"})", json_errc::missing_field, 14, "id"});
  check_broken<answer>({R"({"again":"yes","id":1})", json_errc::mistyped_field, 20, ""});
  check_broken<answer>({R"({"id":"\ud83d","again":"yes"})", json_errc::malformed, 13, ""});
  check_broken<answer>({R"({"id":"1","wait":})", json_errc::malformed, 17, "syntax error"});
  check_broken<answer>({R"({"id":"1","why":"a)", json_errc::malformed, 18, "incomplete JSON"});
}

BOOST_AUTO_TEST_CASE(knows_a_field_whose_name_is_written_with_escapes) {
  auto const r = json_read<loose>(cleat::as_bytes(R"({"\u006f\u006e":true,"t\u0061g":"\u0061b"})"));
  BOOST_REQUIRE(r);
  BOOST_TEST(r->on.value());
  BOOST_TEST(r->tag.value().view() == "ab");
}

namespace {

/// The quick way in takes no white space before the object, so with it the whole parser judges.
template <class Message = reading>
void check_same_behind_white_space(std::string_view text) {
  if (text.empty()) return;
  auto const plain = json_read<Message>(cleat::as_bytes(text));
  std::string const spaced = ' ' + std::string{text};
  auto const judged = json_read<Message>(cleat::as_bytes(spaced));
  BOOST_TEST_CONTEXT(text) {
    BOOST_REQUIRE(plain.has_value() == judged.has_value());
    if (plain) {
      BOOST_TEST((*plain == *judged));
    } else {
      BOOST_TEST(plain.error().code() == judged.error().code());
      BOOST_TEST(plain.error().detail() == judged.error().detail());
      BOOST_TEST(plain.error().offset() + 1 == judged.error().offset());
    }
  }
}

constexpr std::string_view all_fields =
    R"({"on":true,"wide":-12, "narrow": 0,"words":"a text of more than a block","name":"12345678",)"
    R"("paint":"green","tiny":-0,"note":"","tag":"t","trim":"red"})";

template <class Message>
void check_same_however_it_is_changed(std::string_view text) {
  check_same_behind_white_space<Message>(text);
  for (std::size_t at = 0; at <= text.size(); ++at) {
    check_same_behind_white_space<Message>(text.substr(0, at));
    std::string const before{text.substr(0, at)};
    std::string const behind{text.substr(at)};
    for (char const c : "\"\\{}[]:, \t019-+.eEtfn\x01\x1F\x7F\x80\xC3\xFF"sv) {
      check_same_behind_white_space<Message>(before + c + behind);
      if (!behind.empty()) check_same_behind_white_space<Message>(before + c + behind.substr(1));
    }
    if (!behind.empty()) check_same_behind_white_space<Message>(before + behind.substr(1));
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(reads_the_quick_way_what_the_whole_parser_reads_and_nothing_else) {
  BOOST_TEST(json_read<reading>(cleat::as_bytes(all_fields)).has_value());
  check_same_however_it_is_changed<reading>(all_fields);
  check_same_however_it_is_changed<reading>(whole);
  check_same_however_it_is_changed<answer>(
      R"({"id":"1","again":true,"wait":500,"why":"busy","who":"12345678","light":"green","level":9})");
  for (std::string_view const number :
       {"999999999999999999", "1000000000000000000", "-999999999999999999", "9223372036854775807",
        "9223372036854775808", "00", "-00", "01", "-", "1.0", "1e2", "-0"}) {
    std::string text{whole};
    text.replace(text.find("-9223372036854775808"), 20, number);
    check_same_behind_white_space(text);
  }
}

BOOST_AUTO_TEST_CASE(reads_fields_in_any_order_and_each_but_once) {
  std::array<std::string, 4> fields{R"("on":true)", R"("tiny":1)", R"("words":"w")",
                                    R"("paint":"red")"};
  std::ranges::sort(fields);
  do {
    std::string text = "{" + fields[0];
    for (std::size_t i = 1; i < fields.size(); ++i) text += ',' + fields[i];
    auto const r = json_read<loose>(cleat::as_bytes(text + '}'));
    BOOST_TEST_CONTEXT(text) {
      BOOST_REQUIRE(r);
      BOOST_TEST((r->on == true && r->tiny == 1 && r->words == "w" && r->paint == colour::red));
      BOOST_TEST((!r->wide && !r->huge && !r->tag));
      for (std::string const& again : fields) {
        auto const twice = json_read<loose>(cleat::as_bytes(text + ',' + again + '}'));
        BOOST_REQUIRE(!twice);
        BOOST_TEST(twice.error().code() == make_error_code(json_errc::duplicate_field));
      }
    }
  } while (std::ranges::next_permutation(fields).found);
}

BOOST_AUTO_TEST_CASE(writes_texts_of_any_length_with_an_escape_anywhere) {
  for (std::size_t size = 0; size < 300; ++size) {
    loose m;
    m.on = true;
    m.words = std::string(size, 'x');
    m.paint = colour::red;
    std::string const head = R"({"on":true,"words":")";
    std::string const tail = R"(","paint":"red"})";
    BOOST_TEST(written(m) == head + *m.words + tail);
    for (std::size_t at = 0; at < size; at += size < 40 ? 1 : 29) {
      m.words = std::string(size, 'x').replace(at, 1, "\x1F");
      BOOST_TEST(written(m) == head + std::string(size, 'x').replace(at, 1, "\\u001f") + tail);
      m.words = std::string(size, 'x').replace(at, 1, "\xC3\xA9");
      BOOST_TEST(written(m) == head + *m.words + tail);
      m.words = std::string(size, 'x').replace(at, 1, "\xFF");
      cleat::byte_buffer out;
      cleat::append(out, "before"sv);
      BOOST_TEST(!json_write(m, out));
      BOOST_TEST(cleat::as_text(out) == "before");
    }
  }
}

BOOST_AUTO_TEST_CASE(takes_null_for_an_empty_optional_field) {
  auto const r = json_read<loose>(cleat::as_bytes(R"({"on":null,"words":null,"paint":null})"));
  BOOST_REQUIRE(r);
  BOOST_TEST(!r->on);
  BOOST_TEST(!r->words);
}

BOOST_AUTO_TEST_CASE(names_the_field_and_the_place_of_every_error) {
  using enum json_errc;
  for (broken const& b : {
           broken{R"({"on":1})", mistyped_field, 6, "on: expected true or false"},
           broken{R"({"on" :  "true"})", mistyped_field, 9, "on: expected true or false"},
           broken{R"({"x":{"on":[]},"on":[true]})", mistyped_field, 20, ""},
           broken{R"({"x":"\"}:","on":{}})", mistyped_field, 17, ""},
           broken{R"({"tiny":true})", mistyped_field, 8, "tiny: expected a whole number"},
           broken{R"({"tiny":1.0})", mistyped_field, 8, ""},
           broken{R"({"tiny":1e2})", mistyped_field, 8, ""},
           broken{R"({"words":7})", mistyped_field, 9, "words: expected a text"},
           broken{R"({"paint":7})", mistyped_field, 9, "paint: expected one of its names"},
           broken{R"({"paint":"blue"})", unknown_value, 9, "paint: expected one of its names"},
           broken{R"({"tiny":128})", out_of_range, 8, "tiny: beyond 8 bits"},
           broken{R"({"tiny":-129})", out_of_range, 8, ""},
           broken{R"({"wide":9223372036854775808})", out_of_range, 8, "wide: beyond 64 bits"},
           broken{R"({"huge":-1})", out_of_range, 8, ""},
           broken{R"({"huge":18446744073709551616})", out_of_range, 8, ""},
           broken{R"({"tag":"12345"})", too_long, 7, "tag: at most 4 bytes"},
           broken{R"({"tag":"\u0031\u0032345"})", too_long, 7, ""},
           broken{R"({"on":true,"on":true})", duplicate_field, 16, "on"},
           broken{R"({"on":true,"o\u006e":7})", duplicate_field, 21, "on"},
           broken{R"({"on":true,"on":{}})", duplicate_field, 16, "on"},
           broken{R"({"tiny":1,"tiny":1.5})", duplicate_field, 17, "tiny"},
           broken{R"({"on":true,"on" x:":"})", malformed, 16, "syntax error"},
           broken{R"([{"on":true}])", not_object, 0, ""},
           broken{R"(  "on")", not_object, 2, ""},
           broken{R"(null)", not_object, 0, ""},
           broken{R"(17)", not_object, 0, ""},
           broken{R"(1.5)", not_object, 0, ""},
           broken{"", malformed, 0, "empty"},
           broken{"   ", malformed, 3, "incomplete JSON"},
           broken{R"({"on":tru)", malformed, 9, "incomplete JSON"},
           broken{R"({"on":true)", malformed, 10, "incomplete JSON"},
           broken{R"({"on":yes})", malformed, 6, "syntax error"},
           broken{R"({'on':true})", malformed, 1, "syntax error"},
           broken{R"({"on":true,})", malformed, 11, "syntax error"},
           broken{R"({"on":true} x)", malformed, 12, "more than one value"},
           broken{R"({"on":true}{})", malformed, 11, "more than one value"},
           broken{"{\"words\":\"\xFF\"}", malformed, 10, "syntax error"},
           broken{"{\"words\":\"\n\"}", malformed, 10, "syntax error"},
           broken{R"({"words":"\ud800"})", malformed, 16, ""},
           broken{R"({"words":"\ud800x"})", malformed, 16, ""},
           broken{R"({"words":"\ud800\n"})", malformed, 17, ""},
           broken{R"({"words":"a\udc00"})", malformed, 17, ""},
           broken{R"({"words":"\u12g4"})", malformed, 14, ""},
           broken{R"({"words":"\u12"})", malformed, 14, ""},
           broken{R"({"words":"\x41"})", malformed, 11, ""},
           broken{"{\"words\":\"\xE2\x82\"}", malformed, 10, ""},
           broken{R"({"tiny":1e99999999999})", malformed, 19, "exponent overflow"},
           broken{R"({"tiny":01})", malformed, 9, "syntax error"},
           broken{R"({"tiny":1.})", malformed, 10, "syntax error"},
           broken{R"({"tiny":1e+})", malformed, 11, "syntax error"},
           broken{R"({"tiny":-})", malformed, 9, "syntax error"},
           broken{R"({"tiny":-)", malformed, 9, "incomplete JSON"},
           broken{R"({"x":1e99999999999,"tiny":true})", mistyped_field, 26, ""},
           broken{R"({"x":"\ud83d","y":"\ud83d","words":"\ud800"})", malformed, 42, ""},
           broken{R"({"x":{"y":["\ud83d"]} ,"on":true,"on":true})", duplicate_field, 38, "on"},
       }) {
    check_broken<loose>(b);
  }
}

BOOST_AUTO_TEST_CASE(says_which_required_field_is_missing) {
  check_broken<reading>({"{}", json_errc::missing_field, 1, "on"});
  check_broken<reading>({R"({"on":true} )", json_errc::missing_field, 10, "wide"});
  check_broken<reading>({R"({"on":null})", json_errc::mistyped_field, 6, ""});
  for (std::string_view const name : {"on", "wide", "narrow", "words", "name", "paint"}) {
    std::string text{whole};
    text.replace(text.find('"' + std::string{name} + '"') + 1, 1, "_");
    check_broken<reading>({text, json_errc::missing_field, text.size() - 1, name});
  }
  BOOST_TEST(json_read<reading>(cleat::as_bytes(whole)).has_value());
}

BOOST_AUTO_TEST_CASE(skips_what_is_not_declared_however_deep_it_is) {
  for (std::size_t const depth : {31U, 32U, 33U, 60'000U}) {
    std::string s = R"({"x":)";
    for (std::size_t i = 0; i < depth; ++i) s += i % 2 == 0 ? "[" : R"({"y":)";
    s += '1';
    for (std::size_t i = depth; i > 0; --i) s += i % 2 == 1 ? ']' : '}';
    BOOST_TEST(json_read<loose>(cleat::as_bytes(s + "}")).has_value(), depth);
    s.back() = s.back() == ']' ? '}' : ']';
    BOOST_TEST(!json_read<loose>(cleat::as_bytes(s + "}")), depth);
  }
}

BOOST_AUTO_TEST_CASE(says_that_what_does_not_end_is_too_deep) {
  std::string const deep = R"({"x":)" + std::string(cleat::json_depth_max, '[');
  check_broken<loose>(
      {deep, json_errc::too_deep, 5 + cleat::json_depth_max - 1, "at most 32 levels"});
  std::string const bottomless(100'000, '[');
  BOOST_TEST(!json_read<loose>(cleat::as_bytes(bottomless)));
}

BOOST_AUTO_TEST_CASE(does_not_cut_what_is_too_long) {
  std::string const text = R"({"tag":")" + std::string(60'000, 'x') + "\"}";
  check_broken<loose>({text, json_errc::too_long, 7, ""});
}

BOOST_AUTO_TEST_CASE(allocates_nothing_in_steady_state) {
  constexpr std::string_view text =
      R"({"on":true,"tiny":-5,"words":"fifteen \u0062ytes","tag":"a\nb","paint":"red","x":"\n\n"})";
  cleat::byte_buffer out;
  out.reserve(256);
  auto const once = [&] {
    auto const r = json_read<loose>(cleat::as_bytes(text));
    bool const read = r.has_value();
    out.clear();
    return read && json_write(*r, out);
  };
  BOOST_REQUIRE(once());
  std::size_t const before = allocations;
  bool good = true;
  for (int i = 0; i < 100; ++i) good = once() && good;
  std::size_t const taken = allocations - before;
  BOOST_TEST(good);
  BOOST_TEST(taken == 0U);
}

BOOST_AUTO_TEST_CASE(tells_its_errors_in_short_words) {
  for (int e = 1; e <= static_cast<int>(json_errc::invalid_utf8); ++e) {
    std::string const words = make_error_code(static_cast<json_errc>(e)).message();
    BOOST_TEST(words.size() < 20U);
    BOOST_TEST(words.find_first_not_of("abcdefghijklmnopqrstuvwxyz 8") == std::string::npos);
  }
  BOOST_TEST(make_error_code(json_errc::malformed).message() == "malformed json");
  BOOST_TEST(make_error_code(json_errc::missing_field).message() == "missing field");
  BOOST_TEST(make_error_code(json_errc::mistyped_field).message() == "mistyped field");
}

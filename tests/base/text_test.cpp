#define BOOST_TEST_MODULE text
#include <cleat/base/bytes.hpp>
#include <cleat/base/text.hpp>

#include <boost/test/unit_test.hpp>

#include <sstream>
#include <string>
#include <type_traits>

using cleat::text;

static_assert(std::is_trivially_copyable_v<text<40>>);
static_assert(sizeof(text<15>) == 16, "no heap, no pointer");
static_assert(text<4>{"abcd"}.view() == "abcd", "usable in constant expressions");
static_assert(text<4>{"abcde"}.view() == "abc~");

namespace {

constexpr text<4> shorter{"ab"};  // a constant has all its bytes

}  // namespace

BOOST_AUTO_TEST_CASE(is_empty_at_first) {
  text<8> const t;
  BOOST_TEST(t.empty());
  BOOST_TEST(t.size() == 0U);
  BOOST_TEST(t.view() == "");
  BOOST_TEST(shorter.view() == "ab");
}

BOOST_AUTO_TEST_CASE(holds_what_fits_to_the_last_byte) {
  text<8> const t{"12345678"};
  BOOST_TEST(t.size() == text<8>::size_max);
  BOOST_TEST(t.view() == "12345678");
}

BOOST_AUTO_TEST_CASE(marks_with_a_tilde_what_was_cut) {
  text<8> const t{"123456789"};
  BOOST_TEST(t.view() == "1234567~");
  BOOST_TEST(t.size() == 8U);
}

BOOST_AUTO_TEST_CASE(cuts_before_a_character_that_would_be_halved) {
  std::string const two = "\xC3\xA9";           // e with acute accent
  std::string const three = "\xE2\x82\xAC";     // euro sign
  std::string const four = "\xF0\x9F\x92\xA1";  // light bulb
  BOOST_TEST(text<8>{"123456" + two + "9"}.view() == "123456~");
  BOOST_TEST(text<8>{"12345" + two + "89"}.view() == "12345" + two + "~");
  BOOST_TEST(text<8>{"12345" + three + "9"}.view() == "12345~");
  BOOST_TEST(text<8>{"1234" + four + "9"}.view() == "1234~");
  BOOST_TEST(text<8>{"123" + four + "89"}.view() == "123" + four + "~");
}

BOOST_AUTO_TEST_CASE(survives_bytes_that_are_no_utf8) {
  BOOST_TEST(text<4>{std::string(100, '\x80')}.view() == "~");
  BOOST_TEST(text<4>{std::string(100, '\xFF')}.view() == "\xFF\xFF\xFF~");
  BOOST_TEST(text<4>{std::string(3, '\x80')}.view() == std::string(3, '\x80'));
}

BOOST_AUTO_TEST_CASE(holds_zero_bytes) {
  std::string const s{"a\0b", 3};
  BOOST_TEST(text<8>{s}.view() == s);
}

BOOST_AUTO_TEST_CASE(forgets_what_it_held_before) {
  text<8> t{"12345678"};
  t.assign("ab");
  BOOST_TEST(t.view() == "ab");
  t.assign("");
  BOOST_TEST(t.empty());
}

BOOST_AUTO_TEST_CASE(is_equal_to_a_text_with_the_same_bytes) {
  text<8> longer{"12345678"};
  longer.assign("ab");
  BOOST_TEST((longer == text<8>{"ab"}));
  BOOST_TEST((longer != text<8>{"ac"}));
  BOOST_TEST((longer != text<8>{"abc"}));
}

BOOST_AUTO_TEST_CASE(is_written_to_a_stream_as_it_is) {
  std::ostringstream out;
  out << text<8>{"lamp"};
  BOOST_TEST(out.str() == "lamp");
}

BOOST_AUTO_TEST_CASE(bytes_are_written_as_two_digits_with_a_space_between) {
  BOOST_TEST(cleat::to_hex({}) == "");
  BOOST_TEST(cleat::to_hex(cleat::as_bytes(std::string_view{"\x00", 1})) == "00");
  BOOST_TEST(cleat::to_hex(cleat::as_bytes("\xF0\x0D\x01")) == "f0 0d 01");
}

BOOST_AUTO_TEST_CASE(bytes_and_text_are_two_views_of_the_same_memory) {
  std::string const s = "lamp";
  BOOST_TEST(cleat::as_text(cleat::as_bytes(s)).data() == s.data());
  cleat::byte_buffer b;
  cleat::append(b, "la");
  cleat::append(b, cleat::as_bytes("mp"));
  BOOST_TEST(cleat::as_text(b) == "lamp");
}

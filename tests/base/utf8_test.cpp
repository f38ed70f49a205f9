#define BOOST_TEST_MODULE utf8
#include <cleat/base/utf8.hpp>

#include <boost/test/unit_test.hpp>

#include <string>
#include <string_view>
#include <vector>

using cleat::printable;
using cleat::steers_terminal;

static_assert(cleat::utf8_length("a") == 1);
static_assert(cleat::utf8_code_point("a") == U'a');
static_assert(cleat::utf8_code_point("\xC2\x9B") == 0x9B);
static_assert(cleat::utf8_code_point("\xE2\x80\xAE") == 0x202E);
static_assert(cleat::utf8_code_point("\xF0\x9F\x92\xA1") == 0x1F4A1);

namespace {

std::string encoded(char32_t c) {
  auto const byte = [](char32_t b) { return static_cast<char>(static_cast<unsigned char>(b)); };
  auto const rest = [&](unsigned shift) { return byte(0x80U | ((c >> shift) & 0x3FU)); };
  if (c < 0x80) return {byte(c)};
  if (c < 0x800) return {byte(0xC0U | c >> 6U), rest(0)};
  if (c < 0x10000) return {byte(0xE0U | c >> 12U), rest(6), rest(0)};
  return {byte(0xF0U | c >> 18U), rest(12), rest(6), rest(0)};
}

bool is_surrogate(char32_t c) { return c >= 0xD800 && c < 0xE000; }

/// The length of the first character, in the slow way: there is one that is written like this.
std::size_t length_of(std::string_view s) {
  for (std::size_t n = 1; n <= 4 && n <= s.size(); ++n) {
    char32_t const c = cleat::utf8_code_point(s.substr(0, n));
    if (c <= 0x10FFFF && !is_surrogate(c) && encoded(c) == s.substr(0, n)) return n;
  }
  return 0;
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_character_is_read_as_what_it_is) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    std::string const s = encoded(c);
    bool const good = cleat::utf8_length(s + "x") == s.size() && cleat::utf8_code_point(s) == c;
    if (good == is_surrogate(c)) BOOST_ERROR("U+" << std::hex << static_cast<unsigned>(c));
  }
}

BOOST_AUTO_TEST_CASE(a_text_is_utf8_if_each_of_its_characters_is) {
  for (std::string_view const good :
       {"", "lamp", "a longer name", "\xC3\xA4", "eight bytes and \xF0\x9F\x92\xA1"})
    BOOST_TEST(cleat::is_utf8(good));
  for (std::string_view const bad : {"\xC3", "\x9B", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                                     "a longer name\xFF", "\xE2\x80"}) {
    BOOST_TEST(!cleat::is_utf8(bad));
    BOOST_TEST(cleat::is_utf8(cleat::to_utf8(bad)));
    BOOST_TEST(cleat::is_utf8(printable(bad)));
  }
}

BOOST_AUTO_TEST_CASE(what_is_no_character_has_no_length) {
  // The bytes at which something changes.
  std::string const bytes =
      "\x01\x41\x7F\x80\x8F\x90\x9F\xA0\xBF\xC0\xC1\xC2\xDF\xE0\xE1\xEC\xED\xEE\xEF\xF0\xF1\xF3"
      "\xF4\xF5\xFF";
  std::string s(4, '\0');
  for (char const a : bytes) {
    s[0] = a;
    for (char const b : bytes) {
      s[1] = b;
      for (char const c : bytes) {
        s[2] = c;
        for (char const d : {'\x41', '\x7F', '\x80', '\xBF', '\xC0'}) {
          s[3] = d;
          for (std::size_t n = 1; n <= 4; ++n) {
            std::string_view const text{s.data(), n};
            if (cleat::utf8_length(text) != length_of(text)) BOOST_ERROR(printable(s) << n);
          }
        }
      }
    }
  }
  BOOST_TEST(cleat::utf8_length("") == 0U);
}

BOOST_AUTO_TEST_CASE(no_byte_from_0x80_on_is_a_text_by_itself) {
  for (unsigned b = 0; b < 256; ++b) {
    std::string const one{static_cast<char>(static_cast<unsigned char>(b))};
    bool const good = b < 0x80;
    BOOST_TEST_CONTEXT("byte " << b) {
      BOOST_TEST(cleat::is_utf8(one) == good);
      BOOST_TEST(cleat::is_utf8(one + "a") == good);
      BOOST_TEST(cleat::is_utf8("a" + one) == good);
      BOOST_TEST(cleat::to_utf8("a" + one + "b") ==
                 "a" + (good ? one : std::string{"\xEF\xBF\xBD"}) + "b");
    }
  }
}

BOOST_AUTO_TEST_CASE(one_bad_byte_is_found_wherever_it_is) {
  for (std::size_t size = 0; size <= 40; ++size) {
    // A view in the midst of others' bytes: whether these are good must not matter.
    for (char const around : {'a', '\x80'}) {
      std::string all(size + 32, around);
      all.replace(16, size, size, 'a');
      std::string_view const s{all.data() + 16, size};
      BOOST_TEST(cleat::is_utf8(s));
      for (std::size_t i = 0; i < size; ++i) {
        for (char const bad : {'\x80', '\xFF'}) {
          all[16 + i] = bad;
          if (cleat::is_utf8(s)) BOOST_ERROR("of " << size << " bytes, number " << i);
        }
        all[16 + i] = 'a';
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(each_bad_byte_is_replaced_and_the_rest_stays) {
  std::string const no{cleat::utf8_replacement};
  BOOST_TEST(cleat::to_utf8("") == "");
  BOOST_TEST(cleat::to_utf8("M\xC3\xBCller") == "M\xC3\xBCller");
  BOOST_TEST(cleat::to_utf8("a\xFF\xFE"
                            "b") == "a" + no + no + "b");
  BOOST_TEST(cleat::to_utf8("\xE2\x80") == no + no);
  BOOST_TEST(no == "\xEF\xBF\xBD");
}

BOOST_AUTO_TEST_CASE(what_steers_a_terminal_is_a_question_mark) {
  std::vector<char32_t> all{0x61C, 0x200E, 0x200F, 0x2028, 0x2029};
  for (char32_t c = 0; c < 0x20; ++c) all.push_back(c);
  for (char32_t c = 0x7F; c < 0xA0; ++c) all.push_back(c);
  for (char32_t c = 0x202A; c <= 0x202E; ++c) all.push_back(c);
  for (char32_t c = 0x2066; c <= 0x2069; ++c) all.push_back(c);
  for (char32_t const c : all) {
    BOOST_TEST(steers_terminal(c));
    BOOST_TEST(printable("a" + encoded(c) + "b") == "a?b");
  }
  std::size_t n = 0;
  for (char32_t c = 0; c <= 0x10FFFF; ++c) n += steers_terminal(c) ? 1 : 0;
  BOOST_TEST(n == all.size());
}

BOOST_AUTO_TEST_CASE(what_is_shown_stays_as_it_is) {
  for (std::string_view const s :
       {"", "lamp 7", "M\xC3\xBCller", "\xE6\xB8\xAF", "\xF0\x9F\x92\xA1"})
    BOOST_TEST(printable(s) == s);
}

BOOST_AUTO_TEST_CASE(each_byte_that_is_not_utf8_is_a_question_mark_and_hides_nothing) {
  BOOST_TEST(printable("a\xFF\xFE") == "a??");
  BOOST_TEST(printable("\xE2\x80") == "??");
  BOOST_TEST(printable("\xC2\x1B[31m") == "??[31m");
  BOOST_TEST(printable("\xE2\x1B[31m") == "??[31m");
}

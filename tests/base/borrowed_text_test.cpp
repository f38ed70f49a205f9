#define BOOST_TEST_MODULE borrowed_text
// That a temporary string does not compile, with a sentence, is in tests/middleware/wrong_pipelines.
#include <cleat/base/borrowed_text.hpp>
#include <cleat/base/call.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>

using cleat::borrowed_text;

BOOST_AUTO_TEST_CASE(views_text_that_somebody_else_keeps) {
  std::string const name = "a lamp with a rather long name";
  std::string_view const view = name;
  char const* const pointer = name.c_str();
  std::array<char, 5> letters{'l', 'a', 'm', 'p', '\0'};
  borrowed_text const of_a_string = name;
  BOOST_TEST(of_a_string.data() == name.data());
  BOOST_TEST(borrowed_text{view}.data() == name.data());
  BOOST_TEST(borrowed_text{std::string_view{name}}.data() == name.data());
  BOOST_TEST(borrowed_text{pointer}.data() == name.data());
  BOOST_TEST(borrowed_text{letters.data()} == "lamp");
  BOOST_TEST(borrowed_text{"porch"} == "porch");
  BOOST_TEST(borrowed_text{}.empty());
}

BOOST_AUTO_TEST_CASE(is_used_like_any_string_view) {
  borrowed_text text = "porch";
  std::string_view const view = text;
  std::ostringstream out;
  out << text << ' ' << std::string{text};
  BOOST_TEST(view == text);
  BOOST_TEST((text < std::string_view{"z"}));
  BOOST_TEST(out.str() == "porch porch");
  BOOST_TEST((text.empty() ? std::string_view{"nobody"} : text) == "porch");
  BOOST_TEST((text.empty() ? "nobody" : text) == "porch");
  text = std::string_view{"cellar"};
  BOOST_TEST(text == "cellar");
  text = {};
  BOOST_TEST(text.empty());
}

BOOST_AUTO_TEST_CASE(is_compared_and_looked_through_like_a_view) {
  borrowed_text const text = "porch";
  BOOST_TEST(text.view() == "porch");
  BOOST_TEST(text.size() == 5U);
  BOOST_TEST((std::string(text.begin(), text.end()) == "porch"));
  BOOST_TEST(text.starts_with("po"));
  BOOST_TEST(!text.starts_with("or"));
  BOOST_TEST(text.ends_with("ch"));
  BOOST_TEST(!text.ends_with("c"));
  BOOST_TEST(!text.empty());
  BOOST_TEST((text == std::string_view{"porch"}));
  BOOST_TEST((text != std::string_view{"porches"}));
  BOOST_TEST((text < std::string_view{"porches"}));
  BOOST_TEST(!(text < std::string_view{"porch"}));
  BOOST_TEST((text > std::string_view{"cellar"}));
}

BOOST_AUTO_TEST_CASE(costs_a_call_nothing) {
  static_assert(std::is_trivially_copyable_v<borrowed_text>);
  static_assert(sizeof(borrowed_text) == sizeof(std::string_view));
  static_assert(!std::is_convertible_v<int, borrowed_text>);
  static_assert(std::is_trivially_copyable_v<cleat::call>);
  BOOST_TEST(sizeof(cleat::call) <= 80U);
}

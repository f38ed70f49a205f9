#define BOOST_TEST_MODULE kept_pushes
#include <cleat/session/kept_pushes.hpp>

#include <boost/test/unit_test.hpp>

#include <string>

using pushes = cleat::detail::kept_pushes<std::string>;

BOOST_AUTO_TEST_CASE(gives_the_oldest_first) {
  pushes kept;
  BOOST_TEST((kept.empty() && kept.size() == 0U));
  BOOST_TEST(kept.keep("a", 1, 2, 10) == 0U);
  BOOST_TEST(kept.keep("b", 1, 2, 10) == 0U);
  BOOST_TEST((!kept.empty() && kept.size() == 2U));
  BOOST_TEST(kept.take() == "a");
  BOOST_TEST(kept.take() == "b");
  BOOST_TEST(kept.empty());
}

BOOST_AUTO_TEST_CASE(says_how_many_it_dropped_for_the_youngest) {
  pushes kept;
  for (char const* const each : {"a", "b", "c"}) BOOST_TEST(kept.keep(each, 3, 4, 10) == 0U);
  BOOST_TEST(kept.keep("d", 1, 4, 10) == 0U);
  BOOST_TEST(kept.keep("e", 1, 4, 10) == 1U);  // too many
  BOOST_TEST(kept.keep("f", 6, 4, 10) == 2U);  // too many bytes, and one more
  BOOST_TEST(kept.size() == 3U);
  BOOST_TEST(kept.take() == "d");
  BOOST_TEST(kept.keep("g", 10, 4, 10) == 2U);  // all the room
  BOOST_TEST(kept.take() == "g");
}

BOOST_AUTO_TEST_CASE(what_has_no_room_at_all_is_dropped_itself) {
  pushes kept;
  BOOST_TEST(kept.keep("a", 10, 1, 10) == 0U);
  BOOST_TEST(kept.keep("large", 11, 1, 10) == 1U);
  BOOST_TEST(kept.keep("none", 1, 0, 10) == 1U);
  BOOST_TEST(kept.take() == "a");
}

#define BOOST_TEST_MODULE turn_limit
#include <cleat/session/turn_limit.hpp>

#include <boost/test/unit_test.hpp>

using cleat::detail::turn_limit;

BOOST_AUTO_TEST_CASE(a_turn_is_over_after_so_many_frames) {
  turn_limit now{2, 1000};
  now.did_take(1);
  BOOST_TEST((!now.is_over() && now.may_read()));
  now.did_take(1);
  BOOST_TEST((now.is_over() && !now.may_read()));
}

BOOST_AUTO_TEST_CASE(a_turn_is_over_with_the_frame_that_brings_it_to_so_many_bytes) {
  turn_limit now{10, 1000};
  now.did_take(500);
  now.did_take(499);
  BOOST_TEST((!now.is_over() && now.may_read()));
  now.did_take(1);
  BOOST_TEST((now.is_over() && !now.may_read()));
}

BOOST_AUTO_TEST_CASE(so_many_bytes_are_read_in_a_turn_though_no_frame_is_whole) {
  turn_limit now{10, 1000};
  now.did_read(500);
  now.did_read(499);
  BOOST_TEST(now.may_read());
  now.did_read(1);
  BOOST_TEST((!now.may_read() && !now.is_over()));
}

BOOST_AUTO_TEST_CASE(a_turn_of_nothing_is_one_frame) {
  for (std::size_t const bytes_max : {0U, 1000U}) {
    turn_limit now{0, bytes_max};
    BOOST_TEST((!now.is_over() && now.may_read()));
    now.did_take(1);
    BOOST_TEST(now.is_over());
  }
  turn_limit now{10, 0};
  BOOST_TEST((!now.is_over() && now.may_read()));
  now.did_take(1);
  BOOST_TEST(now.is_over());
}

#define BOOST_TEST_MODULE session_options
#include <cleat/session/session_options.hpp>

#include <boost/test/unit_test.hpp>

using namespace std::chrono_literals;

BOOST_AUTO_TEST_CASE(bounds_everything_if_nothing_else_is_said) {
  cleat::session_options const options;
  BOOST_TEST(options.calls_max == 1024U);
  BOOST_TEST(options.waiting_max == 1024U);
  BOOST_TEST(options.unanswered_max == 1024U);
  BOOST_TEST(options.requests_max == 1024U);
  BOOST_TEST(options.pushes_max == 256U);
  BOOST_TEST(options.pushes_bytes_max == 1'048'576U);
  BOOST_TEST(options.outbound_bytes_max == 1'048'576U);
  BOOST_TEST(options.frames_per_turn_max == 256U);
  BOOST_TEST(options.bytes_per_turn_max == 65'536U);
  BOOST_TEST((options.half_closed_max == 10s));
  BOOST_TEST((options.write_stall_max == 10s));
  BOOST_TEST(options.stray_frames_max == 10'000U);
}

BOOST_AUTO_TEST_CASE(serves_many_calls_and_tells_nobody_if_nothing_else_is_said) {
  cleat::session_options const options;
  BOOST_TEST(!options.ends_with_call);
  BOOST_TEST(options.events == nullptr);
  BOOST_TEST(options.peer.empty());
}

#define BOOST_TEST_MODULE turns
#include <cleat/base/spawn.hpp>
#include <cleat/base/turns.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/test/unit_test.hpp>

#include <string>

namespace asio = boost::asio;
using cleat::task;

namespace {

/// Notes its letter, and gives way each time.
task<> walk(std::string& way, char letter, int steps) {
  for (int i = 0; i < steps; ++i) {
    way += letter;
    co_await cleat::give_way{};
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(chains_that_give_way_take_turns_in_the_order_of_their_coming) {
  asio::io_context context{1};
  std::string way;
  for (char const letter : {'a', 'b', 'c'})
    cleat::spawn(context.get_executor(), walk(way, letter, 3));
  context.run();
  BOOST_TEST(way == "abcabcabc");
  BOOST_TEST(cleat::chain_count(context) == 0U);

  cleat::spawn(context.get_executor(), walk(way, 'd', 2));  // and again, after all had gone
  context.restart();
  context.run();
  BOOST_TEST(way == "abcabcabcdd");
}

BOOST_AUTO_TEST_CASE(what_else_waits_waits_for_one_chain_only) {
  asio::io_context context{1};
  std::string way;
  for (char const letter : {'a', 'b', 'c'})
    cleat::spawn(context.get_executor(), walk(way, letter, 2));
  while (way.size() < 3) context.poll_one();
  asio::post(context, [&] {
    way += '1';
    asio::post(context, [&] { way += '2'; });
  });
  context.run();
  BOOST_TEST(way == "abca1b2c");
}

BOOST_AUTO_TEST_CASE(a_chain_on_a_strand_gives_way_to_its_strand) {
  asio::io_context context{1};
  auto const strand = asio::make_strand(context);
  std::string way;
  for (char const letter : {'a', 'b'}) cleat::spawn(strand, walk(way, letter, 2));
  context.run();
  BOOST_TEST(way == "abab");
}

BOOST_AUTO_TEST_CASE(a_chain_that_has_given_way_goes_with_its_context) {
  std::string way;
  {
    asio::io_context context{1};
    for (char const letter : {'a', 'b'}) cleat::spawn(context.get_executor(), walk(way, letter, 2));
    while (way.size() < 2) context.poll_one();
  }
  BOOST_TEST(way == "ab");
}

#define BOOST_TEST_MODULE entropy
#include <cleat/base/entropy.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <thread>
#include <vector>

using cleat::entropy;

namespace {

/// The randomness of a context of its own, seeded.
class seeded {
 public:
  explicit seeded(std::uint64_t seed) : random(entropy::of(context.get_executor())) {
    random.seed(seed);
  }
  boost::asio::io_context context;
  entropy& random;
};

constexpr std::uint64_t all_ones = UINT64_MAX;

}  // namespace

// The edges of [0, bound).
static_assert(cleat::scale(0, 10) == 0);
static_assert(cleat::scale(all_ones, 10) == 9);
static_assert(cleat::scale(all_ones, 1) == 0);
static_assert(cleat::scale(all_ones, 0) == 0);
static_assert(cleat::scale(all_ones, all_ones) == all_ones - 1);
static_assert(cleat::scale(all_ones / 2 + 1, 10) == 5);

// The published numbers of FNV-1a.
static_assert(cleat::fnv1a("") == 0xCBF29CE484222325U);
static_assert(cleat::fnv1a("a") == 0xAF63DC4C8601EC8CU);
static_assert(cleat::fnv1a("foobar") == 0x85944171F73967E8U);

BOOST_AUTO_TEST_CASE(gives_the_published_sequence_of_splitmix64) {
  // The reference implementation's first numbers for this seed: the same with every compiler.
  seeded s{1234567};
  constexpr std::array<std::uint64_t, 5> expected = {6457827717110365317U, 3203168211198807973U,
                                                     9817491932198370423U, 4593380528125082431U,
                                                     16408922859458223821U};
  for (auto const e : expected) BOOST_TEST(s.random.next() == e);
}

BOOST_AUTO_TEST_CASE(draws_the_same_numbers_below_a_bound_with_every_compiler) {
  seeded s{42};
  constexpr std::array<std::uint64_t, 10> expected = {74, 15, 27, 34, 3, 86, 21, 80, 33, 61};
  for (auto const e : expected) BOOST_TEST(s.random.below(100) == e);
}

BOOST_AUTO_TEST_CASE(begins_again_with_the_same_seed) {
  seeded s{7};
  auto const first = s.random.next();
  auto const second = s.random.next();
  s.random.seed(7);
  BOOST_TEST(s.random.next() == first);
  BOOST_TEST(s.random.next() == second);
}

BOOST_AUTO_TEST_CASE(stays_below_its_bound_and_reaches_every_number) {
  seeded s{1};
  std::array<int, 7> seen{};
  for (int i = 0; i < 7000; ++i) {
    auto const n = s.random.below(seen.size());
    BOOST_REQUIRE(n < seen.size());
    ++seen[n];
  }
  // The seed is fixed, so that this cannot fail by chance.
  BOOST_TEST(*std::min_element(seen.begin(), seen.end()) > 850);
  BOOST_TEST(*std::max_element(seen.begin(), seen.end()) < 1150);
}

BOOST_AUTO_TEST_CASE(draws_a_number_also_below_bounds_that_leave_no_choice) {
  seeded s{9};
  BOOST_TEST(s.random.below(0) == 0U);
  BOOST_TEST(s.random.below(1) == 0U);
  // One draw each, so that the sequence goes on alike whatever the bounds are.
  auto const third = s.random.next();
  s.random.seed(9);
  static_cast<void>(s.random.next());
  static_cast<void>(s.random.next());
  BOOST_TEST(s.random.next() == third);
}

BOOST_AUTO_TEST_CASE(draws_several_at_once_as_it_draws_them_one_by_one) {
  seeded s{11};
  seeded plain{11};
  auto const three = s.random.next<3>();
  for (auto const n : three) BOOST_TEST(n == plain.random.next());
  auto const one = s.random.next<1>();
  BOOST_TEST(one[0] == plain.random.next());
  BOOST_TEST(s.random.next<0>().empty());
  BOOST_TEST(s.random.next() == plain.random.next());
}

BOOST_AUTO_TEST_CASE(two_contexts_that_nobody_seeded_differ) {
  boost::asio::io_context a;
  boost::asio::io_context b;
  BOOST_TEST(entropy::of(a.get_executor()).next() != entropy::of(b.get_executor()).next());
}

BOOST_AUTO_TEST_CASE(never_gives_one_number_to_two_threads) {
  seeded s{3};
  std::array<std::vector<std::uint64_t>, 2> drawn;
  {
    auto const draw = [&](std::vector<std::uint64_t>& into) {
      for (int i = 0; i < 10'000; ++i) {
        into.push_back(s.random.next());
        auto const more = s.random.next<2>();
        into.insert(into.end(), more.begin(), more.end());
      }
    };
    std::jthread const one{[&] { draw(drawn[0]); }};
    std::jthread const two{[&] { draw(drawn[1]); }};
  }
  std::vector<std::uint64_t> all = drawn[0];
  all.insert(all.end(), drawn[1].begin(), drawn[1].end());
  std::sort(all.begin(), all.end());
  BOOST_TEST((std::adjacent_find(all.begin(), all.end()) == all.end()));
}

#define BOOST_TEST_MODULE pooled_queue
#include <cleat/base/pooled_queue.hpp>

#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>

using cleat::detail::pooled_queue;

namespace {

/// Counts those that are alive; one with a negative number cannot be made.
class counted {
 public:
  counted(int n, int& alive) : number(n), alive_(alive) {
    if (n < 0) throw std::runtime_error("not this one");
    ++alive_;
  }
  counted(counted const&) = delete;
  counted& operator=(counted const&) = delete;
  ~counted() { --alive_; }

  int number;

 private:
  int& alive_;
};

std::string digits(pooled_queue<char>& q) {
  std::string all;
  q.for_each([&](char c) { all += c; });
  return all;
}

}  // namespace

BOOST_AUTO_TEST_CASE(is_empty_at_first_and_again_when_all_was_taken) {
  pooled_queue<int> q;
  BOOST_TEST(q.empty());
  BOOST_TEST(q.size() == 0U);
  q.emplace_back(1);
  BOOST_TEST(!q.empty());
  BOOST_TEST(q.size() == 1U);
  q.pop_front();
  BOOST_TEST(q.empty());
  BOOST_TEST(q.size() == 0U);
}

BOOST_AUTO_TEST_CASE(gives_first_what_came_first) {
  pooled_queue<int> q;
  for (int i = 0; i < 100; ++i) q.emplace_back(i);
  for (int i = 0; i < 100; ++i) {
    BOOST_TEST(q.front() == i);
    q.pop_front();
  }
}

BOOST_AUTO_TEST_CASE(shows_each_the_oldest_first) {
  pooled_queue<char> q;
  BOOST_TEST(digits(q).empty());
  for (char const c : {'1', '2', '3'}) q.emplace_back(c);
  BOOST_TEST(digits(q) == "123");
  q.pop_front();
  q.emplace_back('4');
  BOOST_TEST(digits(q) == "234");
}

BOOST_AUTO_TEST_CASE(what_it_holds_may_be_changed_in_place) {
  pooled_queue<std::string> q;
  q.emplace_back(std::size_t{100}, 'x');
  q.front() += "y";
  q.for_each([](std::string& s) { s += "z"; });
  BOOST_TEST(q.front() == std::string(100, 'x') + "yz");
}

BOOST_AUTO_TEST_CASE(holds_what_can_neither_be_copied_nor_moved_where_it_is) {
  int alive = 0;
  pooled_queue<counted> q;
  q.emplace_back(1, alive);
  counted const* const first = &q.front();
  for (int i = 2; i < 50; ++i) q.emplace_back(i, alive);
  BOOST_TEST(&q.front() == first);
  BOOST_TEST(alive == 49);
  q.pop_front();
  BOOST_TEST(alive == 48);
}

BOOST_AUTO_TEST_CASE(destroys_at_its_end_what_it_still_holds) {
  int alive = 0;
  {
    pooled_queue<counted> q;
    for (int i = 0; i < 10; ++i) q.emplace_back(i, alive);
    q.pop_front();
    BOOST_TEST(alive == 9);
  }
  BOOST_TEST(alive == 0);
}

BOOST_AUTO_TEST_CASE(is_unchanged_by_one_that_could_not_be_made) {
  int alive = 0;
  pooled_queue<counted> q;
  BOOST_CHECK_THROW(q.emplace_back(-1, alive), std::runtime_error);
  BOOST_TEST(q.empty());
  q.emplace_back(1, alive);
  BOOST_CHECK_THROW(q.emplace_back(-1, alive), std::runtime_error);
  q.emplace_back(2, alive);
  BOOST_TEST(q.size() == 2U);
  BOOST_TEST(q.front().number == 1);
  q.pop_front();
  BOOST_TEST(q.front().number == 2);
  q.pop_front();
  BOOST_TEST(q.empty());
  BOOST_TEST(alive == 0);
}

#if CLEAT_FRAME_POOL
BOOST_AUTO_TEST_CASE(gives_back_the_memory_of_what_it_lost_and_of_what_could_not_be_made) {
  using memory = cleat::detail::frame_memory;
  int alive = 0;
  pooled_queue<counted> q;
  void* const place = memory::allocate(1);  // of the class of one entry
  memory::deallocate(place, 1);
  auto const is_back = [&] {
    void* const next = memory::allocate(1);
    memory::deallocate(next, 1);
    return next == place;
  };
  BOOST_CHECK_THROW(q.emplace_back(-1, alive), std::runtime_error);
  BOOST_TEST(is_back());
  q.emplace_back(1, alive);
  BOOST_TEST(!is_back());
  q.pop_front();
  BOOST_TEST(is_back());
}
#endif

BOOST_AUTO_TEST_CASE(does_over_a_long_time_what_a_plain_queue_does) {
  std::mt19937_64 random{1};
  for (int history = 0; history < 20; ++history) {
    pooled_queue<std::unique_ptr<std::uint64_t>> q;
    std::deque<std::uint64_t> model;
    for (int step = 0; step < 2000; ++step) {
      // Grows in the first half, shrinks in the second.
      bool const add = random() % 100 < (step < 1000 ? 60U : 40U);
      if (add) {
        auto const value = random();
        q.emplace_back(std::make_unique<std::uint64_t>(value));
        model.push_back(value);
      } else if (!model.empty()) {
        q.pop_front();
        model.pop_front();
      }
      BOOST_REQUIRE(q.size() == model.size());
      BOOST_REQUIRE(q.empty() == model.empty());
      if (!model.empty()) BOOST_REQUIRE(*q.front() == model.front());
    }
    std::deque<std::uint64_t> rest;
    q.for_each([&](auto const& p) { rest.push_back(*p); });
    BOOST_TEST((rest == model));
  }
}

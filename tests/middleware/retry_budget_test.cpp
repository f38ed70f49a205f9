#define BOOST_TEST_MODULE retry_budget
#include <cleat/middleware/backoff.hpp>
#include <cleat/middleware/retry_budget.hpp>
#include <cleat/middleware/token_bucket.hpp>
#include <cleat/sim/random.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <vector>

using cleat::backoff;
using cleat::duration;
using cleat::retry_budget;
using cleat::time_point;
using cleat::token_bucket;
using namespace std::chrono_literals;

namespace {
constexpr time_point start{1h};

retry_budget::settings tokens(double deposit, double floor, double saved_max) {
  retry_budget::settings s;
  s.deposit = deposit;
  s.floor = floor;
  s.saved_max = saved_max;
  return s;
}

int all_of(retry_budget& budget, time_point now) {
  int granted = 0;
  while (budget.withdraw(now)) ++granted;
  return granted;
}
}  // namespace

BOOST_AUTO_TEST_CASE(a_slow_floor_refills_however_often_it_is_asked) {
  retry_budget::settings s;
  s.deposit = 0;
  s.floor = 0.1;
  for (duration const every : {duration{9us}, duration{1ns}, duration{999'999'999ns}}) {
    retry_budget budget{s};
    auto const steps = std::min<std::int64_t>(2'000'000, 60s / every);
    int taken = 0;
    // Asked so often, it first starts at nearly a token, so that a step brings the rest.
    static_cast<void>(budget.withdraw(start));
    time_point now = start + 10s - every * steps;
    now = std::max(now, start);
    for (std::int64_t i = 0; i <= steps; ++i, now += every) taken += budget.withdraw(now) ? 1 : 0;
    BOOST_TEST(taken >= 1);
  }
}

BOOST_AUTO_TEST_CASE(no_fraction_is_lost_or_won_whatever_the_rate_and_the_times_of_asking) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    cleat::sim::random draw{seed};
    retry_budget::settings s;
    s.deposit = 0;
    auto const millionths = 1 + static_cast<std::int64_t>(draw.below(5'000'000));
    s.floor = static_cast<double>(millionths) / 1e6;
    auto const rate = static_cast<std::int64_t>(s.floor * 1e6);  // parts of a token a second
    retry_budget budget{s};
    // Exactly, in parts of a token and a second's billionths.
    __extension__ using wide = __int128;
    constexpr wide token = wide{1'000'000} * 1'000'000'000;
    wide const full = std::max(wide{rate} * 1'000'000'000, token);
    wide held = wide{rate} * 1'000'000'000;
    time_point now = start;
    bool first = true;
    for (int i = 0; i < 400; ++i) {
      auto const unit = draw.below(3) == 0   ? 1'000'000'000ULL
                        : draw.below(2) == 0 ? 1'000ULL
                                             : 1ULL;
      duration const step{static_cast<duration::rep>(draw.below(2'000) * unit)};
      if (!first) {
        now += step;
        held = std::min(full, held + wide{rate} * std::chrono::nanoseconds{step}.count());
      }
      first = false;
      bool const expected = held >= token;
      if (expected) held -= token;
      BOOST_REQUIRE(budget.withdraw(now) == expected);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_bucket_gives_exactly_its_rate_however_often_it_is_asked) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    cleat::sim::random draw{seed};
    token_bucket::settings s;
    s.tokens = 1 + static_cast<std::uint32_t>(draw.below(5'000));
    s.per = duration{1'000'000 * (1 + static_cast<duration::rep>(draw.below(5'000)))};
    s.burst = 1 + static_cast<std::uint32_t>(draw.below(3));
    token_bucket bucket{s};
    time_point now = start;
    std::int64_t passed = 0;
    for (int i = 0; i < 2'000; ++i) {
      if (bucket.next(now) <= now) {
        token_bucket::token t{bucket, now};
        t.use();
        ++passed;
      }
      now += duration{static_cast<duration::rep>(draw.below(1'000'000))};
    }
    // Asked all the time from here on, it loses nothing of what has come meanwhile.
    auto const elapsed = std::chrono::nanoseconds{now - start}.count();
    auto const per = std::chrono::nanoseconds{s.per}.count();
    __extension__ using wide = __int128;
    auto const most = static_cast<std::int64_t>(wide{elapsed} * s.tokens / per) + s.burst;
    BOOST_TEST(passed <= most);
    time_point at = now;
    std::int64_t more = 0;
    for (; more < 50; ++more) {
      at = std::max(at, bucket.next(at));
      token_bucket::token t{bucket, at};
      t.use();
    }
    auto const took = std::chrono::nanoseconds{at - now}.count();
    auto const least = static_cast<std::int64_t>(wide{took} * s.tokens / per);
    BOOST_TEST(more >= least);
    BOOST_TEST(more <= least + 1 + s.burst);
  }
}

BOOST_AUTO_TEST_CASE(a_budget_is_forgettable_when_its_floor_is_full_again_whatever_it_has_saved) {
  retry_budget budget{tokens(1, 2, 5)};
  BOOST_TEST(budget.is_forgettable(start));
  BOOST_TEST(budget.withdraw(start));
  BOOST_TEST(!budget.is_forgettable(start));
  BOOST_TEST(!budget.is_forgettable(start + 500ms - 1ns));
  BOOST_TEST(budget.is_forgettable(start + 500ms));
  budget.deposit();
  BOOST_TEST(!budget.is_forgettable(start));
  BOOST_TEST(budget.is_forgettable(start + 1h));

  retry_budget slow{tokens(0, 0.5, 5)};
  BOOST_TEST(slow.is_forgettable(start));
  BOOST_TEST(!slow.withdraw(start));
  BOOST_TEST(slow.is_forgettable(start));
  BOOST_TEST(!slow.withdraw(start + 1s - 1ns));
  BOOST_TEST(slow.withdraw(start + 1s));
  BOOST_TEST(!slow.is_forgettable(start + 2s - 1ns));
  BOOST_TEST(slow.is_forgettable(start + 2s));
}

BOOST_AUTO_TEST_CASE(a_budget_saves_up_so_much_and_no_more) {
  for (int const deposits : {2, 3, 4}) {
    retry_budget budget{tokens(1, 0, 3)};
    for (int i = 0; i < deposits; ++i) budget.deposit();
    BOOST_TEST(all_of(budget, start) == std::min(deposits, 3));
    BOOST_TEST(all_of(budget, start + 1h) == 0);
  }
}

BOOST_AUTO_TEST_CASE(a_retry_takes_of_the_floor_first) {
  retry_budget budget{tokens(1, 1, 3)};
  budget.deposit();
  BOOST_TEST(budget.withdraw(start));
  BOOST_TEST(all_of(budget, start + 1s) == 2);
}

BOOST_AUTO_TEST_CASE(a_budget_lives_with_a_time_that_goes_back) {
  retry_budget budget{tokens(0, 1, 0)};
  BOOST_TEST(budget.withdraw(start + 1s));
  BOOST_TEST(!budget.withdraw(start));
  BOOST_TEST(!budget.is_forgettable(start));
  BOOST_TEST(!budget.withdraw(start + 2s - 1ns));
  BOOST_TEST(budget.withdraw(start + 2s));
}

BOOST_AUTO_TEST_CASE(what_is_no_number_of_tokens_is_none_and_the_most_is_a_million) {
  constexpr double no_number = std::numeric_limits<double>::quiet_NaN();
  constexpr double endless = std::numeric_limits<double>::infinity();
  for (double const none : {-1.0, 0.0, no_number, -endless}) {
    retry_budget budget{tokens(none, none, none)};
    budget.deposit();
    BOOST_TEST(all_of(budget, start) == 0);
    BOOST_TEST(all_of(budget, start + 10'000h) == 0);
  }
  retry_budget saved{tokens(endless, 0, endless)};
  saved.deposit();
  saved.deposit();
  BOOST_TEST(all_of(saved, start) == 1'000'000);
  retry_budget floor{tokens(0, endless, 0)};
  BOOST_TEST(all_of(floor, start) == 1'000'000);
}

BOOST_AUTO_TEST_CASE(a_budget_is_by_default_a_fifth_ten_a_second_and_a_hundred_saved_up) {
  retry_budget const budget;
  BOOST_TEST(budget.with().deposit == 0.2);
  BOOST_TEST(budget.with().floor == 10);
  BOOST_TEST(budget.with().saved_max == 100);
}

BOOST_AUTO_TEST_CASE(a_backoff_doubles_up_to_its_most_exactly) {
  constexpr std::uint64_t all_ones = std::numeric_limits<std::uint64_t>::max();
  auto const waits = [](backoff b, std::uint64_t random) {
    std::vector<duration::rep> all;
    for (unsigned n = 1; n <= 5; ++n) all.push_back(b.wait(n, random).count());
    return all;
  };
  using list = std::vector<duration::rep>;
  constexpr auto each = boost::test_tools::per_element();
  BOOST_TEST(waits(backoff::additive(3ns, 0ns, 13ns), all_ones) == (list{3, 6, 12, 13, 13}), each);
  BOOST_TEST(waits(backoff::additive(3ns, 0ns, 12ns), 0) == (list{3, 6, 12, 12, 12}), each);
  BOOST_TEST(waits(backoff::additive(5ns, 0ns, 8ns), 0) == (list{5, 8, 8, 8, 8}), each);
  BOOST_TEST(waits(backoff::additive(20ns, 0ns, 13ns), 0) == (list{13, 13, 13, 13, 13}), each);
  // And what comes by chance, at the least and at the most.
  BOOST_TEST(waits(backoff::additive(3ns, 4ns, 13ns), 0) == (list{3, 6, 12, 13, 13}), each);
  BOOST_TEST(waits(backoff::additive(3ns, 4ns, 13ns), all_ones) == (list{7, 10, 13, 13, 13}), each);
  BOOST_TEST(waits(backoff::full_jitter(3ns, 13ns), 0) == (list{0, 0, 0, 0, 0}), each);
  BOOST_TEST(waits(backoff::full_jitter(3ns, 13ns), all_ones) == (list{3, 6, 12, 13, 13}), each);
  BOOST_TEST((backoff::additive(1s, 0s).wait(70, all_ones) == 1h));
  BOOST_TEST(
      (backoff::additive(duration::max(), duration::max(), duration::max()).wait(70, all_ones) ==
       duration::max()));
}

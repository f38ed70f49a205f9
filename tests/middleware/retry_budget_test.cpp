#define BOOST_TEST_MODULE retry_budget
#include <cleat/middleware/retry_budget.hpp>
#include <cleat/middleware/token_bucket.hpp>
#include <cleat/sim/random.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

using cleat::duration;
using cleat::retry_budget;
using cleat::time_point;
using cleat::token_bucket;
using namespace std::chrono_literals;

namespace {
constexpr time_point start{1h};
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

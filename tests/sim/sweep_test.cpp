#define BOOST_TEST_MODULE sim_sweep
// A sweep finds what goes wrong, names the seed, and sees when a seed has two histories.
#include <cleat/base/event.hpp>
#include <cleat/sim/sweep.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <sstream>
#include <stdexcept>
#include <string>

using namespace std::chrono_literals;
using cleat::task;
using cleat::sim::sweep;
using cleat::sim::sweep_options;
using cleat::sim::trial;

namespace {

task<> wander(trial& t) {
  for (int i = 0; i < 5; ++i) {
    cleat::duration const pause =
        t.world.random().between(cleat::duration{1ms}, cleat::duration{1s});
    static_cast<void>(co_await cleat::sleep_until(t.world.now() + pause));
    t.world.note("step", "", t.world.random().next());
  }
}

void wandering(trial& t) { t.world.run(wander(t)); }

[[nodiscard]] sweep_options on(std::uint64_t seeds, unsigned threads) {
  sweep_options o;
  o.seeds = seeds;
  o.threads = threads;
  return o;
}

[[nodiscard]] std::string first_sentence(cleat::sim::scenario const& of) {
  auto const r = cleat::sim::try_seed(1, of);
  return r.failures.empty() ? "" : r.failures.front().broken.front();
}

}  // namespace

BOOST_AUTO_TEST_CASE(has_one_hash_however_many_threads_run_it) {
  auto const alone = sweep(wandering, on(50, 1));
  auto const together = sweep(wandering, on(50, 4));
  BOOST_TEST(alone.hash == together.hash);
  BOOST_TEST(alone.seeds == 50U);
  BOOST_TEST(alone.events == 300U);
  BOOST_TEST((alone.virtual_time == together.virtual_time));
  BOOST_TEST(sweep(wandering, on(51, 1)).hash != alone.hash);
}

BOOST_AUTO_TEST_CASE(names_the_seeds_that_broke_a_promise_and_what_happened_last) {
  auto const unlucky = [](trial& t) {
    t.world.note("rolled", "", t.world.seed());
    t.expect(t.world.seed() % 10 != 7, "no seven", "seven");
  };
  auto const r = sweep(unlucky, on(30, 2));
  BOOST_REQUIRE(r.failures.size() == 3U);
  BOOST_TEST(r.failures[0].seed == 7U);
  BOOST_TEST(r.failures[2].seed == 27U);
  BOOST_TEST(r.failures[0].broken.front() == "after 0 ms: no seven (seven)");
  BOOST_TEST(r.failures[0].last_events.find("rolled") != std::string::npos);
  BOOST_TEST(r.checks >= 30U);
}

BOOST_AUTO_TEST_CASE(stops_after_enough_failures) {
  auto const always = [](trial& t) { t.expect(false, "never"); };
  sweep_options o = on(1000, 1);
  o.failures_max = 3;
  BOOST_TEST(sweep(always, o).seeds == 3U);
}

BOOST_AUTO_TEST_CASE(sees_a_seed_with_two_histories) {
  static std::atomic<std::uint64_t> runs{0};
  auto const moody = [](trial& t) { t.world.note("mood", "", ++runs); };
  BOOST_TEST(first_sentence(moody) == "the same seed gives the same history");
}

BOOST_AUTO_TEST_CASE(sees_what_is_left_over) {
  auto const forgets = [](trial& t) {
    auto waits = [](trial& in) -> task<> {
      static_cast<void>(co_await cleat::sleep_until(in.world.now() + 1h));
    };
    t.world.spawn(waits(t));
    t.world.run_for(1s);
  };
  BOOST_TEST(first_sentence(forgets).find("1 chains still live") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(takes_what_is_thrown_for_a_broken_promise) {
  auto const throws = [](trial&) { throw std::runtime_error{"the roof is on fire"}; };
  BOOST_TEST(first_sentence(throws) ==
             "after 0 ms: the scenario comes to its end (the roof is on fire)");
}

BOOST_AUTO_TEST_CASE(counts_paths_and_faults_by_name) {
  auto const eventful = [](trial& t) {
    t.reached("somewhere");
    t.reached("somewhere");
    t.world.network().cut("a");
  };
  auto const r = sweep(eventful, on(10, 1));
  BOOST_TEST(r.tallies.at("somewhere") == 20U);
  BOOST_TEST(r.tallies.at("cut") == 10U);
  BOOST_TEST(r.tallies.at("crash") == 0U);
}

BOOST_AUTO_TEST_CASE(traces_every_event_of_one_seed) {
  std::ostringstream text;
  auto const r = cleat::sim::try_seed(3, wandering, &text);
  BOOST_TEST(r.failures.empty());
  std::string const lines = text.str();
  BOOST_TEST(std::count(lines.begin(), lines.end(), '\n') == 6);  // and the end
}

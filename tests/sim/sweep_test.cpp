#define BOOST_TEST_MODULE sim_sweep
// A sweep finds what goes wrong, names the seed, and sees when a seed has two histories.
#include "sweep/scenario.hpp"

#include <cleat/base/event.hpp>
#include <cleat/sim/sweep.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

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

BOOST_AUTO_TEST_CASE(shows_the_first_event_in_which_two_histories_differ) {
  static std::atomic<std::uint64_t> runs{0};
  auto const moody = [](trial& t) {
    bool const again = ++runs % 2 == 0;
    for (std::uint64_t i = 0; i < 10; ++i) t.world.note("morning", "lamp", i);
    t.world.note("mood", again ? "grim" : "gay", 1);
    t.world.note("evening", "lamp", again ? 1 : 2);
  };
  auto const r = cleat::sim::try_seed(1, moody);
  BOOST_REQUIRE(r.failures.size() == 1U);
  std::istringstream lines{r.failures.front().last_events};
  std::vector<std::string> shown;
  for (std::string line; std::getline(lines, line);) shown.push_back(line);
  BOOST_REQUIRE(shown.size() == 8U);
  BOOST_TEST(shown[0] == "event 11 is the first that differs (of 13 and 13)");
  BOOST_TEST(shown[5].starts_with("both runs:"));
  BOOST_TEST(shown[5].ends_with(" 0000000000000009 0"));
  BOOST_TEST(shown[6].starts_with("first run:"));
  BOOST_TEST(shown[6].find("gay") != std::string::npos);
  BOOST_TEST(shown[7].starts_with("second run:"));
  BOOST_TEST(shown[7].find("grim") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(shows_that_one_history_ends_before_the_other) {
  static std::atomic<std::uint64_t> runs{0};
  auto const thrown_out = [](trial& t) {
    t.world.note("in", "");
    if (++runs % 2 == 0) throw std::runtime_error{"out"};
  };
  auto const r = cleat::sim::try_seed(1, thrown_out);
  BOOST_REQUIRE(r.failures.size() == 1U);
  std::string const& shown = r.failures.front().last_events;
  BOOST_TEST(shown.find("event 2 is the first that differs (of 2 and 2)\n") == 0U);
  BOOST_TEST(shown.find("BROKEN") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(shows_that_one_history_has_more_events) {
  static std::atomic<std::uint64_t> runs{0};
  auto const chatty = [](trial& t) {
    if (++runs % 2 == 0) t.world.note("by the way", "");
  };
  auto const r = cleat::sim::try_seed(1, chatty);
  BOOST_REQUIRE(r.failures.size() == 1U);
  std::string const& shown = r.failures.front().last_events;
  BOOST_TEST(shown.find("event 1 is the first that differs (of 1 and 2)\n") == 0U);
  BOOST_TEST(shown.find("by the way") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(shows_that_only_the_number_of_checks_differs) {
  static std::atomic<std::uint64_t> runs{0};
  auto const curious = [](trial& t) {
    if (++runs % 2 == 0) t.expect(true, "all is well");
    throw std::runtime_error{"out"};
  };
  auto const r = cleat::sim::try_seed(1, curious);
  BOOST_REQUIRE(r.failures.size() == 2U);
  BOOST_TEST(r.failures[1].last_events ==
             "the events are the same; first run: 1 checks, 0 ms; second run: 2 checks, 0 ms\n");
}

BOOST_AUTO_TEST_CASE(says_so_when_two_histories_differ_behind_what_is_kept_of_them) {
  static std::atomic<std::uint64_t> runs{0};
  auto const long_winded = [](trial& t) {
    for (std::size_t i = 0; i < cleat::sim::history::compared; ++i) t.world.note("again", "");
    t.world.note("mood", "", ++runs);
  };
  auto const r = cleat::sim::try_seed(1, long_winded);
  BOOST_REQUIRE(r.failures.size() == 1U);
  std::string const& shown = r.failures.front().last_events;
  BOOST_TEST(shown.find("the first 262144 events are the same") == 0U);
  BOOST_TEST(shown.find("mood") != std::string::npos);
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

BOOST_AUTO_TEST_CASE(a_long_sweep_names_the_promises_that_nothing_put_to_the_test) {
  auto const quiet = [](trial& t) {
    t.reached("the side door");
    t.reached("a door that is shut stays shut");
    t.expect(true, "a door that is open stays open");
  };
  sweeping::named_scenario const doors{
      "doors",
      "two of each",
      quiet,
      {"the side door", "the back door"},
      {"a door that is shut stays shut", "a door that is open stays open"}};
  auto const enough = sweeping::seeds_that_reach_everything;
  BOOST_TEST(sweeping::not_reached(doors, sweep(doors.run, on(enough - 1, 1))).empty());
  auto const sentences = sweeping::not_reached(doors, sweep(doors.run, on(enough, 1)));
  BOOST_REQUIRE(sentences.size() == 2U);
  BOOST_TEST(sentences[0] == "no seed took the path \"the back door\"");
  BOOST_TEST(sentences[1] == "no seed put the promise to the test: a door that is open stays open");
}

BOOST_AUTO_TEST_CASE(traces_every_event_of_one_seed) {
  std::ostringstream text;
  auto const r = cleat::sim::try_seed(3, wandering, &text);
  BOOST_TEST(r.failures.empty());
  std::string const lines = text.str();
  BOOST_TEST(std::count(lines.begin(), lines.end(), '\n') == 6);  // and the end
}

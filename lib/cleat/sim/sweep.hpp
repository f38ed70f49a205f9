#pragma once

#include <cleat/sim/trial.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <ostream>
#include <string>
#include <vector>

namespace cleat::sim {

/// Which seeds, and on how many threads.
class sweep_options {
 public:
  sweep_options() noexcept {}

  std::uint64_t from = 0;
  std::uint64_t seeds = 100;
  unsigned threads = 0;          ///< 0: one for each processor
  std::size_t failures_max = 5;  ///< after so many no more seeds are tried
  /// Told after each seed how many are done; on any of the threads, one at a time.
  std::function<void(std::uint64_t done)> progress;
};

/// A seed that broke a promise.
class sweep_failure {
 public:
  std::uint64_t seed = 0;
  std::vector<std::string> broken;  ///< the promises, in sentences
  /// A line each. Of a seed with two histories: the first event in which they differ, from both.
  std::string last_events;
};

/// What a sweep has seen. All but the failures are sums over the first runs of all seeds.
class sweep_result {
 public:
  /// Of all histories, in the order of the seeds.
  std::uint64_t hash = 0;
  std::uint64_t seeds = 0;
  std::uint64_t events = 0;
  std::uint64_t checks = 0;
  duration virtual_time{};
  /// Faults of the network (`reset_before`), of peers (`peer: late`) and paths (`trial::reached`), by name.
  std::map<std::string, std::uint64_t> tallies;
  std::vector<sweep_failure> failures;  ///< in the order of the seeds

  void add(sweep_result const& of_one_seed);
};

/// Runs `of` with one seed, twice, and says whether both runs did the same. With `trace`, once, and every event is
/// written as it happens.
///
/// What the scenario throws is a failure of that seed. Its world is destroyed before this returns.
[[nodiscard]] sweep_result try_seed(std::uint64_t seed, scenario const& of,
                                    std::ostream* trace = nullptr);

/// Runs `of` with many seeds:
///
/// ```
/// for (auto const& failure : sim::sweep(my_scenario).failures)
///   BOOST_ERROR(failure.seed << ": " << failure.broken.front());
/// ```
///
/// The scenario is called on several threads at once, each time with a trial of its own.
[[nodiscard]] sweep_result sweep(scenario const& of, sweep_options const& options = {});

}  // namespace cleat::sim

#include <cleat/sim/sweep.hpp>

#include <cleat/base/entropy.hpp>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <sstream>
#include <thread>
#include <utility>

namespace cleat::sim {
namespace {

/// One run, and its history.
[[nodiscard]] sweep_result run_once(std::uint64_t seed, scenario const& of, std::ostream* trace) {
  sweep_result r;
  trial t{seed};
  t.world.history().trace(trace);
  try {
    of(t);
    // What was drawn, and not only what was noted, has to be the same in both runs.
    t.world.note("end", "", t.world.random().next(), t.checks());
    for (std::string const& left : t.world.leftovers())
      t.expect(false, "nothing is left over at the end", left);
  } catch (std::exception const& e) {
    t.expect(false, "the scenario comes to its end", e.what());
  }
  r.hash = t.world.history().hash();
  r.seeds = 1;
  r.events = t.world.history().size();
  r.checks = t.checks();
  r.virtual_time = t.world.elapsed();
  for (auto const& [name, times] : t.world.tallies()) r.tallies.emplace(name, times);
  for (fault const f : faults) r.tallies.emplace(to_string(f), t.world.network().count(f));
  if (!t.broken().empty()) {
    sweep_failure failed;
    failed.seed = seed;
    failed.broken = t.broken();
    std::ostringstream last;
    t.world.history().write_last(last);
    failed.last_events = last.str();
    r.failures.push_back(std::move(failed));
  }
  return r;
}

}  // namespace

void sweep_result::add(sweep_result const& one) {
  hash = mix64(hash ^ one.hash);
  seeds += one.seeds;
  events += one.events;
  checks += one.checks;
  virtual_time += one.virtual_time;
  for (auto const& [name, times] : one.tallies) tallies[name] += times;
  failures.insert(failures.end(), one.failures.begin(), one.failures.end());
}

sweep_result try_seed(std::uint64_t seed, scenario const& of, std::ostream* trace) {
  sweep_result first = run_once(seed, of, trace);
  if (trace != nullptr) return first;
  sweep_result const second = run_once(seed, of, nullptr);
  bool const same = first.hash == second.hash && first.checks == second.checks &&
                    first.virtual_time == second.virtual_time;
  ++first.checks;
  if (!same) {
    sweep_failure differs;
    differs.seed = seed;
    differs.broken.emplace_back("the same seed gives the same history");
    first.failures.push_back(std::move(differs));
  }
  return first;
}

sweep_result sweep(scenario const& of, sweep_options const& options) {
  std::vector<std::uint64_t> hashes(options.seeds);
  std::atomic<std::uint64_t> next{0};
  std::mutex mutex;
  sweep_result all;

  auto const work = [&] {
    for (;;) {
      std::uint64_t const i = next.fetch_add(1);
      if (i >= options.seeds) return;
      sweep_result const one = try_seed(options.from + i, of);
      hashes[i] = one.hash;
      std::lock_guard const lock{mutex};
      all.add(one);
      if (all.failures.size() >= options.failures_max) next = options.seeds;
      if (options.progress) options.progress(all.seeds);
    }
  };
  unsigned const threads =
      options.threads != 0 ? options.threads : std::max(1U, std::thread::hardware_concurrency());
  std::vector<std::jthread> others;
  for (unsigned n = 1; n < threads; ++n) others.emplace_back(work);
  work();
  others.clear();  // joins

  // The threads took turns as they liked.
  all.hash = 0;
  for (std::uint64_t const hash : hashes) all.hash = mix64(all.hash ^ hash);
  std::ranges::sort(all.failures, {}, &sweep_failure::seed);
  return all;
}

}  // namespace cleat::sim

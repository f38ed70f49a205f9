#include <cleat/sim/sweep.hpp>

#include <cleat/base/entropy.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <sstream>
#include <thread>
#include <utility>

namespace cleat::sim {
namespace {

/// One run, and its history.
class run {
 public:
  sweep_result seen;
  history events;
};

[[nodiscard]] run run_once(std::uint64_t seed, scenario const& of, std::ostream* trace) {
  run done;
  sweep_result& r = done.seen;
  trial t{seed};
  t.world.history().trace(trace);
  if (trace == nullptr) t.world.history().keep_for_comparison();
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
  done.events = std::move(t.world.history());
  return done;
}

[[nodiscard]] std::string difference(run const& first, run const& second) {
  std::ostringstream out;
  first.events.write_difference(second.events, out);
  if (!out.str().empty()) return out.str();
  if (first.seen.hash != second.seen.hash) {
    out << "the first " << history::compared
        << " events are the same; the last ones of the first run:\n";
    first.events.write_last(out);
    out << "and of the second run:\n";
    second.events.write_last(out);
    return out.str();
  }
  auto const ms = [](duration d) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(d).count();
  };
  out << "the events are the same; first run: " << first.seen.checks << " checks, "
      << ms(first.seen.virtual_time) << " ms; second run: " << second.seen.checks << " checks, "
      << ms(second.seen.virtual_time) << " ms\n";
  return out.str();
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
  run first = run_once(seed, of, trace);
  if (trace != nullptr) return first.seen;
  run const second = run_once(seed, of, nullptr);
  bool const same = first.seen.hash == second.seen.hash &&
                    first.seen.checks == second.seen.checks &&
                    first.seen.virtual_time == second.seen.virtual_time;
  if (!same) {
    sweep_failure differs;
    differs.seed = seed;
    differs.broken.emplace_back("the same seed gives the same history");
    differs.last_events = difference(first, second);
    first.seen.failures.push_back(std::move(differs));
  }
  ++first.seen.checks;
  return first.seen;
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

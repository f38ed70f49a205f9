// Runs scenarios with many seeds. See scripts/sim.
#include "../../support/command_line.hpp"
#include "scenario.hpp"

#include <cleat/base/entropy.hpp>
#include <cleat/base/ids.hpp>

#include <CLI/CLI.hpp>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using cleat::sim::sweep_failure;
using cleat::sim::sweep_result;
using sweeping::named_scenario;

class settings {
 public:
  std::uint64_t seeds = 1000;
  std::uint64_t from = 0;
  std::vector<std::string> only;
  std::string regressions;
  unsigned threads = 0;
  std::size_t failures = 5;
  bool trace = false;
};

/// The seed that this thread tries, for the words of one that dies.
thread_local char const* scenario_under_way = "";
thread_local std::uint64_t seed_under_way = 0;

/// Names the seed, and lets the program die.
void dying(int signal) {
  std::array<char, 200> line{};
  int const n =
      std::snprintf(line.data(), line.size(), "\n%s, seed %llu:\n  the program dies of signal %d\n",
                    scenario_under_way, static_cast<unsigned long long>(seed_under_way), signal);
  static_cast<void>(write(STDOUT_FILENO, line.data(), static_cast<std::size_t>(n)));
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

/// The scenario, with its seed on the wall.
cleat::sim::scenario announced(named_scenario const& s) {
  return [&s](cleat::sim::trial& t) {
    scenario_under_way = s.name.data();
    seed_under_way = t.world.seed();
    s.run(t);
  };
}

/// A bar on the terminal, nothing elsewhere.
class progress {
 public:
  progress(std::string_view name, std::uint64_t of)
      : name_(name), of_(of), shown_(isatty(STDERR_FILENO) != 0) {}
  ~progress() {
    if (shown_) std::cerr << "\r\033[K";
  }
  void at(std::uint64_t done) {
    auto const permille = done * 1000 / of_;
    if (!shown_ || permille == last_) return;
    last_ = permille;
    constexpr std::uint64_t width = 40;
    auto const filled = static_cast<std::size_t>(done * width / of_);
    std::cerr << '\r' << name_ << " [" << std::string(filled, '#')
              << std::string(width - filled, '.') << "] " << done << '/' << of_ << std::flush;
  }

 private:
  std::string_view name_;
  std::uint64_t of_;
  std::uint64_t last_ = 1001;
  bool shown_;
};

void tell(named_scenario const& of, sweep_failure const& f) {
  std::cout << "\n" << of.name << ", seed " << f.seed << ":\n";
  for (std::string const& sentence : f.broken) std::cout << "  " << sentence << '\n';
  std::cout << "  the last events:\n"
            << f.last_events << "  again, with every event:\n  scripts/sim --scenario " << of.name
            << " --from " << f.seed << " --seeds 1 --trace\n"
            << std::flush;
}

void summarize(named_scenario const& of, sweep_result const& r, cleat::duration took) {
  auto const wall = std::chrono::duration<double>(took).count();
  auto const virtually = std::chrono::duration<double>(r.virtual_time).count();
  // Each seed ran twice.
  std::cout << of.name << ": " << r.seeds << " seeds, " << std::fixed << std::setprecision(0)
            << virtually << " s of virtual time, twice, in " << std::setprecision(1) << wall
            << " s (" << std::setprecision(0) << 2 * virtually / wall << " times as fast), "
            << r.events << " events, " << r.checks << " checks\n";
  auto const group = [&](std::string_view title, auto const& belongs) {
    std::cout << "  " << title << '\n';
    for (auto const& [what, times] : r.tallies) {
      if (!belongs(what)) continue;
      std::cout << "    " << std::left << std::setw(70) << what << std::right << std::setw(12)
                << times << '\n';
    }
  };
  auto const of_peer = [](std::string const& what) { return what.starts_with("peer: "); };
  auto const of_network = [](std::string const& what) {
    return std::ranges::any_of(cleat::sim::faults, [&](auto f) { return to_string(f) == what; });
  };
  group("faults of the network", of_network);
  group("faults of the peers", of_peer);
  auto const is_promise = [&](std::string const& what) {
    return std::find(of.promises.begin(), of.promises.end(), what) != of.promises.end();
  };
  group("rare paths that were taken", [&](std::string const& what) {
    return !of_peer(what) && !of_network(what) && !is_promise(what);
  });
  if (!of.promises.empty()) group("promises that were put to the test", is_promise);
}

/// Seeds that once found something: `SCENARIO SEED  # what it found`, a line each.
std::multimap<std::string, std::uint64_t> regressions(std::string const& path) {
  std::multimap<std::string, std::uint64_t> found;
  if (path.empty()) return found;
  std::ifstream file{path};
  if (!file) throw CLI::ValidationError{"--regressions", "cannot read " + path};
  for (std::string line; std::getline(file, line);) {
    std::istringstream words{line.substr(0, line.find('#'))};
    std::string name;
    std::uint64_t seed = 0;
    if (!(words >> name)) continue;
    bool const known =
        std::ranges::any_of(named_scenario::all(), [&](auto const* s) { return s->name == name; });
    if (!known || !(words >> seed)) {
      throw CLI::ValidationError{
          "--regressions", "'" + line + "' in " + path + " does not begin with SCENARIO SEED"};
    }
    found.emplace(name, seed);
  }
  return found;
}

/// Gives the number of failures.
std::size_t run(named_scenario const& s, settings const& with, sweep_result& r) {
  std::size_t failed = 0;
  for (auto const& [name, seed] : regressions(with.regressions)) {
    if (name != s.name) continue;
    for (auto const& f : cleat::sim::try_seed(seed, announced(s)).failures) {
      tell(s, f);
      ++failed;
    }
  }
  progress bar{s.name, with.seeds};
  cleat::sim::sweep_options options;
  options.from = with.from;
  options.seeds = with.seeds;
  options.threads = with.threads;
  options.failures_max = with.failures;
  options.progress = [&](std::uint64_t done) { bar.at(done); };
  r = cleat::sim::sweep(announced(s), options);
  for (auto const& f : r.failures) tell(s, f);
  failed += r.failures.size();
  for (std::string const& sentence : sweeping::not_reached(s, r)) {
    std::cout << s.name << ": " << sentence << '\n';
    ++failed;
  }
  return failed;
}

int sweep_all(settings const& with) {
  std::uint64_t hash = 0;
  std::size_t failed = 0;
  for (named_scenario const* const s : named_scenario::all()) {
    bool const wanted = with.only.empty() ||
                        std::find(with.only.begin(), with.only.end(), s->name) != with.only.end();
    if (!wanted) continue;
    if (with.trace) {
      std::uint64_t of_scenario = 0;
      for (std::uint64_t seed = with.from; seed < with.from + with.seeds; ++seed) {
        auto const r = cleat::sim::try_seed(seed, announced(*s), &std::cout);
        for (auto const& f : r.failures) tell(*s, f);
        failed += r.failures.size();
        of_scenario = cleat::mix64(of_scenario ^ r.hash);
      }
      hash = cleat::mix64(hash ^ of_scenario);
      continue;
    }
    auto const began = std::chrono::steady_clock::now();
    sweep_result r;
    failed += run(*s, with, r);
    summarize(*s, r, std::chrono::steady_clock::now() - began);
    hash = cleat::mix64(hash ^ r.hash);
  }
  std::cout << (failed == 0 ? "nothing broke a promise\n"
                            : std::to_string(failed) + " broke a promise\n")
            << "sweep hash: " << cleat::hex16(hash) << '\n'
            << std::flush;
  if (!std::cout) {
    std::cerr << "sim: the result could not be written to stdout\n";
    return 1;
  }
  return failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  for (int const signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(signal, dying);
  auto& all = named_scenario::all();
  std::sort(all.begin(), all.end(), [](auto* a, auto* b) { return a->name < b->name; });
  settings with;
  CLI::App app{
      "Runs the product in simulated worlds, each seed twice, and checks what it promises.\n"
      "The last line is the hash of all that happened: the same on every machine and compiler.",
      "scripts/sim"};
  app.add_option("--seeds", with.seeds, "How many seeds")
      ->capture_default_str()
      ->check(cleat::test::a_count(1, 100'000'000))
      ->type_name("N");
  app.add_option("--from", with.from, "The first seed")
      ->capture_default_str()
      ->check(cleat::test::a_count(0, ~std::uint64_t{0} / 2))
      ->type_name("N");
  std::string names = "Only this scenario:";
  std::vector<std::string> known;
  for (named_scenario const* const s : all) {
    names += "\n  " + std::string{s->name} + ": " + std::string{s->about};
    known.emplace_back(s->name);
  }
  app.add_option("--scenario", with.only, names)->check(CLI::IsMember(known));
  app.add_option("--threads", with.threads, "How many threads; 0: one for each processor")
      ->capture_default_str()
      ->check(cleat::test::a_count(0, 1000))
      ->type_name("N");
  app.add_option("--failures", with.failures, "Stop after so many seeds that broke a promise")
      ->capture_default_str()
      ->check(cleat::test::a_count(1, 1000))
      ->type_name("N");
  app.add_option("--regressions", with.regressions, "A file of seeds to try before the others")
      ->take_last()
      ->type_name("FILE");
  app.add_flag("--trace", with.trace, "Run each seed once and write every event");
  app.footer(
      "Examples:\n"
      "  scripts/sim --seeds 10000\n"
      "  scripts/sim --scenario toggler --from 4711 --seeds 1 --trace\n\n"
      "Exit codes: 0 nothing broke a promise, 1 something did, 2 the command line is wrong, "
      "4 it could not be built.");
  return cleat::test::with_command_line(app, argc, argv, [&] { return sweep_all(with); });
}

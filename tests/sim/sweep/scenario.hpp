#pragma once

#include <cleat/sim/sweep.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sweeping {

/// A scenario by name, the rare paths that a sweep of it must have taken somewhere, and the promises that must have been
/// armed: that something must have put to the test.
class named_scenario {
 public:
  named_scenario(std::string_view n, std::string_view about_it, cleat::sim::scenario f,
                 std::vector<std::string> paths, std::vector<std::string> armed = {})
      : name(n),
        about(about_it),
        run(std::move(f)),
        must_reach(std::move(paths)),
        promises(std::move(armed)) {
    all().push_back(this);
  }
  named_scenario(named_scenario const&) = delete;
  named_scenario& operator=(named_scenario const&) = delete;

  /// All that are linked into this program.
  [[nodiscard]] static std::vector<named_scenario const*>& all() {
    static std::vector<named_scenario const*> list;
    return list;
  }

  std::string_view name;
  std::string_view about;
  cleat::sim::scenario run;
  std::vector<std::string> must_reach;
  /// Counted by `trial::reached` under the words of the promise, when it could have been broken.
  std::vector<std::string> promises;
};

/// A sweep this long must have taken every rare path and put every promise to the test.
inline constexpr std::uint64_t seeds_that_reach_everything = 1000;

/// What a sweep that is long enough did not reach, a sentence each.
[[nodiscard]] inline std::vector<std::string> not_reached(named_scenario const& s,
                                                          cleat::sim::sweep_result const& r) {
  std::vector<std::string> sentences;
  if (r.seeds < seeds_that_reach_everything) return sentences;
  auto const never = [&](std::string const& what) {
    auto const found = r.tallies.find(what);
    return found == r.tallies.end() || found->second == 0;
  };
  for (std::string const& path : s.must_reach) {
    if (never(path)) sentences.push_back("no seed took the path \"" + path + '"');
  }
  for (std::string const& promise : s.promises) {
    if (never(promise)) sentences.push_back("no seed put the promise to the test: " + promise);
  }
  return sentences;
}

/// A network that is rough in some ways and calm in others, another mixture for each seed.
[[nodiscard]] cleat::sim::conditions rough_network(cleat::sim::random& draws);

/// Until then, hosts are cut off and healed, crash and boot, and lose their connections.
cleat::task<> chaos(cleat::sim::world& world, std::vector<std::string> hosts,
                    cleat::time_point until);

}  // namespace sweeping

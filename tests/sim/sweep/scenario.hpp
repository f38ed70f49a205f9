#pragma once

#include <cleat/sim/sweep.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sweeping {

/// A scenario by name, and the rare paths that a sweep of it must have taken somewhere.
class named_scenario {
 public:
  named_scenario(std::string_view n, std::string_view about_it, cleat::sim::scenario f,
                 std::vector<std::string> paths)
      : name(n), about(about_it), run(std::move(f)), must_reach(std::move(paths)) {
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
};

/// A network that is rough in some ways and calm in others, another mixture for each seed.
[[nodiscard]] cleat::sim::conditions rough_network(cleat::sim::random& draws);

/// Until then, hosts are cut off and healed, crash and boot, and lose their connections.
cleat::task<> chaos(cleat::sim::world& world, std::vector<std::string> hosts,
                    cleat::time_point until);

}  // namespace sweeping

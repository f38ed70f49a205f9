#include "scenario.hpp"

#include <cleat/base/task.hpp>

#include <chrono>

namespace sweeping {

using namespace std::chrono_literals;

cleat::sim::conditions rough_network(cleat::sim::random& draws) {
  cleat::sim::conditions c;
  c.latency_max = draws.between(cleat::duration{2ms}, cleat::duration{150ms});
  for (double cleat::sim::conditions::* const each :
       {&cleat::sim::conditions::short_write, &cleat::sim::conditions::split,
        &cleat::sim::conditions::join, &cleat::sim::conditions::stall,
        &cleat::sim::conditions::reset, &cleat::sim::conditions::vanish,
        &cleat::sim::conditions::slow, &cleat::sim::conditions::refuse,
        &cleat::sim::conditions::hang}) {
    bool const is_rough = draws.chance(0.5);
    if (is_rough) c.*each = 0.08;
  }
  bool const narrow = draws.chance(0.5);
  if (narrow) c.window_bytes = static_cast<std::size_t>(draws.between(64, 1000));
  return c;
}

cleat::task<> chaos(cleat::sim::world& world, std::vector<std::string> hosts,
                    cleat::time_point until) {
  cleat::sim::random& draws = world.random();
  cleat::sim::network& network = world.network();
  while (world.now() < until) {
    cleat::duration const pause = draws.between(cleat::duration{100ms}, cleat::duration{8s});
    static_cast<void>(co_await cleat::sleep_until(world.now() + pause));
    std::string const& host = draws.pick(hosts);
    switch (draws.below(7)) {
      case 0:
        network.cut(host);
        break;
      case 1:
        network.heal(host);
        break;
      case 2:
        network.crash(host);
        break;
      case 3:
        network.boot(host);
        break;
      case 4:
        network.reset(host);
        break;
      case 5:
        network.stall(host, draws.between(cleat::duration{}, cleat::duration{5s}));
        break;
      default:
        network.vanish(host);
    }
  }
}

}  // namespace sweeping

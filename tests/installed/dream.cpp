// A simulated world against the installed library.
#include <cleat/base/task.hpp>
#include <cleat/sim/sweep.hpp>

#include <chrono>
#include <iostream>

cleat::task<> sleep_for_a_day(cleat::sim::trial& t) {
  auto const slept = co_await cleat::sleep_until(t.world.now() + std::chrono::hours{24});
  t.expect(slept.has_value(), "nothing wakes the sleeper");
}

int main() {
  auto const dream = [](cleat::sim::trial& t) { t.world.run(sleep_for_a_day(t)); };
  auto const seen = cleat::sim::sweep(dream);
  std::cout << seen.seeds << " seeds slept for a day, " << seen.failures.size() << " badly\n";
}

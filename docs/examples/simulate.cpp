// The simulation of docs/tutorial/simulate.md: a doorbell that must ring once for each press.
#include <cleat/base/scope.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/runtime/per_call.hpp>
#include <cleat/sim/peer.hpp>
#include <cleat/sim/sweep.hpp>
#include <cleat/transport/tcp.hpp>
#include <toggle/protocol.hpp>

#include <iostream>
#include <map>
#include <optional>
#include <string>

using namespace std::chrono_literals;
using cleat::call;
using cleat::task;
namespace sim = cleat::sim;

// [service]
auto doorbell(std::string const& host) {
  return cleat::deadline(5s) | cleat::retry(3).per_attempt(1s) |
         cleat::per_call<toggle::protocol>(cleat::tcp{host, 9000});
}
// [service]

// [peer]
class bell final : public sim::peer_role<toggle::message> {
 public:
  std::optional<toggle::message> carry_out(toggle::message const& request) override {
    ++rings[std::string{request.device_id->view()}];
    return toggle::message::ack(request, true);
  }
  std::map<std::string, int> rings;  // of each press
};
// [peer]

// [press]
task<> press(sim::trial& t, bell& b, bool twice_is_as_good) {
  auto button = doorbell("porch");
  for (int n = 1; n <= 20; ++n) {
    std::string const id = "press " + std::to_string(n);
    call c = t.world.new_call();
    c.repeatable = twice_is_as_good;
    auto const began = t.world.now();
    auto const r = co_await button(toggle::request::turn(id, true), c);

    t.expect(t.world.now() - began <= 5s, "a press is over after five seconds");
    t.expect(!r || b.rings[id] > 0, "a press that succeeded was heard");
    if (!r && r.error().sure() == cleat::certainty::maybe_executed) t.reached("who knows");
  }
  for (auto const& [id, times] : b.rings) t.expect(times <= 1, "one press rings at most once", id);
}
// [press]

// [world]
task<> evening(sim::trial& t, bool twice_is_as_good) {
  bell b;
  sim::peer<toggle::protocol> porch{t.world, "porch", 9000, toggle::protocol{}, b};
  porch.manners.silent = 0.1;
  porch.manners.late = 0.1;

  cleat::environment& env = co_await cleat::this_chain::environment;
  cleat::scope beside{env};
  beside.spawn(porch.run());
  co_await press(t, b, twice_is_as_good);
  beside.cancel();
  co_await beside.join();
}

void rough_evening(sim::trial& t, bool twice_is_as_good) {
  sim::conditions rough;
  rough.reset = rough.refuse = rough.stall = rough.split = 0.1;
  t.world.network().set(rough);
  t.world.run(evening(t, twice_is_as_good));
}
// [world]

int main() {
  // [sweep]
  auto const careful = [](sim::trial& t) { rough_evening(t, false); };
  auto const seen = sim::sweep(careful);
  for (auto const& failure : seen.failures)
    std::cerr << "seed " << failure.seed << ": " << failure.broken.front() << '\n'
              << failure.last_events;
  // [sweep]
  if (!seen.failures.empty() || seen.tallies.at("who knows") == 0) return 1;

  // The mistake of the page: to say that ringing twice is as good as ringing once.
  auto const careless = [](sim::trial& t) { rough_evening(t, true); };
  auto const found = sim::sweep(careless);
  if (found.failures.empty()) return 1;
  std::cout << "seed " << found.failures.front().seed << ": "
            << found.failures.front().broken.front() << '\n';
}

// The connections of docs/how-to/persistent.md: a fleet of lamps with shared policies, in a simulated world.
#include <cleat/base/scope.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/observe/metrics.hpp>
#include <cleat/runtime/persistent.hpp>
#include <cleat/sim/peer.hpp>
#include <cleat/sim/world.hpp>
#include <cleat/transport/tcp.hpp>
#include <toggle/protocol.hpp>

#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

using namespace std::chrono_literals;
using cleat::task;
namespace sim = cleat::sim;

// [fleet]
/// What all lines have in common. It outlives them.
class fleet {
 public:
  auto line_to(std::string const& host) {
    return cleat::shared(watching_) | cleat::deadline(5s) | cleat::shared(steady_) |
           cleat::persistent<toggle::protocol>(cleat::tcp{host, 9000}).connect_within(1s);
  }
  [[nodiscard]] std::string numbers() const { return metrics_.exposition(); }

 private:
  cleat::metrics metrics_;
  cleat::observing<cleat::metrics> watching_ = cleat::observe(metrics_);
  cleat::retry steady_ =
      cleat::retry(3).per_attempt(1500ms).budget(std::make_shared<cleat::retry_budget>());
};
// [fleet]

namespace {

class lamp final : public sim::peer_role<toggle::message> {
 public:
  std::optional<toggle::message> carry_out(toggle::message const& request) override {
    return toggle::message::ack(request, true);
  }
};

// [evening]
task<bool> evening(sim::world& w, fleet& all) {
  auto porch = all.line_to("porch");
  cleat::call c = w.new_call();
  c.peer = "porch";  // in logs and metrics
  for (int n = 1; n <= 3; ++n) {
    auto const r = co_await porch(toggle::request::turn("porch", true), c);
    if (!r) co_return false;
  }
  bool const one_for_all = w.network().connections() == 1;

  w.network().reset("porch");
  auto const r = co_await porch(toggle::request::turn("porch", true), c);
  co_return one_for_all&& r&& w.network().connections() == 2;
}
// [evening]

task<bool> everybody(sim::world& w, fleet& all) {
  lamp role;
  sim::peer<toggle::protocol> porch{w, "porch", 9000, toggle::protocol{}, role};
  cleat::environment& env = co_await cleat::this_chain::environment;
  cleat::scope beside{env};
  beside.spawn(porch.run());
  bool const well = co_await evening(w, all);
  static_cast<void>(co_await cleat::sleep_until(w.now() + 1s));
  beside.cancel();
  co_await beside.join();
  co_return well;
}

}  // namespace

int main() {
  fleet all;
  sim::world w{1};
  bool const well = w.run(everybody(w, all));
  for (auto const& left : w.leftovers()) std::cerr << left << '\n';
  bool const counted = all.numbers().find("packet_sent_total") != std::string::npos;
  std::cout << all.numbers();
  return well && counted && w.leftovers().empty() ? 0 : 1;
}

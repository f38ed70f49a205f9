// The toggler's own pipeline against the toggled devices' own code: retries over a connection for each attempt, to
// devices that misbehave, on hosts that go down, over a network that does what networks do.
#include "fleet.hpp"

#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/runtime/per_call.hpp>
#include <cleat/transport/tcp.hpp>

namespace sweeping {
namespace {

class run final : public fleet {
 public:
  using fleet::fleet;

 private:
  [[nodiscard]] service pipeline(std::size_t host) override {
    return cleat::observe(book_) | cleat::deadline(plan_.overall) |
           cleat::retry(plan_.attempts).per_attempt(plan_.per_attempt).budget(plan_.budget) |
           cleat::per_call<toggle::protocol>(cleat::tcp{hosts_[host], 9000}, protocol());
  }
};

void toggler(cleat::sim::trial& t) {
  run r{t};
  t.world.limit(10min);
  t.world.run(r.everything());
}

named_scenario const registered{
    "toggler",
    "deadline | retry | per_call to devices that misbehave, crash and vanish",
    toggler,
    {"another attempt",
     "an earlier attempt was worse",
     "left in mid-frame",
     "budget empty",
     "reset between write and answer",
     "closed between write and answer",
     "no answer in time",
     "answer that nobody awaits",
     "unframed answer",
     "device knew the operation",
     "cancelled before it was sent",
     "cancelled after it was sent",
     "timed out before it was sent",
     "carried out after its caller had given up",
     "a repeatable call was carried out twice",
     "refuse",
     "hang",
     "cut",
     "crash",
     "vanish",
     "stall",
     "split",
     "join",
     "short_write",
     "slow",
     "reset_before",
     "reset_after"},
    book::promises()};

}  // namespace
}  // namespace sweeping

// The examples of docs/how-to/{idempotent,fallback,canary,shadow}.md, in simulated time.
#include <cleat/middleware/canary.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/fallback.hpp>
#include <cleat/middleware/idempotent.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/middleware/shadow.hpp>
#include <cleat/sim/world.hpp>

#include <array>
#include <iostream>
#include <map>
#include <memory>
#include <string>

using namespace std::chrono_literals;
using cleat::call;
using cleat::failure;
using cleat::result;
using cleat::task;
namespace sim = cleat::sim;

namespace {

/// A lamp that toggles.
auto toggling(bool& on) {
  return [&on](std::string q, call c) -> task<result<std::string>> {
    auto const slept = co_await cleat::sleep_until(c.now() + 20ms);
    if (!slept) co_return slept.error();
    if (q == "toggle") on = !on;
    co_return on ? "on" : "off";
  };
}

/// Answers with its name.
auto called(std::string name) {
  return [name](std::string q, call c) -> task<result<std::string>> {
    auto const slept = co_await cleat::sleep_until(c.now() + 20ms);
    if (!slept) co_return slept.error();
    co_return name + ": " + q;
  };
}

auto unreachable() {
  return [](std::string, call) -> task<result<std::string>> {
    co_return failure{cleat::kind::unreachable, cleat::certainty::not_sent};
  };
}

/// Counts what the layers do.
struct counter {
  using listens_to = cleat::event_list<cleat::layer_acted>;
  void on(cleat::layer_acted const& e) noexcept { ++of[static_cast<std::size_t>(e.what)]; }
  [[nodiscard]] int operator[](cleat::action a) const { return of[static_cast<std::size_t>(a)]; }
  std::array<int, cleat::action_count> of{};
};

// [idempotent]
task<bool> toggles_once(sim::world& w, bool& on) {
  auto lamp =
      cleat::deadline(5s) | cleat::idempotent().keeps(10min) | cleat::retry(2) | toggling(on);

  call c = w.new_call();
  c.peer = "porch";
  c.operation = 4711;    // what the client named it; another number is another operation
  c.repeatable = false;  // toggling twice is not toggling once
  auto const first = co_await lamp("toggle", c);
  auto const second = co_await lamp("toggle", c);  // the client asks again
  if (!first || !second) co_return false;
  co_return *first == "on" && *second == "on" && on;
}
// [idempotent]

// [fallback]
task<bool> last_known(sim::world& w) {
  std::map<std::string, std::string> known;
  known["porch"] = "on";
  auto from_memory = [&known](std::string const&, failure const& why,
                              call const& c) -> result<std::string> {
    auto const it = known.find(std::string{c.peer});
    if (it == known.end()) return why;
    return "probably " + it->second;
  };
  auto lamp = cleat::fallback(from_memory) | cleat::retry(2) | unreachable();

  call c = w.new_call();
  c.peer = "porch";
  auto const r = co_await lamp("state", c);
  c.peer = "cellar";
  auto const unknown = co_await lamp("state", c);
  co_return r.has_value() && *r == "probably on" && !unknown;
}

task<bool> other_way(sim::world& w) {
  auto lamp = cleat::fallback(called("by radio")) | unreachable();
  auto const r = co_await lamp("on", w.new_call());
  co_return r.has_value() && *r == "by radio: on";
}
// [fallback]

// [canary]
task<bool> some_lamps_first(sim::world& w, counter& seen) {
  cleat::share::settings s;
  s.parts = 500;  // 5 % of the lamps
  s.allow = {"test bench"};
  s.deny = {"hospital"};
  auto part = std::make_shared<cleat::share>(s);
  auto lamp = cleat::observe(seen) | cleat::deadline(5s) |
              cleat::canary(called("old"), called("new"), part);

  call c = w.new_call();
  c.peer = "test bench";
  auto const bench = co_await lamp("on", c);
  part->set(cleat::share::whole);  // while calls are under way
  c.peer = "porch";
  auto const porch = co_await lamp("on", c);
  c.peer = "hospital";
  auto const hospital = co_await lamp("on", c);
  if (!bench || !porch || !hospital) co_return false;
  co_return *bench == "new: on" && *porch == "new: on" && *hospital == "old: on" &&
      seen[cleat::action::canary_taken] == 2;
}
// [canary]

// [shadow]
task<bool> compares(sim::world& w, counter& seen) {
  auto reads = [](std::string const& q, call const&) { return q == "state"; };
  auto both = cleat::shadow(cleat::retry(2) | called("old"), called("new")).when(reads);
  auto const mirrored = both.mirrored();
  auto lamp = cleat::observe(seen) | cleat::deadline(5s) | std::move(both);

  auto const state = co_await lamp("state", w.new_call());
  auto const on = co_await lamp("on", w.new_call());  // is not mirrored
  static_cast<void>(co_await cleat::sleep_until(w.now() + 1s));
  co_await cleat::mirrored_calls::close(mirrored);  // before what the mirror uses goes
  if (!state || !on) co_return false;
  co_return *state == "old: state" && *on == "old: on" && seen[cleat::action::shadow_sent] == 1 &&
      seen[cleat::action::shadow_differed] == 1;
}
// [shadow]

bool all_well(char const* what, bool well) {
  std::cout << what << (well ? ": as the page says\n" : ": NOT as the page says\n");
  return well;
}

}  // namespace

int main() {
  sim::world w{1};
  bool on = false;
  counter of_canary;
  counter of_shadow;
  bool well = all_well("idempotent", w.run(toggles_once(w, on)));
  well = all_well("fallback", w.run(last_known(w)) && w.run(other_way(w))) && well;
  well = all_well("canary", w.run(some_lamps_first(w, of_canary))) && well;
  well = all_well("shadow", w.run(compares(w, of_shadow))) && well;
  return well && w.leftovers().empty() ? 0 : 1;
}

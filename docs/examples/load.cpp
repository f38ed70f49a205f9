// Docs: how to bound what a peer is asked (docs/how-to/limit.md, rate.md, timeout.md), in a simulated world.
#include <cleat/base/scope.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/limit.hpp>
#include <cleat/middleware/rate.hpp>
#include <cleat/middleware/timeout.hpp>
#include <cleat/sim/world.hpp>

#include <iostream>
#include <memory>
#include <string>

using namespace std::chrono_literals;
using cleat::call;
using cleat::result;
using cleat::task;
namespace sim = cleat::sim;

namespace {

/// Takes 100 ms.
auto const slow = [](std::string q, call c) -> task<result<std::string>> {
  auto const slept = co_await cleat::sleep_until(c.now() + 100ms);
  if (!slept) co_return slept.error();
  co_return q + " done";
};

template <class Service>
task<> one(Service& service, call c, int& well) {
  auto const r = co_await service(std::string{"it"}, c);
  if (r) {
    ++well;
  } else {
    std::cout << "  " << r.error() << '\n';
  }
}

/// How many of so many calls at once succeed.
template <class Service>
task<int> at_once(sim::world& w, Service& service, int calls) {
  int well = 0;
  cleat::environment& env = co_await cleat::this_chain::environment;
  cleat::scope beside{env};
  for (int i = 0; i < calls; ++i) beside.spawn(one(service, w.new_call(), well));
  co_await beside.join();
  co_return well;
}

bool expect(std::string const& what, int well, int expected) {
  std::cout << what << ": " << well << " succeed\n";
  return well == expected;
}

bool limited() {
  // [limit]
  auto service = cleat::deadline(1s) | cleat::limit(2).queue(2) | slow;

  sim::world w{1};
  int const well = w.run(at_once(w, service, 6));  // 2 go, 2 wait, 2 fail
  // [limit]
  return expect(to_text(service.describe()), well, 4) && w.elapsed() == 200ms;
}

bool limited_in_bytes() {
  // [bytes]
  auto const size_of = [](std::string const& q) { return q.size(); };
  auto service = cleat::deadline(1s) |
                 cleat::limit(64).queue(256).bytes(1'000'000, size_of).drop_oldest() | slow;
  // [bytes]
  sim::world w{1};
  int const well = w.run(at_once(w, service, 64));
  return expect(to_text(service.describe()), well, 64);
}

bool limited_together() {
  // [shared]
  auto const uplink = std::make_shared<cleat::waiting_line>(cleat::waiting_line::settings{3});
  auto lamps = cleat::limit(1).shared(uplink) | slow;
  auto doors = cleat::limit(1).shared(uplink) | slow;
  // [shared]
  sim::world w{1};
  auto both = [&]() -> task<int> {
    int well = 0;
    cleat::environment& env = co_await cleat::this_chain::environment;
    cleat::scope beside{env};
    for (int i = 0; i < 2; ++i) {
      beside.spawn(one(lamps, w.new_call(), well));
      beside.spawn(one(doors, w.new_call(), well));
    }
    co_await beside.join();
    co_return well;
  };
  return expect("lamps and doors over one uplink", w.run(both()), 3);
}

bool rated() {
  // [rate]
  auto service = cleat::deadline(1s) | cleat::rate(10).burst(2) | slow;

  sim::world w{1};
  int const well = w.run(at_once(w, service, 20));  // 2 at once, and 9 before the second is over
  // [rate]
  return expect(to_text(service.describe()), well, 11) && w.elapsed() == 1s;
}

/// Somebody else's client: it has heard of cancellation, but not of deadlines.
auto const theirs = [](std::string q, call c) -> task<result<std::string>> {
  auto const answered = co_await cleat::sleep_until(c.now() + 1h);
  if (!answered) co_return answered.error();
  co_return q + " done";
};

bool timed() {
  // [timeout]
  auto service = cleat::deadline(5s) | cleat::timeout(2s) | theirs;

  sim::world w{1};
  int const well = w.run(at_once(w, service, 1));  // "timed out; the peer may have acted"
  // [timeout]
  return expect(to_text(service.describe()), well, 0) && w.elapsed() == 2s;
}

}  // namespace

int main() {
  bool well = limited();
  well = limited_in_bytes() && well;
  well = limited_together() && well;
  well = rated() && well;
  well = timed() && well;
  return well ? 0 : 1;
}

// The programs of docs/how-to/deadline.md and retry.md: calls that are limited, and made again, in simulated worlds.
#include <cleat/base/scope.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/hedge.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/sim/world.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using cleat::call;
using cleat::certainty;
using cleat::duration;
using cleat::failure;
using cleat::kind;
using cleat::result;
using cleat::task;
using cleat::time_point;
using cleat::sim::world;

namespace {

/// A service that asks a peer.
template <class Peer>
auto asking(Peer& p) {
  return [&p](std::string q, call c) { return p.ask(std::move(q), c); };
}

bool expect(std::string_view what, bool holds) {
  if (!holds) std::cout << "NOT SO: " << what << '\n';
  return holds;
}

// ---- a deadline

/// Never answers.
struct silent {
  task<result<std::string>> ask(std::string, call c) {
    ++asked;
    auto const slept = co_await cleat::sleep_until(c.deadline());
    if (!slept) co_return slept.error();
    co_return failure{kind::timed_out};
  }
  int asked = 0;
};

bool a_call_ends_by_its_deadline() {
  silent device;
  // [deadline]
  auto lamp = cleat::deadline(2s) | cleat::retry(5).per_attempt(800ms) | asking(device);

  world w{1};
  auto const r = w.run(lamp("on", w.new_call()));  // fails after 2 s, in the third attempt
  // [deadline]
  if (r) return false;
  bool const limited = w.elapsed() == 2s && device.asked == 3;
  std::cout << r.error() << ", after " << w.elapsed() / 1ms << " ms\n";

  // [hurried]
  call c = w.new_call();
  c.tighten(w.now() + 500ms);
  auto const hurried = w.run(lamp("on", c));  // fails after 500 ms
  // [hurried]
  if (hurried) return false;
  std::cout << hurried.error() << ", after " << (w.elapsed() - 2s) / 1ms << " ms\n";
  return expect("a call ends by the nearest deadline",
                limited && w.elapsed() == 2500ms && device.asked == 4);
}

// ---- attempts

/// Fails as it is told, then answers; notes when it was asked.
struct scripted {
  task<result<std::string>> ask(std::string q, call c) {
    at.push_back(c.now());
    if (fails.empty()) co_return q + " done";
    failure const f = fails.front();
    fails.pop_front();
    co_return f;
  }
  [[nodiscard]] duration waited(std::size_t before) const { return at[before] - at[before - 1]; }

  std::deque<failure> fails;
  std::vector<time_point> at;
};

failure refused() { return failure{kind::refused, certainty::not_sent}; }

// [retry]
auto lamp_of(scripted& device) {
  return cleat::deadline(5s) | cleat::retry(4).per_attempt(1s) | asking(device);
}

auto spaced_lamp_of(scripted& device) {
  return cleat::deadline(5s) |
         cleat::retry(4).per_attempt(1s).wait(cleat::backoff::additive(250ms, 100ms)) |
         asking(device);
}
// [retry]

bool waits_longer_each_time() {
  world w{1};
  scripted jittered{{refused(), refused(), refused()}, {}};
  scripted spaced = jittered;
  auto lamp = lamp_of(jittered);
  auto other = spaced_lamp_of(spaced);
  bool const both = w.run(lamp("on", w.new_call())) && w.run(other("on", w.new_call()));
  if (!both || jittered.at.size() != 4 || spaced.at.size() != 4) return false;

  bool within = true;
  for (std::size_t n = 1; n <= 3; ++n) {
    auto const doubled = 1U << (n - 1);
    std::cout << "wait " << n << ": " << jittered.waited(n) / 1ms << " ms with full jitter, "
              << spaced.waited(n) / 1ms << " ms with additive\n";
    within = within && jittered.waited(n) <= 100ms * doubled &&
             spaced.waited(n) >= 250ms * doubled && spaced.waited(n) <= 250ms * doubled + 100ms;
  }
  return expect("the waits are within their bounds", within);
}

bool waits_as_long_as_the_peer_says() {
  // [later]
  failure const busy = failure{kind::rejected, certainty::rejected}.with_retry_after(3s);
  scripted device{{busy}, {}};
  scripted other{{busy}, {}};
  auto patient = cleat::deadline(5s) | cleat::retry(2) | asking(device);
  auto hasty = cleat::deadline(2s) | cleat::retry(2) | asking(other);

  world w{1};
  auto const later = w.run(patient("on", w.new_call()));  // succeeds after 3 s
  auto const at_once = w.run(hasty("on", w.new_call()));  // fails at once
  // [later]
  if (!later || at_once) return false;
  std::cout << *later << ", after " << w.elapsed() / 1ms << " ms; " << at_once.error() << '\n';
  return expect("the peer's wait is kept, or the call ends at once",
                w.elapsed() == 3s && device.at.size() == 2 && other.at.size() == 1);
}

bool does_nothing_twice() {
  // [twice]
  failure const lost = failure{kind::closed, certainty::maybe_executed};
  scripted device{{refused(), lost}, {}};
  auto lamp = lamp_of(device);

  world w{1};
  call c = w.new_call();
  c.repeatable = false;  // toggling twice is not toggling once
  auto const r = w.run(lamp("toggle", c));
  // [twice]
  if (r) return false;
  std::cout << r.error() << '\n';
  return expect("what may have been done is not done again",
                device.at.size() == 2 && r.error().sure() == certainty::maybe_executed);
}

// ---- budgets

/// Out of order, and every third time slow to say so.
struct broken {
  task<result<std::string>> ask(std::string, call c) {
    duration const takes = ++asked % 3 == 0 ? 300ms : 5ms;
    auto const slept = co_await cleat::sleep_until(std::min(c.deadline(), c.now() + takes));
    if (!slept) co_return slept.error().with(certainty::maybe_executed);
    co_return failure{kind::rejected, certainty::rejected}.with_retry_after(0ms);
  }
  int asked = 0;
};

struct counter {
  using listens_to = cleat::event_list<cleat::retry_scheduled, cleat::retry_budget_empty>;
  void on(cleat::retry_scheduled const&) noexcept { ++retries; }
  void on(cleat::retry_budget_empty const&) noexcept { ++denied; }
  int retries = 0;
  int denied = 0;
};

template <class Service>
task<> one(Service& service, call c) {
  auto const r = co_await service(std::string{"on"}, c);
  if (r) std::cout << "NOT SO: the server is broken\n";
}

/// 100 clients ask twice a second each, for ten seconds.
template <class Clients>
task<> ask_all(world& w, Clients& clients) {
  cleat::environment& env = co_await cleat::this_chain::environment;
  cleat::scope beside{env};
  for (int round = 0; round < 20; ++round) {
    for (auto& client : clients) {
      call c = w.new_call();
      c.peer = "server";
      beside.spawn(one(client, c));
    }
    auto const slept = co_await cleat::sleep_until(w.now() + 500ms);
    if (!slept) break;
  }
  co_await beside.join();
}

template <class MakeClient>
void outage(MakeClient const& make_client) {
  world w{1};
  std::vector<decltype(make_client())> clients;
  for (int i = 0; i < 100; ++i) clients.push_back(make_client());
  w.run(ask_all(w, clients));
}

bool one_budget_bounds_the_sum() {
  broken server;
  counter counts;
  // [budget]
  auto const budget = std::make_shared<cleat::retry_budget>(
      cleat::retry_budget::settings{.deposit = 0.1, .floor = 10, .saved_max = 100});
  auto const client = [&] {
    return cleat::observe(counts) | cleat::deadline(5s) | cleat::retry(5).budget(budget) |
           cleat::hedge().after(100ms).budget(budget) | asking(server);
  };
  // [budget]
  outage(client);
  std::cout << "one budget: 2000 calls, " << server.asked << " attempts, " << counts.denied
            << " retries denied\n";

  broken other;
  counter own;
  outage([&] {
    return cleat::observe(own) | cleat::deadline(5s) | cleat::retry(5) |
           cleat::hedge().after(100ms) | asking(other);
  });
  std::cout << "a budget each: 2000 calls, " << other.asked << " attempts, " << own.denied
            << " retries denied\n";
  return expect("one budget bounds the sum, many do not",
                server.asked > 2500 && server.asked < 2650 && other.asked > 11'500 &&
                    other.asked < 12'000 && counts.denied > 0 && own.denied == 0);
}

}  // namespace

int main() {
  bool const limited = a_call_ends_by_its_deadline();
  bool const longer = waits_longer_each_time();
  bool const asked_for = waits_as_long_as_the_peer_says();
  bool const once = does_nothing_twice();
  bool const bounded = one_budget_bounds_the_sum();
  return limited && longer && asked_for && once && bounded ? 0 : 1;
}

// The programs of docs/how-to/breaker.md and hedge.md: a peer that is down, and one that is slow at times, in simulated
// worlds.
#include <cleat/middleware/breaker.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/hedge.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/sim/world.hpp>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using cleat::call;
using cleat::duration;
using cleat::failure;
using cleat::result;
using cleat::task;
using cleat::sim::world;

namespace {

/// A service that asks a peer.
template <class Peer>
auto asking(Peer& p) {
  return [&p](std::string q, call c) { return p.ask(std::move(q), c); };
}

// ---- a peer that is down for half a minute

class station {
 public:
  explicit station(world& w) : world_(w) {}

  task<result<std::string>> ask(std::string, call c) {
    ++asked;
    auto const slept = co_await cleat::sleep_until(c.now() + 5ms);
    if (!slept) co_return slept.error();
    if (world_.elapsed() < 30s) co_return failure{cleat::kind::refused, cleat::certainty::not_sent};
    co_return "sunny";
  }
  int asked = 0;

 private:
  world& world_;
};

// [breaker]
auto weather(station& s) {
  return cleat::deadline(2s) | cleat::retry(3) | cleat::breaker().failures(5).open_for(5s) |
         asking(s);
}
// [breaker]

/// Asks once a second for two minutes; says when the first answer came.
template <class Service>
task<duration> two_minutes(world& w, Service& service) {
  duration first{};
  while (w.elapsed() < 2min) {
    auto const r = co_await service("tomorrow?", w.new_call());
    if (r && first == 0s) first = w.elapsed();
    auto const slept = co_await cleat::sleep_until(w.now() + 1s);
    if (!slept) break;
  }
  co_return first;
}

bool breaker_spares_the_peer() {
  world calm{1};
  station with{calm};
  auto guarded = weather(with);
  duration const back = calm.run(two_minutes(calm, guarded));

  world other{1};
  station without{other};
  auto plain = cleat::deadline(2s) | cleat::retry(3) | asking(without);
  duration const plain_back = other.run(two_minutes(other, plain));

  int const fewer = without.asked - with.asked;
  std::cout << "the breaker kept " << fewer << " requests from a peer that was down\n"
            << "answers again after " << back / 1s << " s, without it after " << plain_back / 1s
            << " s\n";
  return fewer > 50 && back > 30s && back < 45s;
}

// ---- a peer of whose answers each fiftieth is slow

class library {
 public:
  task<result<std::string>> ask(std::string q, call c) {
    duration const takes = ++asked % 50 == 0 ? duration{1s} : 10ms + asked % 7 * 1ms;
    auto const slept = co_await cleat::sleep_until(c.now() + takes);
    if (!slept) co_return slept.error();
    co_return "all about " + q;
  }
  int asked = 0;
};

// [hedge]
auto books(library& l) {
  return cleat::deadline(5s) | cleat::hedge().quantile(0.95).at_first(100ms) | asking(l);
}
// [hedge]

/// The latency that one call of a hundred exceeds.
template <class Service>
task<duration> slowest(world& w, Service& service) {
  std::vector<duration> took;
  for (int n = 0; n < 2000; ++n) {
    auto const began = w.now();
    auto const r = co_await service("knots", w.new_call());
    if (!r) co_return duration::max();
    took.push_back(w.now() - began);
    auto const slept = co_await cleat::sleep_until(w.now() + 10ms);
    if (!slept) co_return duration::max();
  }
  std::sort(took.begin(), took.end());
  co_return took[took.size() * 99 / 100];
}

bool hedging_cuts_the_tail() {
  world w{1};
  library with;
  auto hedged = books(with);
  duration const short_tail = w.run(slowest(w, hedged));

  library without;
  auto plain = cleat::deadline(5s) | asking(without);
  duration const long_tail = w.run(slowest(w, plain));

  std::cout << "99 of 100 answers take at most " << short_tail / 1ms << " ms, without hedging "
            << long_tail / 1ms << " ms; " << with.asked - 2000 << " requests more for 2000 calls\n";
  return short_tail < 50ms && long_tail == 1s && with.asked < 2200;
}

}  // namespace

int main() {
  bool const spared = breaker_spares_the_peer();
  bool const cut = hedging_cuts_the_tail();
  return spared && cut ? 0 : 1;
}

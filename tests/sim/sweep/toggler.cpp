// The toggler's own pipeline against the toggled devices' own code: retries over a connection for each attempt, to
// devices that misbehave, on hosts that go down, over a network that does what networks do.
#include "book.hpp"
#include "scenario.hpp"

#include <cleat/base/scope.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/runtime/per_call.hpp>
#include <cleat/service/any_service.hpp>
#include <cleat/transport/tcp.hpp>
#include <toggle/device.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sweeping {
namespace {

using namespace std::chrono_literals;
using cleat::duration;
using cleat::result;
using cleat::task;
using cleat::time_point;
using toggle::device_mode;

using service = cleat::any_service<toggle::request, toggle::response>;
using outcome = result<toggle::response>;

/// How the scenario goes for one seed.
class plan {
 public:
  explicit plan(cleat::sim::random& draws)
      : hosts(draws.between(1, 3)),
        callers(draws.between(2, 6)),
        attempts(static_cast<unsigned>(draws.between(1, 4))),
        overall(draws.between(duration{1s}, duration{8s})),
        per_attempt(draws.between(duration{200ms}, duration{3s})),
        op_ids(draws.chance(0.5)),
        unframed(draws.chance(0.5)),
        misbehaviour(draws.chance(0.2) ? 0 : 0.5) {
    budget.deposit = draws.chance(0.5) ? 0.2 : 0.5;
    budget.floor = draws.chance(0.5) ? 0 : 0.5;
  }

  std::size_t hosts;
  std::size_t callers;
  unsigned attempts;
  duration overall;
  duration per_attempt;
  bool op_ids;
  bool unframed;
  double misbehaviour;
  cleat::retry_budget::settings budget;
  duration length = 40s;
};

constexpr std::size_t names_per_host = 8;

class run {
 public:
  explicit run(cleat::sim::trial& t)
      : trial_(t),
        world_(t.world),
        draws_(t.world.random()),
        plan_(draws_),
        book_(t, book::retry_terms{plan_.attempts, plan_.budget}) {}

  task<> everything() {
    cleat::environment& env = co_await cleat::this_chain::environment;
    cleat::scope devices{env};
    for (std::size_t i = 0; i < plan_.hosts; ++i) {
      hosts_.push_back("lamp" + std::to_string(i));
      scripts_.push_back(script());
      running_.push_back(nullptr);
    }
    for (std::size_t i = 0; i < plan_.hosts; ++i) devices.spawn(keep(i));
    for (std::size_t i = 0; i < plan_.hosts; ++i) services_.push_back(pipeline(i));

    world_.network().set(rough_network(draws_));
    until_ = world_.now() + plan_.length;
    {
      cleat::scope beside{env};
      beside.spawn(chaos(world_, hosts_, until_));
      for (std::size_t i = 0; i < plan_.callers; ++i) beside.spawn(caller(i));
      co_await beside.join();
    }
    for (std::size_t i = 0; i < plan_.hosts; ++i) co_await repaired(i);
    stopping_ = true;
    for (toggle::device* const d : running_) {
      if (d != nullptr) d->stop();
    }
    co_await devices.join();
    book_.close();
  }

 private:
  [[nodiscard]] std::vector<device_mode> script() {
    std::vector<device_mode> modes;
    for (int i = 0; i < 150; ++i) {
      bool const bad = draws_.chance(plan_.misbehaviour);
      device_mode const which = draws_.pick(toggle::device_modes);
      // Without unframed answers in the terms, such an answer is garbage; with them, it may be anybody's.
      modes.push_back(bad ? which : device_mode::ok);
    }
    return modes;
  }

  [[nodiscard]] std::string name(std::size_t host, std::size_t n) const {
    return hosts_[host] + '.' + std::to_string(n);
  }

  [[nodiscard]] service pipeline(std::size_t host) {
    cleat::f00d_options frames;
    if (plan_.unframed) frames.bare = cleat::unframed::ack;
    toggle::protocol const speaks{toggle::protocol_options{plan_.op_ids, frames}};
    return cleat::observe(book_) | cleat::deadline(plan_.overall) |
           cleat::retry(plan_.attempts).per_attempt(plan_.per_attempt).budget(plan_.budget) |
           cleat::per_call<toggle::protocol>(cleat::tcp{hosts_[host], 9000}, speaks);
  }

  /// Keeps a device running on its host, again and again after crashes, each time with no memory.
  task<> keep(std::size_t host) {
    while (!stopping_) {
      toggle::device_options options;
      options.ids.clear();
      for (std::size_t n = 0; n < names_per_host; ++n) options.ids.push_back(name(host, n));
      options.script = scripts_[host];
      options.delay = plan_.per_attempt;
      options.heard = [this](toggle::device_event const& e) { heard(e); };
      auto device = toggle::device::open(world_.executor(), hosts_[host], 9000, std::move(options));
      if (!device) {
        static_cast<void>(co_await cleat::sleep_until(world_.now() + 100ms));
        continue;
      }
      running_[host] = device->get();
      static_cast<void>(co_await (*device)->run());
      running_[host] = nullptr;
    }
  }

  void heard(toggle::device_event const& e) {
    if (e.what == toggle::device_event::type::connected) count(e.mode);
    if (e.what == toggle::device_event::type::repeated) trial_.reached("device knew the operation");
    if (e.what == toggle::device_event::type::executed) book_.executed(e.request->msg_id.view());
  }

  /// What the device does wrong with a connection, for the summary.
  void count(device_mode mode) {
    switch (mode) {
      case device_mode::ok:
        return;
      case device_mode::delay:
        return trial_.reached("peer: late");
      case device_mode::disconnect:
        return trial_.reached("peer: disconnects");
      case device_mode::reject:
        return trial_.reached("peer: rejects");
      case device_mode::timeout:
        return trial_.reached("peer: silent");
      case device_mode::nack:
        return trial_.reached("peer: refuses");
      case device_mode::nack_retryable:
        return trial_.reached("peer: refuses for now");
      case device_mode::garbage:
        return trial_.reached("peer: garbage");
      case device_mode::unframed:
        return trial_.reached("peer: unframed");
      case device_mode::partial:
        return trial_.reached("peer: half an answer");
      case device_mode::wrong_id:
        return trial_.reached("peer: misnumbered");
      case device_mode::duplicate:
        return trial_.reached("peer: twice");
    }
  }

  task<> caller(std::size_t number) {
    while (world_.now() < until_) {
      duration const pause = draws_.between(duration{}, duration{2s});
      static_cast<void>(co_await cleat::sleep_until(world_.now() + pause));
      std::size_t const host = static_cast<std::size_t>(draws_.below(plan_.hosts));
      cleat::environment& env = co_await cleat::this_chain::environment;
      cleat::scope beside{env};
      cleat::call c = new_call(host);
      c.repeatable = draws_.chance(0.5);
      if (draws_.chance(0.2)) c.tighten(world_.now() + draws_.between(duration{}, duration{1s}));
      bool const asks = draws_.chance(0.2);
      beside.spawn(one(host, number, c, asks));
      bool const gives_up = draws_.chance(0.2);
      if (gives_up) {
        duration const patience = draws_.between(duration{}, duration{1s});
        static_cast<void>(co_await cleat::sleep_until(world_.now() + patience));
        if (!beside.empty()) book_.cancelled(c.operation);
        beside.cancel();
      }
      co_await beside.join();
    }
  }

  [[nodiscard]] cleat::call new_call(std::size_t host) {
    cleat::call c = world_.new_call();
    c.peer = hosts_[host];
    return c;
  }

  task<> one(std::size_t host, std::size_t number, cleat::call c, bool asks) {
    std::string const id = name(host, number);
    bool const on = draws_.chance(0.5);
    auto q = asks ? toggle::request::status(id) : toggle::request::turn(id, on);
    time_point const deadline =
        std::min(c.deadline(), cleat::saturated_add(world_.now(), plan_.overall));
    book_.began(c, deadline, !asks);
    outcome const r = co_await services_[host](std::move(q), c);
    cleat::failure const why = r ? cleat::failure{} : r.error();
    book_.ended(c.operation, r ? nullptr : &why);
    if (r && r->framed) {
      trial_.expect(r->device_id.view() == id, "a reply belongs to its request", id);
      // What was carried out before is only acknowledged, and others may have switched it since.
      if (!asks && !plan_.op_ids)
        trial_.expect(r->state == on, "a reply says what was asked for", id);
    }
  }

  /// The faults have stopped: a device that behaves is served at once.
  task<> repaired(std::size_t host) {
    auto& network = world_.network();
    scripts_[host] = {device_mode::ok};
    network.set(cleat::sim::conditions{});
    network.calm();
    if (plan_.misbehaviour >
        0) {  // only a new device behaves; one that always did goes on as it is
      network.crash(hosts_[host]);
      network.boot(hosts_[host]);
    }
    static_cast<void>(co_await cleat::sleep_until(world_.now() + 1s));
    cleat::call c = new_call(host);
    c.repeatable = false;
    book_.began(c, cleat::saturated_add(world_.now(), plan_.overall), true);
    auto q = toggle::request::turn(name(host, 0), true);
    time_point const began = world_.now();
    outcome const r = co_await services_[host](std::move(q), c);
    cleat::failure const why = r ? cleat::failure{} : r.error();
    book_.ended(c.operation, r ? nullptr : &why);
    trial_.expect(r.has_value(), "after the faults every device is served again", why.message());
    trial_.expect(world_.now() - began < 1s, "and without delay");
  }

  cleat::sim::trial& trial_;
  cleat::sim::world& world_;
  cleat::sim::random& draws_;
  plan plan_;
  book book_;
  std::vector<std::string> hosts_;
  std::vector<std::vector<device_mode>> scripts_;
  std::vector<toggle::device*> running_;
  std::vector<service> services_;
  time_point until_{};
  bool stopping_ = false;
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
     "reset_after"}};

}  // namespace
}  // namespace sweeping

#pragma once

#include "book.hpp"
#include "scenario.hpp"

#include <cleat/base/scope.hpp>
#include <cleat/service/any_service.hpp>
#include <toggle/device.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sweeping {

using namespace std::chrono_literals;

/// Toggled devices that misbehave, on hosts that go down, over a rough network, and their callers. A
/// scenario says what stands between the two.
class fleet {
 public:
  using service = cleat::any_service<toggle::request, toggle::response>;
  using outcome = cleat::result<toggle::response>;
  using duration = cleat::duration;
  using time_point = cleat::time_point;
  using device_mode = toggle::device_mode;
  template <class T = void>
  using task = cleat::task<T>;

  /// How it goes for one seed.
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

  explicit fleet(cleat::sim::trial& t)
      : trial_(t),
        world_(t.world),
        draws_(t.world.random()),
        plan_(draws_),
        book_(t, book::retry_terms{plan_.attempts, plan_.budget}) {}
  fleet(fleet const&) = delete;
  fleet& operator=(fleet const&) = delete;
  virtual ~fleet() = default;

  /// From the beginning to the end.
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
    co_await wind_up();
    stopping_ = true;
    for (toggle::device* const d : running_) {
      if (d != nullptr) d->stop();
    }
    co_await devices.join();
    book_.close();
  }

 protected:
  /// What the callers of this host's devices have.
  [[nodiscard]] virtual service pipeline(std::size_t host) = 0;
  /// Somebody sees to it that an operation that is asked for twice is carried out once.
  [[nodiscard]] virtual bool knows_operations() const { return false; }
  /// How long after the faults everybody is served as if there had been none.
  [[nodiscard]] virtual duration recovers_within() const { return 1s; }
  /// How long a caller in haste gives its call.
  [[nodiscard]] virtual duration given_in_haste(duration drawn) const { return drawn; }
  /// Nobody calls any more.
  virtual task<> wind_up() { co_return; }

  [[nodiscard]] toggle::protocol protocol() const {
    cleat::f00d_options frames;
    if (plan_.unframed) frames.bare = cleat::unframed::ack;
    return toggle::protocol{toggle::protocol_options{plan_.op_ids, frames}};
  }

  cleat::sim::trial& trial_;
  cleat::sim::world& world_;
  cleat::sim::random& draws_;
  plan plan_;
  book book_;
  std::vector<std::string> hosts_;

 private:
  static constexpr std::size_t names_per_host = 8;

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
      bool const in_haste = draws_.chance(0.2);
      if (in_haste)
        c.tighten(world_.now() + given_in_haste(draws_.between(duration{}, duration{1s})));
      bool const asks = draws_.chance(0.2);
      std::string const id = name(host, number);
      bool const on = draws_.chance(0.5);
      auto const q = asks ? toggle::request::status(id) : toggle::request::turn(id, on);
      beside.spawn(one(host, id, q, c, asks, on));
      if (knows_operations() && draws_.chance(0.3)) beside.spawn(once_more(host, q, c));
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

  task<> one(std::size_t host, std::string id, toggle::request q, cleat::call c, bool asks,
             bool on) {
    time_point const deadline =
        std::min(c.deadline(), cleat::saturated_add(world_.now(), plan_.overall));
    c.tighten(deadline);
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

  /// Asks for an operation that is under way, or was, unless it may only be carried out once and
  /// nobody knows whether it was.
  task<> once_more(std::size_t host, toggle::request q, cleat::call of) {
    duration const pause = draws_.between(duration{}, duration{2s});
    auto const slept = co_await cleat::sleep_until(world_.now() + pause);
    if (!slept || (!of.repeatable && book_.failed(of.operation))) co_return;
    cleat::call c = new_call(host);
    c.operation = of.operation;
    c.repeatable = of.repeatable;
    c.tighten(cleat::saturated_add(world_.now(), plan_.overall));
    book_.asked_again(c);
    outcome const r = co_await services_[host](std::move(q), c);
    trial_.expect(world_.now() <= c.deadline(), "a call ends by its deadline");
    if (r && r->framed) book_.succeeded(c.operation);
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
    static_cast<void>(co_await cleat::sleep_until(world_.now() + recovers_within()));
    cleat::call c = new_call(host);
    c.repeatable = false;
    c.tighten(cleat::saturated_add(world_.now(), plan_.overall));
    book_.began(c, c.deadline(), true);
    auto q = toggle::request::turn(name(host, 0), true);
    time_point const began = world_.now();
    outcome const r = co_await services_[host](std::move(q), c);
    cleat::failure const why = r ? cleat::failure{} : r.error();
    book_.ended(c.operation, r ? nullptr : &why);
    trial_.expect(r && r->framed, "after the faults every device is served again", why.message());
    trial_.expect(world_.now() - began < 1s, "and without delay");
  }

  std::vector<std::vector<device_mode>> scripts_;
  std::vector<toggle::device*> running_;
  std::vector<service> services_;
  time_point until_{};
  bool stopping_ = false;
};

}  // namespace sweeping

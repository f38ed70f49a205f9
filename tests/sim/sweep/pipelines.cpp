// Pipelines drawn from the whole catalogue, in any order that its rules allow, between the callers
// and the toggled devices' own code. Above and below each layer stands its probe.
#include "fleet.hpp"
#include "probes.hpp"

#include <cleat/middleware/breaker.hpp>
#include <cleat/middleware/canary.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/fallback.hpp>
#include <cleat/middleware/hedge.hpp>
#include <cleat/middleware/idempotent.hpp>
#include <cleat/middleware/limit.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/order.hpp>
#include <cleat/middleware/rate.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/middleware/shadow.hpp>
#include <cleat/middleware/timeout.hpp>
#include <cleat/runtime/per_call.hpp>
#include <cleat/transport/tcp.hpp>

#include <array>
#include <memory>
#include <utility>
#include <vector>

namespace sweeping {
namespace {

using cleat::layer;
using cleat::order_rule;

constexpr std::array catalogue{layer::deadline, layer::retry,  layer::hedge,   layer::breaker,
                               layer::limit,    layer::rate,   layer::timeout, layer::idempotent,
                               layer::fallback, layer::canary, layer::shadow};

/// As the compiler would say.
bool may_stand_on(layer outer, cleat::layer_set below) {
  for (std::size_t r = 0; r < cleat::order_rule_count; ++r) {
    if (cleat::breaks(static_cast<order_rule>(r), outer, below)) return false;
  }
  return true;
}

/// Not of a device: it has no frame.
toggle::response stopgap(toggle::request const&, cleat::failure const&) {
  return toggle::response{{}, std::nullopt, "stopgap", false};
}

/// Answers late, otherwise, or not at all.
class poor_mirror {
 public:
  using request = toggle::request;
  using response = toggle::response;

  explicit poor_mirror(cleat::sim::random& draws) : draws_(&draws) {}

  cleat::task<cleat::result<response>> operator()(request q, cleat::call c) {
    auto const wait = draws_->between(cleat::duration{}, cleat::duration{3s});
    bool const fails = draws_->chance(0.3);
    bool const differs = draws_->chance(0.3);
    auto const at = std::min(c.deadline(), cleat::saturated_add(c.now(), wait));
    auto const slept = co_await cleat::sleep_until(at);
    if (!slept) co_return slept.error();
    if (at == c.deadline()) co_return cleat::failure{cleat::kind::timed_out};
    if (fails) co_return cleat::failure{cleat::kind::refused, cleat::certainty::not_sent};
    toggle::response r;
    r.device_id.assign(q.device_id());
    r.state = differs ? std::optional<bool>{} : q.state();
    co_return r;
  }

 private:
  cleat::sim::random* draws_;
};

bool same_state(cleat::result<toggle::response> const& a,
                cleat::result<toggle::response> const& b) {
  return a.has_value() == b.has_value() && (!a || a->state == b->state);
}

class run final : public fleet {
 public:
  using fleet::fleet;

 private:
  [[nodiscard]] service pipeline(std::size_t host) override {
    layers_ = {};
    return draws_.chance(0.2) ? recommended(host) : drawn(host);
  }
  [[nodiscard]] bool knows_operations() const override { return all_know_; }
  [[nodiscard]] duration recovers_within() const override { return 10s; }
  /// Some calls come when their time is over.
  [[nodiscard]] duration given_in_haste(duration drawn) const override {
    return drawn < 100ms ? duration{} : drawn;
  }
  task<> wind_up() override {
    for (auto const& m : mirrored_) co_await cleat::mirrored_calls::close(m);
    for (auto const& p : probes_) p->close();
  }

  /// A probe that lives as long as the run: `above(p) | layer | below(p)`.
  template <class Probe, class... Settings>
  [[nodiscard]] Probe& probe(Settings... settings) {
    auto made = std::make_unique<Probe>(trial_, settings...);
    Probe& p = *made;
    probes_.push_back(std::move(made));
    return p;
  }
  static watch above(sweeping::probe& p) { return watch{p, sweeping::probe::place::above}; }
  static watch below(sweeping::probe& p) { return watch{p, sweeping::probe::place::below}; }
  static watch beside(sweeping::probe& p) { return watch{p, sweeping::probe::place::beside}; }
  static watch in_the_mirror(sweeping::probe& p) {
    return watch{p, sweeping::probe::place::mirror};
  }
  template <class Layer>
  static auto around(Layer l, sweeping::probe& p) {
    return above(p) | std::move(l) | below(p);
  }

  [[nodiscard]] auto device(std::size_t host) {
    return cleat::per_call<toggle::protocol>(cleat::tcp{hosts_[host], 9000}, protocol());
  }

  static std::uint64_t by_operation(toggle::request const&, cleat::call const& c) {
    return c.operation;
  }

  [[nodiscard]] auto observe() {
    auto& p = probe<observe_probe>();
    return around(cleat::observe(book_, p), p);
  }
  [[nodiscard]] auto fallback() {
    return around(cleat::fallback(stopgap), probe<fallback_probe>());
  }
  [[nodiscard]] auto deadline(duration most) {
    return around(cleat::deadline(most), probe<deadline_probe>(most));
  }
  /// Often nothing or all.
  [[nodiscard]] std::uint32_t some_part() {
    auto const parts = static_cast<std::uint32_t>(draws_.between(0, cleat::share::whole));
    if (parts < cleat::share::whole / 8) return 0;
    return parts > cleat::share::whole / 8 * 7 ? cleat::share::whole : parts;
  }
  template <class Service>
  [[nodiscard]] auto canary(Service stable, Service candidate, std::uint32_t parts) {
    auto& p = probe<canary_probe>(parts);
    auto part = std::make_shared<cleat::share>(parts);
    return above(p) | cleat::canary(below(p) | std::move(stable), beside(p) | std::move(candidate),
                                    std::move(part), by_operation);
  }
  [[nodiscard]] auto retry() {
    return around(cleat::retry(plan_.attempts).per_attempt(plan_.per_attempt).budget(plan_.budget),
                  probe<retry_probe>(plan_.attempts, plan_.per_attempt));
  }
  [[nodiscard]] auto hedge() {
    auto const delay = draws_.between(duration{20ms}, duration{500ms});
    bool const always = draws_.chance(0.5);
    return around(always ? cleat::hedge().after(delay) : cleat::hedge().at_first(delay),
                  probe<hedge_probe>(delay, always));
  }
  [[nodiscard]] auto breaker() {
    auto const failures = static_cast<unsigned>(draws_.between(1, 4));
    auto const first = draws_.between(duration{200ms}, duration{2s});
    auto const trials = static_cast<unsigned>(draws_.between(1, 3));
    duration const longest = 5s;
    return around(cleat::breaker().failures(failures).open_for(first, longest).trials(trials),
                  probe<breaker_probe>(failures, first, longest, trials));
  }
  [[nodiscard]] auto limit() {
    auto const most = static_cast<std::size_t>(draws_.between(1, 3));
    auto const places = static_cast<std::size_t>(draws_.below(3));
    auto l = cleat::limit(most).queue(places);
    bool const drops = draws_.chance(0.5);
    return around(drops ? std::move(l).drop_oldest() : std::move(l), probe<limit_probe>(most));
  }
  [[nodiscard]] auto rate() {
    auto const calls = static_cast<std::uint32_t>(draws_.between(1, 10));
    auto const burst = static_cast<std::uint32_t>(draws_.between(1, 4));
    return around(cleat::rate(calls).burst(burst), probe<rate_probe>(calls, burst));
  }
  [[nodiscard]] auto timeout() {
    auto const most = draws_.between(duration{300ms}, duration{4s});
    bool const foreign = draws_.chance(0.5);
    return around(cleat::timeout(most), probe<timeout_probe>(most, foreign));
  }
  [[nodiscard]] auto idempotent() {
    // As long as somebody may ask again.
    auto const answers = static_cast<std::size_t>(draws_.between(300, 1000));
    auto const keeps = draws_.between(duration{10s}, duration{1min});
    auto i = cleat::idempotent().answers_max(answers).keeps(keeps);
    bool const few = draws_.chance(0.1);
    return around(few ? std::move(i).under_way_max(1) : std::move(i),
                  probe<idempotent_probe>(keeps));
  }

  /// The whole catalogue without a boundary in it.
  [[nodiscard]] service recommended(std::size_t host) {
    trial_.reached("the recommended order");
    // One after another, since each draws.
    auto places = limit();
    auto second = hedge();
    auto pace = rate();
    auto fuse = breaker();
    auto patience = timeout();
    auto once = idempotent();
    return observe() | fallback() | deadline(plan_.overall) | std::move(once) | std::move(places) |
           retry() | std::move(second) | std::move(pace) | std::move(fuse) | std::move(patience) |
           canary(device(host), device(host), 5000);
  }

  [[nodiscard]] service drawn(std::size_t host) {
    auto order = catalogue;
    for (std::size_t i = order.size() - 1; i > 0; --i) {
      std::swap(order.at(i), order.at(static_cast<std::size_t>(draws_.below(i + 1))));
    }
    service s{device(host)};
    bool knows = false;
    for (layer const l : order) {
      bool const wanted = draws_.chance(0.5);
      if (!wanted || !may_stand_on(l, layers_)) continue;
      layers_ = layers_.with(l);
      s = on_top(l, std::move(s), host);
      // What the candidate of a canary carried out is not known inside the stable service.
      if (l == layer::idempotent || l == layer::canary) knows = l == layer::idempotent;
    }
    all_know_ = all_know_ && knows;
    return observe() | std::move(s);
  }

  [[nodiscard]] service on_top(layer l, service s, std::size_t host) {
    switch (l) {
      case layer::deadline:
        return deadline(draws_.between(duration{1s}, duration{8s})) | std::move(s);
      case layer::retry:
        return retry() | std::move(s);
      case layer::hedge:
        return hedge() | std::move(s);
      case layer::breaker:
        return breaker() | std::move(s);
      case layer::limit:
        return limit() | std::move(s);
      case layer::rate:
        return rate() | std::move(s);
      case layer::timeout:
        return timeout() | std::move(s);
      case layer::idempotent:
        return idempotent() | std::move(s);
      case layer::fallback:
        return fallback() | std::move(s);
      case layer::canary:
        return canary(std::move(s), service{device(host)}, some_part());
      case layer::shadow: {
        auto const most = static_cast<std::size_t>(draws_.between(1, 4));
        auto& p = probe<shadow_probe>(most);
        auto both = cleat::shadow(below(p) | std::move(s), in_the_mirror(p) | poor_mirror{draws_},
                                  same_state)
                        .at_once_max(most);
        mirrored_.push_back(both.mirrored());
        return above(p) | std::move(both);
      }
      case layer::other:
      case layer::observe:
        break;
    }
    return s;
  }

  cleat::layer_set layers_;
  bool all_know_ = true;
  std::vector<std::shared_ptr<cleat::mirrored_calls>> mirrored_;
  std::vector<std::unique_ptr<sweeping::probe>> probes_;
};

void pipelines(cleat::sim::trial& t) {
  auto r = std::make_unique<run>(t);
  t.world.limit(10min);
  try {
    t.world.run(r->everything());
  } catch (...) {  // it is a failed run: its chains go with the world, after us, and refer to this
    static_cast<void>(r.release());
    throw;
  }
}

std::vector<std::string> promises() {
  auto all = book::promises();
  for (std::string& each : probe::promises()) all.push_back(std::move(each));
  return all;
}

named_scenario const registered{"pipelines",
                                "any pipeline of the catalogue, in any order that the rules allow",
                                pipelines,
                                {"the recommended order",
                                 "another attempt",
                                 "limit_queued",
                                 "limit_rejected",
                                 "limit_dropped",
                                 "rate_delayed",
                                 "rate_rejected",
                                 "breaker_rejected",
                                 "breaker_opened",
                                 "breaker_half_opened",
                                 "breaker_closed",
                                 "hedge_sent",
                                 "hedge_won",
                                 "hedge_budget_empty",
                                 "idempotent_replayed",
                                 "idempotent_joined",
                                 "idempotent_rejected",
                                 "fallback_used",
                                 "canary_taken",
                                 "shadow_sent",
                                 "shadow_skipped",
                                 "shadow_differed",
                                 "shadow_failed",
                                 "timeout_expired",
                                 "a repeatable call was carried out twice",
                                 "an earlier attempt was worse"},
                                promises()};

}  // namespace
}  // namespace sweeping

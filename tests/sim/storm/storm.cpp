#include "storm.hpp"

#include <cleat/base/clock.hpp>
#include <cleat/base/scope.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/runtime/persistent.hpp>
#include <cleat/runtime/server.hpp>
#include <cleat/service/any_service.hpp>
#include <cleat/session/session.hpp>
#include <cleat/sim/world.hpp>
#include <cleat/transport/tcp.hpp>
#include <toggle/protocol.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <utility>

namespace storming {
namespace {

using namespace std::chrono_literals;
using cleat::any_stream;
using cleat::duration;
using cleat::result;
using cleat::task;
using cleat::time_point;
using toggle::message;

using service = cleat::any_service<toggle::request, toggle::response>;

/// Counts what the clients do, second by second.
class counter {
 public:
  explicit counter(time_point began) : began_(began) {}

  using listens_to = cleat::event_list<cleat::call_started, cleat::call_ended,
                                       cleat::attempt_started, cleat::retry_budget_empty>;
  void on(cleat::call_started const& e) noexcept { ++at(e.of.now()).requests; }
  void on(cleat::call_ended const& e) noexcept {
    second& began = at(e.of.now() - e.elapsed);
    ++(e.error == nullptr ? began.succeeded : began.failed);
  }
  void on(cleat::attempt_started const& e) noexcept { ++at(e.of.now()).attempts; }
  void on(cleat::retry_budget_empty const& e) noexcept { ++at(e.of.now()).denied; }

  [[nodiscard]] std::vector<second> take() { return std::move(seconds_); }

 private:
  second& at(time_point t) {
    auto const n = static_cast<std::size_t>((t - began_) / 1s);
    if (n >= seconds_.size()) seconds_.resize(n + 1);
    return seconds_[n];
  }

  time_point began_;
  std::vector<second> seconds_;
};

/// A server that works off one request after the other, first come, first served.
///
/// It knows nothing of who still waits for an answer, and a failure costs it as much as a success. What would wait longer
/// than two seconds is refused at once, for nothing.
class busy_server {
 public:
  busy_server(cleat::sim::world& in, terms const& t)
      : world_(in),
        each_(duration{1s} / static_cast<duration::rep>(t.capacity)),
        down_from_(in.now() + std::chrono::seconds{t.calm}),
        down_to_(in.now() + std::chrono::seconds{t.outage_ends()}) {}

  task<> visit(any_stream stream) {
    cleat::session<toggle::protocol, any_stream> with{std::move(stream), toggle::protocol{}};
    with.serve = [this](message m) { return answer(std::move(m)); };
    static_cast<void>(co_await with.run());
  }

 private:
  static constexpr duration queue_max = 2s;

  task<result<message>> answer(message request) {
    time_point const now = world_.now();
    done_at_ = std::max(done_at_, now);
    if (done_at_ - now > queue_max) co_return message::nack(request, "overloaded", true, 0ms);
    done_at_ += each_;
    time_point const mine = done_at_;
    auto const worked = co_await cleat::sleep_until(mine);
    if (!worked) co_return worked.error();
    if (down_from_ <= mine && mine < down_to_)
      co_return message::nack(request, "out of order", true, 0ms);
    co_return message::ack(request, *request.state);
  }

  cleat::sim::world& world_;
  duration each_;
  time_point down_from_;
  time_point down_to_;
  time_point done_at_{};  ///< everything that it has accepted
};

class storm {
 public:
  storm(cleat::sim::world& in, terms const& t, cleat::retry_budget::settings const& budget)
      : world_(in),
        terms_(t),
        counter_(in.now()),
        server_(in, t),
        settings_(budget),
        shared_(std::make_shared<cleat::retry_budget>(budget)) {}

  task<> everything() {
    auto listener = cleat::network::of(world_.executor()).listen(world_.executor(), "server", port);
    if (!listener) throw std::logic_error{listener.error().message()};
    auto serve = [this](any_stream s) { return server_.visit(std::move(s)); };
    cleat::server front{std::move(*listener), std::move(serve), terms_.clients};
    cleat::environment& env = co_await cleat::this_chain::environment;
    cleat::scope behind{env};
    behind.spawn(run(front));
    {
      cleat::scope clients{env};
      for (std::uint64_t i = 0; i < terms_.clients; ++i) clients.spawn(client());
      co_await clients.join();
    }
    front.stop();
    co_await behind.join();
  }

  [[nodiscard]] std::vector<second> seconds() { return counter_.take(); }

 private:
  static constexpr std::uint16_t port = 9000;

  static task<> run(cleat::server& front) { static_cast<void>(co_await front.run()); }

  /// A client has its own connection and retries; what it shares is the budget.
  [[nodiscard]] service pipeline() {
    auto budget = terms_.one_budget ? shared_ : std::make_shared<cleat::retry_budget>(settings_);
    return cleat::observe(counter_) |
           cleat::deadline(std::chrono::seconds{terms::seconds_per_request_max}) |
           cleat::retry(terms_.attempts).per_attempt(1s).budget(std::move(budget)) |
           cleat::persistent<toggle::protocol>(cleat::tcp{"server", port});
  }

  /// Asks at a random moment of each half second, and does not wait for the answer before it asks again.
  task<> client() {
    cleat::environment& env = co_await cleat::this_chain::environment;
    service ask = pipeline();
    cleat::scope under_way{env};
    constexpr duration every = duration{1s} / terms::requests_per_second;
    time_point slot = world_.now();
    for (std::uint64_t n = terms_.length() * terms::requests_per_second; n != 0; --n) {
      time_point const at = slot + world_.random().between(duration{}, every - 1ns);
      static_cast<void>(co_await cleat::sleep_until(at));
      under_way.spawn(one(ask));
      slot += every;
    }
    co_await under_way.join();
  }

  task<> one(service& ask) {
    auto q = toggle::request::turn("lamp", true);
    cleat::call const c = world_.new_call();
    static_cast<void>(co_await ask(std::move(q), c));
  }

  cleat::sim::world& world_;
  terms terms_;
  counter counter_;
  busy_server server_;
  cleat::retry_budget::settings settings_;
  std::shared_ptr<cleat::retry_budget> shared_;
};

}  // namespace

second account::sum(std::uint64_t from, std::uint64_t to) const noexcept {
  second all;
  for (auto n = static_cast<std::size_t>(from); n < std::min<std::size_t>(to, seconds.size());
       ++n) {
    all.requests += seconds[n].requests;
    all.attempts += seconds[n].attempts;
    all.succeeded += seconds[n].succeeded;
    all.failed += seconds[n].failed;
    all.denied += seconds[n].denied;
  }
  return all;
}

std::optional<std::uint64_t> account::recovered_after(std::uint64_t from) const noexcept {
  constexpr std::size_t in_a_row = 3;
  std::size_t good = 0;
  for (auto n = static_cast<std::size_t>(from); n < seconds.size(); ++n) {
    second const& s = seconds[n];
    bool const well = s.requests != 0 && s.succeeded * 100 >= s.requests * 99;
    good = well ? good + 1 : 0;
    if (good == in_a_row) return n + 1 - in_a_row - from;
  }
  return std::nullopt;
}

account run(terms const& t, cleat::retry_budget::settings const& budget) {
  cleat::sim::world world{t.seed};
  storm it{world, t, budget};
  world.limit(std::chrono::seconds{t.length()} + 1min);
  world.run(it.everything());
  account a;
  a.seconds = it.seconds();
  a.leftovers = world.leftovers();
  a.hash = world.history().hash();
  return a;
}

}  // namespace storming

// Long-lived sessions with everything in them: calls both ways, receipts, refusals, pushes, numbers that come round,
// small limits, consumers that sleep. Some stations are the product's own sessions, some are scripted peers.
#include "book.hpp"
#include "parcel.hpp"
#include "scenario.hpp"

#include <cleat/base/scope.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/runtime/server.hpp>
#include <cleat/service/any_service.hpp>
#include <cleat/session/session.hpp>
#include <cleat/sim/peer.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sweeping {
namespace {

using namespace std::chrono_literals;
using cleat::any_stream;
using cleat::duration;
using cleat::failure;
using cleat::kind;
using cleat::result;
using cleat::task;
using cleat::time_point;

using session = cleat::session<parcel_protocol, any_stream>;
using service = cleat::any_service<question, reply>;

constexpr std::uint16_t port = 7000;
constexpr std::size_t frame_bytes_max =
    parcel_protocol::header_bytes + parcel_protocol::body_bytes_max;

/// How the scenario goes for one seed.
class plan {
 public:
  explicit plan(cleat::sim::random& draws)
      : hosts(draws.between(1, 3)),
        callers(draws.between(2, 5)),
        burst_max(draws.between(1, 8)),
        attempts(static_cast<unsigned>(draws.between(1, 4))),
        overall(draws.between(duration{1s}, duration{8s})),
        per_attempt(draws.between(duration{300ms}, duration{3s})) {
    budget.deposit = draws.chance(0.5) ? 0.2 : 0.5;
    budget.floor = draws.chance(0.5) ? 0 : 0.5;
    session.calls_max = static_cast<std::size_t>(draws.between(1, 6));
    session.waiting_max = static_cast<std::size_t>(draws.between(0, 6));
    session.unanswered_max = static_cast<std::size_t>(draws.between(4, 16));
    session.requests_max = static_cast<std::size_t>(draws.between(2, 16));
    session.pushes_max = 8;
    session.outbound_bytes_max = static_cast<std::size_t>(draws.between(500, 4000));
    session.write_stall_max = 3s;
    for (double cleat::sim::manners::* const each :
         {&cleat::sim::manners::silent, &cleat::sim::manners::receipt_only,
          &cleat::sim::manners::late, &cleat::sim::manners::twice,
          &cleat::sim::manners::misnumbered, &cleat::sim::manners::garbage}) {
      bool const bad = draws.chance(0.5);
      if (bad) manners.*each = 0.1;
    }
  }

  std::size_t hosts;
  std::size_t callers;
  std::uint64_t burst_max;
  unsigned attempts;
  duration overall;
  duration per_attempt;
  cleat::retry_budget::settings budget;
  cleat::session_options session;
  cleat::sim::manners manners;
  duration length = 30s;
};

/// What the sessions say that they have sent, beside what has left them.
class sent_frames {
 public:
  using listens_to = cleat::event_list<cleat::frame_sent>;

  explicit sent_frames(cleat::sim::trial& t) : trial_(t) {}
  sent_frames(sent_frames const&) = delete;
  sent_frames& operator=(sent_frames const&) = delete;

  /// The bytes of one stream, in their order, as they are handed over.
  class outlet {
   public:
    explicit outlet(sent_frames& in) : in_(&in) {}
    void left(cleat::bytes_view bytes) {
      cleat::append(begun_, bytes);
      std::size_t used = 0;
      for (;;) {
        auto step = parcel_protocol{}.decode(cleat::bytes_view{begun_}.subspan(used));
        auto* const item = step.has_item();
        if (item == nullptr) break;
        in_->left_.emplace(cleat::as_text(cleat::bytes_view{begun_}.subspan(used, item->used)));
        used += item->used;
      }
      begun_.erase(begun_.begin(), begun_.begin() + static_cast<std::ptrdiff_t>(used));
    }

   private:
    sent_frames* in_;
    cleat::byte_buffer begun_;
  };

  void on(cleat::frame_sent const& e) noexcept {
    if (e.error != nullptr && e.bytes.empty()) return;  // it was left in the middle
    parcel_protocol const speaks;
    auto step = speaks.decode(e.bytes);
    auto* const item = step.has_item();
    bool const whole = trial_.expect(item != nullptr && item->used == e.bytes.size(),
                                     "the bytes of a frame that is told are one whole frame", e.id);
    if (!whole) return;
    parcel const& p = item->message;
    trial_.expect(std::string_view{speaks.id(p)} == e.id, "they are of the frame that is named",
                  e.id);
    trial_.expect((p.is == parcel::type::ask) == (e.of != nullptr) &&
                      (e.of == nullptr || p.operation == e.of->operation),
                  "they are of the call that is named", e.id);
    if (e.error != nullptr) return;
    auto const found = left_.find(cleat::as_text(e.bytes));
    bool const once = trial_.expect(found != left_.end(),
                                    "a frame is told once, when the last of it has left", e.id);
    if (once) left_.erase(found);
    trial_.reached(e.of != nullptr ? "a request was told as it left"
                                   : "a push or an answer was told as it left");
  }

  /// Nothing happens any more. (A request may leave when nobody waits for its answer.)
  void close() {
    for (std::string const& frame : left_) {
      auto step = parcel_protocol{}.decode(cleat::as_bytes(frame));
      trial_.expect(step.has_item()->message.is == parcel::type::ask,
                    "each push and each answer that leaves is told");
    }
  }

 private:
  cleat::sim::trial& trial_;
  std::multiset<std::string, std::less<>> left_;  ///< and was not told yet
};

/// A stream whose bytes are looked at as they leave.
class watched_stream {
 public:
  watched_stream(any_stream below, sent_frames& by) : below_(std::move(below)), outlet_(by) {}

  auto readable() { return below_.readable(); }
  auto writable() { return below_.writable(); }
  result<std::size_t> read(std::span<std::byte> into) noexcept { return below_.read(into); }
  result<std::size_t> write(std::span<cleat::bytes_view const> gather) noexcept {
    auto const n = below_.write(gather);
    std::size_t left = n ? *n : 0;
    for (cleat::bytes_view const each : gather) {
      std::size_t const of_this = std::min(left, each.size());
      outlet_.left(each.first(of_this));
      left -= of_this;
    }
    return n;
  }
  void close() noexcept { below_.close(); }
  [[nodiscard]] cleat::environment::executor_type executor() const { return below_.executor(); }

 private:
  any_stream below_;
  sent_frames::outlet outlet_;
};

/// What all parts of one run share.
class shared {
 public:
  explicit shared(cleat::sim::trial& t)
      : trial(t),
        world(t.world),
        draws(t.world.random()),
        plan(draws),
        book(t, sweeping::book::retry_terms{plan.attempts, plan.budget}),
        frames(t),
        events(book, frames) {}

  [[nodiscard]] time_point in(duration d) const { return world.now() + d; }
  [[nodiscard]] any_stream watched(any_stream s) {
    return any_stream::of(watched_stream{std::move(s), frames});
  }

  cleat::sim::trial& trial;
  cleat::sim::world& world;
  cleat::sim::random& draws;
  sweeping::plan plan;
  sweeping::book book;
  sent_frames frames;
  cleat::tee<sweeping::book, sent_frames> events;
  bool misbehaves = true;  ///< stations refuse and dawdle
  bool sleeps = false;     ///< consumers take no pushes any more
  bool stopping = false;
};

/// The queues of a session stay within what they were given.
void check_queues(cleat::sim::trial& t, session const& s, cleat::session_options const& o) {
  t.expect(s.pending() <= o.calls_max + o.waiting_max, "calls that wait stay within their limit");
  t.expect(s.ended() || s.unanswered() <= o.unanswered_max, "tombstones stay within their limit");
  t.expect(s.outbound_bytes() <= 2 * o.outbound_bytes_max + (o.requests_max + 2) * frame_bytes_max,
           "bytes that wait to be sent stay within their limit");
}

/// A station's answer to a question; nothing is carried out when it refuses.
parcel answer_to(parcel const& asked, bool refuses, std::uint64_t how) {
  if (refuses) return {parcel::type::refusal, asked.number, asked.operation, how};
  return {parcel::type::answer, asked.number, asked.operation, asked.value + 1};
}

// ---- a station that is the product's own ---------------------------------------------------------

class station {
 public:
  station(shared& in, std::string host)
      : in_(in), host_(std::move(host)), options_(in.plan.session) {
    options_.peer = "hub";
    options_.events = &in.events;
  }
  station(station const&) = delete;
  station& operator=(station const&) = delete;

  task<> keep() {
    while (!in_.stopping) {
      auto const executor = in_.world.executor();
      auto listener = cleat::network::of(executor).listen(executor, host_, port);
      if (!listener) {
        static_cast<void>(co_await cleat::sleep_until(in_.in(100ms)));
        continue;
      }
      auto handler = [this](any_stream s) { return serve(std::move(s)); };
      cleat::server server{std::move(*listener), std::move(handler), 20};
      server_ = &server;
      static_cast<void>(co_await server.run());
      server_ = nullptr;
    }
  }
  void stop() noexcept {
    if (server_ != nullptr) server_->stop();
  }
  [[nodiscard]] std::size_t connections() const noexcept {
    return server_ != nullptr ? server_->connections() : 0;
  }

 private:
  task<> serve(any_stream stream) {
    cleat::environment& env = co_await cleat::this_chain::environment;
    session s{in_.watched(std::move(stream)), parcel_protocol{}, options_};
    s.respond = [&s](parcel const& p) {
      parcel const receipt{parcel::type::receipt, p.number, p.operation, 0};
      if (p.is == parcel::type::ask) static_cast<void>(s.send(receipt));
    };
    s.serve = [this](parcel p) { return answer(p); };
    cleat::scope beside{env};
    beside.spawn(push(s));
    beside.spawn(ask(s));
    static_cast<void>(co_await s.run());
    in_.trial.expect(s.pending() == 0, "nothing is pending when a session has ended");
    beside.cancel();
    auto const guard = co_await cleat::this_chain::shield;
    co_await beside.join();
  }

  task<result<parcel>> answer(parcel asked) {
    bool const refuses = in_.draws.chance(0.1);
    bool const dawdles = in_.draws.chance(0.1);
    bool const acts_first = in_.draws.chance(0.5);
    std::uint64_t const how = in_.draws.next();
    parcel reply = answer_to(asked, refuses && in_.misbehaves, how);
    bool const acts = reply.is == parcel::type::answer;
    if (acts && acts_first) in_.book.executed(asked.operation);
    if (dawdles && in_.misbehaves) {
      duration const wait = in_.draws.between(duration{}, duration{5s});
      auto const slept = co_await cleat::sleep_until(in_.in(wait));
      if (!slept) co_return slept.error();
    }
    if (acts && !acts_first) in_.book.executed(asked.operation);
    co_return reply;
  }

  task<> push(session& s) {
    std::uint64_t next = 0;
    while (!s.ended()) {
      std::uint64_t const burst = in_.sleeps ? 200 : in_.draws.below(12);
      for (std::uint64_t i = 0; i < burst; ++i) {
        auto const padding = static_cast<std::uint16_t>(in_.draws.below(300));
        parcel const p{parcel::type::push, 0, 0, next++, padding};
        auto const sent = s.send(p);
        if (!sent && sent.error().why() == kind::overloaded)
          in_.trial.reached("push refused: overloaded");
      }
      check_queues(in_.trial, s, options_);
      duration const pause = in_.draws.between(duration{50ms}, duration{3s});
      auto const slept = co_await cleat::sleep_until(in_.in(pause));
      if (!slept) break;
    }
  }

  /// The other direction: the station asks the hub.
  task<> ask(session& s) {
    while (!s.ended()) {
      duration const pause = in_.draws.between(duration{100ms}, duration{4s});
      auto const slept = co_await cleat::sleep_until(in_.in(pause));
      if (!slept) break;
      cleat::call c = in_.world.new_call();
      c.tighten(in_.in(2s));
      c.repeatable = false;
      c.events = &in_.events;
      in_.book.began(c, c.deadline(), true);
      std::uint64_t const value = in_.draws.below(1000);
      auto const r = co_await s.call(question{value}, c);
      failure const why = r ? failure{} : r.error();
      in_.book.ended(c.operation, r ? nullptr : &why);
      if (!r) continue;
      in_.trial.expect(r->operation == c.operation && r->value == value + 1,
                       "the hub's reply belongs to the station's request");
      in_.trial.reached("a station was answered by the hub");
    }
  }

  shared& in_;
  std::string host_;
  cleat::session_options options_;
  cleat::server* server_ = nullptr;
};

// ---- a station that is scripted ------------------------------------------------------------------

class scripted_station final : public cleat::sim::peer_role<parcel> {
 public:
  scripted_station(shared& in, std::string host)
      : in_(in), host_(host), peer_(in.world, std::move(host), port, {}, *this) {
    peer_.manners = in.plan.manners;
  }

  task<> keep() {
    while (!in_.stopping) {
      co_await peer_.run();
      auto const slept = co_await cleat::sleep_until(in_.in(100ms));
      if (!slept) break;
    }
  }
  task<> push() {
    for (std::uint64_t next = 0; !in_.stopping; ++next) {
      peer_.push(parcel{parcel::type::push, 0, 0, next});
      duration const pause = in_.draws.between(duration{50ms}, duration{2s});
      auto const slept = co_await cleat::sleep_until(in_.in(pause));
      if (!slept) break;
    }
  }
  void behave() { peer_.manners = {}; }

  std::optional<parcel> carry_out(parcel const& asked) override {
    if (asked.is != parcel::type::ask) return std::nullopt;
    bool const refuses = in_.draws.chance(0.1);
    std::uint64_t const how = in_.draws.next();
    parcel const reply = answer_to(asked, refuses && in_.misbehaves, how);
    if (reply.is == parcel::type::answer) in_.book.executed(asked.operation);
    return reply;
  }
  std::optional<parcel> receipt(parcel const& asked) override {
    if (asked.is != parcel::type::ask) return std::nullopt;
    return parcel{parcel::type::receipt, asked.number, asked.operation, 0};
  }
  void misnumber(parcel& p, cleat::sim::random& draws) override {
    // A number that is in use would be somebody else's answer, and nobody could tell.
    p.number = static_cast<std::uint8_t>(draws.between(parcel_protocol::numbers, 255));
  }
  cleat::byte_buffer garbage(cleat::sim::random& draws) override {
    bool const framed = draws.chance(0.5);
    if (!framed) return peer_role::garbage(draws);
    // A frame of a type that there is not.
    cleat::byte_buffer bytes;
    static_cast<void>(
        parcel_protocol{}.encode(parcel{static_cast<parcel::type>(9), 0, 0, 0}, bytes));
    return bytes;
  }

 private:
  shared& in_;
  std::string host_;
  cleat::sim::peer<parcel_protocol> peer_;
};

// ---- the hub's end -------------------------------------------------------------------------------

/// One connection to a station, made again whenever it ends.
class link {
 public:
  using request = question;
  using response = reply;

  link(shared& in, std::string host) : in_(in), host_(std::move(host)), options_(in.plan.session) {
    options_.events = &in_.events;
    options_.peer = host_;
  }
  link(link const&) = delete;
  link& operator=(link const&) = delete;

  task<> keep() {
    cleat::environment& env = co_await cleat::this_chain::environment;
    while (!in_.stopping) {
      auto stream =
          co_await cleat::network::of(in_.world.executor()).dial(host_, port, {}, in_.in(3s));
      if (!stream) {
        static_cast<void>(co_await cleat::sleep_until(in_.in(200ms)));
        continue;
      }
      auto const s =
          std::make_shared<session>(in_.watched(std::move(*stream)), parcel_protocol{}, options_);
      s->serve = [this](parcel p) -> task<result<parcel>> {
        in_.book.executed(p.operation);
        co_return answer_to(p, false, 0);
      };
      session_ = s;
      silent_ = 0;
      cleat::scope beside{env};
      beside.spawn(consume(*s));
      static_cast<void>(co_await s->run());
      session_.reset();
      in_.trial.expect(s->pending() == 0, "nothing is pending when a session has ended");
      beside.cancel();
      co_await beside.join();
      static_cast<void>(co_await cleat::sleep_until(in_.in(50ms)));
    }
  }

  /// Models a service: asks over the connection that there is. A station that stays silent is dialled anew.
  task<result<reply>> ask(question q, cleat::call c) {
    time_point const began = c.now();
    notify(c.events, cleat::attempt_started{c});
    auto const r = co_await ask_once(q, c);
    failure const why = r ? failure{} : r.error();
    notify(c.events, cleat::attempt_ended{c, r ? nullptr : &why, c.now() - began});
    co_return r;
  }

  void stop() noexcept {
    if (session_) session_->close();
  }
  [[nodiscard]] bool is_idle() const noexcept { return !session_ || session_->pending() == 0; }

 private:
  task<result<reply>> ask_once(question q, cleat::call c) {
    auto const s = session_;  // it outlives its callers
    if (!s || s->ended()) co_return failure{kind::refused, cleat::certainty::not_sent};
    auto const r = co_await s->call(q, c);
    check_queues(in_.trial, *s, options_);
    in_.trial.expect(s->outbound_bytes() <= options_.outbound_bytes_max / 2 + 3 * frame_bytes_max,
                     "calls take half of the bytes at most");
    if (r) {
      silent_ = 0;
    } else if (r.error().why() == kind::timed_out && ++silent_ == 3) {
      s->close();
    }
    co_return r;
  }

  task<> consume(session& s) {
    std::uint64_t last = 0;
    for (bool first = true;; first = false) {
      if (in_.sleeps) {
        cleat::event never_set;
        static_cast<void>(co_await never_set.wait());
        break;
      }
      auto const p = co_await s.next_push();
      if (!p) break;
      in_.trial.expect(first || p->value > last, "pushes come in their order, each once");
      last = p->value;
      bool const dozes = in_.draws.chance(0.1);
      if (!dozes) continue;
      duration const pause = in_.draws.between(duration{}, duration{5s});
      auto const slept = co_await cleat::sleep_until(in_.in(pause));
      if (!slept) break;
    }
  }

  shared& in_;
  std::string host_;
  cleat::session_options options_;
  std::shared_ptr<session> session_;
  unsigned silent_ = 0;
};

class run {
 public:
  explicit run(cleat::sim::trial& t) : in_(t) {}

  task<> everything() {
    cleat::environment& env = co_await cleat::this_chain::environment;
    cleat::scope keepers{env};
    for (std::size_t i = 0; i < in_.plan.hosts; ++i) {
      std::string const host = "station" + std::to_string(i);
      hosts_.push_back(host);
      bool const scripted = in_.draws.chance(0.5);
      if (scripted) {
        scripted_.push_back(std::make_unique<scripted_station>(in_, host));
        keepers.spawn(scripted_.back()->keep());
        keepers.spawn(scripted_.back()->push());
      } else {
        stations_.push_back(std::make_unique<station>(in_, host));
        keepers.spawn(stations_.back()->keep());
      }
      links_.push_back(std::make_unique<link>(in_, host));
      keepers.spawn(links_.back()->keep());
      services_.push_back(pipeline(*links_.back()));
    }
    in_.world.network().set(rough_network(in_.draws));
    until_ = in_.in(in_.plan.length);
    {
      cleat::scope beside{env};
      beside.spawn(chaos(in_.world, hosts_, until_));
      for (std::size_t i = 0; i < in_.plan.callers; ++i) beside.spawn(caller());
      co_await beside.join();
    }
    co_await everybody_is_served();
    for (auto const& l : links_)
      in_.trial.expect(l->is_idle(), "nothing is pending when every caller has its answer");

    in_.stopping = true;
    for (auto const& l : links_) l->stop();
    for (auto const& s : stations_) s->stop();
    keepers.cancel();
    co_await keepers.join();
    in_.book.close();
    in_.frames.close();
  }

 private:
  /// A few calls at once, some of them given up.
  task<> caller() {
    cleat::environment& env = co_await cleat::this_chain::environment;
    while (in_.world.now() < until_) {
      duration const pause = in_.draws.between(duration{}, duration{2s});
      static_cast<void>(co_await cleat::sleep_until(in_.in(pause)));
      cleat::scope beside{env};
      std::vector<std::uint64_t> under_way;
      for (std::uint64_t n = in_.draws.between(1, in_.plan.burst_max); n != 0; --n) {
        cleat::call c = in_.world.new_call();
        auto const which = static_cast<std::size_t>(in_.draws.below(in_.plan.hosts));
        c.peer = hosts_[which];
        c.repeatable = in_.draws.chance(0.5);
        bool const hurries = in_.draws.chance(0.2);
        if (hurries) c.tighten(in_.in(in_.draws.between(duration{}, duration{1s})));
        under_way.push_back(c.operation);
        beside.spawn(one(services_[which], c));
      }
      bool const gives_up = in_.draws.chance(0.3);
      if (gives_up) {
        duration const patience = in_.draws.between(duration{}, duration{500ms});
        static_cast<void>(co_await cleat::sleep_until(in_.in(patience)));
        for (std::uint64_t const operation : under_way) in_.book.cancelled(operation);
        beside.cancel();
      }
      co_await beside.join();
    }
  }

  [[nodiscard]] service pipeline(link& to) {
    auto last = [&to](question q, cleat::call c) -> task<result<reply>> { return to.ask(q, c); };
    return cleat::observe(in_.book, in_.frames) | cleat::deadline(in_.plan.overall) |
           cleat::retry(in_.plan.attempts)
               .per_attempt(in_.plan.per_attempt)
               .budget(in_.plan.budget) |
           last;
  }

  task<> one(service& asks, cleat::call c) {
    std::uint64_t const value = in_.draws.below(1'000'000);
    auto const padding = static_cast<std::uint16_t>(in_.draws.below(300));
    time_point const deadline = std::min(c.deadline(), in_.in(in_.plan.overall));
    in_.book.began(c, deadline, true);
    question q{value, padding};
    auto const r = co_await asks(q, c);
    failure const why = r ? failure{} : r.error();
    in_.book.ended(c.operation, r ? nullptr : &why);
    if (r) {
      in_.trial.expect(r->operation == c.operation && r->value == value + 1,
                       "a reply belongs to its request");
    }
  }

  /// The faults have stopped, and so have those who take pushes: every station is served all the same, and soon.
  task<> everybody_is_served() {
    in_.misbehaves = false;
    in_.sleeps = true;
    for (auto const& s : scripted_) s->behave();
    cleat::sim::conditions sound;
    bool const narrow = in_.draws.chance(0.5);
    if (narrow) sound.window_bytes = 1000;
    in_.world.network().set(sound);
    in_.world.network().calm();
    // What was said and stalled before that has arrived by then, garbage too.
    static_cast<void>(co_await cleat::sleep_until(in_.in(15s)));
    for (std::size_t i = 0; i < links_.size(); ++i) {
      link& to = *links_[i];
      auto last = [&to](question q, cleat::call c) -> task<result<reply>> { return to.ask(q, c); };
      service patient = cleat::deadline(20s) | cleat::retry(20).per_attempt(1500ms) | last;
      co_await served(patient, hosts_[i], 20s);
      // From here on the connection is sound, and nothing has to be done twice.
      service plain = cleat::deadline(1s) | last;
      for (int n = 0; n < 8; ++n) {
        co_await served(plain, hosts_[i], 1s);
        static_cast<void>(co_await cleat::sleep_until(in_.in(500ms)));
      }
    }
    for (auto const& s : stations_) {
      in_.trial.expect(s->connections() <= 1, "who takes no bytes is given up by the station",
                       std::to_string(s->connections()) + " connections");
    }
  }

  task<> served(service& by, std::string const& host, duration within) {
    cleat::call c = in_.world.new_call();
    c.peer = host;
    in_.book.began(c, in_.in(within), true);
    question q{5};
    auto const r = co_await by(q, c);
    failure const why = r ? failure{} : r.error();
    in_.book.ended(c.operation, r ? nullptr : &why);
    in_.trial.expect(r.has_value(), "after the faults every station is served again",
                     why.message());
  }

  shared in_;
  std::vector<std::string> hosts_;
  std::vector<std::unique_ptr<station>> stations_;
  std::vector<std::unique_ptr<scripted_station>> scripted_;
  std::vector<std::unique_ptr<link>> links_;
  std::vector<service> services_;  ///< to each host
  time_point until_{};
};

void hub(cleat::sim::trial& t) {
  run r{t};
  t.world.limit(10min);
  t.world.run(r.everything());
}

named_scenario const registered{
    "hub",
    "long-lived sessions: calls both ways, receipts, pushes, few numbers, small limits",
    hub,
    {"an earlier attempt was worse",
     "left before the frame",
     "unreadable frame skipped",
     "another attempt",
     "budget empty",
     "queue full",
     "receipt",
     "late answer met a tombstone",
     "answer that nobody awaits",
     "reset between write and answer",
     "closed between write and answer",
     "no answer in time",
     "cancelled before it was sent",
     "cancelled after it was sent",
     "timed out before it was sent",
     "left in mid-frame",
     "stream lost",
     "push dropped",
     "push refused: overloaded",
     "peer took no bytes",
     "peer left too much unanswered",
     "peer asked too much",
     "a station was answered by the hub",
     "a request was told as it left",
     "a push or an answer was told as it left",
     "peer: silent",
     "peer: receipt only",
     "peer: late",
     "peer: twice",
     "peer: misnumbered",
     "peer: garbage",
     "carried out after its caller had given up",
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

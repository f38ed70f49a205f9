#pragma once

#include <cleat/conformance/service.hpp>
#include <cleat/middleware/middleware.hpp>

#include <boost/asio/post.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cleat {

/// How a middleware is checked. All times are virtual.
class middleware_check {
 public:
  middleware_check() = default;

  /// It may succeed though `next` did not: a cache, a fallback.
  bool answers_itself = false;
  /// It may call `next` again before it has ended: hedging.
  bool hedges = false;

  /// What the calls are given.
  duration limit = std::chrono::minutes{1};
  /// How long a cancelled call may take to end.
  duration soon{};
  /// How many calls it lets through at once; what is more may fail as `overloaded`.
  std::size_t at_once = 16;
  /// What is random in the worlds of the check follows from it.
  std::uint64_t seed = 1;
};

namespace detail {

/// What the service below a checked middleware does with a call, and notes of it.
template <class Request, class Response>
class scripted_next {
 public:
  /// One answer. Takes a moment, as everything does.
  class act {
   public:
    static act succeeds(duration after) { return {after / 2, after / 2, {}, false}; }
    static act fails(failure why, duration after) { return {after / 2, after / 2, why, false}; }
    static act throws(duration after) {
      return {after / 2, after / 2, failure{kind::invalid, certainty::maybe_executed}, true};
    }
    /// Before the request leaves, or after.
    static act hangs(bool sent) {
      duration const for_ever = never - time_point{};
      return {sent ? std::chrono::milliseconds{5} : for_ever, for_ever, {}, false};
    }

   private:
    friend scripted_next;
    act(duration to_send, duration to_answer, std::optional<failure> why, bool thrown)
        : to_send_(to_send), to_answer_(to_answer), fails_(why), throws_(thrown) {}
    duration to_send_;
    duration to_answer_;
    std::optional<failure> fails_;
    bool throws_;
  };

  /// One time that it was called.
  class note {
   public:
    note(call const& c, time_point at, bool others, bool acted) noexcept
        : with(c), began(at), beside_others(others), after_action(acted) {}

    [[nodiscard]] bool succeeded() const noexcept { return ended && !why; }

    call with;
    time_point began;
    bool beside_others;  ///< another one for the same call was still under way
    bool after_action;   ///< another one may have acted before
    bool ended = false;
    bool thrown = false;
    std::optional<failure> why;
  };

  /// What is known to all copies of the service.
  class state {
   public:
    state(std::deque<act> script, Response answer)
        : script_(std::move(script)), answer_(std::move(answer)) {}

    /// The last act is repeated.
    [[nodiscard]] act next_act(std::size_t made) const {
      return script_[std::min(made, script_.size() - 1)];
    }
    [[nodiscard]] Response const& answer() const noexcept { return answer_; }

    /// With several calls under way only the operation tells which one this is.
    bool several = false;
    /// It never answers this operation.
    std::optional<std::uint64_t> hangs_for;
    /// From here on it never answers.
    bool silent = false;
    /// How often it acted.
    std::size_t acted = 0;
    std::deque<note> notes;

    [[nodiscard]] bool is_of(note const& n, call const& c) const noexcept {
      return !several || n.with.operation == c.operation;
    }
    [[nodiscard]] std::vector<note const*> notes_of(call const& c) const {
      std::vector<note const*> found;
      for (note const& n : notes) {
        if (is_of(n, c)) found.push_back(&n);
      }
      return found;
    }

   private:
    std::deque<act> script_;
    Response answer_;
  };

  using request = Request;
  using response = Response;

  /// More in one world are too many.
  static constexpr std::size_t notes_max = 1000;

  explicit scripted_next(std::shared_ptr<state> s) noexcept : state_(std::move(s)) {}

  task<result<Response>> operator()(Request q, call c) { return run(state_, std::move(q), c); }

 private:
  static task<result<Response>> run(std::shared_ptr<state> s, Request, call c) {
    if (s->notes.size() >= notes_max) throw std::runtime_error{"next is called without end"};
    std::size_t before = 0;
    bool beside = false;
    bool acted = false;
    for (note const& n : s->notes) {
      if (!s->is_of(n, c)) continue;
      ++before;
      beside = beside || !n.ended;
      acted = acted || !n.ended || !n.why || n.why->sure() == certainty::maybe_executed;
    }
    act const does = s->hangs_for == c.operation ? act::hangs(true) : s->next_act(before);
    note& mine = s->notes.emplace_back(c, c.now(), beside, acted);
    {
      // Whoever calls again and again goes through the queue each time, and can be stopped.
      auto const guard = co_await this_chain::shield;
      auto const executor = co_await this_chain::executor;
      static_cast<void>(co_await boost::asio::post(executor, use_task));
    }
    auto const asked = co_await wait(s, c, does.to_send_);
    if (!asked) {
      mine.why = asked.error().with(certainty::not_sent);
      mine.ended = true;
      co_return *mine.why;
    }
    if (!does.fails_) ++s->acted;
    auto const answered = co_await wait(s, c, does.to_answer_);
    if (!answered) {
      mine.why = answered.error().with(certainty::maybe_executed);
    } else if (does.fails_) {
      mine.why = does.fails_;
    }
    mine.thrown = answered && does.throws_;
    mine.ended = true;
    if (mine.thrown) throw std::runtime_error{"next throws"};
    if (mine.why) co_return *mine.why;
    co_return s->answer();
  }

  /// Fails at the deadline, or as cancelled.
  static task<result<void>> wait(std::shared_ptr<state> s, call c, duration takes) {
    time_point const until = saturated_add(c.now(), takes);
    if (c.now() >= c.deadline()) co_return failure{kind::timed_out};
    auto waited = co_await sleep_until(std::min(until, c.deadline()));
    if (waited && s->silent) waited = co_await sleep_until(c.deadline());
    if (waited && c.now() >= c.deadline()) co_return failure{kind::timed_out};
    co_return waited;
  }

  std::shared_ptr<state> state_;
};

/// What `make()` or `make(world)` makes.
template <class Make>
auto made_by(Make& make, sim::world& w) {
  if constexpr (std::invocable<Make&, sim::world&>) {
    return make(w);
  } else {
    return make();
  }
}

/// The same on top of a `Next`, whatever `|` would say of it.
template <class Next, class Make>
auto make_over(Make& make, sim::world& w, std::shared_ptr<typename Next::state> s) {
  stacked all{stages_of(made_by(make, w))};
  return std::move(all).over(Next{std::move(s)});
}

/// Whether one of the layers keeps references on a `Next`, as far as its signature shows it.
template <class M, class Next>
inline constexpr bool one_keeps_references =
    layer_keeps_references<typename innermost_layer<M>::type, Next>;
template <class... Stages, class Next>
inline constexpr bool one_keeps_references<stacked<Stages...>, Next> =
    (layer_keeps_references<typename innermost_layer<Stages>::type, Next> || ...);

template <class Make, class Request, class Response>
class middleware_checker {
 public:
  middleware_checker(Make& make, Request const& sample, Response const& answer,
                     middleware_check const& how)
      : make_(make), sample_(sample), answer_(answer), how_(how) {}

  [[nodiscard]] std::vector<std::string> run() {
    using namespace std::chrono_literals;
    if constexpr (one_keeps_references<decltype(made_by(std::declval<Make&>(),
                                                        std::declval<sim::world&>())),
                                       next>) {
      broken_.add("request and call are taken by value",
                  "a layer that returns a task takes a reference to one of them");
      return std::move(broken_).take();  // to call it would be to use what is gone
    }
    play({act::succeeds(0ms)}, "when next succeeds");
    play({act::hangs(false)}, "when next hangs before it sends");
    play({act::hangs(true)}, "when next hangs");
    play({act::throws(0ms)}, "when next throws");
    play({act::throws(1s)}, "when next throws after a wait");
    each_failure();
    failures_in_turn();
    if (endless_) return std::move(broken_).take();
    cancelled({act::hangs(true)}, "while next hangs");
    cancelled({act::fails(refused(), 10ms)}, "when next is refused");
    cancelled({act::fails(lost(), 10ms)}, "when next loses its answer");
    several();
    if (how_.at_once > 1) one_hangs();
    as_service();
    return std::move(broken_).take();
  }

 private:
  using next = scripted_next<Request, Response>;
  using act = typename next::act;
  using note = typename next::note;
  using state = typename next::state;
  using script = std::deque<act>;

  using service = decltype(make_over<next>(std::declval<Make&>(), std::declval<sim::world&>(),
                                           std::declval<std::shared_ptr<state>>()));
  using here = service_world<service>;
  using call_type = typename here::call_type;

  auto maker(std::shared_ptr<state> below) {
    return [this, below = std::move(below)](sim::world& w) {
      return make_over<next>(make_, w, below);
    };
  }
  std::shared_ptr<state> below_that(script does) const {
    return std::make_shared<state>(std::move(does), answer_);
  }

  static failure refused() { return failure{kind::refused, certainty::not_sent}; }
  static failure lost() { return failure{kind::reset, certainty::maybe_executed}; }
  static std::string told(std::string_view occasion, call_type const& c) {
    return std::string{occasion}.append(": ").append(c.fate());
  }

  void play(script const& does, std::string const& occasion) {
    for (bool const repeatable : {true, false}) {
      if (endless_) return;
      auto const below = below_that(does);
      auto make = maker(below);
      here w{how_.seed, make};
      call c = w.new_call(how_.limit);
      c.repeatable = repeatable;
      call_type& it = w.start(sample_, c);
      w.finish(it, c.deadline());
      std::string const where = occasion + (repeatable ? "" : " and the call must not be repeated");
      judge(*below, it, where);
      leaves_nothing(w, it, where);
    }
  }

  void each_failure() {
    for (std::size_t i = 0; i < kind_count; ++i) {
      kind const k{static_cast<std::uint8_t>(i)};
      for (certainty const sure :
           {certainty::not_sent, certainty::rejected, certainty::maybe_executed}) {
        failure const why{k, sure};
        std::string const occasion = std::string{"when next fails as "}
                                         .append(to_string(k))
                                         .append(", ")
                                         .append(to_string(sure));
        play({act::fails(why, moment)}, occasion);
        play({act::fails(why, moment), act::succeeds(moment)}, occasion + ", once");
        failure const again = why.with_retry_after(std::chrono::milliseconds{10});
        play({act::fails(again, moment)}, occasion + ", and allows another try");
      }
    }
  }
  void failures_in_turn() {
    play({act::fails(lost(), moment), act::fails(refused(), moment)},
         "when next loses its answer and then is refused");
    play({act::fails(refused(), moment), act::fails(lost(), moment), act::fails(refused(), moment)},
         "when next is refused, loses its answer, and is refused again");
    play({act::fails(refused(), how_.limit / 3)}, "when next is refused slowly");
    play({act::fails(refused(), moment), act::hangs(true)}, "when next is refused and then hangs");
  }

  void cancelled(script const& does, std::string const& when) {
    bool goes_on = true;
    for (std::size_t n = 0; goes_on; n = step_after(n)) {
      auto const below = below_that(does);
      auto make = maker(below);
      here w{how_.seed, make};
      call_type& it = w.start(sample_, w.new_call(how_.limit));
      goes_on = w.goes_on_after(n, it);
      if (!goes_on) break;
      time_point const at = w.now();
      std::size_t const before = below->notes.size();
      it.cancel();
      w.finish(it, at + how_.soon);
      w.settle(w.now());
      std::string const occasion = after_steps("cancelled " + when + ",", n);
      broken_.expect(it.has_ended(), "a cancelled call ends soon", told(occasion, it));
      bool const reached = std::all_of(below->notes.begin(), below->notes.end(),
                                       [](note const& m) { return m.ended; });
      broken_.expect(reached, "cancellation reaches next", occasion);
      w.finish(it, it.of().deadline());
      bool const begins = before == 0 && (how_.hedges || below->notes.size() <= 1);
      broken_.expect(begins || below->notes.size() <= before,
                     "next is not called again after the call was cancelled", occasion);
      bool const why = it.why() == nullptr || it.failed_as(kind::cancelled) ||
                       (!below->notes.empty() && below->notes.back().why &&
                        it.failed_as(below->notes.back().why->why()));
      broken_.expect(why, "a cancelled call fails as cancelled", told(occasion, it));
      judge(*below, it, occasion);
      leaves_nothing(w, it, occasion);
    }
  }

  void several() {
    std::string const occasion = "several calls at once, whose first answers are lost";
    auto const below = below_that({act::fails(lost(), moment), act::succeeds(moment)});
    below->several = true;
    auto make = maker(below);
    here w{how_.seed, make};
    std::vector<call_type*> all;
    for (std::size_t i = 0; i < how_.at_once; ++i) {
      call c = w.new_call(how_.limit);
      c.repeatable = i % 2 == 0;
      all.push_back(&w.start(sample_, c));
    }
    std::size_t known = 0;
    for (call_type* const c : all) {
      w.finish(*c, c->of().deadline());
      judge(*below, *c, occasion);
      known += below->notes_of(c->of()).size();
    }
    broken_.expect(known == below->notes.size(), one_operation, occasion);
    leaves_nothing(w, *all.back(), occasion);
  }

  void one_hangs() {
    auto const below = below_that({act::succeeds(moment)});
    auto make = maker(below);
    here w{how_.seed, make};
    call const first = w.new_call(how_.limit);
    call const second = w.new_call(how_.limit);
    below->several = true;
    below->hangs_for = first.operation;
    call_type& hanging = w.start(sample_, first);
    call_type& other = w.start(sample_, second);
    w.finish(other, w.now() + how_.limit / 2);
    broken_.expect(other.succeeded() || other.failed_as(kind::overloaded),
                   "a call that hangs does not hold up another",
                   told("the second of two calls", other));
    hanging.cancel();
    w.finish(hanging, first.deadline());
    w.finish(other, second.deadline());
    leaves_nothing(w, hanging, "one of two calls cancelled");
  }

  void as_service() {
    std::shared_ptr<state> below;
    auto make = [&](sim::world& w) {
      below = below_that({act::succeeds(moment)});
      return make_over<next>(make_, w, below);
    };
    service_check how;
    how.silence = [&](sim::world&) { below->silent = true; };
    how.acted = [&] { return below->acted; };
    how.limit = how_.limit;
    how.soon = how_.soon;
    how.peers_notice_within = duration::zero();
    how.at_once = how_.at_once;
    how.seed = how_.seed;
    service_checker<service, decltype(make)>{broken_, make, sample_, how}.run();
  }

  static constexpr std::string_view one_operation = "operation id and correlation stay the same";

  /// What is true of a call and of how `next` was called for it, whatever happened.
  void judge(state const& below, call_type const& it, std::string const& occasion) {
    call const& c = it.of();
    bool succeeded = false;
    bool thrown = false;
    certainty worst = certainty::not_sent;
    note const* before = nullptr;
    for (note const* const n : below.notes_of(c)) {
      broken_.expect(n->with.operation == c.operation && n->with.correlation == c.correlation,
                     one_operation, occasion);
      broken_.expect(n->with.deadline() <= c.deadline(), "the deadline is only brought forward",
                     occasion);
      broken_.expect(c.repeatable || !n->with.repeatable,
                     "a call that must not be repeated is handed on as such", occasion);
      broken_.expect(before == nullptr || n->with.attempt > before->with.attempt,
                     "attempt numbers rise", occasion);
      if (before != nullptr) again(*n, c, occasion);
      before = n;
      succeeded = succeeded || n->succeeded();
      thrown = thrown || n->thrown;
      if (n->why) worst = worse(worst, n->why->sure());
      broken_.expect(n->ended || !it.has_ended(), "next has ended when the call ends", occasion);
    }
    endless_ = endless_ || below.notes.size() >= next::notes_max;
    broken_.expect(!endless_, "next is not called without end", occasion);
    broken_.expect(it.ended_at() <= c.deadline(), "a call ends by its deadline",
                   told(occasion, it));
    broken_.expect(!it.has_thrown() || thrown, "a failure is a value and never an exception",
                   told(occasion, it));
    broken_.expect(!it.succeeded() || succeeded || how_.answers_itself,
                   "a failure of next is never made a success", told(occasion, it));
    if (it.why() == nullptr) return;
    broken_.expect(!succeeded, "a success of next is passed on", told(occasion, it));
    broken_.expect(worst <= it.why()->sure(),
                   "a failure is never surer that nothing was done than next was",
                   told(occasion, it));
  }
  /// What is true when `next` is called once more.
  void again(note const& n, call const& c, std::string const& occasion) {
    broken_.expect(c.repeatable || !n.after_action,
                   "what must not be repeated is not tried again once it may have been executed",
                   occasion);
    broken_.expect(how_.hedges || !n.beside_others, "next is not called again before it has ended",
                   occasion);
    broken_.expect(n.began < c.deadline(), "next is not called again after the deadline", occasion);
  }

  void leaves_nothing(here& w, call_type const& it, std::string const& occasion) {
    broken_.expect(!w.turns_on_the_spot(), "whoever waits lets time go on", occasion);
    if (!it.has_ended()) return;
    w.settle(w.now());
    broken_.expect(!w.has_thrown_at_nobody(), "no exception leaves a chain of its own", occasion);
    if (w.chains() > w.idle()) {
      broken_.add(nothing_left, occasion + ":\n" + w.where_they_are());
    } else {
      broken_.expect(!w.has_set_an_alarm(), nothing_left, occasion + ": an alarm is set");
    }
  }

  static constexpr std::string_view nothing_left = "nothing that a call started outlives it";
  static constexpr duration moment = std::chrono::milliseconds{10};

  Make& make_;
  Request const& sample_;
  Response const& answer_;
  middleware_check const& how_;
  broken_promises broken_;
  bool endless_ = false;
};

}  // namespace detail

/// The kit for middleware: whether a model keeps the promises of `Middleware`, and, on top of a
/// service that keeps its own, those of `Service`.
///
/// The author of a middleware adds one test file:
///
/// ```
/// auto make = [] { return my_middleware{5}; };
/// for (auto const& broken : check_middleware(make, std::string{"a request"}, std::string{"ok"}))
///   BOOST_ERROR(broken);
/// ```
///
/// `make`, called with a `sim::world&` or with nothing, gives the middleware by value, once for each
/// of the many worlds of the check; a stack `a | b` is one, too. `next` succeeds with `answer`,
/// fails in every way, hangs, throws, and writes down how it was called. The check takes no time but
/// the processor's and does not hang. It gives a sentence for each promise that was broken, with the
/// first occasion, and none if all were kept. Deterministic.
template <class Make, class Request, class Response>
[[nodiscard]] std::vector<std::string> check_middleware(Make make, Request const& sample,
                                                        Response const& answer,
                                                        middleware_check const& how = {}) {
  return detail::middleware_checker<Make, Request, Response>{make, sample, answer, how}.run();
}

}  // namespace cleat

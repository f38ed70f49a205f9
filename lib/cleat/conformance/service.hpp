#pragma once

#include <cleat/base/chains.hpp>
#include <cleat/base/spawn.hpp>
#include <cleat/service/service.hpp>
#include <cleat/sim/world.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cleat {

/// How a service is checked. All times are virtual.
class service_check {
 public:
  service_check() = default;

  /// Makes whatever the service waits for silent from here on, such as `w.network().cut("lamp")`.
  /// (The network is calm again when the chains that are left are counted.)
  /// Without it the kit cannot see what the service does when it waits in vain.
  std::function<void(sim::world& w)> silence;
  /// How often the request was carried out in the world that was made last. With it the kit sees
  /// whether a failure that says "not sent" or "rejected" is true.
  std::function<std::size_t()> acted;

  /// What the calls are given: more than the sample request needs.
  duration limit = std::chrono::minutes{1};
  /// How long a cancelled call may take to end.
  duration soon = std::chrono::milliseconds{100};
  /// How long peers may take to notice that a call is over, before the chains that are left are
  /// counted.
  duration peers_notice_within = std::chrono::seconds{1};
  /// How many calls it takes at once; what is more may fail as `overloaded`.
  std::size_t at_once = 16;
  /// What is random in the worlds of the check follows from it.
  std::uint64_t seed = 1;
};

namespace detail {

/// The promises that were broken, each once, with the first occasion.
class broken_promises {
 public:
  void add(std::string_view promise, std::string_view occasion) {
    if (std::find(seen_.begin(), seen_.end(), promise) != seen_.end()) return;
    seen_.emplace_back(promise);
    sentences_.push_back(std::string{promise}.append(" (").append(occasion).append(")"));
  }
  void expect(bool kept, std::string_view promise, std::string_view occasion) {
    if (!kept) add(promise, occasion);
  }
  [[nodiscard]] std::vector<std::string> take() && { return std::move(sentences_); }

 private:
  std::vector<std::string> seen_;
  std::vector<std::string> sentences_;
};

/// For good, and so that a leak detector knows of it.
inline void keep_for_good(std::shared_ptr<void> what) {
  static auto* const kept = new std::vector<std::shared_ptr<void>>;
  kept->push_back(std::move(what));
}

/// A call on its way, and how it ended.
template <Service S>
class checked_call {
 public:
  using request = request_of<S>;
  using response = response_of<S>;

  /// `forgetful`: what was handed to the service is gone as soon as it has taken it.
  checked_call(sim::world& w, S& s, request q, cleat::call const& c, bool forgetful)
      : world_(w), request_(std::make_unique<request>(std::move(q))), call_(c), of_(c) {
    auto done = [this](std::exception_ptr error, result<response> r) {
      ended_at_ = world_.now();
      thrown_ = error;
      if (!error) outcome_.emplace(std::move(r));
    };
    spawn(w.executor(), ask(s, *this, forgetful),
          boost::asio::bind_cancellation_slot(signal_.slot(), done));
  }
  checked_call(checked_call const&) = delete;
  checked_call& operator=(checked_call const&) = delete;

  void cancel() { signal_.emit(boost::asio::cancellation_type::terminal); }

  [[nodiscard]] cleat::call const& of() const noexcept { return of_; }
  [[nodiscard]] bool has_ended() const noexcept { return ended_at_ != never; }
  [[nodiscard]] time_point ended_at() const noexcept { return ended_at_; }
  [[nodiscard]] bool has_thrown() const noexcept { return thrown_ != nullptr; }
  [[nodiscard]] bool succeeded() const noexcept { return outcome_ && outcome_->has_value(); }
  /// Null unless it failed as a value.
  [[nodiscard]] failure const* why() const noexcept {
    if (!outcome_ || outcome_->has_value()) return nullptr;
    why_ = outcome_->error();
    return &why_;
  }
  [[nodiscard]] bool failed_as(kind k) const noexcept {
    return why() != nullptr && why()->why() == k;
  }
  /// "it succeeded", "it failed: timed out; …".
  [[nodiscard]] std::string fate() const {
    if (!has_ended()) return "it did not end";
    if (thrown_) return "it threw: " + what(thrown_);
    return succeeded() ? "it succeeded" : "it failed: " + why()->message();
  }

 private:
  static task<result<response>> ask(S& s, checked_call& self, bool forgetful) {
    auto started = s(std::move(*self.request_), *self.call_);
    if (forgetful) {
      self.request_.reset();
      self.call_.emplace(self.world_.executor()).tighten(self.world_.now());
    }
    auto r = co_await std::move(started);
    co_return r;
  }
  static std::string what(std::exception_ptr const& error) {
    try {
      std::rethrow_exception(error);
    } catch (std::exception const& e) {
      return e.what();
    } catch (...) {
      return "something";
    }
  }

  sim::world& world_;
  std::unique_ptr<request> request_;
  std::optional<cleat::call> call_;  ///< what the service is given
  cleat::call of_;
  boost::asio::cancellation_signal signal_;
  time_point ended_at_ = never;
  std::exception_ptr thrown_;
  std::optional<result<response>> outcome_;
  mutable failure why_;
};

/// A service in a world of its own, which survives what the service does.
template <Service S>
class service_world {
 public:
  using call_type = checked_call<S>;

  template <class Make>
  service_world(std::uint64_t seed, Make& make)
      : world_(seed), service_(std::make_shared<S>(make(world_))) {
    settle(world_.now());
    idle_ = chains();
    idle_alarm_ = next_alarm() != never;
  }
  service_world(service_world const&) = delete;
  service_world& operator=(service_world const&) = delete;
  /// A chain that goes on refers to the service: then it must not go first.
  ~service_world() {
    bool under_way = chains() > idle_;
    for (auto const& c : calls_) under_way = under_way || !c->has_ended();
    if (under_way) keep_for_good(service_);
  }

  [[nodiscard]] sim::world& world() noexcept { return world_; }
  [[nodiscard]] time_point now() const noexcept { return world_.now(); }

  [[nodiscard]] call new_call(duration limit) {
    call c = world_.new_call();
    c.tighten(now() + limit);
    return c;
  }
  call_type& start(request_of<S> q, call const& c, bool forgetful = false) {
    calls_.push_back(std::make_unique<call_type>(world_, *service_, std::move(q), c, forgetful));
    return *calls_.back();
  }

  /// Does one thing if there is something to do until then.
  bool step(time_point until) {
    try {
      if (world_.context.poll_one() != 0) return ++at_this_moment_ < steps_at_one_moment_max;
      at_this_moment_ = 0;
      if (next_alarm() == never || next_alarm() > until) return false;
      return world_.step();
    } catch (...) {  // somebody spawned it without wanting to know
      ++escaped_;
      return true;
    }
  }
  void settle(time_point until) {
    while (step(until)) {
    }
  }
  void finish(call_type const& c, time_point until) {
    while (!c.has_ended() && step(until)) {
    }
  }
  /// Whether it is still under way after so many steps, and there is more to do.
  bool goes_on_after(std::size_t steps, call_type const& c) {
    for (std::size_t i = 0; i < steps && !c.has_ended(); ++i) {
      if (!step(c.of().deadline())) return false;
    }
    return !c.has_ended();
  }

  [[nodiscard]] bool turns_on_the_spot() const noexcept {
    return at_this_moment_ >= steps_at_one_moment_max;
  }
  [[nodiscard]] bool has_thrown_at_nobody() const noexcept { return escaped_ != 0; }

  [[nodiscard]] std::size_t chains() { return chain_count(world_.context); }
  /// Chains before the first call: the author's peers.
  [[nodiscard]] std::size_t idle() const noexcept { return idle_; }
  [[nodiscard]] bool has_set_an_alarm() { return next_alarm() != never && !idle_alarm_; }
  [[nodiscard]] std::string where_they_are() {
    std::ostringstream text;
    dump_chains(world_.context, text);
    std::string lines = text.str();
    if (!lines.empty()) lines.pop_back();
    return lines;
  }

 private:
  static constexpr std::size_t steps_at_one_moment_max = 20'000;

  [[nodiscard]] time_point next_alarm() { return clock::of(world_.executor()).next_due(); }

  std::vector<std::unique_ptr<call_type>> calls_;
  sim::world world_;
  std::shared_ptr<S> service_;
  std::size_t idle_ = 0;
  bool idle_alarm_ = false;
  std::size_t at_this_moment_ = 0;
  std::size_t escaped_ = 0;
};

/// First each step; then, when there are many, fewer and fewer.
[[nodiscard]] constexpr std::size_t step_after(std::size_t n) noexcept {
  return n < 128 ? n + 1 : n + n / 8;
}

[[nodiscard]] inline std::string after_steps(std::string_view what, std::size_t n) {
  return std::string{what}
      .append(" after ")
      .append(std::to_string(n))
      .append(n == 1 ? " step" : " steps");
}

template <Service S, class Make>
class service_checker {
 public:
  using request = request_of<S>;

  service_checker(broken_promises& broken, Make& make, request const& sample,
                  service_check const& how)
      : broken_(broken), make_(make), sample_(sample), how_(how) {}

  void run() {
    if (!goes_well()) return;
    copies_its_arguments();
    expired();
    near_deadlines();
    if (how_.silence) silenced();
    cancelled(false);
    if (how_.silence) cancelled(true);
    many_at_once();
  }

 private:
  using here = service_world<S>;
  using call_type = typename here::call_type;

  [[nodiscard]] std::size_t acted() const { return how_.acted ? how_.acted() : 0; }
  static std::string told(std::string_view occasion, call_type const& c) {
    return std::string{occasion}.append(": ").append(c.fate());
  }

  /// What is true at the end of every call.
  void at_the_end(here& w, call_type const& c, std::string const& occasion) {
    broken_.expect(!w.turns_on_the_spot(), "whoever waits lets time go on", occasion);
    broken_.expect(!c.has_thrown(), "a failure is a value and never an exception",
                   told(occasion, c));
    if (!c.has_ended()) return;
    if (how_.acted && c.why() != nullptr && c.why()->sure() != certainty::maybe_executed) {
      broken_.expect(acted() == 0, "a failure that says that nothing was done is true",
                     told(occasion, c));
    }
    leaves_nothing(w, occasion);
  }
  void leaves_nothing(here& w, std::string const& occasion) {
    w.world().network().calm();  // peers that were cut off hear that it is over
    w.settle(w.now() + how_.peers_notice_within);
    broken_.expect(!w.has_thrown_at_nobody(), "no exception leaves a chain of its own", occasion);
    // Connections that are kept for the next call are there after one that went well, too.
    if (w.chains() > std::max(after_one_, w.idle()))
      broken_.add("nothing that a call started outlives it", occasion + ":\n" + w.where_they_are());
  }

  /// Without this there is nothing to compare with.
  bool goes_well() {
    here w{how_.seed, make_};
    time_point const began = w.now();
    std::string const occasion = "when nothing is in its way";
    call const c = w.new_call(how_.limit);
    call_type& first = w.start(sample_, c);
    w.finish(first, c.deadline());
    broken_.expect(!first.has_thrown(), "a failure is a value and never an exception",
                   told(occasion, first));
    broken_.expect(first.succeeded(), "the sample request succeeds", told(occasion, first));
    if (!first.succeeded()) return false;
    took_ = first.ended_at() - began;
    w.settle(w.now() + how_.peers_notice_within);
    after_one_ = w.chains();

    call const c2 = w.new_call(how_.limit);
    call_type& second = w.start(sample_, c2);
    w.finish(second, c2.deadline());
    broken_.expect(second.succeeded(), "the sample request succeeds",
                   told("for the second time", second));
    leaves_nothing(w, "after a second call like the first");
    return true;
  }

  void copies_its_arguments() {
    here w{how_.seed, make_};
    call const c = w.new_call(how_.limit);
    call_type& it = w.start(sample_, c, true);
    w.finish(it, c.deadline());
    broken_.expect(it.succeeded(), "request and call are taken by value",
                   told("when the caller's own are gone", it));
  }

  void expired() {
    for (duration const ago : {duration::zero(), duration{std::chrono::seconds{5}}}) {
      here w{how_.seed, make_};
      call const c = w.new_call(-ago);
      time_point const began = w.now();
      call_type& it = w.start(sample_, c);
      w.finish(it, began + how_.limit);
      std::string const occasion = "a call whose deadline has passed";
      broken_.expect(it.ended_at() == began, "a call ends by its deadline", told(occasion, it));
      broken_.expect(it.failed_as(kind::timed_out), "a call that its deadline ends has timed out",
                     told(occasion, it));
      broken_.expect(it.why() == nullptr || it.why()->sure() == certainty::not_sent,
                     "a call whose deadline has passed is not sent", told(occasion, it));
      broken_.expect(acted() == 0, "a call whose deadline has passed is not sent", occasion);
      at_the_end(w, it, occasion);
    }
  }

  void ended_by_deadline(here& w, call_type& it, std::string const& occasion) {
    w.finish(it, it.of().deadline());
    broken_.expect(it.has_ended(), "a call ends by its deadline", told(occasion, it));
    broken_.expect(!it.has_ended() || it.why() == nullptr || it.failed_as(kind::timed_out),
                   "a call that its deadline ends has timed out", told(occasion, it));
    at_the_end(w, it, occasion);
  }

  void near_deadlines() {
    constexpr int parts = 16;
    for (int i = 1; i < parts && took_ > duration::zero(); ++i) {
      here w{how_.seed, make_};
      call_type& it = w.start(sample_, w.new_call(took_ * i / parts));
      ended_by_deadline(w, it,
                        "a deadline after " + std::to_string(i) + " of " + std::to_string(parts) +
                            " parts of the time it needs");
    }
  }

  void silenced() {
    bool goes_on = true;
    for (std::size_t n = 0; goes_on; n = step_after(n)) {
      here w{how_.seed, make_};
      call_type& it = w.start(sample_, w.new_call(how_.limit));
      goes_on = w.goes_on_after(n, it);
      how_.silence(w.world());
      ended_by_deadline(w, it, after_steps("when all falls silent", n));
    }
  }

  void cancelled(bool in_silence) {
    bool goes_on = true;
    for (std::size_t n = 0; goes_on; n = step_after(n)) {
      here w{how_.seed, make_};
      call_type& it = w.start(sample_, w.new_call(how_.limit));
      goes_on = w.goes_on_after(n, it);
      if (!goes_on) break;
      if (in_silence) how_.silence(w.world());
      time_point const at = w.now();
      it.cancel();
      w.finish(it, it.of().deadline());
      std::string const occasion =
          after_steps(in_silence ? "cancelled in silence" : "cancelled", n);
      broken_.expect(it.has_ended() && it.ended_at() <= at + how_.soon,
                     "a cancelled call ends soon", told(occasion, it));
      broken_.expect(it.why() == nullptr || it.failed_as(kind::cancelled),
                     "a cancelled call fails as cancelled", told(occasion, it));
      at_the_end(w, it, occasion);
    }
  }

  static bool is_fine(call_type const& c) { return c.succeeded() || c.failed_as(kind::overloaded); }

  void many_at_once() {
    std::size_t const steps = many("each of many at once succeeds", "many at once", {});
    for (std::size_t const part : {1U, 2U, 3U}) {
      static_cast<void>(many("cancelling some calls leaves the others alone",
                             "every second of many cancelled", steps * part / 4));
    }
  }
  /// How many steps it took. Cancels every second call after so many.
  std::size_t many(std::string_view promise, std::string const& occasion,
                   std::optional<std::size_t> cancel_after) {
    here w{how_.seed, make_};
    std::vector<call_type*> all;
    for (std::size_t i = 0; i < how_.at_once; ++i)
      all.push_back(&w.start(sample_, w.new_call(how_.limit)));
    time_point const until = w.now() + how_.limit;
    std::size_t steps = 0;
    for (bool more = true; more; ++steps) {
      if (steps == cancel_after) {
        for (std::size_t i = 1; i < all.size(); i += 2) all[i]->cancel();
      }
      bool const done = std::all_of(all.begin(), all.end(), [](auto* c) { return c->has_ended(); });
      more = !done && w.step(until);
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
      bool const let_be = !cancel_after || i % 2 == 0;
      if (let_be) broken_.expect(is_fine(*all[i]), promise, told(occasion, *all[i]));
    }
    leaves_nothing(w, occasion);
    return steps;
  }

  broken_promises& broken_;
  Make& make_;
  request const& sample_;
  service_check const& how_;
  duration took_{};
  std::size_t after_one_ = 0;
};

}  // namespace detail

/// The kit for services: whether a model keeps the promises of `Service`.
///
/// The author of a service adds one test file:
///
/// ```
/// auto make = [](sim::world& w) {
///   w.spawn(lamp(w));  // a peer that listens on "lamp", if the service needs one
///   return my_service{tcp{"lamp", 9000}};
/// };
/// service_check how;
/// how.silence = [](sim::world& w) { w.network().cut("lamp"); };
/// for (auto const& broken : check_service(make, my_request{}, how)) BOOST_ERROR(broken);
/// ```
///
/// `make` is called once for each of the many worlds of the check and gives the service by value.
/// The check takes no time but the processor's and does not hang: what never ends is given up at its
/// deadline. It gives a sentence for each promise that was broken, with the first occasion, and none
/// if all were kept. Deterministic. What `make` throws is thrown. A service whose chains cannot be
/// ended stays until the end of the program.
template <class Make>
[[nodiscard]] std::vector<std::string> check_service(
    Make make, request_of<std::invoke_result_t<Make&, sim::world&>> sample,
    service_check const& how = {}) {
  using service = std::invoke_result_t<Make&, sim::world&>;
  detail::broken_promises broken;
  detail::service_checker<service, Make>{broken, make, sample, how}.run();
  return std::move(broken).take();
}

}  // namespace cleat

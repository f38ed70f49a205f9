#pragma once

#include <cleat/base/event.hpp>
#include <cleat/base/events.hpp>
#include <cleat/base/scope.hpp>
#include <cleat/middleware/latency_window.hpp>
#include <cleat/middleware/middleware.hpp>
#include <cleat/middleware/per_peer.hpp>
#include <cleat/middleware/retry_budget.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

namespace cleat {

namespace detail {

/// Two attempts of one call, and who waits for them.
template <class Response>
class race {
 public:
  enum runner : std::size_t { first, second };

  void started() noexcept { ++under_way_; }
  void ended(runner who, result<Response>&& r) {
    outcomes_[who].emplace(std::move(r));
    --under_way_;
    if (outcomes_[who]->has_value() && !winner_) winner_ = who;
    news.set();
  }
  void threw(std::exception_ptr what) noexcept {
    if (!thrown_) thrown_ = std::move(what);
    news.set();
  }

  /// Nothing is left to wait for.
  [[nodiscard]] bool is_over() const noexcept { return winner_ || thrown_ || under_way_ == 0; }
  [[nodiscard]] bool won_by(runner who) const noexcept { return winner_ == who; }

  /// When all attempts have ended: the first success; or what was thrown; or the first attempt's
  /// failure, or that one of them was cancelled, with the worst certainty of both.
  [[nodiscard]] result<Response> take() && {
    if (winner_) return *std::move(outcomes_[*winner_]);
    if (thrown_) std::rethrow_exception(thrown_);
    failure const why = outcomes_[first]->error();
    if (!outcomes_[second]) return why;
    failure const other = outcomes_[second]->error();
    failure const& tells = other.why() == kind::cancelled ? other : why;
    return tells.with(worse(why.sure(), other.sure()))
        .with_attempts(why.attempts() + other.attempts());
  }

  event news;

 private:
  std::array<std::optional<result<Response>>, 2> outcomes_;
  std::optional<runner> winner_;
  std::exception_ptr thrown_;
  unsigned under_way_ = 0;
};

}  // namespace detail

/// Sends a second attempt beside the first when the first takes unusually long, and takes the
/// answer that comes first: `hedge().quantile(0.95)`. Against the slow few of many answers, not
/// against failures: those are for `retry`.
///
/// The second attempt is sent when the first has not answered within a quantile of the peer's last
/// latencies, or after a fixed time. It has the same operation id and correlation, the next attempt
/// number and the same deadline. (Outside a `retry`, which wants an `allow`, both attempts count on
/// from their own numbers, and numbers may come twice.) Only repeatable calls are hedged, only before
/// their deadline, and only within a budget: by default a tenth of the calls beside one a second, for
/// each peer.
///
/// The first success wins; the other attempt is cancelled, and has ended before the call does. A
/// first attempt that fails before the second was sent ends the call. When both have failed, the
/// failure is that of the first attempt, with the worst certainty of both and the number of
/// attempts. An exception ends both. Cancelling the call cancels both.
///
/// As latency counts how long a call took that succeeded, from its beginning. If the second attempt
/// won, nobody knows what the first would have taken, but that it is more: that counts as latency,
/// and at least an eighth more than the delay. So hedging does not hide the slow answers from
/// itself, and shorten its delay more and more. Cancelled attempts and failures do not count.
///
/// A call that may yet be hedged costs a chain beside its own and a timer; all others a coroutine.
///
/// Events: `layer_acted` with `hedge_sent` (`elapsed`: how long the first has taken so far),
/// `hedge_won` (`elapsed`: how long the second took), both of the second attempt, and
/// `hedge_budget_empty`. (After Dean and Barroso, "The tail at scale", 2013, and Finagle's backup
/// requests.)
class hedge : public stage {
 public:
  static constexpr layer is = layer::hedge;

  hedge() : windows_(latency_window::settings{}), budgets_(default_budget()) {}

  /// The second attempt is sent when the first has taken longer than this share of the last calls.
  /// While there are fewer than 100 of them it is not, unless `at_first` says when.
  [[nodiscard]] hedge quantile(double share) && {
    latency_window::settings s = windows_.with();
    s.quantile = share;
    return std::move(*this).quantile(s);
  }
  [[nodiscard]] hedge quantile(latency_window::settings const& s) && {
    windows_ = per_peer<latency_window>{s, windows_.peers_max()};
    fixed_.reset();
    return std::move(*this);
  }
  /// … after so long, while too few latencies are known.
  [[nodiscard]] hedge at_first(duration delay) && {
    at_first_ = delay;
    return std::move(*this);
  }
  /// … always after so long.
  [[nodiscard]] hedge after(duration delay) && {
    fixed_ = delay;
    return std::move(*this);
  }
  /// A budget for each peer with these settings: each repeatable call deposits, each second attempt
  /// takes a token.
  [[nodiscard]] hedge budget(retry_budget::settings s) && {
    budgets_ = per_peer<retry_budget>{s, budgets_.peers_max()};
    return std::move(*this);
  }
  /// So many peers have latencies and a budget of their own; see `per_peer`. A new one beyond is not
  /// hedged.
  [[nodiscard]] hedge peers_max(std::size_t n) && {
    windows_ = per_peer<latency_window>{windows_.with(), n};
    budgets_ = per_peer<retry_budget>{budgets_.with(), n};
    return std::move(*this);
  }
  /// One budget for all peers, and for whatever else shares it on this executor. With that of a
  /// `retry` each call deposits twice.
  [[nodiscard]] hedge budget(std::shared_ptr<retry_budget> shared) && {
    shared_ = std::move(shared);
    return std::move(*this);
  }

  /// What it needs of the service below.
  template <class S>
  struct needs {
    static_assert(std::copy_constructible<request_of<S>>,
                  "a `hedge` asks again with a copy of the request, and this request cannot be "
                  "copied: give it a copy constructor, or keep what cannot be copied in a "
                  "std::shared_ptr");
  };

  template <class Request, class Next>
  task<result<response_of<Next>>> operator()(Request q, call c, Next& next) {
    if (!c.repeatable) return alone(next, std::move(q), c);
    std::optional<duration> const delay = delay_for(c);
    if (!delay || saturated_add(c.now(), *delay) >= c.deadline())
      return alone(next, std::move(q), c);
    return raced(next, std::move(q), c, *delay);
  }

  /// "hedge(p95)", "hedge(p99.9, at first 50 ms)", "hedge(after 50 ms, shared budget)".
  [[nodiscard]] std::string describe() const {
    std::ostringstream says;
    says << "hedge(";
    if (fixed_) {
      says << "after " << to_text(*fixed_);
    } else {
      says << 'p' << windows_.with().quantile * 100;
      if (at_first_) says << ", at first " << to_text(*at_first_);
    }
    says << (shared_ ? ", shared budget)" : ")");
    return std::move(says).str();
  }

 private:
  static retry_budget::settings default_budget() {
    retry_budget::settings s;
    s.deposit = 0.1;
    s.floor = 1;
    s.saved_max = 10;
    return s;
  }

  /// What a first attempt would have taken that was cancelled after `took`: nobody knows, but more.
  /// An eighth more than the delay, at least: if it counted as little more than the delay, one that
  /// is too short by chance would never grow again.
  static duration at_least(duration took, duration delay) noexcept {
    return std::max(took, delay + delay / 8);
  }

  /// After how long the second attempt is to be sent, if ever.
  [[nodiscard]] std::optional<duration> delay_for(call const& c) {
    if (fixed_) return fixed_;
    auto const* const window = windows_.of(c.peer, c.now());
    auto const delay = window != nullptr ? window->quantile() : std::nullopt;
    return delay ? delay : at_first_;
  }

  // Looked up each time: it may have been forgotten, and be another one.
  [[nodiscard]] retry_budget* budget_of(call const& c, time_point now) {
    return shared_ ? shared_.get() : budgets_.of(c.peer, now);
  }
  void deposit(call const& c) {
    if (!c.repeatable) return;
    if (auto* const budget = budget_of(c, c.now())) budget->deposit();
  }
  void learn(call const& c, time_point now, duration latency) {
    if (fixed_ || !c.repeatable) return;
    if (auto* const window = windows_.of(c.peer, now)) window->add(latency);
  }

  template <class Request, class Next>
  task<result<response_of<Next>>> alone(Next& next, Request q, call c) {
    deposit(c);
    time_point const began = c.now();
    auto r = co_await next(std::move(q), c);
    if (r) learn(c, c.now(), c.now() - began);
    co_return r;
  }

  template <class Request, class Next>
  task<result<response_of<Next>>> raced(Next& next, Request q, call c, duration delay) {
    using race = detail::race<response_of<Next>>;
    deposit(c);
    environment& env = co_await this_chain::environment;
    race both;
    Request again = q;
    scope attempts{env};
    time_point const began = c.now();
    time_point sent = never;
    both.started();
    attempts.spawn(run(next, std::move(q), c, both, race::first));
    bool late = false;
    {
      auto const in_time = co_await both.news.wait(saturated_add(began, delay));
      late = !both.is_over() && in_time.error().why() == kind::timed_out;
    }
    time_point const now = c.now();
    if (late && !env.cancelled() && now < c.deadline()) {
      auto* const budget = budget_of(c, now);
      if (budget != nullptr && budget->withdraw(now)) {
        sent = now;
        notify(c.events, layer_acted{second_of(c), action::hedge_sent, nullptr, now - began});
        both.started();
        try {
          attempts.spawn(run(next, std::move(again), second_of(c), both, race::second));
        } catch (...) {  // no memory: the first still runs
          both.threw(std::current_exception());
        }
      } else {
        notify(c.events, layer_acted{c, action::hedge_budget_empty, nullptr, now - began});
      }
    }
    while (!both.is_over()) {
      auto const told = co_await both.news.wait();
      if (!told) break;  // cancelled
    }
    time_point const ended = c.now();
    attempts.cancel();
    co_await attempts.join();
    bool const second_won = both.won_by(race::second);
    if (second_won)
      notify(c.events, layer_acted{second_of(c), action::hedge_won, nullptr, ended - sent});
    if (second_won || both.won_by(race::first))
      learn(c, c.now(), second_won ? at_least(ended - began, delay) : ended - began);
    co_return std::move(both).take();
  }

  static call second_of(call c) noexcept {
    ++c.attempt;
    return c;
  }

  template <class Request, class Next>
  static task<> run(Next& next, Request q, call c, detail::race<response_of<Next>>& in,
                    typename detail::race<response_of<Next>>::runner who) {
    try {
      auto r = co_await next(std::move(q), c);
      in.ended(who, std::move(r));
    } catch (...) {
      in.threw(std::current_exception());
    }
  }

  per_peer<latency_window> windows_;
  per_peer<retry_budget> budgets_;
  std::shared_ptr<retry_budget> shared_;
  std::optional<duration> fixed_;
  std::optional<duration> at_first_;
};

}  // namespace cleat

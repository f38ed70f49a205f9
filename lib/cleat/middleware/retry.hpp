#pragma once

#include <cleat/base/events.hpp>
#include <cleat/base/mix.hpp>
#include <cleat/base/relay.hpp>
#include <cleat/middleware/backoff.hpp>
#include <cleat/middleware/middleware.hpp>
#include <cleat/middleware/per_peer.hpp>
#include <cleat/middleware/retry_budget.hpp>

#include <algorithm>
#include <concepts>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace cleat {

/// Whether another attempt can help, by what is known of the last one: the peer or the way to it
/// was in trouble, or it said itself that it may be asked again; and, if it may have acted, acting
/// twice does no harm.
[[nodiscard]] constexpr bool worth_retrying(kind why, certainty sure, bool allowed_by_peer,
                                            bool repeatable) noexcept {
  if (sure == certainty::maybe_executed && !repeatable) return false;
  switch (why) {
    case kind::timed_out:
    case kind::unresolved:
    case kind::refused:
    case kind::unreachable:
    case kind::reset:
    case kind::closed:
      return true;
    case kind::rejected:
    case kind::overloaded:
      return allowed_by_peer;
    case kind::cancelled:
    case kind::shut_down:
    case kind::malformed:
    case kind::resources:
    case kind::invalid:
      return false;
  }
  return false;
}

namespace detail {

/// Random bits for one wait: another sequence for each peer and each operation, the same in each
/// run of a simulation.
[[nodiscard]] inline std::uint64_t jitter_bits(call const& c) noexcept {
  return mix64(mix64(fnv1a(c.peer) ^ c.operation) + c.attempt);
}

}  // namespace detail

class retry;

namespace detail {

/// A call that is tried again if need be. As long as it need not be, it costs no coroutine.
template <class Request, class Next>
class retried final : public relay<retried<Request, Next>> {
  using outcome = result<response_of<Next>>;
  using attempt = decltype(ask_with_copy(std::declval<Next&>(), std::declval<Request const&>(),
                                         std::declval<call const&>()));

 public:
  template <class Q>
  retried(retry& by, Q&& q, call const& c, Next& next)
      : by_(by), request_(std::forward<Q>(q)), call_(c), attempt_(c), next_(next) {}

  bool step();

  outcome await_resume() {
    this->rethrow();
    if (others_) return others_->resume();
    return *std::move(outcome_);
  }

 private:
  retry& by_;
  Request request_;
  call call_;
  call attempt_;  ///< the first, as it was handed on
  Next& next_;
  std::optional<held<attempt>> first_;
  std::optional<outcome> outcome_;  ///< of the first
  std::optional<held<task<outcome>>> others_;
};

}  // namespace detail

/// Tries again what failed and may succeed: `retry(2).per_attempt(1500ms)`.
///
/// Another attempt is made if the failure is worth it (see `worth_retrying`), attempts are left,
/// the wait ends before the call's deadline, and the budget allows it. The wait is the backoff, or
/// what the peer asked for if that is longer. A wait that is asked for is never shortened: if it
/// does not fit before the deadline, or is longer than `asked_wait_max`, the call fails at once, and
/// its failure names the wait. Every attempt has the call's operation id and its own
/// number. The failure of the last attempt is what the call gives, with the number of attempts and
/// the worst certainty of all of them.
class retry : public stage {
 public:
  static constexpr layer is = layer::retry;

  /// At most so many attempts in all; 1 means none but the first.
  explicit retry(unsigned attempts_max)
      : attempts_max_(std::max(attempts_max, 1U)), budgets_(retry_budget::settings{}) {}

  /// How long each attempt may take.
  [[nodiscard]] retry per_attempt(duration limit) && {
    per_attempt_ = limit;
    return std::move(*this);
  }
  /// How long to wait between attempts; by default full jitter up to 100 ms, 200 ms, … 5 s.
  [[nodiscard]] retry wait(backoff b) && {
    backoff_ = b;
    return std::move(*this);
  }
  /// The longest wait that a peer may ask for, also of a call without a deadline; by default 1 h.
  /// One that asks for more is not asked again.
  [[nodiscard]] retry asked_wait_max(duration limit) && {
    asked_wait_max_ = limit;
    return std::move(*this);
  }
  /// A budget for each peer with these settings.
  [[nodiscard]] retry budget(retry_budget::settings s) && {
    budgets_ = per_peer<retry_budget>{s, budgets_.peers_max()};
    return std::move(*this);
  }
  /// So many peers have a budget of their own; see `per_peer`. A new one beyond is not tried again.
  [[nodiscard]] retry peers_max(std::size_t n) && {
    budgets_ = per_peer<retry_budget>{budgets_.with(), n};
    return std::move(*this);
  }
  /// One budget for all peers, and for whatever else shares it on this executor.
  [[nodiscard]] retry budget(std::shared_ptr<retry_budget> shared) && {
    shared_ = std::move(shared);
    return std::move(*this);
  }

  /// What it needs of the service below.
  template <class S>
  struct needs {
    static_assert(std::copy_constructible<request_of<S>>,
                  "a `retry` asks again with a copy of the request, and this request cannot be "
                  "copied: give it a copy constructor, or keep what cannot be copied in a "
                  "std::shared_ptr");
  };

  template <class Request, class Next>
  auto operator()(Request&& q, call const& c, Next& next) {
    return detail::retried<std::remove_cvref_t<Request>, Next>{*this, std::forward<Request>(q), c,
                                                               next};
  }

  [[nodiscard]] std::string describe() const {
    std::string says = "retry(" + std::to_string(attempts_max_);
    if (per_attempt_ != unlimited) says += ", " + to_text(per_attempt_) + " each";
    if (shared_) says += ", shared budget";
    return says + ")";
  }

 private:
  template <class Request, class Next>
  friend class detail::retried;

  static constexpr duration unlimited = never - time_point{};

  /// Null: there is no room for a new peer's.
  [[nodiscard]] retry_budget* budget_of(call const& c, time_point now) {
    return shared_ ? shared_.get() : budgets_.of(c.peer, now);
  }
  /// What one attempt is given of the call.
  [[nodiscard]] call attempt_of(call const& c) const {
    call attempt = c;
    if (per_attempt_ != unlimited) attempt.tighten(saturated_add(c.now(), per_attempt_));
    return attempt;
  }

  /// What follows when the first attempt has failed.
  template <class Request, class Next>
  task<result<response_of<Next>>> after_the_first(Request q, call c, Next& next, failure why) {
    certainty worst = certainty::not_sent;
    unsigned attempts = 0;  // with those that a layer below makes for one of ours
    for (unsigned made = 1;; ++made) {
      worst = worse(worst, why.sure());
      attempts += why.attempts();
      failure const total = why.with(worst).with_attempts(attempts);

      if (made >= attempts_max_) co_return total;
      if (!worth_retrying(why.why(), why.sure(), why.retry_after().has_value(), c.repeatable))
        co_return total;
      duration wait = backoff_.wait(made, detail::jitter_bits(c));
      if (auto const asked = why.retry_after()) {
        if (*asked > asked_wait_max_) co_return total;
        wait = std::max<duration>(wait, *asked);
      }
      time_point const at = saturated_add(c.now(), wait);
      if (at >= c.deadline()) co_return total;
      time_point const now = c.now();
      retry_budget* const budget = budget_of(c, now);
      if (budget == nullptr || !budget->withdraw(now)) {
        notify(c.events, retry_budget_empty{c, why});
        co_return total;
      }
      notify(c.events, retry_scheduled{c, why, wait});
      auto const slept = co_await sleep_until(at);
      if (!slept) co_return slept.error().with(worst).with_attempts(attempts);

      c.attempt += why.attempts();
      call const attempt = attempt_of(c);
      auto r = co_await ask_with_copy(next, q, attempt);
      if (r) co_return r;
      why = r.error();
    }
  }

  unsigned attempts_max_;
  duration per_attempt_ = unlimited;
  duration asked_wait_max_ = std::chrono::hours{1};
  backoff backoff_ = backoff::full_jitter(std::chrono::milliseconds{100}, std::chrono::seconds{5});
  per_peer<retry_budget> budgets_;
  std::shared_ptr<retry_budget> shared_;
};

template <class Request, class Next>
bool detail::retried<Request, Next>::step() {
  if (others_) return true;
  if (!first_) {
    if (auto* const budget = by_.budget_of(call_, call_.now())) budget->deposit();
    attempt_ = by_.attempt_of(call_);
    first_.emplace([&] { return ask_with_copy(next_, request_, attempt_); });
    if (this->wait_for(*first_)) return false;
  }
  outcome_.emplace(first_->resume());
  if (*outcome_) return true;
  first_.reset();
  others_.emplace(
      [this] { return by_.after_the_first(std::move(request_), call_, next_, outcome_->error()); });
  return !this->wait_for(*others_);
}

}  // namespace cleat

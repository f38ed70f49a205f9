#pragma once

#include <cleat/base/events.hpp>
#include <cleat/base/in_place.hpp>
#include <cleat/middleware/circuit.hpp>
#include <cleat/middleware/middleware.hpp>
#include <cleat/middleware/per_peer.hpp>

#include <chrono>
#include <coroutine>
#include <functional>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

namespace cleat {

/// What the end of a call says of the peer.
enum class peer_health : std::uint8_t {
  good,     ///< it answered
  bad,      ///< it, or the way to it, is in trouble
  unknown,  ///< nothing: the call ended for a reason of ours
};

/// What a failure says of the peer, unless a `breaker` is told otherwise.
///
/// A refusal is an answer, and the peer is well; but one that comes with "not now, later"
/// (`retry_after`) is how a peer says that it is overloaded. `overloaded` is a limit of our own
/// unless the request reached the peer. Who answers what cannot be read is not well.
[[nodiscard]] inline peer_health health_by(failure const& why) noexcept {
  switch (why.why()) {
    case kind::timed_out:
    case kind::unresolved:
    case kind::refused:
    case kind::unreachable:
    case kind::reset:
    case kind::closed:
    case kind::malformed:
      return peer_health::bad;
    case kind::rejected:
      return why.retry_after() ? peer_health::bad : peer_health::good;
    case kind::overloaded:
      return why.sure() == certainty::not_sent ? peer_health::unknown : peer_health::bad;
    case kind::cancelled:
    case kind::shut_down:
    case kind::resources:
    case kind::invalid:
      return peer_health::unknown;
  }
  return peer_health::unknown;
}

namespace detail {

/// A call under a breaker. Costs no coroutine, and if it is rejected not even one of `next`.
template <class Request, class Next>
class guarded final : public in_place {
  using awaitable = decltype(std::declval<Next&>()(std::declval<Request>(), std::declval<call>()));

 public:
  using judge = std::function<peer_health(failure const&)>;

  guarded(circuit* shared, per_peer<circuit>& circuits, judge const& judged_by, Request&& q,
          call const& c, Next& next)
      : circuit_(shared),
        circuits_(circuits),
        judge_(judged_by),
        next_(next),
        request_(std::move(q)),
        call_(c) {}
  ~guarded() {
    if (pass_) circuit_->abandoned(*pass_);
  }

  [[nodiscard]] static constexpr bool await_ready() noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> h) {
    time_point const now = call_.now();
    expired_ = now >= call_.deadline();
    if (circuit_ == nullptr) circuit_ = circuits_.of(call_.peer, now);
    if (circuit_ == nullptr) {
      reject(circuits_.refusal(), {});
      return false;
    }
    circuit::admission const a = circuit_->admit(now);
    if (!a.let_through) {
      auto const ms = std::chrono::ceil<failure::duration>(a.wait);
      reject(failure{kind::overloaded, certainty::not_sent}
                 .with_detail("breaker open" + circuit_->cause())
                 .with_retry_after(ms),
             a.wait);
      return false;
    }
    pass_ = a.with;
    if (a.half_opened) tell(action::breaker_half_opened, nullptr, {});
    try {
      below_.emplace([&] { return next_(std::move(request_), call_); });
      return below_->suspend(h);
    } catch (...) {
      ended_by_exception();
      throw;
    }
  }
  result<response_of<Next>> await_resume() {
    if (rejected_) return *rejected_;
    try {
      result<response_of<Next>> r = below_->resume();
      if (r) {
        succeeded();
      } else {
        ended(r.error());
      }
      return r;
    } catch (...) {
      ended_by_exception();
      throw;
    }
  }

 private:
  void tell(action what, failure const* why, duration elapsed) const noexcept {
    notify(call_.events, layer_acted{call_, what, why, elapsed});
  }
  void reject(failure const& why, duration wait) {
    rejected_ = why;
    tell(action::breaker_rejected, &*rejected_, wait);
  }
  /// Gives the pass back, at most once.
  template <class How>
  circuit::turn give_back(How how) {
    if (!pass_) return {};
    circuit::pass const p = *pass_;
    pass_.reset();
    return how(p);
  }
  void succeeded() {
    auto const t = give_back([&](auto const& p) { return circuit_->succeeded(p, call_.now()); });
    if (t.what == circuit::turn::to::closed) tell(action::breaker_closed, nullptr, t.time);
  }
  void failed(failure const& why) {
    auto const t = give_back([&](auto const& p) { return circuit_->failed(p, call_.now(), why); });
    if (t.what == circuit::turn::to::opened) tell(action::breaker_opened, &why, t.time);
  }
  void ended(failure const& why) {
    switch (judged(why)) {
      case peer_health::good:
        return succeeded();
      case peer_health::bad:
        return failed(why);
      case peer_health::unknown:
        // Here, since whoever awaits may keep us longer than the call lasts.
        static_cast<void>(give_back([&](auto const& p) {
          circuit_->abandoned(p);
          return circuit::turn{};
        }));
    }
  }
  [[nodiscard]] peer_health judged(failure const& why) const {
    // It was too late before it began: the peer was not asked.
    if (expired_ || why.why() == kind::cancelled) return peer_health::unknown;
    return judge_ ? judge_(why) : health_by(why);
  }
  void ended_by_exception() {
    failed(failure{kind::invalid}.with_detail("an exception left a layer"));
  }

  circuit* circuit_;  ///< its own, or from the beginning of the call that of its peer
  per_peer<circuit>& circuits_;
  judge const& judge_;
  Next& next_;
  Request request_;
  call call_;
  bool expired_ = false;
  std::optional<circuit::pass> pass_;  ///< while the call is under way
  std::optional<failure> rejected_;
  std::optional<held<awaitable>> below_;
};

}  // namespace detail

/// A circuit breaker: stops asking a peer that is in trouble, and tries again from time to time.
/// See `circuit` for how.
///
/// What it does not let through fails at once as `overloaded`, `not_sent`, "breaker open after 5
/// failures, the last: refused", with the time until the next trial as `retry_after` (zero while
/// trials are under way). So a `retry` outside it waits for the trial if the call's deadline is
/// later, and gives up at once if not.
///
/// Each peer has its own circuit (see `per_peer`), unless one is shared. A new peer fails in the same
/// way while `peers_max` others have calls under way or failures that are not forgiven. What counts
/// is said by `health_by`, or by `counts`. A call that is cancelled, or whose deadline had passed before it
/// began, counts neither way; if it was a trial, the next call is one. A trial without a deadline
/// that never ends keeps its place for as long. An exception of `next` counts as a failure.
///
/// Events: `layer_acted` with `breaker_opened` (`why`; `elapsed`: how long it stays open),
/// `breaker_rejected` (`why`; `elapsed`: until it is half open), `breaker_half_opened`, and
/// `breaker_closed` (`elapsed`: how long it was not). Allocates nothing for a call.
class breaker : public stage {
 public:
  static constexpr layer is = layer::breaker;
  using judge = std::function<peer_health(failure const&)>;

  explicit breaker(circuit::settings const& s = {}) : circuits_(s) {}

  /// Opens after so many failures in a row, whatever their share is.
  [[nodiscard]] breaker failures(unsigned in_a_row) && {
    circuit::settings s = circuits_.with();
    s.failures = in_a_row;
    s.ratio = 0;
    return std::move(*this).set(s);
  }
  /// Opens when a call fails and with it this share of the calls of the last `window`, if there
  /// were at least `calls_min`; however many in a row they were. (Settings with both open it either
  /// way.)
  [[nodiscard]] breaker ratio(double share, unsigned calls_min = 20,
                              duration window = std::chrono::seconds{10}) && {
    circuit::settings s = circuits_.with();
    s.failures = 0;
    s.ratio = share;
    s.calls_min = calls_min;
    s.window = window;
    return std::move(*this).set(s);
  }
  /// How long it is open: `first`, and after each trial that fails twice as long, up to `most`.
  [[nodiscard]] breaker open_for(duration first, duration most = std::chrono::seconds{60}) && {
    circuit::settings s = circuits_.with();
    s.open_for = first;
    s.open_max = most;
    return std::move(*this).set(s);
  }
  /// How many calls at once are let through when it is half open, and how many have to succeed to
  /// close it (0: as many).
  [[nodiscard]] breaker trials(unsigned at_once, unsigned successes = 0) && {
    circuit::settings s = circuits_.with();
    s.trials = at_once;
    s.successes = successes;
    return std::move(*this).set(s);
  }
  /// So many peers have a circuit of their own; see `per_peer`.
  [[nodiscard]] breaker peers_max(std::size_t n) && {
    circuits_ = per_peer<circuit>{circuits_.with(), n};
    return std::move(*this);
  }
  /// What a failure says of the peer, instead of `health_by`. Is not asked about `cancelled`.
  [[nodiscard]] breaker counts(judge by) && {
    judge_ = std::move(by);
    return std::move(*this);
  }
  /// One circuit, with its own settings, for all peers and for whatever else shares it on this
  /// executor. For what fails together: several names of one machine.
  [[nodiscard]] breaker shared(std::shared_ptr<circuit> with) && {
    shared_ = std::move(with);
    return std::move(*this);
  }

  template <class Request, class Next>
  auto operator()(Request q, call const& c, Next& next) {
    return detail::guarded<Request, Next>{shared_.get(), circuits_, judge_, std::move(q), c, next};
  }

  /// "breaker(5 in a row, open 5 s)", "breaker(50% of 20 or more in 10 s, open 5 s)".
  [[nodiscard]] std::string describe() const {
    circuit::settings const& s = shared_ ? shared_->with() : circuits_.with();
    std::ostringstream says;
    says << "breaker(";
    if (s.failures != 0) says << s.failures << " in a row, ";
    if (s.ratio > 0) {
      says << s.ratio * 100 << "% of " << s.calls_min << " or more in " << to_text(s.window)
           << ", ";
    }
    says << "open " << to_text(s.open_for) << (shared_ ? ", shared)" : ")");
    return std::move(says).str();
  }

 private:
  [[nodiscard]] breaker set(circuit::settings const& s) && {
    circuits_ = per_peer<circuit>{s, circuits_.peers_max()};
    return std::move(*this);
  }

  per_peer<circuit> circuits_;
  std::shared_ptr<circuit> shared_;
  judge judge_;
};

}  // namespace cleat

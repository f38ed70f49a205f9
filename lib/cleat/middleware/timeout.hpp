#pragma once

#include <cleat/base/clock.hpp>
#include <cleat/base/events.hpp>
#include <cleat/base/scope.hpp>
#include <cleat/middleware/middleware.hpp>

#include <optional>
#include <string>
#include <utility>

namespace cleat {

namespace detail {

/// Cancels what runs in a scope, at a time.
class expiry {
 public:
  expiry(scope& what, call const& of, time_point began) noexcept
      : what_(what), of_(of), began_(began) {}

  void at(environment::executor_type const& executor, time_point due) {
    timer_.set(executor, due, [](void* self) { static_cast<expiry*>(self)->expire(); }, this);
  }
  [[nodiscard]] bool has_come() const noexcept { return has_come_; }

 private:
  void expire() {
    has_come_ = true;
    auto const why = failure{kind::timed_out};
    notify(of_.events, layer_acted{of_, action::timeout_expired, &why, of_.now() - began_});
    what_.cancel();
  }

  scope& what_;
  call const& of_;
  time_point began_;
  timer timer_;
  bool has_come_ = false;
};

}  // namespace detail

/// Makes a foreign service, which knows nothing of deadlines, keep them: `timeout(2s) | theirs`.
///
/// It runs `next` as a chain of its own. After so long, or at the call's deadline if that is
/// earlier, it cancels that chain and waits until it has ended. What succeeds in spite of its
/// cancellation is passed on.
///
/// This is the only place in cleat where a timer stands beside a call. Never put it over a session,
/// `per_call` or `persistent`: these keep the deadline themselves, at less cost, and know what was
/// sent; write `deadline(2s)`. A service that does not obey cancellation either cannot be helped:
/// the call does not end before it does, since nothing that a call started outlives it.
///
/// Failures: `timed_out`, with the certainty that the cancelled service gives: `maybe_executed`
/// unless it knows better; `not_sent` if the time was over before it was asked. A service that
/// fails otherwise than as `cancelled` when it is cancelled has the last word. Cancelling the call
/// cancels the service; an exception of the service passes through.
///
/// Events: `timeout_expired`, when the time is over, with how long it was.
class timeout : public stage {
 public:
  static constexpr layer is = layer::timeout;

  explicit timeout(duration most) noexcept : most_(most) {}

  template <class Request, class Next>
  task<result<response_of<Next>>> operator()(Request q, call c, Next& next) {
    environment& env = co_await this_chain::environment;
    if (env.cancelled()) co_return failure{kind::cancelled, certainty::not_sent};
    time_point const began = c.now();
    c.tighten(saturated_add(began, most_));
    if (c.deadline() <= began) co_return failure{kind::timed_out, certainty::not_sent};

    std::optional<result<response_of<Next>>> got;
    scope beside{env};
    detail::expiry over{beside, c, began};
    over.at(env.executor(), c.deadline());
    beside.spawn(detail::keep(ask(next, std::move(q), c), got));
    co_await beside.join();  // hands our own cancellation on; rethrows

    if (over.has_come() && !*got && !env.cancelled()) {
      failure const why = got->error();
      if (why.why() == kind::cancelled)
        co_return failure{kind::timed_out, why.sure()}
            .with_detail(why.detail())
            .with_attempts(why.attempts());
    }
    co_return *std::move(got);
  }

  [[nodiscard]] std::string describe() const { return "timeout(" + to_text(most_) + ")"; }

 private:
  duration most_;
};

}  // namespace cleat

#pragma once

#include <cleat/base/events.hpp>
#include <cleat/middleware/middleware.hpp>

#include <concepts>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>

namespace cleat {

/// What a `fallback` is for unless its `on` says something else: every failure that is not the
/// caller's own doing.
class every_failure {
 public:
  bool operator()(failure const& why) const noexcept {
    return why.why() != kind::cancelled && why.why() != kind::invalid;
  }
};

namespace detail {

template <class F, class Request, class Response>
concept StopgapService =
    Service<F> && std::same_as<request_of<F>, Request> && std::same_as<response_of<F>, Response>;

template <class F, class Request>
concept StopgapFunction = std::invocable<F&, Request const&, failure const&> ||
                          std::invocable<F&, Request const&, failure const&, call const&>;

/// What the function gives, awaited if it has to be.
template <class X>
struct stopgap_outcome {
  using type = X;
};
template <AwaitableInTask X>
struct stopgap_outcome<X> {
  using type = await_result_t<X>;
};

}  // namespace detail

/// Answers otherwise after a failure: `fallback(last_known) | retry(2) | service`.
///
/// `F` is one of
/// - a value: the answer;
/// - a function `(request const&, failure const&)`, or with a third argument `call const&`, that
/// gives a response, a `result` of it, or something awaitable that gives one of these. A function
/// that waits keeps the call's deadline itself: it takes the call for that;
/// - a service with the same request and response, which gets the request and the call: the same
/// operation, the same deadline, the next number of attempt.
///
/// Failures are left as they are when the predicate of `on` does not choose them (by default
/// `cancelled` and `invalid`), and always when the call was cancelled or came after its deadline. If
/// the deadline passes on the way, a value or a function answers still, but nothing is awaited. A
/// service acts, so it is not asked when the call must not be repeated and may have been executed.
///
/// When the fallback fails too, the call gives the first failure with the worse certainty of both.
/// What a function throws is thrown.
template <class F, class On = every_failure>
class fallback : public stage {
 public:
  static constexpr layer is = layer::fallback;

  explicit fallback(F f, On on = {}) : instead_(std::move(f)), on_(std::move(on)) {}

  /// For which failures: `predicate(failure const&) -> bool`. A cancelled call is never one of them.
  template <std::predicate<failure const&> Predicate>
  [[nodiscard]] fallback<F, Predicate> on(Predicate predicate) && {
    return fallback<F, Predicate>{std::move(instead_), std::move(predicate)};
  }

  /// What it needs of the service below.
  template <class S>
  struct needs {
    static constexpr bool by_service = detail::StopgapService<F, request_of<S>, response_of<S>>;
    static constexpr bool by_function = detail::StopgapFunction<F, request_of<S>>;
    static constexpr bool by_value = std::convertible_to<F const&, response_of<S>>;
    static_assert(int{by_service} + int{by_function} + int{by_value} == 1,
                  "a fallback is one of: a value of the response type; a function (request const&, "
                  "failure const&) with or without a call const& behind; a service with the same "
                  "request and response");
    static_assert(by_value || std::copy_constructible<request_of<S>>,
                  "a `fallback` to a function or a service keeps a copy of the request for it, and "
                  "this request cannot be copied: give it a copy constructor, or keep what cannot "
                  "be copied in a std::shared_ptr");
  };

  template <class Request, class Next>
  task<result<response_of<Next>>> operator()(Request q, call c, Next& next) {
    using response = response_of<Next>;
    constexpr bool by_service = needs<Next>::by_service;
    constexpr bool by_value = needs<Next>::by_value;
    bool const in_time = c.now() < c.deadline();
    if constexpr (by_value) {
      auto r = co_await next(std::move(q), c);
      if (r) co_return r;
      failure const why = r.error();
      bool const cancelled = co_await this_chain::cancelled;
      if (cancelled || !in_time || !chosen(why)) co_return r;
      response stopgap = std::as_const(instead_);
      used(c, why, c.now());
      co_return stopgap;
    } else {
      auto r = co_await ask_with_copy(next, q, c);
      if (r) co_return r;
      failure const why = r.error();
      bool const cancelled = co_await this_chain::cancelled;
      if (cancelled || !in_time || !chosen(why)) co_return r;
      time_point const began = c.now();
      if constexpr (by_service) {
        bool const acted = why.sure() == certainty::maybe_executed;
        if (began >= c.deadline() || (acted && !c.repeatable)) co_return r;
        call other = c;
        other.attempt += why.attempts();
        auto stopgap = co_await detail::start(instead_, std::move(q), other);
        unsigned const made = why.attempts() + (stopgap ? 0U : stopgap.error().attempts());
        co_return told(std::move(stopgap), c, why.with_attempts(made), began);
      } else {
        using given = decltype(give(q, why, c));
        using outcome = typename detail::stopgap_outcome<given>::type;
        static_assert(std::constructible_from<result<response>, outcome>,
                      "the function of a fallback gives a response, a result of it, or something "
                      "awaitable that gives one of these");
        if constexpr (AwaitableInTask<given>) {
          if (began >= c.deadline()) co_return r;
          auto stopgap = co_await give(q, why, c);
          co_return told(result<response>(std::move(stopgap)), c, why, began);
        } else {
          result<response> stopgap(give(q, why, c));
          co_return told(std::move(stopgap), c, why, began);
        }
      }
    }
  }

  [[nodiscard]] description describe() const {
    description mine{"fallback"};
    if constexpr (Service<F>) mine = std::move(mine).over(cleat::describe(instead_), "instead");
    return mine;
  }

 private:
  [[nodiscard]] bool chosen(failure const& why) {
    return why.why() != kind::cancelled && std::invoke(on_, why);
  }
  template <class Request>
  decltype(auto) give(Request const& q, failure const& why, call const& c) {
    if constexpr (std::invocable<F&, Request const&, failure const&>) {
      return std::invoke(instead_, q, why);
    } else {
      return std::invoke(instead_, q, why, c);
    }
  }
  static void used(call const& c, failure const& why, time_point began) noexcept {
    notify(c.events, layer_acted{c, action::fallback_used, &why, c.now() - began});
  }
  /// What the call gives, after `why`, when the fallback gave this.
  template <class Response>
  static result<Response> told(result<Response> stopgap, call const& c, failure const& why,
                               time_point began) {
    if (stopgap) {
      used(c, why, began);
      return stopgap;
    }
    failure const its = stopgap.error();
    certainty const worst = worse(why.sure(), its.sure());
    return (its.why() == kind::cancelled ? its : why).with(worst).with_attempts(why.attempts());
  }

  [[no_unique_address]] F instead_;
  [[no_unique_address]] On on_;
};

template <class F>
fallback(F) -> fallback<F>;

}  // namespace cleat

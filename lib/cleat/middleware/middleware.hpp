#pragma once

#include <cleat/middleware/order.hpp>
#include <cleat/service/description.hpp>
#include <cleat/service/service.hpp>

#include <concepts>
#include <string>
#include <type_traits>
#include <utility>

namespace cleat {

/// Anything callable as `(request, call, next&) -> task<result<response>>`, where `next` is the
/// service below it: a function is enough.
///
/// - It may call `next` once, several times or not at all, change the request or the call, and
/// change the answer.
/// - `next` lives as long as the pipeline, and the pipeline outlives its calls.
/// - It only ever brings the deadline forward, and races no timer against `next`: what is below
/// keeps the deadline.
/// - Declare the return type. (A deduced one would make the compiler look into the body to find
/// it.)
///
/// ```
/// auto slow_log = [](auto q, call c, auto& next) -> task<result<response_of<decltype(next)>>> {
///   auto const began = c.now();
///   auto r = co_await next(std::move(q), c);
///   if (c.now() - began > 100ms) std::clog << "slow: " << c.peer << '\n';
///   co_return r;
/// };
/// ```
template <class M, class S>
concept Middleware = Service<S> && requires(M& m, request_of<S> q, call const& c, S& next) {
  { m(std::move(q), c, next) } -> AwaitsTo<result<response_of<S>>>;
};

/// Marks the library's own middleware, so that `|` finds them.
class stage {};

/// Lets a lambda begin a chain of lambdas: `middleware(f) | g | service`.
template <class F>
class middleware : public stage, public F {
 public:
  explicit middleware(F f) : F(std::move(f)) {}
  using F::operator();
};

/// A middleware that several pipelines share, and that outlives them: what `shared(m)` makes. One
/// retry budget for a whole fleet, one observer for all of its connections.
template <class M>
class shared_stage : public stage {
 public:
  static constexpr layer is = layer_of<M>;
  template <order_rule Rule>
  static constexpr bool allows = detail::allows<M, Rule>;

  explicit shared_stage(M& m) noexcept : middleware_(&m) {}

  template <class Request, class Next>
  auto operator()(Request q, call const& c, Next& next) const
      -> decltype(std::declval<M&>()(std::move(q), c, next)) {
    return (*middleware_)(std::move(q), c, next);
  }

  [[nodiscard]] std::string describe() const {
    return "shared " + cleat::describe(*middleware_).what;
  }

 private:
  M* middleware_;
};

template <class M>
[[nodiscard]] shared_stage<M> shared(M& m) noexcept {
  return shared_stage<M>{m};
}

/// A middleware that may stand where some rules of order say it should not.
template <class M, order_rule... Rules>
class allowed_stage : public stage {
 public:
  static constexpr layer is = layer_of<M>;
  template <order_rule Rule>
  static constexpr bool allows = ((Rule == Rules) || ...) || detail::allows<M, Rule>;

  explicit allowed_stage(M m) : middleware_(std::move(m)) {}

  template <class Request, class Next>
  auto operator()(Request q, call const& c, Next& next)
      -> decltype(std::declval<M&>()(std::move(q), c, next)) {
    return middleware_(std::move(q), c, next);
  }

  [[nodiscard]] std::string describe() const { return cleat::describe(middleware_).what; }

 private:
  M middleware_;
};

/// Overrides rules of order, by their names, for the layer that stands outside:
/// `allow<order_rule::breaker_outside_retry>(breaker()) | retry(2) | service`.
template <order_rule... Rules, class M>
[[nodiscard]] allowed_stage<M, Rules...> allow(M m) {
  return allowed_stage<M, Rules...>{std::move(m)};
}

/// A middleware on top of a service: a service again. Typed all the way down.
template <class M, Service S>
class pipeline {
 public:
  using request = request_of<S>;
  using response = response_of<S>;
  static constexpr layer_set layers = layers_of<S>.with(layer_of<M>);
  static_assert(detail::order_of<M, S>::checked);

  pipeline(M m, S s) : middleware_(std::move(m)), service_(std::move(s)) {
    static_assert(Middleware<M, S>,
                  "a middleware must be callable as (request, call, next&) -> "
                  "task<result<response>>, with the return "
                  "type declared, for the request and the response of the service below it");
  }

  auto operator()(request q, call const& c) { return middleware_(std::move(q), c, service_); }

  /// With a fresh call on the chain's executor.
  task<result<response>> operator()(request q) {
    environment& env = co_await this_chain::environment;
    call const c{env};
    auto r = co_await middleware_(std::move(q), c, service_);
    co_return r;
  }

  /// What it is made of, for people.
  [[nodiscard]] description describe() const {
    return cleat::describe(middleware_).over(cleat::describe(service_));
  }

 private:
  [[no_unique_address]] M middleware_;
  S service_;
};

namespace detail {

template <class M, class S>
auto on_top(M outer, S service);

}  // namespace detail

/// Two middlewares that wait for their service.
template <class A, class B>
class stacked : public stage {
 public:
  stacked(A outer, B inner) : outer_(std::move(outer)), inner_(std::move(inner)) {}

  template <Service S>
  auto over(S service) && {
    return detail::on_top(std::move(outer_), detail::on_top(std::move(inner_), std::move(service)));
  }

 private:
  A outer_;
  B inner_;
};

namespace detail {

template <class T>
concept IsStage = std::derived_from<std::remove_cvref_t<T>, stage>;

template <class T>
struct is_stacked : std::false_type {};
template <class A, class B>
struct is_stacked<stacked<A, B>> : std::true_type {};

template <class M, class S>
auto on_top(M outer, S service) {
  if constexpr (is_stacked<M>::value) {
    return std::move(outer).over(std::move(service));
  } else {
    return pipeline<M, S>{std::move(outer), std::move(service)};
  }
}

}  // namespace detail

/// Composes: `a | b | service`, the outermost first. A call goes through them from left to right,
/// its answer back.
template <class M, class S>
  requires Service<std::remove_cvref_t<S>>
auto operator|(M&& outer, S&& service) {
  return detail::on_top<std::remove_cvref_t<M>, std::remove_cvref_t<S>>(std::forward<M>(outer),
                                                                        std::forward<S>(service));
}

template <class A, class B>
  requires(!Service<std::remove_cvref_t<B>> && (detail::IsStage<A> || detail::IsStage<B>))
auto operator|(A&& outer, B&& inner) {
  return stacked<std::remove_cvref_t<A>, std::remove_cvref_t<B>>{std::forward<A>(outer),
                                                                 std::forward<B>(inner)};
}

}  // namespace cleat

#pragma once

#include <cleat/middleware/order.hpp>
#include <cleat/service/description.hpp>
#include <cleat/service/service.hpp>

#include <concepts>
#include <cstddef>
#include <tuple>
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
  auto operator()(Request&& q, call const& c, Next& next) const
      -> decltype(std::declval<M&>()(std::forward<Request>(q), c, next)) {
    return (*middleware_)(std::forward<Request>(q), c, next);
  }

  [[nodiscard]] description describe() const {
    description says = cleat::describe(*middleware_);
    says.what.insert(0, "shared ");
    return says;
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
  auto operator()(Request&& q, call const& c, Next& next)
      -> decltype(std::declval<M&>()(std::forward<Request>(q), c, next)) {
    return middleware_(std::forward<Request>(q), c, next);
  }

  [[nodiscard]] description describe() const { return cleat::describe(middleware_); }

 private:
  M middleware_;
};

/// Overrides rules of order, by their names, for the layer that stands outside:
/// `allow<order_rule::breaker_outside_retry>(breaker()) | retry(2) | service`.
template <order_rule... Rules, class M>
[[nodiscard]] allowed_stage<M, Rules...> allow(M m) {
  return allowed_stage<M, Rules...>{std::move(m)};
}

/// A middleware on top of a service, what `|` makes: a service again. Typed all the way down.
template <class M, Service S>
class pipeline {
 public:
  using request = request_of<S>;
  using response = response_of<S>;
  static constexpr layer_set layers = layers_of<S>.with(layer_of<M>);

  static_assert(
      Middleware<M, S>,
      "a middleware must be callable as (request, call, next&) -> task<result<response>>, "
      "with the return type declared, for the request and the response of the service "
      "below it");

  pipeline(M m, S s) : middleware_(std::move(m)), service_(std::move(s)) {}

  auto operator()(request&& q, call const& c) { return middleware_(std::move(q), c, service_); }
  auto operator()(request const& q, call const& c) {
    if constexpr (std::invocable<M&, request const&, call const&, S&>) {
      return middleware_(q, c, service_);
    } else {
      return middleware_(request{q}, c, service_);
    }
  }

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

/// Middlewares that wait for their service, the outermost first.
template <class... Stages>
class stacked : public stage {
 public:
  static constexpr layer_set layers = detail::layers_among<Stages...>;

  explicit stacked(std::tuple<Stages...> stages) : stages_(std::move(stages)) {}

  template <Service S>
  auto over(S service) && {
    return std::move(*this).template first<sizeof...(Stages)>(std::move(service));
  }

  /// Not there: it says what is missing.
  template <class Request>
  auto operator()(Request&&, call const&) {
    static_assert(!std::same_as<Request, Request>,
                  "a pipeline ends with a service, and what stands last here is none: a service is "
                  "callable as (request, call) -> task<result<response>> and says its types, as "
                  "members `request` and `response` or by the one signature of its operator()");
  }

  [[nodiscard]] std::tuple<Stages...> take() && { return std::move(stages_); }

 private:
  template <std::size_t N, class S>
  auto first(S service) && {
    if constexpr (N == 0) {
      return service;
    } else {
      using innermost = std::tuple_element_t<N - 1, std::tuple<Stages...>>;
      return std::move(*this).template first<N - 1>(
          pipeline<innermost, S>{std::get<N - 1>(std::move(stages_)), std::move(service)});
    }
  }

  std::tuple<Stages...> stages_;
};

namespace detail {

template <class T>
concept IsStage = std::derived_from<std::remove_cvref_t<T>, stage>;

template <class M>
std::tuple<M> stages_of(M m) {
  return std::tuple<M>{std::move(m)};
}
template <class... Stages>
std::tuple<Stages...> stages_of(stacked<Stages...> s) {
  return std::move(s).take();
}

/// Checked where `|` stands, and not deep in what it makes: a compiler says it first.
template <class M, class Below>
inline constexpr bool in_order_on = order_of<M, Below>::checked;
template <class... Stages, class Below>
inline constexpr bool in_order_on<stacked<Stages...>, Below> =
    (order_of<Stages, Below>::checked && ...);

}  // namespace detail

/// Composes: `a | b | service`, the outermost first. A call goes through them from left to right,
/// its answer back.
template <class M, class S>
  requires Service<std::remove_cvref_t<S>>
auto operator|(M&& outer, S&& service) {
  using below = std::remove_cvref_t<S>;
  static_assert(detail::in_order_on<std::remove_cvref_t<M>, below>);
  stacked all{detail::stages_of(std::remove_cvref_t<M>(std::forward<M>(outer)))};
  return std::move(all).over(below(std::forward<S>(service)));
}

template <class A, class B>
  requires(!Service<std::remove_cvref_t<B>> && (detail::IsStage<A> || detail::IsStage<B>))
auto operator|(A&& outer, B&& inner) {
  static_assert(detail::in_order_on<std::remove_cvref_t<A>, std::remove_cvref_t<B>>);
  return stacked{std::tuple_cat(detail::stages_of(std::remove_cvref_t<A>(std::forward<A>(outer))),
                                detail::stages_of(std::remove_cvref_t<B>(std::forward<B>(inner))))};
}

}  // namespace cleat

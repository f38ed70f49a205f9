#pragma once

#include <cleat/middleware/order.hpp>
#include <cleat/middleware/suits.hpp>
#include <cleat/service/description.hpp>
#include <cleat/service/entry.hpp>
#include <cleat/service/service.hpp>
#include <cleat/service/under_way.hpp>

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
/// - If it is a coroutine, it takes the request and the call by value: a signature that shows a task
/// of its own and a reference is refused. One that returns what `next` returns may take references,
/// and says `-> decltype(next(std::forward<Request>(q), c))`. One that only wraps another names it:
/// `using forwards_to = M;`.
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

/// Lets a lambda begin a chain of lambdas: `middleware(f) | g | service`.
template <class F>
class middleware : public stage, public F {
 public:
  using forwards_to = F;
  explicit middleware(F f) : F(std::move(f)) {}
  using F::operator();
};

/// A middleware that several pipelines share, and that outlives them and their calls: `shared(m)`.
/// One retry budget for a whole fleet, one observer for all of its connections.
template <class M>
class shared_stage : public stage {
 public:
  using forwards_to = M;
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
[[nodiscard]] auto shared(M&& m) noexcept {
  static_assert(std::is_lvalue_reference_v<M>,
                "`shared` needs a middleware that outlives the pipelines, and this one is a "
                "temporary that ends with this line: give it a name, and pass that");
  return shared_stage<std::remove_reference_t<M>>{m};
}

/// A middleware that may stand where some rules of order say it should not.
template <class M, order_rule... Rules>
class allowed_stage : public stage {
 public:
  using forwards_to = M;
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

/// A middleware on top of a service: a service again. Typed all the way down.
template <class M, Service S>
class layered : public service_entry<layered<M, S>, request_of<S>, response_of<S>> {
  using below = detail::inside_t<S>;

 public:
  using request = request_of<S>;
  using response = response_of<S>;
  static constexpr layer_set layers = layers_of<S>.with(layer_of<M>);

  static_assert(
      Middleware<M, below>,
      "a middleware must be callable as (request, call, next&) -> task<result<response>>, "
      "with the return type declared, for the request and the response of the service "
      "below it");

  layered(M m, S s) : middleware_(std::move(m)), service_(std::move(s)) {}

  /// Calls it from a layer (see `service_entry`).
  auto start(request&& q, call const& c) { return middleware_(std::move(q), c, service_); }
  auto start(request const& q, call const& c) {
    if constexpr (std::invocable<M&, request const&, call const&, below&>) {
      return middleware_(q, c, service_);
    } else {
      return middleware_(request{q}, c, service_);
    }
  }

  /// What it is made of, for people.
  [[nodiscard]] description describe() const {
    return cleat::describe(middleware_).over(cleat::describe(service_));
  }

  /// Ends the calls of the service at the end as `shut_down`, if it can.
  void close() noexcept { detail::close(service_); }

 private:
  [[no_unique_address]] M middleware_;
  below service_;
};

/// Layers on top of a service, what `|` makes: a service again.
///
/// It may go before its calls. They end then as `shut_down`, as soon as they can, and what they need
/// of the layers stays until the last of them has ended. It may be moved while calls are under way.
/// A call costs no coroutine for that, and no memory.
///
/// Thread safety: none; used on one executor.
template <class Layers>
class pipeline : public service_entry<pipeline<Layers>, request_of<Layers>, response_of<Layers>> {
 public:
  using request = request_of<Layers>;
  using response = response_of<Layers>;
  static constexpr layer_set layers = Layers::layers;

  explicit pipeline(Layers l) : core_(*new core(std::move(l))) {}
  /// Assigned to, it ends the calls of the pipeline that it was, as its destruction does.
  pipeline(pipeline&&) noexcept = default;
  pipeline& operator=(pipeline&&) noexcept = default;
  /// Another pipeline of the same layers, without the calls.
  pipeline(pipeline const& other)
    requires std::copy_constructible<Layers>
      : core_(*new core(Layers{other.self().all})) {}
  ~pipeline() = default;

  /// Calls it from a layer (see `service_entry`).
  auto start(request&& q, call const& c) { return begin(self(), std::move(q), c); }
  auto start(request const& q, call const& c) { return begin(self(), q, c); }
  /// For a call that may begin later.
  [[nodiscard]] auto lend() noexcept { return detail::loan<pipeline>{self()}; }

  /// Ends its calls as its destruction does; none begins any more.
  void close() noexcept { core_.close(); }

  /// What it is made of, for people.
  [[nodiscard]] description describe() const { return self().all.describe(); }

 private:
  friend detail::loan<pipeline>;

  class core final : public detail::pipeline_core {
   public:
    explicit core(Layers&& l) : all(std::move(l)) {}
    Layers all;

   private:
    void close_service() noexcept override { all.close(); }
  };

  [[nodiscard]] core& self() const noexcept { return *static_cast<core*>(core_.get()); }

  template <class Q>
  static auto begin(detail::pipeline_core& in, Q&& q, call const& c) {
    auto const make = [&] { return static_cast<core&>(in).all.start(std::forward<Q>(q), c); };
    return detail::under_way<response, decltype(make())>{in, make};
  }

  detail::calls_owner core_;
};

namespace detail {

template <class X, bool IsOne>
class ends_with_a_service {
  static_assert(IsOne,
                "a pipeline ends with a service, and what stands last here is none: a service is "
                "callable as (request, call) -> task<result<response>> and says its types, as "
                "members `request` and `response` or by the one signature of its operator()");

 public:
  static constexpr bool checked = true;
};

}  // namespace detail

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

  /// Not there: they say what is missing.
  template <class Request>
  auto operator()(Request&&, call const&) {
    static_cast<void>(detail::ends_with_a_service<Request, false>::checked);
  }
  template <class Request>
  auto operator()(Request&&) {
    static_cast<void>(detail::ends_with_a_service<Request, false>::checked);
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
          layered<innermost, S>{std::get<N - 1>(std::move(stages_)), std::move(service)});
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

/// What stands behind `|` and is no service: a layer, or a mistake that shows at once.
template <class X>
inline constexpr bool may_be_a_layer = [] {
  if constexpr (IsStage<X>) {
    return true;
  } else if constexpr (signature<X>::known) {
    return signature<X>::arity == 3;
  } else {
    return !std::invocable<X&, any_request, call const&>;
  }
}();

/// Checked where `|` stands, and not deep in what it makes: a compiler says it first.
template <class M, class Below>
inline constexpr bool in_order_on = order_of<M, Below>::checked;
template <class... Stages, class Below>
inline constexpr bool in_order_on<stacked<Stages...>, Below> =
    (order_of<Stages, Below>::checked && ...);

/// The service that the layers behind the first `N` of `Stages`, a tuple, make on top of `S`.
template <std::size_t N, class Stages, class S>
struct service_below {
  using type =
      layered<std::tuple_element_t<N, Stages>, typename service_below<N + 1, Stages, S>::type>;
};
template <std::size_t N, class Stages, class S>
  requires(N == std::tuple_size_v<Stages>)
struct service_below<N, Stages, S> {
  using type = S;
};

template <class M>
struct places_of {
  using type = std::index_sequence<0>;
};
template <class... Stages>
struct places_of<stacked<Stages...>> {
  using type = std::index_sequence_for<Stages...>;
};

/// The same for how each layer suits the service below it, the innermost first.
template <class M, class S, class Places = typename places_of<M>::type>
inline constexpr bool suits_on = suits<M, inside_t<S>>::checked;
template <class... Stages, class S, std::size_t... I>
inline constexpr bool suits_on<stacked<Stages...>, S, std::index_sequence<I...>> =
    (... &&
     suits<std::tuple_element_t<sizeof...(I) - 1 - I, std::tuple<Stages...>>,
           inside_t<typename service_below<sizeof...(I) - I, std::tuple<Stages...>, S>::type>>::
         checked);

}  // namespace detail

/// Composes: `a | b | service`, the outermost first. A call goes through them from left to right,
/// its answer back.
template <class M, class S>
  requires Service<std::remove_cvref_t<S>>
auto operator|(M&& outer, S&& service) {
  using below = std::remove_cvref_t<S>;
  static_assert(detail::in_order_on<std::remove_cvref_t<M>, below>);
  static_assert(detail::suits_on<std::remove_cvref_t<M>, below>);
  stacked all{detail::stages_of(std::remove_cvref_t<M>(std::forward<M>(outer)))};
  return pipeline{std::move(all).over(below(std::forward<S>(service)))};
}

template <class A, class B>
  requires(!Service<std::remove_cvref_t<B>> && (detail::IsStage<A> || detail::IsStage<B>))
auto operator|(A&& outer, B&& inner) {
  static_assert(
      detail::ends_with_a_service<B, detail::may_be_a_layer<std::remove_cvref_t<B>>>::checked);
  static_assert(detail::in_order_on<std::remove_cvref_t<A>, std::remove_cvref_t<B>>);
  return stacked{std::tuple_cat(detail::stages_of(std::remove_cvref_t<A>(std::forward<A>(outer))),
                                detail::stages_of(std::remove_cvref_t<B>(std::forward<B>(inner))))};
}

/// Two lambdas: nothing tells `|` that they are layers.
template <class A, class B>
  requires(detail::BareLayer<std::remove_cvref_t<A>> && detail::BareLayer<std::remove_cvref_t<B>>)
auto operator|(A&& outer, B&& inner) {
  static_assert(detail::IsStage<A>,
                "two functions cannot begin a pipeline, since nothing tells `|` that they are "
                "middleware: wrap the first, as in `cleat::middleware(f) | g | service`");
  return middleware{std::remove_cvref_t<A>(outer)} | std::forward<B>(inner);
}

}  // namespace cleat

using cleat::operator|;  // lambdas belong to no namespace, so that `|` is not looked for in ours

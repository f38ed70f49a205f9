#pragma once

#include <cleat/base/call.hpp>
#include <cleat/base/result.hpp>
#include <cleat/base/task.hpp>

#include <concepts>
#include <utility>

namespace cleat {

namespace detail {

template <class S>
struct service_types {};

template <class S>
  requires requires {
    typename S::request;
    typename S::response;
  }
struct service_types<S> {
  using request = typename S::request;
  using response = typename S::response;
};

template <class F>
struct call_operator {};
template <class C, class Q, class R>
struct call_operator<task<result<R>> (C::*)(Q, call)> {
  using request = std::remove_cvref_t<Q>;
  using response = R;
};
template <class C, class Q, class R>
struct call_operator<task<result<R>> (C::*)(Q, call) const>
    : call_operator<task<result<R>> (C::*)(Q, call)> {};

/// A lambda `[](request, call) -> task<result<response>> {...}` says its types by itself.
template <class S>
  requires(
      !requires { typename S::request; } &&
      requires { typename call_operator<decltype(&S::operator())>::request; })
struct service_types<S> : call_operator<decltype(&S::operator())> {};

}  // namespace detail

template <class S>
using request_of = typename detail::service_types<std::remove_cvref_t<S>>::request;
template <class S>
using response_of = typename detail::service_types<std::remove_cvref_t<S>>::response;

/// Anything callable as `(request, call) -> task<result<response>>` (or another awaitable of the
/// same value): a pipeline, a connection, a lambda. It says its types as members `request` and
/// `response`, or by the one signature of its call operator.
///
/// - Both arguments are taken by value; the call is copied into whatever outlives the frame.
/// - It ends by `call.deadline()`. Nothing that it started outlives the call.
/// - Errors are values; their certainty is true. Cancelling the chain ends it soon, as `cancelled`.
/// - It outlives its calls. Many calls may be under way at once, all on one executor.
///
/// ```
/// auto echo = [](std::string q, call) -> task<result<std::string>> { co_return q; };
/// ```
template <class S>
concept Service = requires(S& s, request_of<S> q, call const& c) {
  typename response_of<S>;
  { s(std::move(q), c) } -> AwaitsTo<result<response_of<S>>>;
};

/// Calls `s` with a request that is kept, to be asked again: it is copied once, where `s` keeps it.
template <Service S>
auto ask_with_copy(S& s, request_of<S> const& q, call const& c) {
  if constexpr (std::invocable<S&, request_of<S> const&, call const&>) {
    return s(q, c);
  } else {
    return s(request_of<S>{q}, c);
  }
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsubobject-linkage"  // of a service that is a lambda
#endif
/// A call as a task, to spawn it or to await it beside others, whatever the service returns:
/// `spawn(executor, ask(lamp, q, c), token)`. The service outlives it.
template <Service S>
task<result<response_of<S>>> ask(S& service, request_of<S> q, call c) {
  auto r = co_await service(std::move(q), c);
  co_return r;
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

}  // namespace cleat

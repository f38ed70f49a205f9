#pragma once

#include <cleat/base/call.hpp>
#include <cleat/base/fragile.hpp>
#include <cleat/base/result.hpp>
#include <cleat/base/task.hpp>
#include <cleat/service/by_value.hpp>

#include <concepts>
#include <utility>

namespace cleat {

namespace detail {

template <class X>
inline constexpr bool is_task_of_result = false;
template <class R>
inline constexpr bool is_task_of_result<task<result<R>>> = true;

template <class S>
class taken_by_value {
  static_assert(!keeps_references<S>,
                "a service that returns a task takes the request and the call by value, as in "
                "`(request q, call c)`: a coroutine would keep a reference as it is, and what it "
                "names is gone when the task begins");
};

template <class S>
struct service_types {};

template <class S>
  requires requires {
    typename S::request;
    typename S::response;
  }
struct service_types<S> : taken_by_value<S> {
  using request = typename S::request;
  using response = typename S::response;
};

template <class Signature>
struct shown_types {};
template <class Shown>
  requires(Shown::arity == 2 && std::same_as<std::remove_cvref_t<typename Shown::second>, call> &&
           is_task_of_result<typename Shown::result_type>)
struct shown_types<Shown> {
  using request = std::remove_cvref_t<typename Shown::first>;
  using response = typename Shown::result_type::value_type::value_type;
};

/// A lambda `[](request, call) -> task<result<response>> {...}` says its types by itself.
template <class S>
  requires(
              !requires { typename S::request; } &&
              requires { typename shown_types<signature<S>>::request; })
struct service_types<S> : taken_by_value<S>, shown_types<signature<S>> {};

}  // namespace detail

template <class S>
using request_of = typename detail::service_types<std::remove_cvref_t<S>>::request;
template <class S>
using response_of = typename detail::service_types<std::remove_cvref_t<S>>::response;

/// Anything callable as `(request, call) -> task<result<response>>` (or another awaitable of the
/// same value): a pipeline, a connection, a lambda. It says its types as members `request` and
/// `response`, or by the one signature of its call operator.
///
/// - Both arguments are taken by value; the call is copied into whatever outlives the frame. A
/// signature that shows a task and a reference is refused.
/// - It ends by `call.deadline()`. Nothing that it started outlives the call.
/// - Errors are values; their certainty is true. Cancelling the chain ends it soon, as `cancelled`.
/// - It outlives its calls. Many calls may be under way at once, all on one executor.
/// - If it has `void close() noexcept`, a pipeline or a box that goes calls it: its calls end soon, as
/// `shut_down`, and none begins any more.
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

namespace detail {

/// Calls a service from inside, where nothing is refused (see `service_entry`).
template <class S>
auto start(S& s, request_of<S>&& q, call const& c) {
  if constexpr (requires { typename S::entry; }) {
    return s.start(std::move(q), c);
  } else {
    return s(std::move(q), c);
  }
}

/// A service that outlives its calls.
template <class S>
class outlives {
 public:
  explicit outlives(S& s) noexcept : service_(&s) {}
  auto start(request_of<S>&& q, call const& c) const {
    return detail::start(*service_, std::move(q), c);
  }

 private:
  S* service_;
};

/// How a coroutine that may begin later reaches the service `s`: by what `s.lend()` gives, if it is
/// one of ours that may go before its calls.
template <class S>
auto lent(S& s) {
  if constexpr (requires {
                  typename S::entry;
                  s.lend();
                }) {
    return s.lend();
  } else {
    return outlives<S>{s};
  }
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsubobject-linkage"  // of a service that is a lambda
#endif
template <class Response, class Lent, class Request>
task<result<Response>> asked(Lent service, Request q, call c) {
  auto r = co_await service.start(std::move(q), c);
  co_return r;
}
template <class Response, class Lent, class Request>
task<result<Response>> asked_afresh(Lent service, Request q) {
  environment& env = co_await this_chain::environment;
  call const c{env};
  auto r = co_await service.start(std::move(q), c);
  co_return r;
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

}  // namespace detail

/// A call as a task, to spawn it or to await it beside others, whatever the service returns:
/// `spawn(executor, ask(lamp, q, c), token)`. A pipeline may go before it; any other service
/// outlives it.
template <Service S>
task<result<response_of<S>>> ask(S& service, request_of<S>&& q, call const& c) {
  static_assert(detail::sturdy<request_of<S>>::checked);
  return detail::asked<response_of<S>>(detail::lent(service), std::move(q), c);
}
template <Service S>
task<result<response_of<S>>> ask(S& service, request_of<S> const& q, call const& c) {
  return detail::asked<response_of<S>>(detail::lent(service), q, c);
}

}  // namespace cleat

#pragma once

#include <cleat/base/in_place.hpp>
#include <cleat/service/by_value.hpp>
#include <cleat/service/service.hpp>

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace cleat {

/// Marks the library's own middleware, so that `|` finds them.
class stage {};

namespace detail {

/// A service whose answer is no task: what a layer makes of it that is one is a coroutine's own.
template <class Request, class Response>
class taskless {
 public:
  using request = Request;
  using response = Response;

  class answer : public in_place {
   public:
    [[nodiscard]] static constexpr bool await_ready() noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> h);
    result<Response> await_resume();
  };

  answer operator()(Request q, call c);
};

/// The layer inside of one that only hands its arguments on, and says so: `using forwards_to = M;`.
template <class M>
struct innermost_layer {
  using type = M;
};
template <class M>
  requires requires { typename M::forwards_to; }
struct innermost_layer<M> : innermost_layer<typename M::forwards_to> {};

template <class M, class S>
using given_by = decltype(std::declval<M&>()(std::declval<request_of<S>>(),
                                             std::declval<call const&>(), std::declval<S&>()));

/// Whether one of the overloads of the layer `M`, or one that its templates can make, returns `R` and
/// takes its arguments as `Q` and `C`.
template <class M, class R, class Next, class Q, class C>
inline constexpr bool takes_as = requires {
  static_cast<R (M::*)(Q, C, Next&)>(&M::operator());
} || requires { static_cast<R (M::*)(Q, C, Next&) const>(&M::operator()); };

/// Whether the layer `M` is a coroutine that takes the request or the call by reference, as far as
/// its signature shows it. Its templates are looked at as they are on a service that makes no task.
template <class M, class S>
inline constexpr bool layer_keeps_references = [] {
  using given = given_by<M, S>;
  if constexpr (!is_coroutine<given>) {
    return false;
  } else if constexpr (signature<M>::known || !std::is_class_v<M>) {
    return keeps_references<M>;
  } else {
    using q = request_of<S>;
    using next = taskless<q, response_of<S>>;
    // What takes anything (`auto q`) can be made to take references; what takes only those keeps them.
    constexpr bool values = takes_as<M, given, next, q, call>;
    constexpr bool by_call = takes_as<M, given, next, q, call const&>;
    constexpr bool by_q =
        takes_as<M, given, next, q const&, call> || takes_as<M, given, next, q&&, call>;
    constexpr bool by_both = takes_as<M, given, next, q const&, call const&> ||
                             takes_as<M, given, next, q&&, call const&>;
    return !values && (by_call || by_q || by_both);
  }
}();

class no_needs {};

/// What a layer needs of the service below it, if it says so: a template `needs`, which refuses in a
/// sentence.
template <class M, class S>
struct needs_of {
  using type = no_needs;
};
template <class M, class S>
  requires requires { typename M::template needs<S>; }
struct needs_of<M, S> {
  using type = typename M::template needs<S>;
};

/// Of no service: what a function is tried with that takes any.
class any_request {};
class any_response {};

/// A function, or a class with a call operator, that is called as layers are and is not marked as one.
template <class X>
concept BareLayer = !std::derived_from<X, stage> && !Service<X> && [] {
  if constexpr (signature<X>::known) {
    return signature<X>::arity == 3;
  } else {
    return std::invocable<X&, any_request, call const&, taskless<any_request, any_response>&>;
  }
}();

/// Refuses the layer `M` on the service `S` in a sentence.
template <class M, class S>
class suits : private needs_of<typename innermost_layer<M>::type, S>::type {
  static constexpr bool callable = std::invocable<M&, request_of<S>, call const&, S&>;
  static_assert(callable,
                "a middleware must be callable as (request, call, next&) -> "
                "task<result<response>>, with the return type declared, for the request and the "
                "response of the service below it");

  static constexpr bool answers = [] {
    if constexpr (callable) {
      return AwaitsTo<given_by<M, S>, result<response_of<S>>>;
    } else {
      return true;
    }
  }();
  static_assert(answers,
                "a middleware must give the answer that the service below it gives, and the answer "
                "of this one is of another type: declare its return type as "
                "`task<result<response_of<Next>>>`");

  static constexpr bool keeps = [] {
    if constexpr (callable) {
      return layer_keeps_references<typename innermost_layer<M>::type, S>;
    } else {
      return false;
    }
  }();
  static_assert(
      !keeps,
      "a middleware that returns a task of its own takes the request and the call by "
      "value, as in `(Request q, call c, Next& next)`: a coroutine would keep a reference "
      "as it is, and what it names is gone when the task begins");

 public:
  static constexpr bool checked = true;
};

}  // namespace detail

}  // namespace cleat

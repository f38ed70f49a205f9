#pragma once

#include <cleat/base/task.hpp>

#include <cstddef>
#include <type_traits>

namespace cleat::detail {

/// The signature of a function, or of the one call operator of a class.
template <class F>
struct signature {
  static constexpr bool known = false;
};
template <class R, class... A>
struct signature<R (*)(A...)> {
  static constexpr bool known = true;
  static constexpr std::size_t arity = sizeof...(A);
  using result_type = R;
};
template <class R, class First, class Second, class... A>
struct signature<R (*)(First, Second, A...)> {
  static constexpr bool known = true;
  static constexpr std::size_t arity = 2 + sizeof...(A);
  using result_type = R;
  using first = First;
  using second = Second;
};
template <class R, class... A>
struct signature<R (*)(A...) noexcept> : signature<R (*)(A...)> {};
template <class C, class R, class... A>
struct signature<R (C::*)(A...)> : signature<R (*)(A...)> {};
template <class C, class R, class... A>
struct signature<R (C::*)(A...) const> : signature<R (*)(A...)> {};
template <class C, class R, class... A>
struct signature<R (C::*)(A...) noexcept> : signature<R (*)(A...)> {};
template <class C, class R, class... A>
struct signature<R (C::*)(A...) const noexcept> : signature<R (*)(A...)> {};
template <class F>
  requires requires { &F::operator(); }
struct signature<F> : signature<decltype(&F::operator())> {};

/// What a coroutine returns that a task can await.
template <class X>
inline constexpr bool is_coroutine = is_task<X>::value || is_awaitable<X>::value;

/// Whether the signature shows a coroutine that keeps its request or its call by reference. (A
/// function that returns somebody else's task looks the same, and is asked to do the same.)
template <class F>
inline constexpr bool keeps_references = [] {
  using shown = signature<F>;
  if constexpr (requires { typename shown::second; }) {
    return is_coroutine<typename shown::result_type> &&
           (std::is_reference_v<typename shown::first> ||
            std::is_reference_v<typename shown::second>);
  } else {
    return false;
  }
}();

}  // namespace cleat::detail

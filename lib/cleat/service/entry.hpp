#pragma once

#include <cleat/base/fragile.hpp>
#include <cleat/service/service.hpp>

#include <concepts>
#include <type_traits>
#include <utility>

namespace cleat {

namespace detail {

/// What no caller may hand to a service that takes a `Request`.
template <class Q, class Request>
concept Unwelcome = !std::same_as<std::remove_cvref_t<Q>, Request> &&
                    (!std::convertible_to<Q, Request> || is_fragile<Q>);

template <class Q, class Request>
class welcome : std::conditional_t<std::convertible_to<Q, Request>, sturdy<Q>, sturdy<int>> {
  static_assert(
      std::convertible_to<Q, Request>,
      "this service takes a request of another type: pass what its `request` names, which "
      "a pipeline has from the service at its end");

 public:
  static constexpr bool checked = true;
};

}  // namespace detail

/// How users call a service of the library, which derives from it: `s(q, c)`, or `s(q)` with a fresh
/// call on the chain's executor.
///
/// `Self` has `start(q, c)`, which does the work. Layers call that (see `detail::inside`), so that
/// what is refused is refused only where a user hands it in: a request of another type, and one that
/// the compiler would destroy twice (see `base/fragile.hpp`).
template <class Self, class Request, class Response>
class service_entry {
 public:
  using request = Request;
  using response = Response;
  using entry = service_entry;

  template <class S = Self>
  auto operator()(Request&& q, call const& c)
      -> decltype(std::declval<S&>().start(std::move(q), c)) {
    static_assert(detail::sturdy<Request>::checked);
    return static_cast<S&>(*this).start(std::move(q), c);
  }
  // (Not by `requires`: the type would be looked at first, and cannot be made of what is not copied.)
  template <class S = Self, std::enable_if_t<std::copy_constructible<typename S::request>, int> = 0>
  auto operator()(Request const& q, call const& c) -> decltype(std::declval<S&>().start(q, c)) {
    return static_cast<S&>(*this).start(q, c);
  }
  task<result<Response>> operator()(Request&& q) {
    static_assert(detail::sturdy<Request>::checked);
    return detail::asked_afresh<Response>(detail::lent(static_cast<Self&>(*this)), std::move(q));
  }
  task<result<Response>> operator()(Request const& q) {
    return detail::asked_afresh<Response>(detail::lent(static_cast<Self&>(*this)), q);
  }

  // Not there: they say what is wrong.
  template <detail::Unwelcome<Request> Q>
  auto operator()(Q&&, call const&) {
    static_assert(detail::welcome<Q, Request>::checked);
  }
  template <detail::Unwelcome<Request> Q>
  auto operator()(Q&&) {
    static_assert(detail::welcome<Q, Request>::checked);
  }

 private:
  friend Self;
  service_entry() noexcept = default;
};

namespace detail {

/// Such a service as its layers see it, who hand on what they were given: nothing is refused.
template <class S>
class inside : public S {
 public:
  explicit inside(S s) : S(std::move(s)) {}

  auto operator()(request_of<S>&& q, call const& c) { return S::start(std::move(q), c); }
  auto operator()(request_of<S> const& q, call const& c) { return S::start(q, c); }
};

template <class S>
struct inside_of {
  using type = S;
};
template <class S>
  requires requires { typename S::entry; }
struct inside_of<S> {
  using type = inside<S>;
};
template <class S>
struct inside_of<inside<S>> {
  using type = inside<S>;
};
/// What a layer gets as `next` for the service `S`.
template <class S>
using inside_t = typename inside_of<S>::type;

}  // namespace detail

}  // namespace cleat

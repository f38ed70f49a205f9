#pragma once

#include <cleat/base/standard.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace cleat {

/// Which of the catalogue a middleware is; a class says it as `static constexpr layer is`. Yours is
/// `other` and may stand anywhere.
enum class layer : std::uint8_t {
  other,
  observe,
  deadline,
  retry,
  hedge,
  breaker,
  limit,
  rate,
  timeout,
  idempotent,
  fallback,
  canary,
  shadow,
};

/// The orders that do not compile, because they do something else than they seem to. Who wants one
/// all the same says so: `allow<order_rule::rate_outside_retry>(rate(…)) | retry(2) | service`.
enum class order_rule : std::uint8_t {
  observe_inside_others,
  deadline_inside_retry,
  deadline_inside_queue,
  retry_inside_retry,
  breaker_outside_retry,
  breaker_outside_limit,
  rate_outside_retry,
  hedge_outside_retry,
  hedge_outside_idempotent,
  fallback_inside_retry,
  fallback_inside_breaker,
  fallback_inside_idempotent,
  shadow_inside_retry,
};

/// Some of the layers.
class layer_set {
 public:
  constexpr layer_set() noexcept = default;

  [[nodiscard]] constexpr layer_set with(layer l) const noexcept {
    return layer_set{bits_ | bit(l)};
  }
  [[nodiscard]] constexpr layer_set with(layer_set others) const noexcept {
    return layer_set{bits_ | others.bits_};
  }
  [[nodiscard]] constexpr bool has(layer l) const noexcept { return (bits_ & bit(l)) != 0; }

 private:
  explicit constexpr layer_set(std::uint32_t bits) noexcept : bits_(bits) {}
  static constexpr std::uint32_t bit(layer l) noexcept {
    return std::uint32_t{1} << static_cast<unsigned>(l);
  }
  std::uint32_t bits_ = 0;
};

/// Whether the layer `outer` on a service that is made of `below` breaks this rule.
[[nodiscard]] constexpr bool breaks(order_rule rule, layer outer, layer_set below) noexcept {
  bool const tries_again = outer == layer::retry || outer == layer::hedge;
  switch (rule) {
    case order_rule::observe_inside_others:
      return outer != layer::other && outer != layer::deadline && outer != layer::canary &&
             outer != layer::shadow && below.has(layer::observe);
    case order_rule::deadline_inside_retry:
      return tries_again && below.has(layer::deadline);
    case order_rule::deadline_inside_queue:
      return (outer == layer::limit || outer == layer::rate) && below.has(layer::deadline);
    case order_rule::retry_inside_retry:
      return outer == layer::retry && below.has(layer::retry);
    case order_rule::breaker_outside_retry:
      return outer == layer::breaker && below.has(layer::retry);
    case order_rule::breaker_outside_limit:
      return outer == layer::breaker && below.has(layer::limit);
    case order_rule::rate_outside_retry:
      return outer == layer::rate && (below.has(layer::retry) || below.has(layer::hedge));
    case order_rule::hedge_outside_retry:
      return outer == layer::hedge && below.has(layer::retry);
    case order_rule::hedge_outside_idempotent:
      return outer == layer::hedge && below.has(layer::idempotent);
    case order_rule::fallback_inside_retry:
      return tries_again && below.has(layer::fallback);
    case order_rule::fallback_inside_breaker:
      return outer == layer::breaker && below.has(layer::fallback);
    case order_rule::fallback_inside_idempotent:
      return outer == layer::idempotent && below.has(layer::fallback);
    case order_rule::shadow_inside_retry:
      return tries_again && below.has(layer::shadow);
  }
  return false;
}

/// How many values `order_rule` has.
inline constexpr std::size_t order_rule_count =
    static_cast<std::size_t>(order_rule::shadow_inside_retry) + 1;

/// Which layer `M` is.
template <class M>
inline constexpr layer layer_of = [] {
  if constexpr (requires { M::is; }) {
    return M::is;
  } else {
    return layer::other;
  }
}();

/// The layers that the service `S` is made of. At an `any_service` knowledge ends.
template <class S>
inline constexpr layer_set layers_of = [] {
  if constexpr (requires { S::layers; }) {
    return S::layers;
  } else {
    return layer_set{};
  }
}();

namespace detail {

template <class M, order_rule Rule>
inline constexpr bool allows = [] {
  if constexpr (requires { M::template allows<Rule>; }) {
    return M::template allows<Rule>;
  } else {
    return false;
  }
}();

template <class... Stages>
inline constexpr layer_set layers_among = [] {
  layer_set all;
  ((all = all.with(layer_of<Stages>)), ...);
  return all;
}();

/// The layers of `S`, a service or a part of a pipeline.
template <class S>
inline constexpr layer_set layers_in = layers_of<S>.with(layer_of<S>);

/// Refuses `M` on `S` in a sentence. The rules, in the order of the layer that is outside.
template <class M, class S>
class order_of {
  template <order_rule Rule>
  static constexpr bool keeps = !breaks(Rule, layer_of<M>, layers_in<S>) || allows<M, Rule>;

  static_assert(
      keeps<order_rule::observe_inside_others>,
      "an `observe` inside another layer does not hear what that layer does, and takes each of its "
      "attempts for a call: write `observe(log, metrics) | ...`, outermost and once, with all "
      "observers; or wrap the layer outside it in allow<order_rule::observe_inside_others>(...)");
  static_assert(
      keeps<order_rule::deadline_inside_retry>,
      "a `deadline` inside a retry or hedge begins anew with each attempt, and nothing limits the "
      "call: write `deadline(5s) | retry(2).per_attempt(1s)` or `deadline(5s) | hedge()`; or wrap "
      "the layer outside it in allow<order_rule::deadline_inside_retry>(...)");
  static_assert(
      keeps<order_rule::deadline_inside_queue>,
      "a `deadline` inside a limit or rate does not cover the wait for a place or a token: write "
      "`deadline(5s) | limit(64)` or `deadline(5s) | rate(100)`; or wrap the layer outside it in "
      "allow<order_rule::deadline_inside_queue>(...)");
  static_assert(keeps<order_rule::retry_inside_retry>,
                "a `retry` inside a retry multiplies the attempts: write one `retry(3)` in the "
                "place of both, "
                "where the inner one stands; or wrap the outer one in "
                "allow<order_rule::retry_inside_retry>(...)");
  static_assert(
      keeps<order_rule::breaker_outside_retry>,
      "a `breaker` outside a retry sees one failure where there were several, and the retry goes "
      "on against a peer that is down: write `retry(3) | breaker()`; or wrap the breaker in "
      "allow<order_rule::breaker_outside_retry>(...)");
  static_assert(keeps<order_rule::breaker_outside_limit>,
                "a `breaker` outside a limit takes the wait in our own queue for trouble "
                "of the peer: "
                "write `limit(64) | breaker()`; or wrap the breaker in "
                "allow<order_rule::breaker_outside_limit>(...)");
  static_assert(
      keeps<order_rule::rate_outside_retry>,
      "a `rate` outside a retry or hedge counts calls and not attempts, and the peer is asked more "
      "often than it says: write `retry(3) | rate(100)` or `hedge() | rate(100)`; or wrap the rate "
      "in allow<order_rule::rate_outside_retry>(...)");
  static_assert(
      keeps<order_rule::hedge_outside_retry>,
      "a `hedge` outside a retry lets both of its attempts be tried again, side by side: write "
      "`retry(2) | hedge()`; or wrap the hedge in allow<order_rule::hedge_outside_retry>(...)");
  static_assert(
      keeps<order_rule::hedge_outside_idempotent>,
      "a `hedge` outside an idempotent sends nothing: its second attempt has the same operation id "
      "and joins the first; write `idempotent() | hedge()`; or wrap the hedge in "
      "allow<order_rule::hedge_outside_idempotent>(...)");
  static_assert(
      keeps<order_rule::fallback_inside_retry>,
      "a `fallback` inside a retry or hedge hides every failure from it, and nothing is tried "
      "again: write `fallback(...) | retry(2)` or `fallback(...) | hedge()`; or wrap the layer "
      "outside it in allow<order_rule::fallback_inside_retry>(...)");
  static_assert(
      keeps<order_rule::fallback_inside_breaker>,
      "a `fallback` inside a breaker hides every failure from it, and it never opens: write "
      "`fallback(...) | breaker()`; or wrap the breaker in "
      "allow<order_rule::fallback_inside_breaker>(...)");
  static_assert(
      keeps<order_rule::fallback_inside_idempotent>,
      "a `fallback` inside an idempotent has its stopgap recorded as the answer of the operation: "
      "write `fallback(...) | idempotent()`; or wrap the idempotent in "
      "allow<order_rule::fallback_inside_idempotent>(...)");
  static_assert(
      keeps<order_rule::shadow_inside_retry>,
      "a `shadow` inside a retry or hedge mirrors each attempt, and most of them when the primary "
      "is in trouble: write `shadow(retry(2) | primary, mirror)`; or wrap the layer outside it in "
      "allow<order_rule::shadow_inside_retry>(...)");

 public:
  static constexpr bool checked = true;
};

}  // namespace detail

}  // namespace cleat

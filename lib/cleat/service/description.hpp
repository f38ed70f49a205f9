#pragma once

#include <cleat/base/time.hpp>

#include <concepts>
#include <iosfwd>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cleat {

/// What a pipeline is made of, for people: a layer or a service, and what stands below it.
class description {
 public:
  explicit description(std::string says) : what(std::move(says)) {}

  /// With `below` under it; `as` names the way there, if there are several: "stable", "mirror".
  [[nodiscard]] description over(description below, std::string as = {}) &&;

  /// One line, e.g. "retry(2, 1500 ms each)".
  std::string what;
  /// How one gets here from above; usually empty.
  std::string as;
  std::vector<description> below;
};

/// A line for each layer, the outermost first. Ways that have a name are indented; what stands below
/// without one goes straight on:
///
/// ```
/// deadline(5 s)
/// fallback
///   instead: retry(2)
///            persistent(192.0.2.2:9000)
/// retry(2, 1500 ms each)
/// persistent(192.0.2.1:9000)
/// ```
std::ostream& operator<<(std::ostream& out, description const& d);
[[nodiscard]] std::string to_text(description const& d);

/// The same as a graph in the language of Graphviz: `dot -Tsvg`.
[[nodiscard]] std::string to_graphviz(description const& d);

/// "1500 ms", "5 s": in the largest unit in which it is a whole number.
[[nodiscard]] std::string to_text(duration d);

namespace detail {

/// "slow_log" for `some::slow_log<int>`, "a function" for a lambda.
[[nodiscard]] std::string short_name(std::string_view pretty_function);

template <class T>
[[nodiscard]] std::string name_of_type() {
  return short_name(__PRETTY_FUNCTION__);
}

}  // namespace detail

/// What `x`, a service or a middleware, says of itself: what its member `describe() const` gives, a
/// description or a line; without one, the name of its type.
template <class X>
[[nodiscard]] description describe(X const& x) {
  if constexpr (requires {
                  { x.describe() } -> std::same_as<description>;
                }) {
    return x.describe();
  } else if constexpr (requires {
                         { x.describe() } -> std::convertible_to<std::string>;
                       }) {
    return description{x.describe()};
  } else {
    return description{detail::name_of_type<X>()};
  }
}

}  // namespace cleat

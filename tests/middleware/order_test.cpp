#define BOOST_TEST_MODULE order
#include <cleat/middleware/order.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>

using cleat::layer;
using cleat::layer_set;
using cleat::order_rule;

namespace {

constexpr unsigned layer_count = static_cast<unsigned>(layer::shadow) + 1;

/// The layer `inner` somewhere below `outer` breaks the rule.
struct refused {
  order_rule rule;
  layer outer;
  layer inner;
};

constexpr auto all_refused = std::to_array<refused>({
    {order_rule::observe_inside_others, layer::observe, layer::observe},
    {order_rule::observe_inside_others, layer::retry, layer::observe},
    {order_rule::observe_inside_others, layer::hedge, layer::observe},
    {order_rule::observe_inside_others, layer::breaker, layer::observe},
    {order_rule::observe_inside_others, layer::limit, layer::observe},
    {order_rule::observe_inside_others, layer::rate, layer::observe},
    {order_rule::observe_inside_others, layer::timeout, layer::observe},
    {order_rule::observe_inside_others, layer::idempotent, layer::observe},
    {order_rule::observe_inside_others, layer::fallback, layer::observe},
    {order_rule::deadline_inside_retry, layer::retry, layer::deadline},
    {order_rule::deadline_inside_retry, layer::hedge, layer::deadline},
    {order_rule::deadline_inside_queue, layer::limit, layer::deadline},
    {order_rule::deadline_inside_queue, layer::rate, layer::deadline},
    {order_rule::retry_inside_retry, layer::retry, layer::retry},
    {order_rule::breaker_outside_retry, layer::breaker, layer::retry},
    {order_rule::breaker_outside_limit, layer::breaker, layer::limit},
    {order_rule::rate_outside_retry, layer::rate, layer::retry},
    {order_rule::rate_outside_retry, layer::rate, layer::hedge},
    {order_rule::hedge_outside_retry, layer::hedge, layer::retry},
    {order_rule::hedge_outside_idempotent, layer::hedge, layer::idempotent},
    {order_rule::fallback_inside_retry, layer::retry, layer::fallback},
    {order_rule::fallback_inside_retry, layer::hedge, layer::fallback},
    {order_rule::fallback_inside_breaker, layer::breaker, layer::fallback},
    {order_rule::fallback_inside_idempotent, layer::idempotent, layer::fallback},
    {order_rule::shadow_inside_retry, layer::retry, layer::shadow},
    {order_rule::shadow_inside_retry, layer::hedge, layer::shadow},
});

/// Not one of the library's, and one that may stand anywhere.
class strangers {};
class anywhere {
 public:
  static constexpr layer is = layer::retry;
  template <order_rule>
  static constexpr bool allows = true;
};

}  // namespace

BOOST_AUTO_TEST_CASE(refuses_these_orders_and_no_others) {
  for (unsigned r = 0; r < cleat::order_rule_count; ++r) {
    for (unsigned o = 0; o < layer_count; ++o) {
      for (unsigned i = 0; i < layer_count; ++i) {
        auto const rule = static_cast<order_rule>(r);
        auto const outer = static_cast<layer>(o);
        auto const inner = static_cast<layer>(i);
        bool const meant =
            std::any_of(all_refused.begin(), all_refused.end(), [&](refused const& each) {
              return each.rule == rule && each.outer == outer && each.inner == inner;
            });
        BOOST_TEST(cleat::breaks(rule, outer, layer_set{}.with(inner)) == meant,
                   "rule " << r << ", layer " << o << " on layer " << i);
      }
      BOOST_TEST(!cleat::breaks(static_cast<order_rule>(r), static_cast<layer>(o), layer_set{}));
    }
  }
}

BOOST_AUTO_TEST_CASE(there_are_as_many_rules_as_are_counted) {
  BOOST_TEST(cleat::order_rule_count == 13U);
  BOOST_TEST((all_refused.back().rule == static_cast<order_rule>(cleat::order_rule_count - 1)));
}

BOOST_AUTO_TEST_CASE(a_set_has_the_layers_that_it_was_made_with) {
  auto const some = layer_set{}.with(layer::retry).with(layer_set{}.with(layer::shadow));
  for (unsigned l = 0; l < layer_count; ++l) {
    auto const one = static_cast<layer>(l);
    BOOST_TEST(some.has(one) == (one == layer::retry || one == layer::shadow));
    BOOST_TEST(!layer_set{}.has(one));
  }
}

BOOST_AUTO_TEST_CASE(a_stranger_is_no_layer_of_these_and_allows_nothing) {
  BOOST_TEST((cleat::layer_of<strangers> == layer::other));
  BOOST_TEST((cleat::layer_of<anywhere> == layer::retry));
  BOOST_TEST((!cleat::detail::allows<strangers, order_rule::retry_inside_retry>));
  BOOST_TEST((cleat::detail::allows<anywhere, order_rule::retry_inside_retry>));
  BOOST_TEST(!cleat::layers_of<strangers>.has(layer::other));
  BOOST_TEST((cleat::detail::layers_among<strangers, anywhere>.has(layer::retry)));
}

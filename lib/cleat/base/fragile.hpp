#pragma once

#include <type_traits>

/// 1 if the compiler may destroy a braced temporary twice that stands in one expression with a
/// `co_await`. g++ 12 does, and says nothing. Newer versions of g++ have not been tried and count as
/// such compilers; define it as 0 for one that has been tried.
#ifndef CLEAT_BRACED_TEMPORARIES_BREAK
#if defined(__GNUC__) && !defined(__clang__)
#define CLEAT_BRACED_TEMPORARIES_BREAK 1
#else
#define CLEAT_BRACED_TEMPORARIES_BREAK 0
#endif
#endif

namespace cleat::detail {

/// Whether an argument of the type `Q&&` may be a temporary that this compiler destroys twice: an
/// aggregate whose destructor does something.
template <class Q>
inline constexpr bool is_fragile =
    CLEAT_BRACED_TEMPORARIES_BREAK != 0 && !std::is_lvalue_reference_v<Q> &&
    std::is_aggregate_v<std::remove_cvref_t<Q>> &&
    !std::is_trivially_destructible_v<std::remove_cvref_t<Q>>;

/// Refuses such an argument, where a user hands it in.
template <class Q>
class sturdy {
  static_assert(!is_fragile<Q>,
                "g++ 12 destroys a temporary of this type twice when it stands in one expression "
                "with co_await: give the type a constructor, or name the object first and pass it "
                "as it is: `request q{...}; auto r = co_await s(q, c);`");

 public:
  static constexpr bool checked = true;
};

}  // namespace cleat::detail

#pragma once

#include "../support/hand_time.hpp"
#include "fuzz.hpp"

#include <cleat/base/entropy.hpp>

namespace fuzz {

/// The context's time and randomness, which must be set before anything is made in it.
class seeded_time : public cleat::test::hand_time {
 public:
  seeded_time() { cleat::entropy::of(context.get_executor()).seed(1); }

  /// Lets time pass from alarm to alarm.
  void pass(cleat::duration by) {
    poll();
    auto const until = now() + by;
    for (auto next = clock().next_due(); next <= until; next = clock().next_due()) {
      advance(std::max(next - now(), cleat::duration::zero()));
      poll();
    }
    advance(until - now());
    poll();
  }
  /// Until nobody waits for a time any more.
  void pass_all() {
    poll();
    for (int i = 0; clock().next_due() != cleat::never; ++i) {
      require(i < 10'000, "somebody sets alarms without end");
      advance(std::max(clock().next_due() - now(), cleat::duration::zero()));
      poll();
    }
  }
};

}  // namespace fuzz

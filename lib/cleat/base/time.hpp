#pragma once

#include <cleat/base/standard.hpp>

#include <algorithm>
#include <chrono>

namespace cleat {

/// Monotonic time: what deadlines are made of. Only ever taken from a `clock`, which a simulation
/// may drive.
using time_point = std::chrono::steady_clock::time_point;
using duration = std::chrono::steady_clock::duration;

/// "No deadline."
inline constexpr time_point never = time_point::max();

/// `t + d`, never beyond `never`.
[[nodiscard]] constexpr time_point saturated_add(time_point t, duration d) noexcept {
  return t + std::min(d, never - t);
}

}  // namespace cleat

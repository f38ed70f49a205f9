#pragma once

namespace cleat::detail {

/// What observes never ends the program: out of memory, something is not counted, or a record is
/// missing.
template <class F>
[[gnu::always_inline]] inline void unless_it_throws(F const& f) noexcept {
  try {
    f();
  } catch (...) {  // NOLINT(bugprone-empty-catch)
  }
}

}  // namespace cleat::detail

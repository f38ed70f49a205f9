#pragma once

namespace cleat::test {

// A race that is meant ends the program by the sanitizer, and it knows nothing of threads in the child of a fork.
#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define CLEAT_TEST_UNDER_TSAN true
#endif
#endif
#ifndef CLEAT_TEST_UNDER_TSAN
#define CLEAT_TEST_UNDER_TSAN false
#endif
inline constexpr bool is_under_thread_sanitizer = CLEAT_TEST_UNDER_TSAN;

}  // namespace cleat::test

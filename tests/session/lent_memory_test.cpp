#define BOOST_TEST_MODULE lent_memory
#include "../support/sanitized.hpp"

#include <cleat/session/lent_memory.hpp>

#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <cstdlib>
#include <new>
#include <optional>
#include <vector>

using cleat::detail::lent_memory;

#if CLEAT_TEST_UNDER_TSAN

BOOST_AUTO_TEST_CASE(cannot_be_counted_under_this_sanitizer) {}

#else

namespace {

std::size_t made = 0;

}  // namespace

// The arrays of this program, which are counted.
void* operator new[](std::size_t size) {
  ++made;
  if (void* const p = std::malloc(size)) return p;  // NOLINT(*-no-malloc)
  throw std::bad_alloc{};
}
void operator delete[](void* p) noexcept { std::free(p); }               // NOLINT(*-no-malloc)
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }  // NOLINT(*-no-malloc)

namespace {

/// How many are made when so many are held at once.
std::size_t made_for(std::size_t held) {
  std::size_t const before = made;
  std::vector<std::optional<lent_memory> > all(held);
  for (auto& each : all) each.emplace();
  return made - before;
}

}  // namespace

BOOST_AUTO_TEST_CASE(lends_64_KiB_again_and_again_and_keeps_four_of_them) {
  BOOST_TEST(made_for(1) == 1U);
  BOOST_TEST(made_for(1) == 0U);
  BOOST_TEST(lent_memory{}.span().size() == 65536U);
  BOOST_TEST(made_for(6) == 5U);
  BOOST_TEST(made_for(4) == 0U);
  BOOST_TEST(made_for(5) == 1U);
}

BOOST_AUTO_TEST_CASE(who_holds_two_holds_different_ones) {
  lent_memory const one;
  lent_memory const other;
  BOOST_TEST(one.span().data() != other.span().data());
}

#endif

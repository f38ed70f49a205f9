#define BOOST_TEST_MODULE frame_memory
#include "../support/sanitized.hpp"

#include <cleat/base/frame_memory.hpp>
#include <cleat/base/scope.hpp>
#include <cleat/base/spawn.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <thread>
#include <vector>

#if CLEAT_TEST_UNDER_TSAN

// Its heap cannot be replaced.
BOOST_AUTO_TEST_CASE(gives_memory_that_can_be_given_back) {
  void* const p = cleat::detail::frame_memory::allocate(1);
  BOOST_TEST(p != nullptr);
  cleat::detail::frame_memory::deallocate(p, 1);
}

#else

namespace {

std::atomic<std::size_t> made = 0;
std::atomic<std::size_t> last_size = 0;

/// Blocks whose end is to be seen.
std::array<std::atomic<void*>, 3> watched{};
std::atomic<int> freed = 0;

}  // namespace

// The heap of this program, which counts.
void* operator new(std::size_t size) {
  ++made;
  last_size = size;
  if (void* const p = std::malloc(size)) return p;
  throw std::bad_alloc{};
}
void operator delete(void* p) noexcept {
  if (p != nullptr) {
    for (auto& w : watched) {
      void* is = p;
      if (w.compare_exchange_strong(is, nullptr)) ++freed;
    }
  }
  std::free(p);
}
void operator delete(void* p, std::size_t) noexcept { operator delete(p); }

#if CLEAT_FRAME_POOL

using memory = cleat::detail::frame_memory;

namespace {

constexpr std::size_t kept = 256;

/// How many bytes the heap was asked for; 0 if it was not.
std::size_t asked_for(std::size_t bytes, void*& p) {
  std::size_t const before = made;
  p = memory::allocate(bytes);
  return made == before ? 0 : last_size.load();
}

void forget() {
  freed = 0;
  for (auto& w : watched) w = nullptr;
}

}  // namespace

BOOST_AUTO_TEST_CASE(takes_whole_classes_of_64_bytes_from_the_heap) {
  struct pair {
    std::size_t bytes;
    std::size_t whole;
  };
  for (auto const [bytes, whole] :
       {pair{1, 64}, pair{64, 64}, pair{65, 128}, pair{128, 128}, pair{129, 192}, pair{1984, 1984},
        pair{1985, 2048}, pair{2048, 2048}, pair{2049, 2112}}) {
    std::vector<void*> all(kept + 1);  // more than the lists can hold by now
    std::size_t asked = 0;
    for (void*& p : all) asked = asked_for(bytes, p);
    BOOST_TEST(asked == whole);
    for (void* const p : all) memory::deallocate(p, bytes);
  }
}

BOOST_AUTO_TEST_CASE(a_block_is_used_again_for_any_size_of_its_class) {
  void* const p = memory::allocate(1000);  // of the class up to 1,024
  memory::deallocate(p, 1000);
  void* again = nullptr;
  BOOST_TEST(asked_for(961, again) == 0U);
  BOOST_TEST(again == p);
  void* other = nullptr;
  BOOST_TEST(asked_for(1024, other) == 1024U);
  memory::deallocate(again, 961);
  memory::deallocate(other, 1024);
  BOOST_TEST(asked_for(1024, again) == 0U);
  BOOST_TEST(again == other);  // the last that was freed, which is still warm
  void* smaller = nullptr;
  BOOST_TEST(asked_for(896, smaller) == 896U);
  memory::deallocate(smaller, 896);
  memory::deallocate(again, 1024);
}

BOOST_AUTO_TEST_CASE(keeps_blocks_of_the_largest_class_and_none_beyond) {
  void* const largest = memory::allocate(1984);
  memory::deallocate(largest, 1984);
  void* p = nullptr;
  BOOST_TEST(asked_for(1984, p) == 0U);
  memory::deallocate(p, 1984);

  forget();
  p = memory::allocate(1985);
  watched[0] = p;
  memory::deallocate(p, 1985);
  BOOST_TEST(freed == 1);
}

BOOST_AUTO_TEST_CASE(keeps_so_many_blocks_of_a_class_and_gives_back_the_rest) {
  std::vector<void*> all(kept + 1);
  for (int round = 0; round < 2; ++round) {  // what is taken makes room again
    for (void*& p : all) p = memory::allocate(1472);
    forget();
    watched[0] = all.front();
    watched[1] = all[kept - 1];
    watched[2] = all[kept];
    for (std::size_t i = 0; i < kept; ++i) memory::deallocate(all[i], 1472);
    BOOST_TEST(freed == 0);
    memory::deallocate(all[kept], 1472);
    BOOST_TEST(freed == 1);
    BOOST_TEST(watched[2] == nullptr);
    forget();
    for (std::size_t i = 0; i < kept; ++i) {
      if (asked_for(1472, all[i]) != 0) BOOST_ERROR("of block " << i);
    }
    void* beyond = nullptr;
    BOOST_TEST(asked_for(1472, beyond) == 1472U);
    memory::deallocate(beyond, 1472);
    for (std::size_t i = 0; i < kept; ++i) memory::deallocate(all[i], 1472);
  }
}

BOOST_AUTO_TEST_CASE(a_thread_gives_back_at_its_end_what_it_kept) {
  for (std::size_t const n : {1U, 3U}) {
    forget();
    std::thread{[n] {
      for (std::size_t i = 0; i < n; ++i) watched[i] = memory::allocate(1472);
      std::array<void*, 3> const mine{watched[0], watched[1], watched[2]};
      for (std::size_t i = 0; i < n; ++i) memory::deallocate(mine[i], 1472);
      BOOST_TEST(freed == 0);
    }}.join();
    BOOST_TEST(freed == static_cast<int>(n));
  }
}

BOOST_AUTO_TEST_CASE(what_is_freed_after_the_end_of_its_threads_pool_goes_back_at_once) {
  struct late {
    void* p = nullptr;
    ~late() {
      if (p != nullptr) memory::deallocate(p, 1472);
    }
  };
  forget();
  std::thread{[] {
    thread_local late outlives;  // made before the pool is used, so destroyed after it
    outlives.p = memory::allocate(1472);
    watched[0] = outlives.p;
    watched[1] = memory::allocate(1472);
    memory::deallocate(watched[1], 1472);
  }}.join();
  BOOST_TEST(freed == 2);
}

BOOST_AUTO_TEST_CASE(chains_that_come_and_go_take_nothing_from_the_heap_in_the_end) {
  boost::asio::io_context context;
  bool steady = false;
  auto one = []() -> cleat::task<int> { co_return 1; };
  auto nothing = []() -> cleat::task<> { co_return; };
  auto body = [&]() -> cleat::task<> {
    cleat::environment& env = co_await cleat::this_chain::environment;
    for (int round = 0; round < 3; ++round) {
      std::size_t const before = made;
      static_cast<void>(co_await one());
      cleat::scope beside{env};
      beside.spawn(nothing());
      co_await beside.join();
      steady = made == before;
    }
  };
  cleat::spawn(context.get_executor(), body());
  context.run();
  BOOST_TEST(steady);
}

#else

BOOST_AUTO_TEST_CASE(nothing_is_kept_where_each_use_after_free_is_to_be_seen) {
  void* const p = cleat::detail::frame_memory::allocate(1);
  BOOST_TEST(last_size == 64U);
  watched[0] = p;
  cleat::detail::frame_memory::deallocate(p, 1);
  BOOST_TEST(freed == 1);
}

#endif

#endif

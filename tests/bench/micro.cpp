// What the parts cost, one at a time: time and heap allocations of one operation. See
// docs/how-to/measure.md.
#include "measured.hpp"

#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

constinit std::uint64_t count = 0;  // one thread is measured, and nobody else allocates

void* counted(void* memory) {
  ++count;
  if (memory == nullptr) throw std::bad_alloc{};
  return memory;
}

void* aligned(std::size_t alignment, std::size_t bytes) noexcept {
  void* memory = nullptr;
  if (alignment < sizeof(void*)) alignment = sizeof(void*);
  return ::posix_memalign(&memory, alignment, bytes) == 0 ? memory : nullptr;
}

}  // namespace

std::uint64_t micro::allocations() noexcept { return count; }

void* operator new(std::size_t bytes) { return counted(std::malloc(bytes == 0 ? 1 : bytes)); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return counted(aligned(static_cast<std::size_t>(alignment), bytes));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

// Asio's handlers do not come from `operator new`, but from here.
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  ++count;
  return aligned(alignment, bytes);
}

BENCHMARK_MAIN();

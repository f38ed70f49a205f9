#pragma once

#include <atomic>
#include <cstdint>

namespace peers {

/// One thread counts; a signal handler may read.
using counter = std::atomic<std::uint64_t>;

/// Adds without the price of an atomic addition: nobody else writes.
inline void add(counter& to, std::uint64_t n) noexcept {
  to.store(to.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

/// Allocations from the heap since the program began. `operator new` counts them.
extern counter allocations;

/// Requests that this server has answered.
extern counter answers;

/// From now on, SIGUSR1 is answered on standard output by `A <allocations> <answers>`.
void tell_allocations_on_sigusr1();

}  // namespace peers

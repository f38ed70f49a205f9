#include <cleat/runtime/run.hpp>

#include <algorithm>
#include <chrono>

namespace cleat {

namespace {

/// Whether anything came within that time.
bool look(boost::asio::io_context& context, duration limit) {
  using time = std::chrono::steady_clock;  // the machine's, whatever the context's is
  auto const until = time::now() + limit;
  do {
    if (context.poll() != 0) return true;
  } while (!context.stopped() && time::now() < until);
  return false;
}

}  // namespace

void run(boost::asio::io_context& context, duration spin) {
  if (spin <= duration::zero()) {
    context.run();
    return;
  }
  constexpr unsigned misses_max = 6;
  unsigned misses = 0;  // in a row
  unsigned sleeps = 0;  // still to be slept at once
  while (!context.stopped()) {
    if (sleeps == 0) {
      if (look(context, spin)) {
        misses = 0;
        continue;
      }
      misses = std::min(misses + 1, misses_max);
      sleeps = (1U << misses) - 1;
    }
    context.run_one();
    --sleeps;
  }
}

}  // namespace cleat

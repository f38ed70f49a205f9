#pragma once

#include <cleat/base/call.hpp>
#include <cleat/base/spawn.hpp>
#include <cleat/base/task.hpp>

#include <benchmark/benchmark.h>
#include <boost/asio/io_context.hpp>

#include <chrono>
#include <cstdint>
#include <utility>

namespace micro {

/// How often the heap was asked so far, by the program and all its libraries.
[[nodiscard]] std::uint64_t allocations() noexcept;

/// The device that all benchmarks talk about.
inline constexpr char const* device_id = "DEVICE123";

/// The loop of a benchmark: `while (loop.again()) operation();`. What it does first warms pools and
/// caches up and is neither timed nor counted. Several chains of one thread may share it.
class measured {
 public:
  explicit measured(benchmark::State& state) noexcept : state_(state) {}
  measured(measured const&) = delete;
  measured& operator=(measured const&) = delete;

  [[nodiscard]] bool again() {
    if (warm_up_ > 0) {
      --warm_up_;
      return true;
    }
    if (over_) return false;
    bool const more = state_.KeepRunning();
    if (!began_) {
      began_ = true;
      before_ = allocations();
    }
    if (more) return true;
    over_ = true;
    state_.counters["allocs"] = benchmark::Counter{static_cast<double>(allocations() - before_),
                                                   benchmark::Counter::kAvgIterations};
    return false;
  }

 private:
  benchmark::State& state_;
  int warm_up_ = 2000;
  bool began_ = false;
  bool over_ = false;
  std::uint64_t before_ = 0;
};

/// Measures a function that waits for nothing.
template <class Operation>
void measure(benchmark::State& state, Operation operation) {
  measured loop{state};
  while (loop.again()) operation();
}

/// Runs a chain to its end.
inline void run(boost::asio::io_context& context, cleat::task<> body) {
  cleat::spawn(context.get_executor(), std::move(body));
  context.run();
}

/// A call as a program makes it: for a peer, with a deadline that is not met here.
[[nodiscard]] inline cleat::call new_call(boost::asio::io_context& context) {
  cleat::call c{context.get_executor()};
  c.tighten(c.now() + std::chrono::hours{1});
  c.peer = device_id;
  return c;
}

}  // namespace micro

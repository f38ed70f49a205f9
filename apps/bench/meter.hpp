#pragma once

#include "options.hpp"

#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

namespace bench {

/// Allocations by `operator new` in this process, from its beginning.
[[nodiscard]] std::uint64_t allocations() noexcept;

/// Requests that a server has answered; told with the allocations when SIGUSR1 asks (`A 12 34`).
void count_answer() noexcept;
void answer_to_signals() noexcept;

/// Tells the driver, and waits until it says go on (a line on standard input).
void say(std::string_view line) noexcept;
void say_and_wait(std::string_view line) noexcept;

/// Measures the round trips of a client: warms up, measures, and tells the driver of each step.
class meter {
 public:
  explicit meter(options const& o);

  void begin() noexcept;
  [[nodiscard]] static std::int64_t now_ns() noexcept;
  /// One request is over that began at `began`. False: that was enough.
  [[nodiscard]] bool record(std::int64_t began) noexcept;
  /// Prints the result and ends the program.
  [[noreturn]] void finish();

 private:
  enum class phase : std::uint8_t { warming, measuring, done };

  phase phase_ = phase::warming;
  std::int64_t warm_ns_;
  std::int64_t measure_ns_;
  std::uint64_t most_;
  std::int64_t starts_ = 0;
  std::int64_t began_ = 0;
  std::int64_t ends_ = 0;
  std::uint64_t measured_ = 0;
  std::uint64_t total_ = 0;
  std::uint64_t allocations_before_ = 0;
  std::uint64_t allocations_after_ = 0;
  std::vector<std::uint32_t> latencies_;
};

}  // namespace bench

#pragma once

#include "options.hpp"

#include <cleat/base/events.hpp>
#include <cleat/base/result.hpp>
#include <cleat/observe/observe.hpp>
#include <toggle/protocol.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

namespace toggler {

/// Counts attempts: a call that ends well does not say how many it took.
class attempt_counter {
 public:
  using listens_to = cleat::event_list<cleat::attempt_started>;

  void on(cleat::attempt_started const& e) noexcept { made_ = e.of.attempt; }
  [[nodiscard]] std::uint32_t made() const noexcept { return made_; }

 private:
  std::atomic<std::uint32_t> made_ = 0;
};

/// Whether the answer, which has our number, names a device that was not asked. (One that names
/// none is taken for the one that was.)
[[nodiscard]] bool names_another(options const& o, toggle::response const& r) noexcept;

/// What came of it: for people and for the exit code.
class report {
 public:
  report(options const& o, cleat::result<toggle::response> const& reply, std::uint32_t attempts,
         std::chrono::nanoseconds elapsed, int signal);

  [[nodiscard]] int code() const noexcept { return code_; }
  /// `DEVICE123 is on: done in 12 ms, 1 attempt`
  [[nodiscard]] std::string const& sentence() const noexcept { return sentence_; }

 private:
  int code_;
  std::string sentence_;
};

/// Writes it on stderr in one piece, coloured if that is a terminal that wants it.
void print(report const& r);

}  // namespace toggler

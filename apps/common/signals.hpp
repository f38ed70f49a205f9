#pragma once

#include <functional>
#include <initializer_list>
#include <thread>

namespace apps {

/// Signals as a matter of a thread of its own, so that they are heard whatever the program waits
/// for, and a signal never interrupts the writing of a line.
///
/// Thread safety: one object a program.
class signals {
 public:
  /// Makes the calling thread, and all that it starts, leave these signals for `hear`, and SIGPIPE
  /// to nobody. Call it first in `main`: what comes before `hear` is not lost.
  static void hold() noexcept;

  /// Calls `heard(signal)` on a thread of its own: for SIGHUP each time, if `reopens` (if not,
  /// SIGHUP ends the program as usual), and for the first SIGINT or SIGTERM. A second one of those,
  /// or a program that is still there a second after the first, ends by `std::_Exit(128 + signal)`.
  explicit signals(std::function<void(int)> heard, bool reopens = false);
  signals(signals const&) = delete;
  signals& operator=(signals const&) = delete;
  /// Hears nothing more. Signals stay blocked.
  ~signals();

 private:
  void run(int in, std::function<void(int)> const& heard) const;

  int stop_;
  std::thread thread_;
};

/// Opens `/dev/null` in place of what is closed of standard input, output and error: what is opened
/// next must not become one of them.
void fill_standard_descriptors() noexcept;

}  // namespace apps

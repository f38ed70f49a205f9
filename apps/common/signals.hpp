#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

namespace apps {

/// SIGINT, SIGTERM and SIGHUP as a matter of a thread of its own: they are heard whatever the
/// program waits for, and none of them interrupts the writing of a line.
///
/// What they do depends on how far the program is:
/// - Before `attach`, a signal ends the program at once, as `end` says, and one sentence on stderr
///   names it.
/// - While a function is attached, it is called for the first signal, and ends the work. If the
///   program is still there 0.8 seconds later, or a second signal comes, the program ends like that.
/// - After `settle`, the same, but the program ends with the code that was settled, silently.
///
/// SIGHUP does the same as the others, unless it `reopens`: then the attached function is called
/// for each, and it ends nothing.
///
/// A signal that was ignored when the program began stays ignored, as SIGINT is under `&` in a
/// script and SIGHUP is under nohup. SIGPIPE and SIGXFSZ are ignored always.
///
/// Thread safety: one object a program, used by one thread.
class signals {
 public:
  /// As long as it lives, the function is called; it is called on the thread of the signals.
  class attachment {
   public:
    attachment(attachment const&) = delete;
    attachment& operator=(attachment const&) = delete;
    ~attachment() { of_.detach(); }

   private:
    friend signals;
    explicit attachment(signals& of) noexcept : of_(of) {}
    signals& of_;
  };

  /// Make it first in `main`: from now on the signals are blocked in the calling thread, and in all
  /// that it starts. Throws `std::system_error` if there are no descriptors or no threads.
  explicit signals(std::string program);
  signals(signals const&) = delete;
  signals& operator=(signals const&) = delete;
  /// Hears nothing more. The signals stay blocked.
  ~signals();

  [[nodiscard]] attachment attach(std::function<void(int)> heard, bool reopens = false);
  /// The outcome is known: whatever signal ends the program from now on, it ends with this code.
  void settle(int code);

 private:
  void detach();
  void hear(int in);
  [[noreturn]] void end_by(int signal);

  std::string program_;
  std::mutex mutex_;
  std::function<void(int)> heard_;
  bool reopens_ = false;
  std::optional<int> code_;
  int stop_;
  std::thread thread_;
};

/// Ends the program at once. 130 and 129 stand for SIGINT and SIGHUP: the program dies of those, so
/// that a shell which runs it in a loop ends too. (cons.org/cracauer/sigint.html)
[[noreturn]] void end(int code) noexcept;

/// `SIGINT`, `SIGTERM` or `SIGHUP`.
[[nodiscard]] std::string_view name_of(int signal) noexcept;

/// A closed pipe and a file at its size limit become errors of `write`, and do not end the program.
void survive_broken_outputs() noexcept;

/// Opens `/dev/null` in place of what is closed of standard input, output and error: what is opened
/// next must not become one of them. Reading and writing there still fail, as on what is closed.
void fill_standard_descriptors() noexcept;

}  // namespace apps

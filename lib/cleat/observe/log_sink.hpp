#pragma once

#include <cleat/base/clock.hpp>
#include <cleat/observe/log_level.hpp>

#include <boost/json/fwd.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>

namespace cleat {

/// How log records are written: one JSON object a line, or a line for people.
enum class log_format : std::uint8_t { json, text };

/// What a `log_sink` is opened with.
class log_sink_options {
 public:
  /// `time` gives the time of records that belong to no call; it outlives the sink.
  explicit log_sink_options(cleat::clock const& time) noexcept : clock(&time) {}

  cleat::clock const* clock;
  log_level level = log_level::info;
  log_format format = log_format::json;
  /// Where lines go: standard output. -1: nowhere but to the file.
  int fd = 1;
  /// In addition, a file to append to, in the same format; empty: none.
  std::string file;
};

/// Where log records go. Boost.Log is set up by it, and cleaned up by its destructor: its sinks in
/// Boost.Log's core take the records written through this object, and no others.
///
/// A record is one whole line, written with one `write(2)` before `write` returns; records of
/// several threads never mix. Text is coloured if `fd` is a terminal and `NO_COLOR` is not set.
/// What goes wrong while writing never reaches the program: the first error is told in one sentence
/// on stderr, a closed pipe not even that, and that place gets no more records. So that neither a
/// closed pipe nor a file at its size limit ends the program, `open` ignores SIGPIPE and SIGXFSZ for
/// the process, each if it has its default action.
///
/// Thread safety: all members may be called from any thread, none from a signal handler.
class log_sink {
 public:
  /// Fails as `resources` if the file cannot be opened; the detail has path and reason.
  [[nodiscard]] static result<std::unique_ptr<log_sink>> open(log_sink_options options);

  log_sink(log_sink const&) = delete;
  log_sink& operator=(log_sink const&) = delete;
  ~log_sink();

  /// Whether a record of this level is written: ask before building one.
  [[nodiscard]] bool enabled(log_level l) const noexcept {
    return l >= level_.load(std::memory_order_relaxed);
  }
  void set_level(log_level l) noexcept { level_.store(l, std::memory_order_relaxed); }

  /// Writes a record: ts, level, module, line, message, then `fields`, of which those five names
  /// are left out. `module` is the stem of the file that `where` names. Does nothing if the level
  /// is not enabled.
  void write(log_level level, std::string_view message,
             std::source_location where = std::source_location::current()) noexcept;
  void write(log_level level, std::string_view message, boost::json::object fields,
             std::source_location where = std::source_location::current()) noexcept;
  /// The same with the time of something that has happened.
  void write_at(std::chrono::system_clock::time_point at, log_level level, std::string_view message,
                boost::json::object fields,
                std::source_location where = std::source_location::current()) noexcept;

  /// Opens the file anew, e.g. after SIGHUP, when it was moved away. If it cannot be opened, the
  /// old one stays in use. Without a file it does nothing.
  [[nodiscard]] result<void> reopen();

 private:
  struct impl;
  explicit log_sink(std::unique_ptr<impl> i, log_level l) noexcept;

  std::unique_ptr<impl> impl_;
  std::atomic<log_level> level_;
};

}  // namespace cleat

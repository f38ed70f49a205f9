#pragma once

#include <cleat/base/clock.hpp>
#include <cleat/observe/log_level.hpp>

#include <boost/json/fwd.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
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
  /// In addition, a file to append to, in the same format; empty: none. It is made with mode 0600,
  /// since packets may be private; one that is there keeps its mode.
  std::string file;
  /// How much may wait for each place, in records and in bytes; more is dropped and counted.
  std::size_t queue_records_max = 10'000;
  std::size_t queue_bytes_max = 4'000'000;
  /// How long `flush` and the destructor wait for places that are slow. A place that has taken
  /// nothing for so long already is not waited for.
  std::chrono::milliseconds flush_within{500};
  /// Whether the sinks of a program that uses Boost.Log itself get the records too; see `log_sink`.
  bool boost_log = true;
};

/// What records have as their `Channel` in Boost.Log.
inline constexpr std::string_view log_channel = "cleat";

/// Where log records go: to a descriptor, to a file, and to the sinks of a program that uses
/// Boost.Log.
///
/// Nobody who writes a record waits for a place. Each has a queue, which is bounded, and a thread,
/// which takes no signals. What finds no room is dropped: `lost` counts it, and where records are
/// missing stands one that says how many (`"event":"records_lost"`, `lost`, and `since`, the time of
/// the first). A record is one whole line, written with one `write(2)` if that takes it; a place has
/// them in the order in which they were written, and the places do not wait for each other.
///
/// What goes wrong never reaches the program. A disk that is full, or fails otherwise, is told in
/// one sentence on stderr, and tried again; the records wait meanwhile, and go on in a line of their
/// own. A closed pipe is final and not told. Text is coloured if `fd` is a terminal and `NO_COLOR` is
/// not set.
///
/// The destructor waits for the places, `flush_within` in all, and no longer: what a pipe has not
/// taken then is lost, and a thread that is stuck in a disk is left alone, with all that it uses.
///
/// **In a program that uses Boost.Log** its sinks get the records too, with the attributes `Channel`
/// (`std::string`, `log_channel`), `Severity` (`boost::log::trivial::severity_level`) and `Message`
/// (`std::string`): a filter such as `expr::attr<std::string>("Channel") != "cleat"` keeps them out
/// of a sink. What the program does to Boost.Log's core, its filter for instance, is no matter of
/// `fd` and `file`. While a log_sink lives the core has a sink, so that Boost.Log does not use its
/// default one; a program that wants that sets `boost_log` to false, and then has nothing of this.
///
/// In the child of a `fork` a log_sink of its parent writes nothing and waits for nothing: open one
/// behind the `fork`.
///
/// Thread safety: all members may be called from any thread, none from a signal handler.
class log_sink {
 public:
  /// Fails as `resources` if the file cannot be opened, with path and reason in the detail, or if
  /// there are no threads. Waits for the reader of a FIFO.
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

  /// How many records were dropped so far, added up over the places.
  [[nodiscard]] std::uint64_t lost() const noexcept;

  /// Waits until all records are where they belong, `flush_within` at most, and not for a disk that
  /// is full. Fails as `resources` if they are not; the detail is a sentence. A pipe that was closed
  /// has all that it will ever get.
  [[nodiscard]] result<void> flush();

  /// Opens the file anew, e.g. after SIGHUP, when it was moved away; what waits goes there. If it
  /// cannot be opened, the old one stays in use. Without a file it does nothing.
  [[nodiscard]] result<void> reopen();

 private:
  struct impl;
  explicit log_sink(std::unique_ptr<impl> i, log_level l) noexcept;

  std::unique_ptr<impl> impl_;
  std::atomic<log_level> level_;
};

}  // namespace cleat

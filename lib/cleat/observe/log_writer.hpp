#pragma once

#include <cleat/observe/line_writer.hpp>
#include <cleat/observe/log_queue.hpp>
#include <cleat/observe/log_sink.hpp>

#include <atomic>
#include <chrono>
#include <mutex>
#include <string>
#include <string_view>

namespace cleat {

/// Writes what a queue holds to one place, and tells where records are missing. It waits for the
/// place, and gives up when the queue says that the time is over.
///
/// Thread safety: `write` by one thread, the others by any.
class log_writer {
 public:
  log_writer(line_writer to, log_sink_options const& with);
  log_writer(log_writer const&) = delete;
  log_writer& operator=(log_writer const&) = delete;
  ~log_writer();

  /// Writes what was taken out of `lines`.
  void write(log_queue::item const& taken);
  /// Opens the file again; the writer goes on there.
  [[nodiscard]] result<void> reopen();

  /// Why nothing can be written now: an `errno`, or 0.
  [[nodiscard]] int error() const noexcept { return error_; }
  [[nodiscard]] std::string const& name() const noexcept { return name_; }
  [[nodiscard]] bool is_coloured() const noexcept { return coloured_; }

  log_queue lines;

 private:
  bool write_line(std::string_view line);
  void take_over_reopened();

  line_writer to_;
  std::string const name_;
  log_format const format_;
  bool const coloured_;
  std::chrono::milliseconds pause_;
  std::atomic<int> error_ = 0;
  std::mutex mutex_;
  int reopened_ = -1;  ///< under `mutex_`: what `to_` is to use from now on
};

}  // namespace cleat

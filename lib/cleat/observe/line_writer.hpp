#pragma once

#include <cleat/base/result.hpp>

#include <string>
#include <string_view>

namespace cleat {

/// Writes whole lines to a file descriptor, each with one `write(2)` where the kernel takes it all
/// at once.
///
/// It never throws and never ends the program. The first error that is not a closed pipe is told in
/// one sentence on stderr; after any error it is quiet (until `reopen`).
///
/// Thread safety: none; the log sink locks.
class line_writer {
 public:
  /// Writes to a descriptor that somebody else owns.
  explicit line_writer(int fd, std::string name) noexcept;
  /// Appends to a file, made with mode 0644 if need be. Fails as `resources`, with path and reason
  /// in the detail.
  [[nodiscard]] static result<line_writer> open(std::string path);

  line_writer(line_writer&& other) noexcept;
  line_writer& operator=(line_writer&&) = delete;
  ~line_writer();

  void write(std::string_view line) noexcept;

  /// Opens the same path again, after the file was moved away. If it cannot, the old file stays in
  /// use. Does nothing for a descriptor that somebody else owns.
  [[nodiscard]] result<void> reopen();

  [[nodiscard]] bool is_terminal() const noexcept;

 private:
  line_writer(int fd, std::string name, bool owned) noexcept;
  void give_up(int error) noexcept;

  int fd_;
  bool owned_;
  bool quiet_ = false;
  std::string name_;
};

}  // namespace cleat

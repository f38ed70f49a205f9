#pragma once

#include <cleat/base/result.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cleat {

/// Writes whole lines to a file descriptor, each with one `write(2)` where the kernel takes it all
/// at once.
///
/// It never throws and never ends the program, if SIGPIPE and SIGXFSZ do not. A disk that is full,
/// or fails otherwise, is told in one sentence on stderr, once for each period of trouble; the
/// lines go on when it takes them again. A line begins a new one in the file whatever was there
/// before: a piece of a line, of this writer or of a program that ended, gets a newline behind it.
/// A closed pipe is final and is not told.
///
/// Thread safety: none.
class line_writer {
 public:
  /// How far a line has come.
  enum class progress : std::uint8_t {
    written,  ///< all of it
    waiting,  ///< not all of it: `wait`, then go on with the same line
    failed,   ///< the disk is full, or the like: none of it counts; `error` says why
    closed,   ///< nobody will ever read it
  };

  /// Writes to a descriptor that somebody else owns, and leaves its flags as they are.
  explicit line_writer(int fd, std::string name);
  /// Appends to a file, made with mode 0600 if need be: what is written may be private. Waits for
  /// the reader of a FIFO. Fails as `resources`, with path and reason in the detail.
  [[nodiscard]] static result<line_writer> open(std::string path);

  line_writer(line_writer&& other) noexcept;
  line_writer& operator=(line_writer&&) = delete;
  ~line_writer();

  /// Writes the line, and waits while a pipe or terminal takes nothing. True also for a closed
  /// pipe. False if the line is not, or not all, in the file.
  bool write(std::string_view line) noexcept;

  /// Writes once, what can be written without waiting for a reader; a disk may take its time. What
  /// is `waiting` goes on with the next call, which must be for the same line.
  [[nodiscard]] progress try_write(std::string_view line) noexcept;
  /// Waits until a pipe or terminal takes something, or for so long.
  void wait(std::chrono::milliseconds at_most) const noexcept;

  /// How many bytes of a line that is `waiting` are written.
  [[nodiscard]] std::size_t written() const noexcept { return written_; }
  /// The reason, an `errno`, if the last line failed; or 0.
  [[nodiscard]] int error() const noexcept { return error_; }
  [[nodiscard]] std::string const& name() const noexcept { return name_; }
  [[nodiscard]] bool is_terminal() const noexcept;

  /// Opens the path of a file again, for `use`. Does not wait for the reader of a FIFO: fails
  /// without one. Any thread may call it. -1 for a descriptor that somebody else owns.
  [[nodiscard]] result<int> open_again() const;
  /// Goes on with this descriptor, and with a line from its beginning.
  void use(int fd) noexcept;

 private:
  line_writer(int fd, std::string name, bool owned);
  void look() noexcept;
  /// Nothing, if that cannot be known.
  [[nodiscard]] std::optional<bool> ends_within_a_line() const noexcept;
  progress fail(int error) noexcept;
  void tell(int error) const noexcept;

  int fd_;
  bool owned_;
  bool may_block_ = false;    ///< a pipe, a terminal, a socket: what `poll` is of use for
  bool within_line_ = false;  ///< the next line begins with a newline
  bool closed_ = false;
  int error_ = 0;
  std::size_t written_ = 0;  ///< of the line under way, its newline in front included
  std::string name_;
};

/// Says it on stderr, if that takes it at once.
void say_on_stderr(std::string_view line) noexcept;

}  // namespace cleat

#include <cleat/observe/line_writer.hpp>

#include <cleat/base/utf8.hpp>
#include <cleat/observe/unless_it_throws.hpp>

#include <boost/system/error_code.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <utility>

namespace cleat {
namespace {

constexpr int nothing = -1;

failure cannot_open(std::string_view path, int error) {
  boost::system::error_code const code{error, boost::system::system_category()};
  // The end of a path tells more than its beginning.
  constexpr std::size_t path_bytes_max = 48;
  std::string const shown = path.size() <= path_bytes_max
                                ? std::string{path}
                                : "~" + std::string{path.substr(path.size() - path_bytes_max)};
  return failure{code, kind::resources, certainty::not_sent}.with_detail("log file " + shown +
                                                                         ": " + code.message());
}

int open_to_append(std::string const& path, int more_flags) noexcept {
  int const flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | more_flags;
  int fd = nothing;
  do {
    fd = ::open(path.c_str(), flags, 0600);
  } while (fd < 0 && errno == EINTR);
  // A FIFO or a terminal must not make the writer wait, and this description is nobody else's.
  if (fd >= 0) ::fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK);
  return fd;
}

/// Writes both pieces, without the first `skipped` bytes and at most `bytes_max` of them.
ssize_t write_pieces(int fd, std::string_view before, std::string_view line, std::size_t skipped,
                     std::size_t bytes_max) noexcept {
  std::size_t const of_before = std::min(skipped, before.size());
  before = before.substr(of_before, bytes_max);
  line = line.substr(skipped - of_before, bytes_max - before.size());
  auto const piece = [](std::string_view s) {
    return iovec{const_cast<char*>(s.data()), s.size()};  // NOLINT(*-const-cast): writev's way
  };
  std::array<iovec, 2> const both{piece(before), piece(line)};
  return before.empty() ? ::write(fd, line.data(), line.size())
                        : ::writev(fd, both.data(), static_cast<int>(both.size()));
}

bool is_ready(int fd, int patience_ms) noexcept {
  pollfd writable{fd, POLLOUT, 0};
  return ::poll(&writable, 1, patience_ms) > 0;  // also if it is closed: `write` says so
}

}  // namespace

line_writer::line_writer(int fd, std::string name) : line_writer(fd, std::move(name), false) {}

line_writer::line_writer(int fd, std::string name, bool owned)
    : fd_(fd), owned_(owned), name_(std::move(name)) {
  look();
}

line_writer::line_writer(line_writer&& other) noexcept
    : fd_(std::exchange(other.fd_, nothing)),
      owned_(std::exchange(other.owned_, false)),
      may_block_(other.may_block_),
      within_line_(other.within_line_),
      closed_(other.closed_),
      error_(other.error_),
      written_(other.written_),
      name_(std::move(other.name_)) {}

line_writer::~line_writer() {
  if (owned_) ::close(fd_);
}

result<line_writer> line_writer::open(std::string path) {
  int const fd = open_to_append(path, 0);
  if (fd < 0) return cannot_open(path, errno);
  return line_writer{fd, std::move(path), true};
}

result<int> line_writer::open_again() const {
  if (!owned_) return nothing;
  int const fd = open_to_append(name_, O_NONBLOCK);
  if (fd < 0) return cannot_open(name_, errno);
  return fd;
}

void line_writer::use(int fd) noexcept {
  ::close(std::exchange(fd_, fd));
  closed_ = false;
  error_ = 0;
  written_ = 0;
  look();
}

void line_writer::look() noexcept {
  struct stat is{};
  may_block_ = ::fstat(fd_, &is) == 0 && !S_ISREG(is.st_mode) && !S_ISBLK(is.st_mode);
  within_line_ = ends_within_a_line().value_or(false);
}

std::optional<bool> line_writer::ends_within_a_line() const noexcept {
  struct stat is{};
  if (::fstat(fd_, &is) != 0 || !S_ISREG(is.st_mode)) return std::nullopt;
  bool const appends = (::fcntl(fd_, F_GETFL) & O_APPEND) != 0;
  off_t const end = appends ? is.st_size : ::lseek(fd_, 0, SEEK_CUR);
  if (end <= 0) return false;
  // The descriptor itself is for writing only.
  std::array<char, 32> path{};
  std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", fd_);
  int const in = ::open(path.data(), O_RDONLY | O_CLOEXEC);
  if (in < 0) return std::nullopt;
  char last = '\n';
  ssize_t const n = ::pread(in, &last, 1, end - 1);
  ::close(in);
  if (n != 1) return std::nullopt;
  return last != '\n';
}

bool line_writer::is_terminal() const noexcept { return ::isatty(fd_) == 1; }

bool line_writer::write(std::string_view line) noexcept {
  for (;;) {
    auto const p = try_write(line);
    if (p != progress::waiting) return p != progress::failed;
    (void)is_ready(fd_, -1);
  }
}

void line_writer::wait(std::chrono::milliseconds at_most) const noexcept {
  (void)is_ready(fd_, static_cast<int>(at_most.count()));
}

line_writer::progress line_writer::try_write(std::string_view line) noexcept {
  if (closed_) return progress::closed;
  if (error_ != 0 && written_ == 0) within_line_ = ends_within_a_line().value_or(within_line_);
  std::string_view const before = within_line_ ? "\n" : "";
  // A pipe that is ready takes so much without making anybody wait. (pipe(7))
  if (may_block_ && !is_ready(fd_, 0)) return progress::waiting;
  auto const n = write_pieces(fd_, before, line, written_,
                              may_block_ ? std::size_t{PIPE_BUF} : std::string_view::npos);
  if (n < 0) {
    bool const later = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    return later ? progress::waiting : fail(errno);
  }
  written_ += static_cast<std::size_t>(n);
  if (written_ < before.size() + line.size()) return progress::waiting;
  written_ = 0;
  within_line_ = false;
  error_ = 0;
  return progress::written;
}

line_writer::progress line_writer::fail(int error) noexcept {
  if (written_ != 0) within_line_ = written_ > (within_line_ ? 1U : 0U);
  written_ = 0;
  if (error == EPIPE || error == ECONNRESET) {  // the reader has seen enough, as in `| head`
    closed_ = true;
    return progress::closed;
  }
  if (std::exchange(error_, error) == 0) tell(error);
  return progress::failed;
}

void line_writer::tell(int error) const noexcept {
  detail::unless_it_throws([&] {
    boost::system::error_code const code{error, boost::system::system_category()};
    say_on_stderr("cannot write the log to " + printable(name_) + ": " + code.message() +
                  "; it is tried again\n");
  });
}

void say_on_stderr(std::string_view line) noexcept {
  if (is_ready(STDERR_FILENO, 0)) (void)!::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace cleat

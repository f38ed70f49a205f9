#include <cleat/observe/line_writer.hpp>

#include <boost/system/error_code.hpp>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>
#include <array>
#include <cerrno>
#include <cstddef>
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

int open_to_append(std::string const& path) noexcept {
  int fd = nothing;
  do {
    fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

}  // namespace

line_writer::line_writer(int fd, std::string name) noexcept
    : line_writer(fd, std::move(name), false) {}

line_writer::line_writer(int fd, std::string name, bool owned) noexcept
    : fd_(fd), owned_(owned), name_(std::move(name)) {}

line_writer::line_writer(line_writer&& other) noexcept
    : fd_(std::exchange(other.fd_, nothing)),
      owned_(std::exchange(other.owned_, false)),
      quiet_(other.quiet_),
      name_(std::move(other.name_)) {}

line_writer::~line_writer() {
  if (owned_) ::close(fd_);
}

result<line_writer> line_writer::open(std::string path) {
  int const fd = open_to_append(path);
  if (fd < 0) return cannot_open(path, errno);
  return line_writer{fd, std::move(path), true};
}

result<void> line_writer::reopen() {
  if (!owned_) return {};
  int const fd = open_to_append(name_);
  if (fd < 0) return cannot_open(name_, errno);
  ::close(std::exchange(fd_, fd));
  quiet_ = false;
  return {};
}

bool line_writer::is_terminal() const noexcept { return ::isatty(fd_) == 1; }

void line_writer::write(std::string_view line) noexcept {
  if (quiet_) return;
  while (!line.empty()) {
    auto const n = ::write(fd_, line.data(), line.size());
    if (n >= 0) {
      line.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      // Somebody made the descriptor non-blocking.
      pollfd writable{fd_, POLLOUT, 0};
      (void)::poll(&writable, 1, -1);
    } else if (errno != EINTR) {
      return give_up(errno);
    }
  }
}

void line_writer::give_up(int error) noexcept {
  quiet_ = true;
  if (error == EPIPE) return;  // the reader has seen enough, as in `| head`
  boost::system::error_code const code{error, boost::system::system_category()};
  std::array<char, 128> reason{};
  std::array<char, 512> sentence{};
  int const n = std::snprintf(sentence.data(), sentence.size(),
                              "cannot write the log to %.300s: %s; no more is written there\n",
                              name_.c_str(), code.message(reason.data(), reason.size()));
  if (n > 0) (void)!::write(STDERR_FILENO, sentence.data(), static_cast<std::size_t>(n));
}

}  // namespace cleat

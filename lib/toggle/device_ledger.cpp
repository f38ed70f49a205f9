#include <toggle/device_ledger.hpp>

#include <cleat/base/utf8.hpp>
#include <cleat/observe/log_line.hpp>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <boost/system/error_code.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <string_view>
#include <utility>

namespace toggle {

namespace json = boost::json;
using boost::system::error_code;

/// Appends whole lines, or nothing.
class device_ledger::file {
 public:
  file(int fd, std::string path) : fd_(fd), path_(std::move(path)), torn_(ends_within_a_line()) {}
  file(file const&) = delete;
  file& operator=(file const&) = delete;
  ~file() { ::close(fd_); }

  bool append(std::string line) {
    if (torn_) line.insert(0, 1, '\n');
    std::size_t written = 0;
    while (written < line.size()) {
      auto const n = ::write(fd_, line.data() + written, line.size() - written);
      if (n >= 0) {
        written += static_cast<std::size_t>(n);
      } else if (errno == EAGAIN) {  // somebody made it non-blocking
        pollfd writable{fd_, POLLOUT, 0};
        (void)::poll(&writable, 1, -1);
      } else if (errno != EINTR) {
        tell(error_code{errno, boost::system::system_category()});
        if (written != 0 && !take_back(written)) torn_ = true;
        return false;
      }
    }
    torn_ = false;
    told_ = false;
    return true;
  }

 private:
  /// Only a file of which that can be read.
  [[nodiscard]] bool ends_within_a_line() const noexcept {
    struct stat is{};
    if (::fstat(fd_, &is) != 0 || !S_ISREG(is.st_mode) || is.st_size == 0) return false;
    int const in = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    char last = '\n';
    bool const read = in >= 0 && ::pread(in, &last, 1, is.st_size - 1) == 1;
    ::close(in);
    return read && last != '\n';
  }

  /// Cuts off what was written last, unless somebody wrote behind it.
  [[nodiscard]] bool take_back(std::size_t written) const noexcept {
    struct stat is{};
    off_t const end = ::lseek(fd_, 0, SEEK_CUR);
    return end >= 0 && ::fstat(fd_, &is) == 0 && is.st_size == end &&
           ::ftruncate(fd_, end - static_cast<off_t>(written)) == 0;
  }

  void tell(error_code why) {
    if (std::exchange(told_, true)) return;
    std::string const sentence = "cannot write the ledger to " + cleat::printable(path_) + ": " +
                                 why.message() + "; what cannot be noted is not done\n";
    (void)std::fwrite(sentence.data(), 1, sentence.size(), stderr);
  }

  int fd_;
  std::string path_;
  bool torn_;          ///< the next line begins with a newline
  bool told_ = false;  ///< this period of trouble
};

device_ledger::device_ledger() noexcept = default;
device_ledger::device_ledger(std::unique_ptr<file> to) noexcept : to_(std::move(to)) {}
device_ledger::device_ledger(device_ledger&&) noexcept = default;
device_ledger& device_ledger::operator=(device_ledger&&) noexcept = default;
device_ledger::~device_ledger() = default;

cleat::result<device_ledger> device_ledger::open(std::string path) {
  int fd = -1;
  do {
    fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) {
    error_code const why{errno, boost::system::system_category()};
    return cleat::failure{why, cleat::kind::resources, cleat::certainty::not_sent}.with_detail(
        "ledger " + path + ": " + why.message());
  }
  return device_ledger{std::make_unique<file>(fd, std::move(path))};
}

bool device_ledger::note(message const& request, std::chrono::system_clock::time_point at) {
  if (!to_) return true;
  json::object entry;
  entry.emplace("ts", cleat::to_rfc3339(at));
  entry.emplace("device_id", request.device_id.value_or(device_name{}).view());
  entry.emplace("msg_id", request.msg_id.view());
  if (request.op_id) {
    entry.emplace("op_id", request.op_id->view());
  } else {
    entry.emplace("op_id", nullptr);
  }
  entry.emplace("state", request.state.value_or(false));
  std::string line;
  cleat::append_json_line(line, entry);
  return to_->append(std::move(line));
}

}  // namespace toggle

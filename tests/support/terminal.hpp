#pragma once
// A terminal of a test's own.

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <utility>

namespace cleat::test {

/// A pseudo-terminal: what is written to `screen` is read from `behind`. Both are -1 where there is none, as in a
/// container without /dev/ptmx.
class terminal {
 public:
  terminal() noexcept : behind_(::posix_openpt(O_RDWR | O_NOCTTY)) {
    if (behind_ < 0) return;
    if (::grantpt(behind_) != 0 || ::unlockpt(behind_) != 0) return;
    char const* const name = ::ptsname(behind_);  // NOLINT(concurrency-mt-unsafe)
    if (name != nullptr) screen_ = ::open(name, O_RDWR | O_NOCTTY);
  }
  terminal(terminal const&) = delete;
  terminal& operator=(terminal const&) = delete;
  ~terminal() {
    if (screen_ >= 0) ::close(screen_);
    if (behind_ >= 0) ::close(behind_);
  }

  [[nodiscard]] int screen() const noexcept { return screen_; }
  [[nodiscard]] int behind() const noexcept { return behind_; }

 private:
  int behind_;
  int screen_ = -1;
};

/// For `* boost::unit_test::precondition(needs_a_terminal)`: the test is skipped where there is none, and says so.
inline boost::test_tools::assertion_result needs_a_terminal(boost::unit_test::test_unit_id) {
  if (terminal const one; one.screen() >= 0) return true;
  boost::test_tools::assertion_result no{false};
  no.message() << "there is no terminal here: /dev/ptmx and /dev/pts are needed";
  return no;
}

}  // namespace cleat::test

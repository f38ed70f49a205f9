#include <common/signals.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <system_error>
#include <utility>

namespace apps {
namespace {

constexpr int patience_ms = 1000;

sigset_t ending() noexcept {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

[[noreturn]] void cannot(char const* what) {
  throw std::system_error{errno, std::generic_category(), what};
}

}  // namespace

void signals::hold() noexcept {
  sigset_t const set = ending();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

signals::signals(std::function<void(int)> heard, bool reopens) {
  sigset_t set = ending();
  if (reopens) sigaddset(&set, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  int const in = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (in < 0) cannot("signalfd");
  stop_ = ::eventfd(0, EFD_CLOEXEC);
  if (stop_ < 0) {
    int const why = errno;
    ::close(in);
    errno = why;
    cannot("eventfd");
  }
  thread_ = std::thread{[this, in, call = std::move(heard)] { run(in, call); }};
}

signals::~signals() {
  std::uint64_t const one = 1;
  (void)!::write(stop_, &one, sizeof one);
  thread_.join();
  ::close(stop_);
}

void signals::run(int in, std::function<void(int)> const& heard) const {
  int first = 0;
  for (;;) {
    std::array<pollfd, 2> from{pollfd{stop_, POLLIN, 0}, pollfd{in, POLLIN, 0}};
    int const ready = ::poll(from.data(), from.size(), first == 0 ? -1 : patience_ms);
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) std::_Exit(128 + first);
    if (ready < 0 || from[0].revents != 0) break;
    signalfd_siginfo info{};
    if (::read(in, &info, sizeof info) != static_cast<ssize_t>(sizeof info)) continue;
    int const signal = static_cast<int>(info.ssi_signo);
    if (signal != SIGHUP) {
      if (first != 0) std::_Exit(128 + signal);
      first = signal;
    }
    heard(signal);
  }
  ::close(in);
}

void fill_standard_descriptors() noexcept {
  for (;;) {
    int const fd = ::open("/dev/null", O_RDWR);
    if (fd < 0) return;
    if (fd > 2) {
      ::close(fd);
      return;
    }
  }
}

}  // namespace apps

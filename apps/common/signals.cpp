#include <common/signals.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <system_error>
#include <utility>

namespace apps {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

/// From the first signal to the end of a program that does not end its work.
constexpr auto patience = 800ms;
/// Some send one signal twice at once, such as timeout(1), to the program and to its group.
constexpr auto twice_at_once = 100ms;

/// What is not ignored.
sigset_t ending() noexcept {
  sigset_t set;
  sigemptyset(&set);
  for (int const signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction now{};
    ::sigaction(signal, nullptr, &now);
    if (now.sa_handler != SIG_IGN) sigaddset(&set, signal);
  }
  return set;
}

[[noreturn]] void cannot(char const* what) {
  throw std::system_error{errno, std::generic_category(), what};
}

int milliseconds_until(steady_clock::time_point then) {
  auto const left = std::chrono::ceil<std::chrono::milliseconds>(then - steady_clock::now());
  return static_cast<int>(std::max(left, 0ms).count());
}

/// Says it on stderr if that takes it at once.
void say(std::string const& line) noexcept {
  pollfd out{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&out, 1, 0) == 1 && (out.revents & POLLOUT) != 0)
    (void)!::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace

signals::signals(std::string program) : program_(std::move(program)) {
  survive_broken_outputs();
  sigset_t const set = ending();
  int const in = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (in < 0) cannot("signalfd");
  stop_ = ::eventfd(0, EFD_CLOEXEC);
  if (stop_ < 0) cannot("eventfd");
  sigset_t before;
  pthread_sigmask(SIG_BLOCK, &set, &before);
  try {
    thread_ = std::thread{[this, in] { hear(in); }};
  } catch (std::system_error const&) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
}

signals::~signals() {
  std::uint64_t const one = 1;
  (void)!::write(stop_, &one, sizeof one);
  thread_.join();
  ::close(stop_);
}

signals::attachment signals::attach(std::function<void(int)> heard, bool reopens) {
  std::lock_guard const lock{mutex_};
  heard_ = std::move(heard);
  reopens_ = reopens;
  return attachment{*this};
}

void signals::detach() {
  std::lock_guard const lock{mutex_};
  heard_ = nullptr;
}

void signals::settle(int code) {
  std::lock_guard const lock{mutex_};
  code_ = code;
}

void signals::hear(int in) {
  int last = 0;
  steady_clock::time_point first_at;
  steady_clock::time_point ends_at;
  for (;;) {
    std::array<pollfd, 2> from{pollfd{stop_, POLLIN, 0}, pollfd{in, POLLIN, 0}};
    int const ready =
        ::poll(from.data(), from.size(), last == 0 ? -1 : milliseconds_until(ends_at));
    std::lock_guard const lock{mutex_};
    if (ready == 0) end_by(last);
    if (ready > 0 && from[0].revents != 0) break;
    signalfd_siginfo info{};
    if (::read(in, &info, sizeof info) != static_cast<ssize_t>(sizeof info)) continue;
    int const signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGHUP && reopens_) {
      if (heard_) heard_(signal);
      continue;
    }
    if (!heard_ && !code_) end_by(signal);
    if (last == 0) {
      first_at = steady_clock::now();
      ends_at = first_at + patience;
      if (heard_) heard_(signal);
    } else {
      ends_at = std::min(ends_at, first_at + twice_at_once);
    }
    last = signal;
  }
  ::close(in);
}

void signals::end_by(int signal) {
  if (code_) end(*code_);
  say(program_ + ": ended by " + std::string{name_of(signal)} +
      (heard_ ? " in the middle of its work, which may have had its effect\n"
              : " before its work began\n"));
  end(128 + signal);
}

void end(int code) noexcept {
  if (int const signal = code - 128; signal == SIGINT || signal == SIGHUP) {
    std::signal(signal, SIG_DFL);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    ::raise(signal);  // which does not end the first process of a container
  }
  std::_Exit(code);
}

std::string_view name_of(int signal) noexcept {
  return signal == SIGINT ? "SIGINT" : signal == SIGHUP ? "SIGHUP" : "SIGTERM";
}

void survive_broken_outputs() noexcept {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

void fill_standard_descriptors() noexcept {
  for (int const fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) != -1) continue;
    (void)!::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);  // the lowest one: fd
  }
}

}  // namespace apps

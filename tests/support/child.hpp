#pragma once
// Runs something that ends its program.

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <stdexcept>
#include <string>

namespace cleat::test {

/// Runs a function in a process of its own, to its end, or kills it after 60 s. The function makes no use of threads that
/// were there before.
class child {
 public:
  template <class F>
  explicit child(F const& body) {
    std::array<int, 2> pipe{};
    if (::pipe(pipe.data()) != 0) throw std::runtime_error("no pipe");
    ::pid_t const id = ::fork();
    if (id < 0) throw std::runtime_error("no process");
    if (id == 0) {
      ::dup2(pipe[1], STDERR_FILENO);
      ::close(pipe[0]);
      ::close(pipe[1]);
      ::alarm(60);
      std::signal(SIGABRT, SIG_DFL);  // and not the test framework's
      body();
      ::_exit(0);
    }
    ::close(pipe[1]);
    std::array<char, 1024> some{};
    for (ssize_t n = 0; (n = ::read(pipe[0], some.data(), some.size())) > 0;)
      said_.append(some.data(), static_cast<std::size_t>(n));
    ::close(pipe[0]);
    int status = 0;
    ::waitpid(id, &status, 0);
    signal_ = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  }

  /// What ended it; 0: it came to its end.
  [[nodiscard]] int signal() const noexcept { return signal_; }
  /// On standard error.
  [[nodiscard]] std::string const& said() const noexcept { return said_; }

 private:
  std::string said_;
  int signal_ = 0;
};

}  // namespace cleat::test

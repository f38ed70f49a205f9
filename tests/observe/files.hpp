// Files, and what stands in the way of writing them.
#pragma once

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

/// A directory of its own, gone at the end.
class temporary_directory {
 public:
  temporary_directory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "cleat-log-XXXXXX").string();
    BOOST_REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  temporary_directory(temporary_directory const&) = delete;
  temporary_directory& operator=(temporary_directory const&) = delete;
  ~temporary_directory() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

inline std::vector<std::string> lines_of(std::filesystem::path const& file) {
  std::ifstream in{file};
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// Catches what is said on stderr while it lives.
class stderr_caught {
 public:
  stderr_caught() : before_(::dup(2)) {
    BOOST_REQUIRE(::pipe2(ends_.data(), O_NONBLOCK | O_CLOEXEC) == 0);
    ::dup2(ends_[1], 2);
  }
  stderr_caught(stderr_caught const&) = delete;
  stderr_caught& operator=(stderr_caught const&) = delete;
  ~stderr_caught() {
    ::dup2(before_, 2);
    for (int const fd : {before_, ends_[0], ends_[1]}) ::close(fd);
  }
  /// The lines since somebody asked.
  [[nodiscard]] std::vector<std::string> lines() const {
    std::array<char, 10'000> some{};
    ssize_t const n = ::read(ends_[0], some.data(), some.size());
    std::istringstream in{std::string{some.data(), static_cast<std::size_t>(n < 0 ? 0 : n)}};
    std::vector<std::string> all;
    for (std::string line; std::getline(in, line);) all.push_back(line);
    return all;
  }

 private:
  int before_;
  std::array<int, 2> ends_{};
};

/// While it lives, no file of this process grows beyond so many bytes.
class file_size_limit {
 public:
  explicit file_size_limit(rlim_t bytes) {
    BOOST_REQUIRE(::getrlimit(RLIMIT_FSIZE, &before_) == 0);
    rlimit now = before_;
    now.rlim_cur = bytes;
    BOOST_REQUIRE(::setrlimit(RLIMIT_FSIZE, &now) == 0);
  }
  file_size_limit(file_size_limit const&) = delete;
  file_size_limit& operator=(file_size_limit const&) = delete;
  ~file_size_limit() { ::setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

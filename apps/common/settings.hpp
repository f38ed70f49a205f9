#pragma once

#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace apps {

/// Exit codes that all our programs share.
inline constexpr int exit_done = 0;
inline constexpr int exit_usage = 2;
inline constexpr int exit_environment = 4;

/// What is wrong with the settings, in one sentence for a person.
class usage_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A value that was given, and where.
class given {
 public:
  given(std::string v, std::string from) : value(std::move(v)), origin(std::move(from)) {}

  /// Throws the sentence "ORIGIN: 'VALUE' is not right; it should be …".
  [[noreturn]] void refuse(std::string_view expected) const;

  std::string value;
  /// `--device-port`, or `DEVICE_PORT in the environment`.
  std::string origin;
};

/// The options of a program: each from the command line, or else from the environment, so that what
/// is wrong can be told with the place where it stands. Values are read when asked for, and what is
/// not asked for is not judged.
class settings {
 public:
  settings(std::string name, std::string about);

  /// An option with a value; `variable` may be empty. `fallback` is what the help shows.
  void value(std::string const& group, std::string const& name, std::string const& variable,
             std::string const& type, std::string const& about, std::string const& fallback = {});
  void flag(std::string const& group, std::string const& name, std::string const& variable,
            std::string const& about);
  /// An option whose value may be left out.
  void optional_value(std::string const& group, std::string const& name, std::string const& type,
                      std::string const& about);
  /// An option that may be given several times.
  void values(std::string const& group, std::string const& name, std::string const& type,
              std::string const& about, std::string const& fallback = {});
  void footer(std::string text);

  /// Reads the command line. The exit code, if the program is to end here: for `--help` and
  /// `--version`, which it prints. Throws `usage_error`.
  [[nodiscard]] std::optional<int> parse(int argc, char const* const* argv,
                                         std::string const& version);

  [[nodiscard]] bool on_command_line(std::string const& name) const;
  /// The value that was given, if one was.
  [[nodiscard]] std::optional<given> find(std::string const& name) const;
  [[nodiscard]] std::vector<given> find_all(std::string const& name) const;
  [[nodiscard]] bool is_set(std::string const& name) const;

  // Read in one way or another, or `fallback`; refused with a sentence.
  [[nodiscard]] std::uint32_t number(std::string const& name, std::uint32_t least,
                                     std::uint32_t most, std::uint32_t fallback) const;
  [[nodiscard]] std::chrono::nanoseconds time(std::string const& name,
                                              std::chrono::nanoseconds least,
                                              std::chrono::nanoseconds most,
                                              std::chrono::nanoseconds fallback) const;
  /// An IPv4 or IPv6 address of this machine; `localhost` is 127.0.0.1.
  [[nodiscard]] std::string ip_address(std::string const& name, std::string const& fallback) const;

 private:
  class entry {
   public:
    CLI::Option* option;
    std::string name;
    std::string variable;
  };
  [[nodiscard]] entry const& at(std::string const& name) const;

  CLI::App app_;
  std::vector<entry> entries_;
};

/// Prints `PROGRAM: sentence` on stderr.
void complain(std::string_view program, std::string_view sentence);

}  // namespace apps

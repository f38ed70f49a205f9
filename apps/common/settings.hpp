#pragma once

#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdint>
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

  /// Throws the sentence "ORIGIN is 'VALUE'; it should be …".
  [[noreturn]] void refuse(std::string_view expected) const;
  /// The value as the host that it names: without the brackets of an IPv6 address. Refused if it
  /// is neither a name nor an address of one meaning (`cleat::host_text`).
  [[nodiscard]] std::string host() const;

  std::string value;
  /// `--device-port`, or `DEVICE_PORT in the environment`.
  std::string origin;
};

/// The options of a program: each from the command line, or else from the environment, so that what
/// is wrong can be told with the place where it stands. Values are read when asked for, and what is
/// not asked for is not judged.
///
/// On the command line a value stands behind the option's name as the next word or after `=`. A
/// word that begins with `-`, unless it is a number, is never taken for a value: `--name=-word`
/// says it. `--name=` and an empty next word are an empty value. Of an option that is given several
/// times the last one counts, but an empty value is refused wherever it stands. An empty variable
/// counts as none.
class settings {
 public:
  settings(std::string name, std::string about);

  /// An option with a value; `variable` may be empty. `fallback` is what the help shows.
  void value(std::string const& group, std::string const& name, std::string const& variable,
             std::string const& type, std::string const& about, std::string const& fallback = {});
  /// An option without a value, or with one that says whether it holds: `--name=false` takes back
  /// what stands before it or in the environment.
  void flag(std::string const& group, std::string const& name, std::string const& variable,
            std::string const& about);
  /// An option whose value may be left out; then it is `left_out`.
  void optional_value(std::string const& group, std::string const& name, std::string const& type,
                      std::string const& about, std::string const& left_out);
  /// An option that may be given several times.
  void values(std::string const& group, std::string const& name, std::string const& type,
              std::string const& about, std::string const& fallback = {});
  void footer(std::string text);

  /// Reads the command line. The exit code, if the program is to end here: for `--help` and
  /// `--version`, which it prints. Throws `usage_error`.
  [[nodiscard]] std::optional<int> parse(int argc, char const* const* argv,
                                         std::string const& version);

  /// Whether the command line asks for it: by a value, or by a flag that holds.
  [[nodiscard]] bool on_command_line(std::string const& name) const;
  /// The value that was given, if one was.
  [[nodiscard]] std::optional<given> find(std::string const& name) const;
  [[nodiscard]] std::vector<given> find_all(std::string const& name) const;
  /// Whether a flag holds.
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
    std::string left_out;  ///< what an option without its value means
    bool has_empty_value;
  };
  /// The words of the command line without those that give an option an empty value, which are
  /// noted: CLI11 would take the next word for the value of `--name=`, and the next option for that
  /// of `--name`.
  [[nodiscard]] std::vector<std::string> without_empty_values(int argc, char const* const* argv);
  [[nodiscard]] entry const& at(std::string const& name) const;

  CLI::App app_;
  std::vector<entry> entries_;
};

/// Prints `PROGRAM: sentence` on stderr, in one line; `cleat::printable`, whatever is in it.
void complain(std::string_view program, std::string_view sentence);

/// Writes what the program was asked for to standard output. The exit code: if that cannot be
/// written, it complains. A reader that has seen enough (a closed pipe, as `| head -1`) is none of
/// its troubles.
[[nodiscard]] int show(std::string_view program, std::string_view text);

}  // namespace apps

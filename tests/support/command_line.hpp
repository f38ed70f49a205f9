#pragma once

#include <cleat/base/utf8.hpp>

#include <CLI/CLI.hpp>

#include <charconv>
#include <cstdint>
#include <iostream>
#include <string>
#include <string_view>
#include <system_error>

namespace cleat::test {

/// Says in words what a count on the command line has to be.
inline CLI::Validator a_count(std::uint64_t least, std::uint64_t most) {
  auto check = [least, most](std::string& word) -> std::string {
    std::uint64_t n = 0;
    auto const [end, error] = std::from_chars(word.data(), word.data() + word.size(), n);
    bool const whole = error == std::errc{} && end == word.data() + word.size();
    if (whole && n >= least && n <= most) return {};
    return "'" + word + "' is not a whole number from " + std::to_string(least) + " to " +
           std::to_string(most);
  };
  return CLI::Validator{check, ""};
}

/// Reads the command line and runs `body`, or says in one sentence what is wrong with it. The exit
/// code. (CLI11 takes the next word for the value of `--name=`.)
template <class Body>
int with_command_line(CLI::App& app, int argc, char const* const* argv, Body body) {
  try {
    for (int i = 1; i < argc; ++i) {
      std::string const word{argv[i]};
      if (word.starts_with('-') && word.find('=') == word.size() - 1)
        throw CLI::ValidationError{word.substr(0, word.size() - 1), "an empty value is none"};
    }
    app.parse(argc, argv);
    return body();
  } catch (CLI::Success const& e) {
    app.exit(e);
    std::cout.flush();
    if (std::cout) return 0;
    std::cerr << "the help could not be written to stdout\n";
    return 4;
  } catch (CLI::ParseError const& e) {
    std::cerr << printable(e.what()) << "; see --help\n";
    return 2;
  }
}

}  // namespace cleat::test

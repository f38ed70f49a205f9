#pragma once

#include <CLI/CLI.hpp>

#include <charconv>
#include <cstdint>
#include <string>
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

}  // namespace cleat::test

#include <cleat/observe/log_level.hpp>

#include <algorithm>
#include <string>

namespace cleat {

result<log_level> parse_log_level(std::string_view word) {
  auto const same = [](char a, char upper) {
    return (a >= 'a' && a <= 'z' ? a - 'a' + 'A' : a) == upper;
  };
  for (auto const l : {log_level::debug, log_level::info, log_level::warning, log_level::error}) {
    std::string_view const name = to_string(l);
    if (std::equal(word.begin(), word.end(), name.begin(), name.end(), same)) return l;
  }
  return failure{kind::invalid, certainty::not_sent}.with_detail(
      "'" + std::string{text<24>{word}.view()} +
      "' is no log level; there are DEBUG, INFO, WARNING and ERROR");
}

}  // namespace cleat

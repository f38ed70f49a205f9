#pragma once

#include <cleat/base/standard.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace cleat::detail {

/// What a text of JSON says.
struct json_text {
  static constexpr std::size_t all_right = static_cast<std::size_t>(-1);

  /// U+FFFD stands for each byte that is not UTF-8 and for each escape that says nothing.
  std::string_view says;
  /// Where the first of these is, or a control character without escape; `all_right`: nowhere.
  std::size_t wrong = all_right;
};

/// Reads what stands between the quotes. `says` lies in `raw`, or in `buffer`, which it may change.
[[nodiscard]] json_text read_text(std::string_view raw, std::string& buffer);

}  // namespace cleat::detail

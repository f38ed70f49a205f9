#pragma once

#include <string_view>

namespace cleat {

/// Whether `s` is well-formed UTF-8 (RFC 3629, section 4): no overlong forms, no surrogates,
/// nothing beyond U+10FFFF. Empty text is.
[[nodiscard]] bool is_utf8(std::string_view s) noexcept;

}  // namespace cleat

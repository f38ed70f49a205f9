#pragma once

#include <cleat/base/standard.hpp>

#include <string_view>

namespace cleat::detail {

/// Says on standard error what the program that uses this library does wrong, and what would be right, and ends it
/// (`std::abort`): what would follow is corrupted memory or a wait for ever.
[[noreturn]] void misuse(std::string_view sentence) noexcept;

}  // namespace cleat::detail

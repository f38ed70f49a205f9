#pragma once

#include <cleat/base/failure.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace cleat {

/// How it went with a packet or a call, for logs and metric labels: a closed set, coarser than
/// `kind`.
enum class outcome : std::uint8_t { success, error, timeout, closed, decode_error };

/// How many values `outcome` has.
inline constexpr std::size_t outcome_count = static_cast<std::size_t>(outcome::decode_error) + 1;

[[nodiscard]] constexpr std::string_view to_string(outcome o) noexcept {
  switch (o) {
    case outcome::success:
      return "success";
    case outcome::error:
      return "error";
    case outcome::timeout:
      return "timeout";
    case outcome::closed:
      return "closed";
    case outcome::decode_error:
      return "decode_error";
  }
  return "error";
}

/// Null is success.
[[nodiscard]] constexpr outcome outcome_of(failure const* f) noexcept {
  if (f == nullptr) return outcome::success;
  switch (f->why()) {
    case kind::timed_out:
      return outcome::timeout;
    case kind::closed:
    case kind::reset:
      return outcome::closed;
    case kind::malformed:
      return outcome::decode_error;
    default:
      return outcome::error;
  }
}

/// The same for something sent, where nothing is decoded.
[[nodiscard]] constexpr outcome outcome_of_sending(failure const* f) noexcept {
  outcome const o = outcome_of(f);
  return o == outcome::decode_error ? outcome::error : o;
}

}  // namespace cleat

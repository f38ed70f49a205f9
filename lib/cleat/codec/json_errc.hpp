#pragma once

#include <cleat/base/failure.hpp>

#include <boost/system/error_code.hpp>

#include <cstddef>
#include <string_view>
#include <type_traits>

namespace cleat {

/// What can be wrong with a JSON message. Each text is short and in lower case: a label of a metric
/// once its spaces are underscores.
enum class json_errc {
  malformed = 1,    ///< not JSON (RFC 8259), cut short, or followed by more
  not_object,       ///< JSON, but not an object
  missing_field,    ///< a required field is not there
  mistyped_field,   ///< a field of another type
  duplicate_field,  ///< a known field stands there twice
  out_of_range,     ///< a number that its field cannot hold
  too_long,         ///< a text that its field cannot hold
  unknown_value,    ///< a text where one of a few names is asked for
  too_deep,         ///< objects and arrays that do not end, beyond `json_depth_max`
  invalid_utf8,     ///< writing: a text that is not UTF-8
};

[[nodiscard]] boost::system::error_category const& json_category() noexcept;

[[nodiscard]] inline boost::system::error_code make_error_code(json_errc e) noexcept {
  return {static_cast<int>(e), json_category()};
}

/// The failure of a reader: `kind::malformed`, `detail` names the field and what was expected,
/// `offset` counts from the beginning of the payload.
[[nodiscard]] inline failure json_failure(json_errc e, std::string_view detail,
                                          std::size_t offset) noexcept {
  return failure{make_error_code(e), kind::malformed, certainty::maybe_executed}
      .with_detail(detail)
      .with_offset(offset);
}

/// The failure of a writer: `kind::invalid`, nothing was sent.
[[nodiscard]] inline failure json_write_failure(json_errc e, std::string_view detail) noexcept {
  return failure{make_error_code(e), kind::invalid, certainty::not_sent}.with_detail(detail);
}

}  // namespace cleat

template <>
struct boost::system::is_error_code_enum<cleat::json_errc> : std::true_type {};

#pragma once

#include <cleat/base/result.hpp>

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace toggle {

/// How a simulated device treats one connection. Those that spoil the answer act first; the others
/// that do not answer well do not act.
enum class device_mode : std::uint8_t {
  ok,              ///< acts and answers at once
  delay,           ///< acts at once and answers after the device's delay
  disconnect,      ///< reads a request, does not act, closes
  reject,          ///< closes a connection as soon as it is accepted: nothing is read
  timeout,         ///< reads, does not act, never answers
  nack,            ///< does not act, answers no
  nack_retryable,  ///< does not act, answers no and may be asked again
  garbage,         ///< acts and answers random bytes
  unframed,        ///< acts and answers the three bytes `ACK`, as old devices do
  partial,         ///< acts, sends half the answer, closes
  wrong_id,        ///< acts and answers another msg_id, and nothing else
  duplicate,       ///< acts and answers twice
};

inline constexpr std::array device_modes{device_mode::ok,
                                         device_mode::delay,
                                         device_mode::disconnect,
                                         device_mode::reject,
                                         device_mode::timeout,
                                         device_mode::nack,
                                         device_mode::nack_retryable,
                                         device_mode::garbage,
                                         device_mode::unframed,
                                         device_mode::partial,
                                         device_mode::wrong_id,
                                         device_mode::duplicate};

/// The mode's name, as in the enumeration.
[[nodiscard]] std::string_view to_string(device_mode m) noexcept;

/// From such a name. Anything else is `invalid`, and the detail says what was found.
[[nodiscard]] cleat::result<device_mode> parse_device_mode(std::string_view word);

/// From names with commas between them, `reject,ok`: a mode for each connection.
[[nodiscard]] cleat::result<std::vector<device_mode>> parse_device_script(std::string_view words);

}  // namespace toggle

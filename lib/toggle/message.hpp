#pragma once

#include <cleat/base/bytes.hpp>
#include <cleat/base/result.hpp>
#include <cleat/base/text.hpp>
#include <cleat/codec/json.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace toggle {

/// What a message asks or answers.
enum class opcode : std::uint8_t {
  toggle,    ///< "be on" or "be off", as `state` says
  status,    ///< "are you on?"
  ack,       ///< done; `state` is what the device is now
  nack,      ///< not done, for a `reason`
  unframed,  ///< bytes without a frame, as old devices answer: never in JSON
};

constexpr std::array<cleat::json_name<opcode>, 4> json_names(opcode) noexcept {
  return {{{opcode::toggle, "toggle"},
           {opcode::status, "status"},
           {opcode::ack, "ack"},
           {opcode::nack, "nack"}}};
}

/// The longest name of a device, in bytes of UTF-8.
inline constexpr std::size_t device_id_bytes_max = 128;
using device_name = cleat::text<device_id_bytes_max>;

/// One message on the wire, in either direction. Which fields a message must have depends on its
/// opcode: `toggle` has device_id, msg_id and state; `status` has device_id and msg_id; `ack` and
/// `nack` have msg_id.
class message {
 public:
  message() noexcept;

  /// A request that the device be on or off. A name that is too long is cut, as `text` cuts.
  [[nodiscard]] static message turn(std::string_view device, std::string_view msg_id, bool on);
  /// A request for the state.
  [[nodiscard]] static message status(std::string_view device, std::string_view msg_id);
  /// The device's answer: done, and this is the state now.
  [[nodiscard]] static message ack(message const& request, bool state);
  /// The device's answer: no. `retry_after` is written only if another try is allowed.
  [[nodiscard]] static message nack(message const& request, std::string_view reason,
                                    bool retryable = false,
                                    std::optional<std::chrono::milliseconds> retry_after = {});
  /// Bytes without a frame, such as `ACK`.
  [[nodiscard]] static message unframed(cleat::bytes_view bytes);

  [[nodiscard]] bool is_request() const noexcept {
    return op == opcode::toggle || op == opcode::status;
  }

  /// Joins an answer to its request; ours are 16 hexadecimal digits, a peer's may be any text.
  cleat::text<64> msg_id;
  opcode op = opcode::status;
  std::optional<bool> state;
  std::optional<bool> retryable;
  std::optional<std::uint32_t> retry_after_ms;
  std::optional<device_name> device_id;
  std::optional<std::string> outcome;
  std::optional<std::string> reason;
  /// What a device deduplicates by: the same in all attempts of one operation.
  std::optional<cleat::text<64>> op_id;
  /// Of `opcode::unframed`: the bytes.
  std::string bare;

  friend bool operator==(message const&, message const&) = default;

  /// An answer is joined to its request by its number and says yes or no by its opcode. All else in
  /// it helps, and never costs it. In a request all fields are essential, see `message_layer`.
  static constexpr auto json_fields() {
    using cleat::json_field;
    return std::array{json_field::of<&message::op>("opcode"),
                      json_field::hint<&message::device_id>("device_id"),
                      json_field::of<&message::msg_id>("msg_id"),
                      json_field::hint<&message::state>("state"),
                      json_field::hint<&message::outcome>("outcome"),
                      json_field::hint<&message::reason>("reason"),
                      json_field::hint<&message::retryable>("retryable"),
                      json_field::hint<&message::retry_after_ms>("retry_after_ms"),
                      json_field::hint<&message::op_id>("op_id")};
  }
};

// Not in the class, where `message{}` would first fill all of it with zeros.
inline message::message() noexcept = default;

/// The message layer inside the frames: one JSON object a payload. Models `cleat::UnframedPayload`
/// and `cleat::InPlacePayload`.
///
/// Errors are those of `cleat::json_read` and `cleat::json_write`; `missing_field` also if a field
/// is not there that the opcode asks for. Of an answer only opcode and msg_id can be wrong; of a
/// request every field.
class message_layer {
 public:
  using message = toggle::message;

  [[nodiscard]] cleat::result<message> parse(cleat::bytes_view payload) const;
  [[nodiscard]] cleat::result<void> parse(cleat::bytes_view payload, message& m) const;
  [[nodiscard]] cleat::result<void> append(message const& m, cleat::byte_buffer& out) const;
  /// The msg_id of a payload that `parse` refuses, if it has one; empty: it has none.
  [[nodiscard]] cleat::text<64> msg_id_of(cleat::bytes_view payload) const;
  [[nodiscard]] message from_unframed(cleat::bytes_view bytes) const;
  [[nodiscard]] std::optional<cleat::bytes_view> unframed_bytes(message const& m) const noexcept {
    if (m.op != opcode::unframed) return std::nullopt;
    return cleat::as_bytes(m.bare);
  }
};

}  // namespace toggle

#pragma once

#include <cleat/codec/f00d.hpp>
#include <cleat/codec/protocol.hpp>
#include <toggle/message.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace toggle {

/// What a caller asks of a device.
class request {
 public:
  /// "Be on", or "be off": doing it twice is as good as doing it once.
  [[nodiscard]] static request turn(std::string_view device_id, bool on) { return {device_id, on}; }
  /// "Are you on?"
  [[nodiscard]] static request status(std::string_view device_id) { return {device_id, {}}; }

  [[nodiscard]] std::string const& device_id() const noexcept { return device_id_; }
  /// The state that is asked for; nothing if the question is only how it is.
  [[nodiscard]] std::optional<bool> state() const noexcept { return state_; }

 private:
  request(std::string_view device_id, std::optional<bool> state)
      : device_id_(device_id), state_(state) {}

  std::string device_id_;
  std::optional<bool> state_;
};

/// What the device answered, all of it in place. A refusal is not a response: it is a failure, `cleat::kind::rejected`.
class response {
 public:
  response() noexcept = default;
  response(device_name const& device, std::optional<bool> now, std::string_view words,
           bool in_frame) noexcept
      : device_id(device), outcome(words), state(now), framed(in_frame) {}

  /// Who answered, as the device says it: it may be another one than was asked. Empty: it does not
  /// say.
  device_name device_id;
  /// "success", or what an unframed answer said, cut to 63 bytes.
  cleat::text<63> outcome;
  /// What the device is now, if it says so.
  std::optional<bool> state;
  /// The answer came in a frame, with our number in it. If not, it is only probably the answer to
  /// this request.
  bool framed = true;
};

/// Settings of the protocol.
class protocol_options {
 public:
  protocol_options() noexcept = default;
  explicit protocol_options(bool with_op_id, cleat::f00d_options frames = {}) noexcept
      : framing(frames), op_id(with_op_id) {}

  /// The longest payload, and what to do with answers without a frame.
  cleat::f00d_options framing;
  /// Write the operation's id into requests, for devices that deduplicate. Off: exactly the fields
  /// that every device knows.
  bool op_id = false;
};

/// How the toggled devices speak: JSON in `F0 0D` frames, requests numbered by 16 hexadecimal
/// digits. Models `cleat::Protocol`.
///
/// - A request without a device, with an overlong one or one that is not UTF-8 fails with
///   `kind::invalid`.
/// - An answer is awaited under its msg_id and, where unframed answers are allowed, also as the
///   next unframed one. One with a msg_id that cannot be ours has no keys.
/// - An `ack` is a response, also if it names another device; an `ack` whose outcome is not
///   "success" and a `nack` are failures, `kind::rejected`, with the device's reason as the detail
///   and, if it allows another try, with the wait before that (0: it asks for none). What else they
///   hold never changes that: see `message::json_fields`.
/// - A frame that cannot be read and bears the number of a request (an unknown opcode) is its answer.
///
/// Any number of threads may use one at the same time.
class protocol {
 public:
  using message = toggle::message;
  using request = toggle::request;
  using response = toggle::response;

  /// Key space of framed answers: the value of msg_id.
  static constexpr std::uint32_t numbered_space = 1;
  /// Key space of unframed answers, met in order.
  static constexpr std::uint32_t unframed_space = 2;

  explicit protocol(protocol_options options = {}) noexcept
      : codec_({}, options.framing), op_id_(options.op_id) {}

  [[nodiscard]] cleat::decoded<message> decode(cleat::bytes_view unread) const {
    return codec_.decode(unread);
  }
  [[nodiscard]] cleat::result<void> encode(message const& m, cleat::byte_buffer& out) const {
    return codec_.encode(m, out);
  }

  [[nodiscard]] cleat::result<cleat::opened<message>> open(request const& r, cleat::call const& c,
                                                           std::uint64_t number) const;
  [[nodiscard]] cleat::relation relate(message const& m) const noexcept;
  /// The number in a frame that `decode` skips.
  [[nodiscard]] cleat::match_keys keys_of_unreadable(cleat::bytes_view frame) const;
  [[nodiscard]] cleat::result<response> conclude(message&& m) const;
  [[nodiscard]] cleat::result<response> conclude(message const& m) const {
    return conclude(message{m});
  }
  /// The msg_id; empty for an unframed message.
  [[nodiscard]] cleat::message_id id(message const& m) const noexcept { return m.msg_id.view(); }

 private:
  [[nodiscard]] cleat::result<cleat::opened<message>> numbered(request const& r,
                                                               cleat::call const& c,
                                                               std::uint64_t number) const;

  cleat::f00d<message_layer> codec_;
  bool op_id_;
};

static_assert(cleat::UnframedPayload<message_layer>);
static_assert(cleat::Protocol<protocol>);

}  // namespace toggle

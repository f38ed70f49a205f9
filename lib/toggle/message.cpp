#include <toggle/message.hpp>

#include <algorithm>
#include <limits>

namespace toggle {

namespace {

using cleat::json_errc;

/// The field that the opcode asks for and that is not there; empty if all are.
std::string_view missing_field(message const& m) noexcept {
  if (m.is_request() && !m.device_id) return "device_id";
  if (m.op == opcode::toggle && !m.state) return "state";
  return {};
}

message request(opcode op, std::string_view device, std::string_view msg_id) {
  message m;
  m.op = op;
  m.device_id.emplace(device);
  m.msg_id.assign(msg_id);
  return m;
}

message answer(opcode op, message const& request) {
  message m;
  m.op = op;
  m.device_id = request.device_id;
  m.msg_id = request.msg_id;
  return m;
}

}  // namespace

message message::turn(std::string_view device, std::string_view msg_id, bool on) {
  message m = request(opcode::toggle, device, msg_id);
  m.state = on;
  return m;
}

message message::status(std::string_view device, std::string_view msg_id) {
  return request(opcode::status, device, msg_id);
}

message message::ack(message const& request, bool state) {
  message m = answer(opcode::ack, request);
  m.state = state;
  m.outcome.emplace("success");
  return m;
}

message message::nack(message const& request, std::string_view reason, bool retryable,
                      std::optional<std::chrono::milliseconds> retry_after) {
  message m = answer(opcode::nack, request);
  m.outcome.emplace("error");
  m.reason.emplace(reason);
  m.retryable = retryable;
  if (retryable && retry_after) {
    m.retry_after_ms = static_cast<std::uint32_t>(std::clamp<std::int64_t>(
        retry_after->count(), 0, std::numeric_limits<std::uint32_t>::max()));
  }
  return m;
}

message message::unframed(cleat::bytes_view bytes) {
  message m;
  m.op = opcode::unframed;
  m.bare = cleat::as_text(bytes);
  return m;
}

cleat::result<message> message_layer::parse(cleat::bytes_view payload) const {
  cleat::result<message> parsed;
  if (auto const read = parse(payload, *parsed); !read) parsed = read.error();
  return parsed;
}

cleat::result<void> message_layer::parse(cleat::bytes_view payload, message& m) const {
  auto read = cleat::json_read(payload, m, cleat::json_hints::strict);
  if (!read) {
    // A request that cannot be read in full is none; an answer still says yes or no.
    auto const leniently = cleat::json_read(payload, m);
    if (!leniently || m.is_request()) return leniently ? read : leniently;
    read = leniently;
  }
  if (std::string_view const field = missing_field(m); !field.empty()) {
    std::size_t const end = cleat::as_text(payload).find_last_of('}');
    read = cleat::json_failure(json_errc::missing_field, field, end);
  }
  return read;
}

cleat::result<void> message_layer::append(message const& m, cleat::byte_buffer& out) const {
  if (std::string_view const field = missing_field(m); !field.empty()) {
    return cleat::json_write_failure(json_errc::missing_field, field);
  }
  return cleat::json_write(m, out);
}

namespace {

/// All else is a field that is not declared.
struct number_alone {
  cleat::text<64> msg_id;
  static constexpr auto json_fields() {
    return std::array{cleat::json_field::of<&number_alone::msg_id>("msg_id")};
  }
};

}  // namespace

cleat::text<64> message_layer::msg_id_of(cleat::bytes_view payload) const {
  auto const read = cleat::json_read<number_alone>(payload);
  return read ? read->msg_id : cleat::text<64>{};
}

message message_layer::from_unframed(cleat::bytes_view bytes) const {
  return message::unframed(bytes);
}

}  // namespace toggle

#include <toggle/protocol.hpp>

#include <cleat/base/ids.hpp>
#include <cleat/base/utf8.hpp>

namespace toggle {

namespace {

using cleat::failure;
using cleat::match_key;

failure unsendable(std::string_view why) noexcept {
  return failure{cleat::kind::invalid, cleat::certainty::not_sent}.with_detail(why);
}

std::string_view trouble_with(std::string_view device_id) noexcept {
  if (device_id.empty()) return "the device id is empty";
  if (device_id.size() > device_id_bytes_max) return "the device id is longer than 128 bytes";
  if (!cleat::is_utf8(device_id)) return "the device id is not UTF-8";
  return {};
}

/// What a refusal says, in the device's words.
std::string_view words(message const& m) noexcept {
  if (m.reason && !m.reason->empty()) return *m.reason;
  if (m.op == opcode::ack && m.outcome) return *m.outcome;
  return "no reason given";
}

failure rejection(message const& m) noexcept {
  failure const no =
      failure{cleat::kind::rejected, cleat::certainty::rejected}.with_detail(words(m));
  if (!m.retryable.value_or(false)) return no;
  return no.with_retry_after(failure::duration{m.retry_after_ms.value_or(0)});
}

cleat::result<response> success(message const& m) {
  cleat::result<response> done;
  if (m.device_id) done->device_id = *m.device_id;
  done->outcome = "success";
  done->state = m.state;
  return done;
}

}  // namespace

cleat::result<cleat::opened<message>> protocol::open(request const& r, cleat::call const& c,
                                                     std::uint64_t number) const {
  if (std::string_view const trouble = trouble_with(r.device_id()); !trouble.empty()) {
    return unsendable(trouble);
  }
  return numbered(r, c, number);
}

cleat::result<cleat::opened<message>> protocol::numbered(request const& r, cleat::call const& c,
                                                         std::uint64_t number) const {
  cleat::result<cleat::opened<message>> made;
  made->keys.add(match_key{numbered_space, number});
  if (codec_.options().bare != cleat::unframed::refuse) {
    made->keys.add(match_key::in_order(unframed_space));
  }
  message& m = made->message;
  m.op = r.state() ? opcode::toggle : opcode::status;
  m.device_id.emplace(r.device_id());
  m.msg_id = cleat::hex16(number).view();
  m.state = r.state();
  if (op_id_) m.op_id.emplace(cleat::hex16(c.operation).view());
  return made;
}

cleat::relation protocol::relate(message const& m) const noexcept {
  if (m.is_request()) return cleat::role::request;
  if (m.op == opcode::unframed) {
    cleat::relation r{cleat::role::answer, match_key::in_order(unframed_space)};
    r.note = "unframed";
    return r;
  }
  auto const number = cleat::parse_hex16(m.msg_id);
  if (!number) return cleat::role::answer;
  return {cleat::role::answer, match_key{numbered_space, *number}};
}

cleat::match_keys protocol::keys_of_unreadable(cleat::bytes_view frame) const {
  auto const payload = cleat::detail::f00d_whole(frame, codec_.options().payload_bytes_max);
  if (!payload) return {};
  auto const number = cleat::parse_hex16(message_layer{}.msg_id_of(*payload));
  if (!number) return {};
  return match_key{numbered_space, *number};
}

cleat::result<response> protocol::conclude(message&& m) const {
  switch (m.op) {
    case opcode::ack:
      if (m.outcome && *m.outcome != "success") return rejection(m);
      return success(m);
    case opcode::nack:
      return rejection(m);
    case opcode::unframed:
      return response{{}, std::nullopt, m.bare, false};
    case opcode::toggle:
    case opcode::status:
      break;
  }
  return failure{cleat::kind::malformed}.with_detail("a request is not an answer");
}

}  // namespace toggle

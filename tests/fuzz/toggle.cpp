// The protocol of the toggled devices, and every small parser of outside text: what is decoded has
// its parts, encodes to no more than it was, and comes back the same; what is opened is answered.
#include "fuzz.hpp"

#include <cleat/base/call.hpp>
#include <cleat/base/ids.hpp>
#include <cleat/base/utf8.hpp>
#include <cleat/observe/log_level.hpp>
#include <toggle/device_mode.hpp>
#include <toggle/protocol.hpp>

#include <boost/asio/io_context.hpp>

#include <string>

namespace {

using cleat::byte_buffer;
using cleat::bytes_view;
using cleat::kind;
using cleat::match_key;
using cleat::role;
using cleat::unframed;
using fuzz::require;
using toggle::message;
using toggle::opcode;
using toggle::protocol;

bool has_key(cleat::match_keys const& keys, match_key k) {
  return std::find(keys.begin(), keys.end(), k) != keys.end();
}

void check_parts(message const& m) {
  require(!m.is_request() || m.device_id.has_value(), "a request has a device");
  require(m.op != opcode::toggle || m.state.has_value(), "a toggle has a state");
  require((m.op == opcode::unframed) == !m.bare.empty(), "only unframed messages have bare bytes");
}

/// A frame that is skipped answers at most the number that it bears.
void check_skipped(protocol const& p, bytes_view frame) {
  for (match_key const& k : p.keys_of_unreadable(frame)) {
    auto const number = cleat::hex16(k.value());
    require(k.space() == protocol::numbered_space &&
                cleat::as_text(frame).find("msg_id") != std::string_view::npos,
            "an unreadable frame has a number only if it says so");
    require(cleat::parse_hex16(number.view()) == k.value(), "and that is a number");
  }
}

void check_relation(protocol const& p, message const& m) {
  cleat::relation const r = p.relate(m);
  require(m.is_request() == (r.as == role::request), "requests are requests");
  require(m.is_request() || r.as == role::answer, "and the rest are answers");
  auto const number = cleat::parse_hex16(m.msg_id);
  if (r.as == role::answer && m.op != opcode::unframed) {
    require(r.keys.size() == (number ? 1U : 0U),
            "an answer is awaited by its number, or not at all");
    require(!number || has_key(r.keys, match_key{protocol::numbered_space, *number}),
            "an answer is awaited by the number that it bears");
    require(!number || cleat::hex16(*number).view() == m.msg_id.view(),
            "a number is written as it was read");
  }
  cleat::message_id const id = p.id(m);
  require(m.msg_id.view().starts_with(id.view().substr(0, id.size() == 0 ? 0 : id.size() - 1)),
          "a message is named by its msg_id");
}

void check_conclusion(protocol const& p, message const& m) {
  auto const outcome = p.conclude(m);
  if (m.is_request()) return require(!outcome, "a request concludes nothing");
  if (outcome) {
    require(m.op != opcode::nack, "a refusal is no response");
    require(outcome->framed == (m.op == opcode::ack), "a response knows whether it was in a frame");
    return require(outcome->state == m.state, "a response has the state of its message");
  }
  cleat::failure const& why = outcome.error();
  require(why.why() == kind::rejected && why.sure() == cleat::certainty::rejected,
          "a refusal is rejected, for certain");
  require(why.retry_after().has_value() == m.retryable.value_or(false),
          "another try is allowed if the device says so");
  require(cleat::is_utf8(why.message()), "a refusal can be shown");
}

/// A hint in which U+FFFD may stand for a byte, or an escape for a control character that came as it
/// is: both are longer.
bool may_be_repaired(message const& m) {
  auto const has = [](auto const& hint) {
    if (!hint) return false;
    std::string_view const text{*hint};
    return text.find("\xEF\xBF\xBD") != std::string_view::npos ||
           std::any_of(text.begin(), text.end(),
                       [](char c) { return static_cast<unsigned char>(c) < 0x20; });
  };
  return has(m.device_id) || has(m.outcome) || has(m.reason) || has(m.op_id);
}

/// Compact JSON is never longer than what it was read from, but for what was repaired.
void check_round_trip(protocol const& p, message const& m, bytes_view from) {
  byte_buffer out;
  if (!p.encode(m, out)) {
    require((m.op == opcode::unframed || may_be_repaired(m)) && out.empty(),
            "what came in a frame can be written");
    return;
  }
  require(out.size() <= from.size() || may_be_repaired(m),
          "what is written is not longer than what was read");
  auto again = p.decode(out);
  auto* const item = again.has_item();
  require(item != nullptr && item->used == out.size(), "what was written can be read");
  require(item->message == m, "what was written is read to the same message");
}

void check_stream(protocol const& p, bytes_view stream) {
  while (!stream.empty()) {
    auto step = p.decode(stream);
    std::size_t used = 0;
    if (auto* const item = step.has_item()) {
      used = item->used;
      check_parts(item->message);
      check_relation(p, item->message);
      check_conclusion(p, item->message);
      check_round_trip(p, item->message, stream.first(std::min(used, stream.size())));
    } else if (auto const* const skip = step.skips()) {
      used = skip->used;
      require(skip->why.offset() <= used, "the offset of an error is in its frame");
      require(cleat::is_utf8(skip->why.message()), "an error can be shown");
      check_skipped(p, stream.first(std::min(used, stream.size())));
    } else {
      return;
    }
    require(used >= 1 && used <= stream.size(), "each step uses some of the input");
    stream = stream.subspan(used);
  }
}

/// A request for any device name is refused, or read at the other end as it was meant; its answer
/// is awaited.
void check_request(protocol const& p, cleat::call const& c, std::string_view device,
                   std::uint64_t number) {
  auto const opened = p.open(toggle::request::turn(device, true), c, number);
  bool const good =
      !device.empty() && device.size() <= toggle::device_id_bytes_max && cleat::is_utf8(device);
  require(opened.has_value() == good, "a device is asked if it has a name");
  if (!opened) return require(opened.error().why() == kind::invalid, "else the request is invalid");
  byte_buffer out;
  if (!p.encode(opened->message, out)) return;  // over a small limit
  auto step = p.decode(out);
  auto* const item = step.has_item();
  require(item != nullptr && item->message == opened->message, "a request is read as it was meant");
  require(p.relate(item->message).as == role::request, "a request is a request");
  auto const answer = p.relate(message::ack(item->message, true));
  require(answer.keys.size() == 1 && has_key(opened->keys, *answer.keys.begin()),
          "the answer to a request is awaited");
  require(p.conclude(message::ack(item->message, true)).has_value(), "an ack is a response");
}

void check_words(std::string_view word) {
  if (auto const number = cleat::parse_hex16(word)) {
    require(cleat::hex16(*number).view() == word, "a number is written as it was read");
  }
  if (auto const script = toggle::parse_device_script(word)) {
    std::string again;
    for (toggle::device_mode const m : *script) {
      again.append(again.empty() ? "" : ",").append(to_string(m));
    }
    require(again == word, "a script is written as it was read");
  } else {
    require(script.error().why() == kind::invalid, "another script is invalid");
  }
  if (auto const level = cleat::parse_log_level(word)) {
    require(to_string(*level).size() == word.size(), "a level is read from its name");
  }
}

cleat::call const& some_call() {
  static boost::asio::io_context context;
  static cleat::call const c = [] {
    cleat::call made{context.get_executor()};
    made.operation = 42;
    return made;
  }();
  return c;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  fuzz::decisions input{fuzz::bytes_of(data, size)};
  auto const mode = static_cast<unframed>(input.below(3));
  std::size_t const limits[] = {cleat::f00d_options::payload_bytes_default, 40, 3};
  protocol const p{
      toggle::protocol_options{input.yes(), cleat::f00d_options{limits[input.below(3)], mode}}};
  bool const framed = input.yes();
  bytes_view const rest = input.rest();
  if (framed) {
    byte_buffer frame;
    cleat::append(frame, cleat::detail::f00d_header(rest.size()));
    cleat::append(frame, rest);
    check_stream(p, frame);
  } else {
    check_stream(p, rest);
  }
  check_request(p, some_call(), cleat::as_text(rest), size * 0x9E3779B97F4A7C15ULL);
  check_words(cleat::as_text(rest));
  return 0;
}

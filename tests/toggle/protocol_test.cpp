#define BOOST_TEST_MODULE toggle_protocol
#include <toggle/protocol.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <chrono>
#include <limits>
#include <string>
#include <string_view>

using cleat::json_errc;
using cleat::kind;
using cleat::match_key;
using cleat::role;
using toggle::message;
using toggle::opcode;
using toggle::protocol;
using toggle::protocol_options;
using toggle::request;
using namespace std::chrono_literals;
using namespace std::string_view_literals;

namespace {

constexpr std::uint64_t number = 0x0123456789ABCDEF;

struct a_call {
  boost::asio::io_context context;
  cleat::call call{context.get_executor()};

  a_call() { call.operation = 0xFEED; }
};

std::string frame_of(std::string_view payload) {
  std::string out = "\xF0\x0D\x01";
  for (int shift = 24; shift >= 0; shift -= 8)
    out += static_cast<char>(payload.size() >> shift & 0xFF);
  return out.append(payload);
}

std::string wire(protocol const& p, message const& m) {
  cleat::byte_buffer out;
  BOOST_REQUIRE(p.encode(m, out));
  return std::string{cleat::as_text(out)};
}

message read(protocol const& p, std::string_view payload) {
  auto d = p.decode(cleat::as_bytes(frame_of(payload)));
  BOOST_REQUIRE(d.has_item() != nullptr);
  return d.has_item()->message;
}

bool same_keys(cleat::match_keys const& keys, std::initializer_list<match_key> expected) {
  return std::equal(
      keys.begin(), keys.end(), expected.begin(), expected.end(),
      [](match_key const& a, match_key const& b) { return a == b && a.shared() == b.shared(); });
}

struct response_of_another_type : protocol {
  using response = int;
};
struct without_conclude {
  using message = toggle::message;
  using request = toggle::request;
  using response = toggle::response;
  cleat::decoded<message> decode(cleat::bytes_view) const;
  cleat::result<void> encode(message const&, cleat::byte_buffer&) const;
};
static_assert(cleat::Protocol<protocol>);
static_assert(cleat::Codec<without_conclude> && !cleat::Protocol<without_conclude>);
static_assert(!cleat::Protocol<response_of_another_type>);
static_assert(!cleat::Protocol<cleat::f00d<toggle::message_layer>>);
static_assert(!cleat::Codec<toggle::message_layer>);

}  // namespace

BOOST_FIXTURE_TEST_CASE(writes_exactly_the_fields_that_old_devices_know, a_call) {
  protocol const p;
  auto const on = p.open(request::turn("DEVICE123", true), call, number);
  BOOST_REQUIRE(on);
  BOOST_TEST(
      wire(p, on->message) ==
      frame_of(
          R"({"opcode":"toggle","device_id":"DEVICE123","msg_id":"0123456789abcdef","state":true})"));
  auto const off = p.open(request::turn("DEVICE123", false), call, 1);
  BOOST_REQUIRE(off);
  BOOST_TEST(
      wire(p, off->message) ==
      frame_of(
          R"({"opcode":"toggle","device_id":"DEVICE123","msg_id":"0000000000000001","state":false})"));
  auto const status = p.open(request::status("DEVICE123"), call, number);
  BOOST_REQUIRE(status);
  BOOST_TEST(
      wire(p, status->message) ==
      frame_of(R"({"opcode":"status","device_id":"DEVICE123","msg_id":"0123456789abcdef"})"));
}

BOOST_FIXTURE_TEST_CASE(writes_the_operations_id_last_if_asked, a_call) {
  protocol const p{protocol_options{true}};
  auto const on = p.open(request::turn("D", true), call, number);
  BOOST_REQUIRE(on);
  BOOST_TEST(
      wire(p, on->message) ==
      frame_of(R"({"opcode":"toggle","device_id":"D","msg_id":"0123456789abcdef","state":true,)"
               R"("op_id":"000000000000feed"})"));
}

BOOST_AUTO_TEST_CASE(writes_the_answers_of_a_device) {
  protocol const p;
  message const asked = message::turn("DEVICE123", "0123456789abcdef", true);
  BOOST_TEST(
      wire(p, message::ack(asked, true)) ==
      frame_of(
          R"({"opcode":"ack","device_id":"DEVICE123","msg_id":"0123456789abcdef","state":true,)"
          R"("outcome":"success"})"));
  BOOST_TEST(
      wire(p, message::nack(asked, "busy", true, 250ms)) ==
      frame_of(R"({"opcode":"nack","device_id":"DEVICE123","msg_id":"0123456789abcdef",)"
               R"("outcome":"error","reason":"busy","retryable":true,"retry_after_ms":250})"));
  BOOST_TEST(wire(p, message::nack(asked, "no \"such\" lamp")) ==
             frame_of(R"({"opcode":"nack","device_id":"DEVICE123","msg_id":"0123456789abcdef",)"
                      R"("outcome":"error","reason":"no \"such\" lamp","retryable":false})"));
  BOOST_TEST(message::nack(asked, "", true, std::chrono::hours{24 * 365}).retry_after_ms.value() ==
             std::numeric_limits<std::uint32_t>::max());
  BOOST_TEST(message::nack(asked, "", true, -1ms).retry_after_ms.value() == 0U);
}

BOOST_FIXTURE_TEST_CASE(awaits_the_answer_under_its_number_and_unframed_ones_in_order, a_call) {
  auto const strict = protocol{}.open(request::status("D"), call, number);
  BOOST_TEST(same_keys(strict->keys, {match_key{1, number}}));
  for (auto const mode : {cleat::unframed::ack, cleat::unframed::any}) {
    protocol const p{protocol_options{false, cleat::f00d_options{mode}}};
    auto const opened = p.open(request::status("D"), call, number);
    BOOST_TEST(same_keys(opened->keys, {match_key{1, number}, match_key::in_order(2)}));
  }
}

BOOST_FIXTURE_TEST_CASE(refuses_a_request_that_no_device_could_understand, a_call) {
  protocol const p;
  auto const why = [&](std::string_view device_id) {
    auto const opened = p.open(request::turn(device_id, true), call, number);
    BOOST_REQUIRE(!opened);
    BOOST_TEST((opened.error().why() == kind::invalid));
    BOOST_TEST((opened.error().sure() == cleat::certainty::not_sent));
    return std::string{opened.error().detail()};
  };
  BOOST_TEST(why("") == "the device id is empty");
  BOOST_TEST(why(std::string(129, 'x')) == "the device id is longer than 128 bytes");
  BOOST_TEST(why("\xFF") == "the device id is not UTF-8");
  BOOST_TEST(p.open(request::turn(std::string(128, 'x'), true), call, number).has_value());
}

BOOST_AUTO_TEST_CASE(relates_every_message) {
  protocol const p;
  BOOST_TEST((p.relate(message::turn("D", "x", true)).as == role::request));
  BOOST_TEST((p.relate(message::status("D", "x")).as == role::request));

  message const asked = message::status("D", cleat::hex16(number));
  for (message const& m : {message::ack(asked, true), message::nack(asked, "no")}) {
    auto const r = p.relate(m);
    BOOST_TEST((r.as == role::answer));
    BOOST_TEST(same_keys(r.keys, {match_key{1, number}}));
    BOOST_TEST(r.note.empty());
  }
  for (std::string_view const foreign : {"", "7", "0123456789ABCDEF", "0123456789abcdef0"}) {
    auto const r = p.relate(message::ack(message::status("D", foreign), true));
    BOOST_TEST((r.as == role::answer));
    BOOST_TEST(r.keys.size() == 0U);
  }
  auto const bare = p.relate(message::unframed(cleat::as_bytes("ACK")));
  BOOST_TEST((bare.as == role::answer));
  BOOST_TEST(same_keys(bare.keys, {match_key::in_order(2)}));
  BOOST_TEST(bare.note == "unframed");
}

BOOST_AUTO_TEST_CASE(concludes_an_ack_with_a_response) {
  protocol const p;
  auto const r = p.conclude(read(
      p,
      R"({"opcode":"ack","device_id":"D","msg_id":"0123456789abcdef","state":false,"outcome":"success"})"));
  BOOST_REQUIRE(r);
  BOOST_TEST(r->device_id.view() == "D");
  BOOST_TEST(!r->state.value());
  BOOST_TEST(r->outcome == "success");
  BOOST_TEST(r->framed);

  auto const terse = p.conclude(read(p, R"({"msg_id":"0123456789abcdef","opcode":"ack"})"));
  BOOST_REQUIRE(terse);
  BOOST_TEST(terse->device_id.empty());
  BOOST_TEST(!terse->state);
  BOOST_TEST(terse->outcome == "success");
}

BOOST_AUTO_TEST_CASE(concludes_a_refusal_with_the_devices_reason) {
  protocol const p;
  auto const refusal = [&](std::string_view payload) {
    auto const r = p.conclude(read(p, payload));
    BOOST_REQUIRE(!r);
    BOOST_TEST((r.error().why() == kind::rejected));
    BOOST_TEST((r.error().sure() == cleat::certainty::rejected));
    return r.error();
  };
  auto const busy = refusal(
      R"({"opcode":"nack","msg_id":"x","reason":"busy","retryable":true,"retry_after_ms":250})");
  BOOST_TEST(busy.detail() == "busy");
  BOOST_TEST((busy.retry_after() == 250ms));
  BOOST_TEST((refusal(R"({"opcode":"nack","msg_id":"x","retryable":true})").retry_after() == 0ms));
  auto const final =
      refusal(R"({"opcode":"nack","msg_id":"x","retryable":false,"retry_after_ms":250})");
  BOOST_TEST(!final.retry_after());
  BOOST_TEST(final.detail() == "no reason given");
  auto const odd = refusal(R"({"opcode":"ack","msg_id":"x","outcome":"jammed"})");
  BOOST_TEST(odd.detail() == "jammed");
  BOOST_TEST(!odd.retry_after());
}

BOOST_AUTO_TEST_CASE(a_refusal_is_a_refusal_whatever_else_it_holds) {
  protocol const p;
  auto const refusal = [&](std::string const& hints) {
    auto const m = read(p, R"({"opcode":"nack","msg_id":"0123456789abcdef",)" + hints + "}");
    BOOST_TEST(same_keys(p.relate(m).keys, {match_key{1, number}}));
    auto const r = p.conclude(m);
    BOOST_REQUIRE(!r);
    BOOST_TEST((r.error().why() == kind::rejected));
    BOOST_TEST((r.error().sure() == cleat::certainty::rejected));
    return r.error();
  };
  auto const wait = [&](std::string const& ms) {
    return refusal(R"("reason":"busy","retryable":true,"retry_after_ms":)" + ms).retry_after();
  };
  BOOST_TEST((wait("0") == 0ms));
  BOOST_TEST((wait("500") == 500ms));
  BOOST_TEST((wait("2147483648") == cleat::failure::duration{2'147'483'648}));
  BOOST_TEST((wait("4294967295") == cleat::failure::duration{4'294'967'295}));
  for (std::string const ms : {"-1", "500.0", "1e3", "4294967296", "1e99999999999", "\"500\"",
                               "null", "true", "{}", "[500]", "NaN"}) {
    BOOST_TEST_CONTEXT(ms) BOOST_TEST((wait(ms) == 0ms));  // none is asked for
  }
  for (std::string const yes : {"\"yes\"", "1", "null", "[]", "\"\xFC\""}) {
    BOOST_TEST(!refusal(R"("retryable":)" + yes).retry_after());
  }
  BOOST_TEST(refusal("\"reason\":\"f\xFCr\"").detail() == "f\xEF\xBF\xBDr");
  BOOST_TEST(refusal(R"("reason":"\ud83d")").detail() == "\xEF\xBF\xBD");
  BOOST_TEST(refusal(R"("reason":["busy"])").detail() == "no reason given");
  BOOST_TEST(refusal(R"("reason":"busy","reason":"broken")").detail() == "no reason given");
  for (std::string const hint :
       {R"("device_id":7)", R"("state":"off")", R"("outcome":{})", R"("op_id":-1)",
        R"("device_id":"D","device_id":"E")", R"("more":1e99999999999)", R"("more":"\ud83d")"}) {
    static_cast<void>(refusal(hint));
  }
}

BOOST_AUTO_TEST_CASE(an_ack_is_done_whatever_else_it_holds) {
  protocol const p;
  for (std::string const hint :
       {R"("device_id":7)", R"("device_id":"another")", R"("state":"on")", R"("outcome":1)",
        R"("reason":"\ud83d")", R"("retryable":7)", R"("x":1e99999999999)", R"("x":"\ud83d")"}) {
    BOOST_TEST_CONTEXT(hint) {
      auto const r =
          p.conclude(read(p, R"({"opcode":"ack","msg_id":"0123456789abcdef",)" + hint + "}"));
      BOOST_REQUIRE(r);
      BOOST_TEST(!r->state);
      BOOST_TEST(r->device_id.view() == (hint.find("another") == hint.npos ? "" : "another"));
    }
  }
}

BOOST_AUTO_TEST_CASE(knows_the_number_of_a_frame_that_cannot_be_read) {
  protocol const p;
  auto const keys = [&](std::string const& payload) {
    return p.keys_of_unreadable(cleat::as_bytes(frame_of(payload)));
  };
  BOOST_TEST(same_keys(keys(R"({"opcode":"flash","msg_id":"0123456789abcdef","x":"\ud83d"})"),
                       {match_key{1, number}}));
  BOOST_TEST(same_keys(keys(R"({"msg_id":"0123456789abcdef"})"), {match_key{1, number}}));
  for (std::string const payload :
       {"", "{", "[]", R"({"opcode":"flash"})", R"({"msg_id":7})", R"({"msg_id":"7"})",
        R"({"msg_id":"0123456789abcdef")", R"({"msg_id":"0123456789abcdef"}})"}) {
    BOOST_TEST(keys(payload).size() == 0U);
  }
  BOOST_TEST(p.keys_of_unreadable(cleat::as_bytes("ACK")).size() == 0U);
}

BOOST_AUTO_TEST_CASE(concludes_an_unframed_answer_as_such) {
  auto const r = protocol{}.conclude(message::unframed(cleat::as_bytes("ACK")));
  BOOST_REQUIRE(r);
  BOOST_TEST(!r->framed);
  BOOST_TEST(!r->state);
  BOOST_TEST(r->outcome == "ACK");
  BOOST_TEST((protocol{}.conclude(message::status("D", "x")).error().why() == kind::malformed));
}

BOOST_AUTO_TEST_CASE(shows_the_number_to_people) {
  protocol const p;
  BOOST_TEST(p.id(message::status("D", "0123456789abcdef")).view() == "0123456789abcdef");
  BOOST_TEST(p.id(message::status("D", std::string(64, 'x'))).size() == 40U);
  BOOST_TEST(p.id(message::unframed(cleat::as_bytes("ACK"))).empty());
}

BOOST_AUTO_TEST_CASE(says_which_field_of_a_frame_is_wrong_and_where) {
  protocol const p;
  struct wrong {
    std::string_view payload;
    json_errc code;
    std::size_t offset;
    std::string_view detail;
  };
  using enum json_errc;
  for (wrong const& w : {
           wrong{R"({"opcode":"toggle","device_id":"D","msg_id":"1"})", missing_field, 47, "state"},
           wrong{R"({"opcode":"toggle","msg_id":"1","state":true})", missing_field, 44,
                 "device_id"},
           wrong{R"({"opcode":"status","msg_id":"1"})", missing_field, 31, "device_id"},
           wrong{R"({"opcode":"ack"})", missing_field, 15, "msg_id"},
           wrong{R"({"msg_id":"1"})", missing_field, 13, "opcode"},
           wrong{R"({"opcode":"flash","msg_id":"1"})", unknown_value, 10, ""},
           wrong{R"({"opcode":"unframed","msg_id":"1"})", unknown_value, 10, ""},
           wrong{R"({"opcode":7,"msg_id":"1"})", mistyped_field, 10, ""},
           wrong{R"({"opcode":"ack","msg_id":1})", mistyped_field, 25, "msg_id: expected a text"},
           wrong{R"({"opcode":"toggle","device_id":"D","msg_id":"1","state":"on"})", mistyped_field,
                 56, "state: expected true or false"},
           wrong{R"({"opcode":"status","device_id":7,"msg_id":"1"})", mistyped_field, 31,
                 "device_id: expected a text"},
           wrong{R"({"opcode":"status","device_id":"D","msg_id":"1","op_id":{}})", mistyped_field,
                 56, "op_id: expected a text"},
           wrong{"{\"opcode\":\"status\",\"device_id\":\"\xFC\",\"msg_id\":\"1\"}", malformed, 32,
                 ""},
           wrong{R"({"opcode":"nack","state":"on"})", missing_field, 29, "msg_id"},
           wrong{R"({"opcode":"ack","msg_id":"1",})", malformed, 29, ""},
           wrong{R"(["ack"])", not_object, 0, ""},
           wrong{"", malformed, 0, ""},
       }) {
    BOOST_TEST_CONTEXT(w.payload) {
      auto const d = p.decode(cleat::as_bytes(frame_of(w.payload)));
      BOOST_REQUIRE(d.skips() != nullptr);
      BOOST_TEST(d.skips()->used == 7 + w.payload.size());
      BOOST_TEST(d.skips()->why.code() == make_error_code(w.code));
      BOOST_TEST(d.skips()->why.offset() == 7 + w.offset);
      if (!w.detail.empty()) BOOST_TEST(d.skips()->why.detail() == w.detail);
    }
  }
}

BOOST_AUTO_TEST_CASE(refuses_to_write_a_message_that_nobody_could_read) {
  protocol const p;
  cleat::byte_buffer out;
  message m = message::turn("D", "1", true);
  m.state.reset();
  auto const stateless = p.encode(m, out);
  BOOST_REQUIRE(!stateless);
  BOOST_TEST(stateless.error().code() == make_error_code(json_errc::missing_field));
  BOOST_TEST((stateless.error().why() == kind::invalid));
  BOOST_TEST(!p.encode(message::unframed(cleat::as_bytes("ACK")), out));
  BOOST_TEST(out.empty());
}

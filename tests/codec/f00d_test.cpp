#define BOOST_TEST_MODULE f00d
#include <cleat/codec/f00d.hpp>

#include <boost/test/unit_test.hpp>

#include <string>
#include <string_view>
#include <utility>

using cleat::f00d;
using cleat::f00d_errc;
using cleat::f00d_options;
using cleat::kind;
using cleat::unframed;
using namespace std::string_literals;
using namespace std::string_view_literals;

namespace {

/// The payload is the message; `bad` cannot be read, and `unwritable` leaves half of itself behind.
class plain_layer {
 public:
  using message = std::string;

  cleat::result<message> parse(cleat::bytes_view payload) const {
    if (cleat::as_text(payload).starts_with("bad")) {
      return cleat::failure{kind::malformed}.with_offset(3).with_detail("bad");
    }
    if (cleat::as_text(payload) == "placeless") return cleat::failure{kind::malformed};
    return std::string{cleat::as_text(payload)};
  }
  cleat::result<void> append(message const& m, cleat::byte_buffer& out) const {
    cleat::append(out, std::string_view{m});
    if (m == "unwritable") return cleat::failure{kind::invalid};
    return {};
  }
};

/// The same, and a message that begins with `~` is written without a frame.
class bare_layer : public plain_layer {
 public:
  message from_unframed(cleat::bytes_view bytes) const {
    return "~" + message{cleat::as_text(bytes)};
  }
  std::optional<cleat::bytes_view> unframed_bytes(message const& m) const {
    if (!m.starts_with('~')) return std::nullopt;
    return cleat::as_bytes(std::string_view{m}.substr(1));
  }
};

using strict = f00d<plain_layer>;
using lenient = f00d<bare_layer>;

static_assert(cleat::Codec<strict>);
static_assert(cleat::Codec<lenient>);
static_assert(!cleat::UnframedPayload<plain_layer>);
static_assert(cleat::UnframedPayload<bare_layer>);

struct layer_without_append {
  using message = std::string;
  cleat::result<message> parse(cleat::bytes_view) const;
};
struct layer_that_throws_its_errors {
  using message = std::string;
  message parse(cleat::bytes_view) const;
  void append(message const&, cleat::byte_buffer&) const;
};
static_assert(!cleat::F00dPayload<layer_without_append>);
static_assert(!cleat::F00dPayload<layer_that_throws_its_errors>);
static_assert(!cleat::Codec<plain_layer>);

template <class Codec>
std::size_t needs(Codec const& c, std::string_view unread) {
  auto const d = c.decode(cleat::as_bytes(unread));
  return d.needs() == nullptr ? 0 : d.needs()->more;
}

template <class Codec>
void check_item(Codec const& c, std::string_view unread, std::string_view message,
                std::size_t used) {
  auto d = c.decode(cleat::as_bytes(unread));
  BOOST_REQUIRE(d.has_item() != nullptr);
  BOOST_TEST(d.has_item()->message == message);
  BOOST_TEST(d.has_item()->used == used);
}

template <class Codec>
void check_lost(Codec const& c, std::string_view unread, f00d_errc code, std::size_t offset,
                std::string_view detail = {}) {
  BOOST_TEST_CONTEXT(cleat::to_hex(cleat::as_bytes(unread))) {
    auto const d = c.decode(cleat::as_bytes(unread));
    BOOST_REQUIRE(d.is_lost() != nullptr);
    cleat::failure const& why = d.is_lost()->why;
    BOOST_TEST(why.code() == make_error_code(code));
    BOOST_TEST((why.why() == kind::malformed));
    BOOST_TEST(why.offset() == offset);
    if (!detail.empty()) BOOST_TEST(why.detail() == detail);
  }
}

constexpr std::string_view frame = "\xF0\x0D\x01\x00\x00\x00\x05hello"sv;

}  // namespace

BOOST_AUTO_TEST_CASE(writes_magic_version_length_and_payload) {
  cleat::byte_buffer out;
  BOOST_REQUIRE(strict{}.encode("hello", out));
  BOOST_TEST(cleat::as_text(out) == frame);
  out.clear();
  BOOST_REQUIRE(strict{}.encode(std::string(0x1234, 'x'), out));
  BOOST_TEST(cleat::as_text(out).substr(0, 7) == "\xF0\x0D\x01\x00\x00\x12\x34"sv);
}

BOOST_AUTO_TEST_CASE(reads_a_frame_one_byte_at_a_time) {
  strict const c;
  for (std::size_t n = 0; n < frame.size(); ++n) {
    BOOST_TEST(needs(c, frame.substr(0, n)) == (n < 7 ? 7 - n : frame.size() - n));
  }
  check_item(c, frame, "hello", frame.size());
}

BOOST_AUTO_TEST_CASE(reads_a_frame_with_another_behind_it) {
  check_item(strict{}, std::string{frame} + std::string{frame}, "hello", frame.size());
  check_item(strict{}, std::string{frame} + "rubbish", "hello", frame.size());
}

BOOST_AUTO_TEST_CASE(reads_an_empty_payload) {
  check_item(strict{}, "\xF0\x0D\x01\x00\x00\x00\x00"sv, "", 7);
}

BOOST_AUTO_TEST_CASE(refuses_a_wrong_magic_at_its_first_wrong_byte) {
  check_lost(strict{}, "A", f00d_errc::wrong_magic, 0, "found 41");
  check_lost(strict{}, "ACK", f00d_errc::wrong_magic, 0);
  check_lost(strict{}, "\xF0\x0E"sv, f00d_errc::wrong_magic, 1, "found 0e");
  check_lost(strict{}, "\x00"sv, f00d_errc::wrong_magic, 0, "found 00");
  check_lost(strict{}, "\x0D\xF0\x01"sv, f00d_errc::wrong_magic, 0);
}

BOOST_AUTO_TEST_CASE(refuses_an_unknown_version_without_waiting_for_the_length) {
  check_lost(strict{}, "\xF0\x0D\x02"sv, f00d_errc::unknown_version, 2, "found 02");
  check_lost(strict{}, "\xF0\x0D\x00\xFF\xFF\xFF\xFF"sv, f00d_errc::unknown_version, 2);
}

BOOST_AUTO_TEST_CASE(refuses_a_frame_over_the_limit) {
  check_lost(strict{}, "\xF0\x0D\x01\x00\x01\x00\x01"sv, f00d_errc::oversize, 3,
             "65537 bytes declared, at most 65536");
  check_lost(strict{}, "\xF0\x0D\x01\xFF\xFF\xFF\xFF"sv, f00d_errc::oversize, 3,
             "4294967295 bytes declared, at most 65536");
  BOOST_TEST(needs(strict{}, "\xF0\x0D\x01\x00\x01\x00\x00"sv) == 65536U);
  strict const narrow{{}, f00d_options{4}};
  check_lost(narrow, frame, f00d_errc::oversize, 3, "5 bytes declared, at most 4");
  BOOST_TEST(needs(narrow, "\xF0\x0D\x01\x00\x00\x00"sv) == 1U);
}

BOOST_AUTO_TEST_CASE(skips_a_payload_that_cannot_be_read_in_an_intact_frame) {
  strict const c;
  auto const d =
      c.decode(cleat::as_bytes("\xF0\x0D\x01\x00\x00\x00\x05"
                               "bad..."
                               "\xF0"sv));
  BOOST_REQUIRE(d.skips() != nullptr);
  BOOST_TEST(d.skips()->used == 12U);
  BOOST_TEST(d.skips()->why.offset() == 10U);
  BOOST_TEST(d.skips()->why.detail() == "bad");
  auto const placeless = c.decode(cleat::as_bytes("\xF0\x0D\x01\x00\x00\x00\x09placeless"sv));
  BOOST_REQUIRE(placeless.skips() != nullptr);
  BOOST_TEST(placeless.skips()->why.offset() == 7U);
}

BOOST_AUTO_TEST_CASE(leaves_the_buffer_as_it_was_when_a_message_cannot_be_written) {
  cleat::byte_buffer out;
  cleat::append(out, "before"sv);
  auto const half = strict{}.encode("unwritable", out);
  BOOST_REQUIRE(!half);
  BOOST_TEST((half.error().why() == kind::invalid));
  BOOST_TEST(cleat::as_text(out) == "before");

  strict const narrow{{}, f00d_options{4}};
  auto const large = narrow.encode("hello", out);
  BOOST_REQUIRE(!large);
  BOOST_TEST(large.error().code() == make_error_code(f00d_errc::oversize));
  BOOST_TEST((large.error().why() == kind::invalid));
  BOOST_TEST((large.error().sure() == cleat::certainty::not_sent));
  BOOST_TEST(large.error().detail() == "5 bytes, at most 4");
  BOOST_TEST(cleat::as_text(out) == "before");
  BOOST_TEST(narrow.encode("four", out).has_value());
}

BOOST_AUTO_TEST_CASE(takes_exactly_ack_without_a_frame_if_asked) {
  lenient const c{{}, f00d_options{unframed::ack}};
  BOOST_TEST(needs(c, "") == 3U);
  BOOST_TEST(needs(c, "A") == 2U);
  BOOST_TEST(needs(c, "AC") == 1U);
  check_item(c, "ACK", "~ACK", 3);
  check_item(c,
             "ACK"
             "\xF0"sv,
             "~ACK", 3);
  check_item(c, "ACK" + std::string{frame}, "~ACK", 3);
  check_item(c, "ACKACK", "~ACK", 3);
  check_item(c, "ACKA", "~ACK", 3);
  check_lost(c, "B", f00d_errc::wrong_magic, 0);
  check_lost(c, "AB", f00d_errc::wrong_magic, 1, "found 42");
  check_lost(c, "ACk", f00d_errc::wrong_magic, 2);
  check_lost(c, "ACKN", f00d_errc::wrong_magic, 3, "found 4e");
  check_lost(c, "ACK\n", f00d_errc::wrong_magic, 3, "found 0a");
  check_lost(c, "ACK\xF0\x0E"sv, f00d_errc::wrong_magic, 3);
  check_lost(c, "ACKAD", f00d_errc::wrong_magic, 3);
  check_item(c, frame, "hello", frame.size());
  BOOST_TEST(needs(c, "\xF0"sv) == 6U);
  check_lost(c, "\xF0\x41"sv, f00d_errc::wrong_magic, 1);
}

BOOST_AUTO_TEST_CASE(takes_anything_without_a_frame_if_asked) {
  lenient const c{{}, f00d_options{8, unframed::any}};
  BOOST_TEST(needs(c, "") == 1U);
  BOOST_TEST(needs(c, "\xF0"sv) == 1U);
  check_item(c, "O", "~O", 1);
  check_item(c, "OK\r\n", "~OK\r\n", 4);
  check_item(c, "\xF0\x9F\x98\x80"sv, "~\xF0\x9F\x98\x80", 4);
  check_item(c, "OK" + std::string{frame}, "~OK", 2);
  check_item(c, "OK\xF0"sv, "~OK", 2);
  check_item(c, "123456789", "~12345678", 8);
  check_item(c, frame, "hello", frame.size());
  check_lost(c, "\xF0\x0D\x02"sv, f00d_errc::unknown_version, 2);
}

BOOST_AUTO_TEST_CASE(writes_without_a_frame_only_what_its_reader_takes) {
  cleat::byte_buffer out;
  BOOST_TEST(!lenient{}.encode("~ACK", out));
  lenient const ack{{}, f00d_options{unframed::ack}};
  BOOST_TEST(!ack.encode("~OK", out));
  BOOST_TEST(!ack.encode("~ACKACK", out));
  BOOST_TEST(!ack.encode("~", out));
  BOOST_TEST(out.empty());
  BOOST_TEST(ack.encode("~ACK", out).has_value());
  BOOST_TEST(cleat::as_text(out) == "ACK");
  lenient const any{{}, f00d_options{unframed::any}};
  BOOST_TEST(!any.encode("~a\xF0\x0D"s, out));
  BOOST_TEST(any.encode("~OK", out).has_value());
  BOOST_TEST(cleat::as_text(out) == "ACKOK");
}

BOOST_AUTO_TEST_CASE(tells_its_errors_in_short_words) {
  BOOST_TEST(make_error_code(f00d_errc::wrong_magic).message() == "wrong magic");
  BOOST_TEST(make_error_code(f00d_errc::unknown_version).message() == "unknown version");
  BOOST_TEST(make_error_code(f00d_errc::oversize).message() == "oversize");
}

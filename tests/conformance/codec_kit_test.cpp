#define BOOST_TEST_MODULE codec_kit
#include <cleat/codec/f00d.hpp>
#include <cleat/conformance/codec.hpp>
#include <toggle/protocol.hpp>

#include <boost/system/errc.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using cleat::check_codec;
using cleat::codec_check;
using cleat::codec_samples;
using toggle::message;
using namespace std::chrono_literals;
using namespace std::string_view_literals;

namespace {

// ---- codecs that must pass

codec_samples<message> toggle_samples() {
  codec_samples<message> s;
  message const on = message::turn("DEVICE123", "0123456789abcdef", true);
  message with_op_id = on;
  with_op_id.op_id = "00000000deadbeef";
  s.good = {on,
            with_op_id,
            message::status("\xC3\xA9\"\\\n", "x"),
            message::turn(std::string(toggle::device_id_bytes_max, 'x'), "", false),
            message::ack(on, true),
            message::nack(on, "busy", true, 250ms),
            message::nack(on, std::string(3000, '"'))};
  message stateless = on;
  stateless.state.reset();
  message nameless = message::status("\xFF", "x");
  message endless = message::nack(on, std::string(70'000, 'x'));
  s.refused = {stateless, nameless, endless, message::unframed(cleat::as_bytes("OK"))};
  for (std::string_view const raw : {
           "\xF0\x0D\x01\x00\x00\x00\x02{}\xF0\x0D\x01\x00\x00\x00\x02[]\xF0\x0D\x02"sv,
           "\xF0\x0D\x01\x00\x00\x00\x00\xF0\x0D\x01\xFF\x00\x00\x00"sv,
           "GET / HTTP/1.1\r\n"sv,
       }) {
    cleat::byte_buffer b;
    cleat::append(b, raw);
    s.raw.push_back(std::move(b));
  }
  return s;
}

std::vector<std::string> check_toggle(cleat::unframed mode, codec_samples<message> const& samples,
                                      codec_check const& how = {}) {
  cleat::f00d<toggle::message_layer> const codec{{}, cleat::f00d_options{mode}};
  return check_codec(codec, samples, how);
}

void report(std::vector<std::string> const& violations) {
  for (std::string const& v : violations) BOOST_ERROR(v);
}

// ---- codecs that must not

/// One byte of length, then the text; wrong in one way.
enum class flaw {
  none,
  miscounts,
  overcounts,
  answers_early,
  needs_too_much,
  needs_nothing,
  over_reads,
  waits_for_what_is_behind,
  depends_on_cuts,
  leaves_half,
  overwrites,
  forgets,
  refuses_with_another_kind,
  has_no_offset,
  has_offset_outside,
  has_no_code,
  skips_nothing,
  believes_every_length,
};

class flawed {
 public:
  using message = std::string;
  static constexpr std::size_t text_bytes_max = 100;

  explicit flawed(flaw which) : which_(which) {}

  cleat::decoded<message> decode(cleat::bytes_view unread) const {
    using verdict = cleat::decoded<message>;
    if (unread.empty()) return verdict::need{is(flaw::needs_nothing) ? 0U : 1U};
    std::size_t const n = std::to_integer<std::size_t>(unread.front());
    if (n > text_bytes_max) return too_large(n);
    if (is(flaw::over_reads) && unread.size() <= n) {
      // The byte behind what was lent: in the kit's own memory as long as something is behind it.
      cleat::bytes_view const beyond{unread.data(), unread.size() + 1};
      if (beyond.back() == std::byte{0xFF}) return verdict::lost{wrong(cleat::kind::malformed)};
    }
    std::size_t const behind = is(flaw::waits_for_what_is_behind) ? 1 : 0;
    if (is(flaw::answers_early) && unread.size() == n && n > 1) return {text(unread.subspan(1)), n};
    if (unread.size() < 1 + n + behind) {
      return verdict::need{1 + n + behind - unread.size() + (is(flaw::needs_too_much) ? 3U : 0U)};
    }
    std::string s = text(unread.subspan(1, n));
    if (is(flaw::depends_on_cuts) && unread.size() > 2 * (1 + n)) s = "much";
    if (is(flaw::forgets) && n > 3) s.pop_back();
    if (s == "bad") return bad();
    if (is(flaw::miscounts)) return {std::move(s), n == 0 ? 1 : n};
    return {std::move(s), 1 + n + (is(flaw::overcounts) ? 1U : 0U)};
  }

  cleat::result<void> encode(message const& m, cleat::byte_buffer& out) const {
    if (is(flaw::overwrites)) out.clear();
    if (m.size() > text_bytes_max) {
      if (is(flaw::leaves_half)) out.push_back(std::byte{0});
      return wrong(is(flaw::refuses_with_another_kind) ? cleat::kind::rejected
                                                       : cleat::kind::invalid);
    }
    out.push_back(static_cast<std::byte>(m.size()));
    cleat::append(out, std::string_view{m});
    return {};
  }

 private:
  [[nodiscard]] bool is(flaw s) const { return which_ == s; }
  static std::string text(cleat::bytes_view b) { return std::string{cleat::as_text(b)}; }
  static cleat::failure wrong(cleat::kind why) {
    return {make_error_code(boost::system::errc::message_size), why, cleat::certainty::not_sent};
  }

  cleat::decoded<message> too_large(std::size_t n) const {
    using verdict = cleat::decoded<message>;
    if (is(flaw::believes_every_length)) return verdict::need{n << 40U};
    cleat::failure const why = wrong(cleat::kind::malformed);
    if (is(flaw::has_no_offset)) return verdict::lost{why};
    if (is(flaw::has_no_code))
      return verdict::lost{cleat::failure{cleat::kind::malformed}.with_offset(0)};
    return verdict::lost{why.with_offset(is(flaw::has_offset_outside) ? 200 : 0)};
  }

  cleat::decoded<message> bad() const {
    std::size_t const used = is(flaw::skips_nothing) ? 0 : 4;
    return cleat::decoded<message>::skip{used, wrong(cleat::kind::malformed).with_offset(1)};
  }

  flaw which_;
};

static_assert(cleat::Codec<flawed>);

/// Each call of decode has another opinion.
class moody {
 public:
  using message = std::string;
  cleat::decoded<message> decode(cleat::bytes_view unread) const {
    if (unread.empty()) return cleat::decoded<message>::need{1};
    if (++calls_ % 3 == 0) return cleat::decoded<message>::need{2};
    return {std::string{cleat::as_text(unread.first(1))}, 1};
  }
  cleat::result<void> encode(message const& m, cleat::byte_buffer& out) const {
    cleat::append(out, std::string_view{m});
    return {};
  }

 private:
  mutable int calls_ = 0;
};

codec_samples<std::string> text_samples() {
  codec_samples<std::string> s;
  s.good = {"", "a", "hello", std::string(flawed::text_bytes_max, 'x')};
  s.refused = {std::string(flawed::text_bytes_max + 1, 'x')};
  cleat::byte_buffer bad;
  cleat::append(bad,
                "\x03"
                "bad"
                "\x02"
                "ok"sv);
  s.raw = {bad};
  return s;
}

/// The flaw is found, and the reason says so.
void check_found(flaw which, std::string_view reason) {
  auto const violations = check_codec(flawed{which}, text_samples());
  BOOST_TEST_CONTEXT("flaw " << static_cast<int>(which)) {
    BOOST_REQUIRE(!violations.empty());
    bool const said = std::any_of(violations.begin(), violations.end(), [&](std::string const& v) {
      return v.find(reason) != std::string::npos;
    });
    BOOST_TEST(said, "\"" << reason << "\" is not among: " << violations.front());
  }
}

// ---- what is not a codec at all

struct no_message {
  cleat::decoded<int> decode(cleat::bytes_view) const;
  cleat::result<void> encode(int, cleat::byte_buffer&) const;
};
struct decodes_to_an_optional {
  using message = int;
  std::optional<int> decode(cleat::bytes_view) const;
  cleat::result<void> encode(int, cleat::byte_buffer&) const;
};
struct encodes_without_a_result {
  using message = int;
  cleat::decoded<int> decode(cleat::bytes_view) const;
  void encode(int, cleat::byte_buffer&) const;
};
struct decodes_with_state {
  using message = int;
  cleat::decoded<int> decode(cleat::bytes_view);
  cleat::result<void> encode(int, cleat::byte_buffer&) const;
};
static_assert(!cleat::Codec<no_message>);
static_assert(!cleat::Codec<decodes_to_an_optional>);
static_assert(!cleat::Codec<encodes_without_a_result>);
static_assert(!cleat::Codec<decodes_with_state>);
static_assert(!cleat::Codec<int>);

}  // namespace

BOOST_AUTO_TEST_CASE(passes_the_framing_that_refuses_unframed_bytes) {
  report(check_toggle(cleat::unframed::refuse, toggle_samples()));
}

BOOST_AUTO_TEST_CASE(passes_the_framing_with_other_seeds) {
  auto const samples = toggle_samples();
  for (std::uint64_t seed = 2; seed < 6; ++seed) {
    codec_check how;
    how.seed = seed;
    report(check_toggle(cleat::unframed::refuse, samples, how));
  }
}

BOOST_AUTO_TEST_CASE(passes_the_framing_that_takes_ack) {
  auto samples = toggle_samples();
  samples.good.push_back(message::unframed(cleat::as_bytes("ACK")));
  samples.good.push_back(message::unframed(cleat::as_bytes("ACK")));
  samples.good.push_back(message::ack(samples.good.front(), false));
  codec_check how;
  how.messages_before_loss = true;
  report(check_toggle(cleat::unframed::ack, samples, how));
}

BOOST_AUTO_TEST_CASE(passes_the_protocol_of_the_toggled_devices) {
  report(check_codec(toggle::protocol{}, toggle_samples()));
}

BOOST_AUTO_TEST_CASE(notices_that_ack_depends_on_cuts_unless_told) {
  auto samples = toggle_samples();
  cleat::byte_buffer raw;
  cleat::append(raw, "ACKNOWLEDGED"sv);
  samples.raw = {raw};
  BOOST_TEST(!check_toggle(cleat::unframed::ack, samples).empty());
  codec_check how;
  how.messages_before_loss = true;
  report(check_toggle(cleat::unframed::ack, samples, how));
}

BOOST_AUTO_TEST_CASE(passes_an_honest_codec) {
  report(check_codec(flawed{flaw::none}, text_samples()));
}

BOOST_AUTO_TEST_CASE(checks_a_codec_without_any_samples) {
  report(check_codec(flawed{flaw::none}, codec_samples<std::string>{}));
}

BOOST_AUTO_TEST_CASE(finds_every_flaw) {
  check_found(flaw::miscounts, "of its");
  check_found(flaw::overcounts, "bytes for a message");
  check_found(flaw::answers_early, "answers before the message is whole");
  check_found(flaw::needs_too_much, "more bytes at");
  check_found(flaw::needs_nothing, "needs 0 more");
  check_found(flaw::over_reads, "reads bytes beyond");
  check_found(flaw::waits_for_what_is_behind, "more bytes at");
  check_found(flaw::depends_on_cuts, "gives other messages than at once");
  check_found(flaw::leaves_half, "leaves something in the buffer");
  check_found(flaw::overwrites, "does not append");
  check_found(flaw::forgets, "does not give the same bytes");
  check_found(flaw::refuses_with_another_kind, "not kind::invalid");
  check_found(flaw::has_no_offset, "has no offset");
  check_found(flaw::has_offset_outside, "offset of an error is outside");
  check_found(flaw::has_no_code, "no code of its own");
  check_found(flaw::skips_nothing, "skips 0 of");
  check_found(flaw::believes_every_length, "judged against a limit");
}

BOOST_AUTO_TEST_CASE(finds_a_codec_that_is_not_pure) {
  codec_samples<std::string> samples;
  samples.good = {"a"};
  BOOST_TEST(!check_codec(moody{}, samples).empty());
}

BOOST_AUTO_TEST_CASE(gives_the_same_report_twice) {
  for (flaw const which : {flaw::has_no_offset, flaw::depends_on_cuts}) {
    auto const once = check_codec(flawed{which}, text_samples());
    BOOST_TEST(once == check_codec(flawed{which}, text_samples()),
               boost::test_tools::per_element());
  }
}

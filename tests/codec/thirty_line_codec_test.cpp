#define BOOST_TEST_MODULE thirty_line_codec
#include <cleat/codec/codec.hpp>
#include <cleat/conformance/codec.hpp>

#include <boost/system/errc.hpp>
#include <boost/test/unit_test.hpp>

#include <string>
#include <string_view>

namespace {

// [codec]
/// Lines of text, each ended by `\n`.
class lines {
 public:
  using message = std::string;
  static constexpr std::size_t line_bytes_max = 1000;

  cleat::decoded<message> decode(cleat::bytes_view unread) const {
    std::string_view const s = cleat::as_text(unread);
    std::size_t const end = s.substr(0, line_bytes_max + 1).find('\n');
    if (end != s.npos) return {std::string{s.substr(0, end)}, end + 1};
    if (s.size() > line_bytes_max) {
      return cleat::decoded<message>::lost{
          wrong(cleat::kind::malformed).with_offset(line_bytes_max)};
    }
    return cleat::decoded<message>::need{1};
  }

  cleat::result<void> encode(message const& line, cleat::byte_buffer& out) const {
    if (line.size() > line_bytes_max || line.find('\n') != line.npos) {
      return wrong(cleat::kind::invalid);
    }
    cleat::append(out, std::string_view{line});
    cleat::append(out, std::string_view{"\n"});
    return {};
  }

 private:
  static cleat::failure wrong(cleat::kind why) {
    return {make_error_code(boost::system::errc::message_size), why, cleat::certainty::not_sent};
  }
};
// [codec]

static_assert(cleat::Codec<lines>);

}  // namespace

BOOST_AUTO_TEST_CASE(keeps_every_promise_of_a_codec) {
  cleat::codec_samples<std::string> samples;
  samples.good = {"", "hello", "\r", std::string(lines::line_bytes_max, 'x')};
  samples.refused = {"two\nlines", std::string(lines::line_bytes_max + 1, 'x')};
  cleat::byte_buffer endless;
  cleat::append(endless, std::string_view{std::string(3000, 'x')});
  samples.raw = {endless};
  for (std::string const& violation : cleat::check_codec(lines{}, samples)) BOOST_ERROR(violation);
}

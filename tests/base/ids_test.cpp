#define BOOST_TEST_MODULE ids
#include "../support/hand_time.hpp"

#include <cleat/base/call.hpp>
#include <cleat/base/entropy.hpp>
#include <cleat/base/ids.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <string>

using cleat::hex16;
using cleat::parse_hex16;
using cleat::uuid7;
using namespace std::chrono_literals;

namespace {

using wall = std::chrono::system_clock::time_point;

std::string text_of(uuid7 const& id) { return std::string{id.to_text().view()}; }

}  // namespace

static_assert(hex16(0xABCDEFU).view() == "0000000000abcdef");
static_assert(parse_hex16("0000000000abcdef") == 0xABCDEFU);

BOOST_AUTO_TEST_CASE(sixteen_digits_say_every_number_and_are_read_back) {
  BOOST_TEST(hex16(0).view() == "0000000000000000");
  BOOST_TEST(hex16(UINT64_MAX).view() == "ffffffffffffffff");
  BOOST_TEST(hex16(0x0123456789ABCDEFULL).view() == "0123456789abcdef");
  for (unsigned bit = 0; bit < 64; ++bit) {
    std::uint64_t const n = std::uint64_t{1} << bit;
    BOOST_TEST((parse_hex16(hex16(n)) == n));
    BOOST_TEST((parse_hex16(hex16(~n)) == ~n));
  }
}

BOOST_AUTO_TEST_CASE(refuses_anything_but_sixteen_lower_case_digits) {
  for (auto const* wrong : {"", "0", "000000000000000", "00000000000000000", "000000000000000g",
                            "000000000000000A", "0x00000000000000", " 000000000000000",
                            "000000000000000 ", "-000000000000001", "+000000000000001",
                            "00000000\xEF\xBC\x90"
                            "00000",
                            "0000000/00000000", "0000000:00000000", "0000000`00000000"}) {
    BOOST_TEST_CONTEXT(wrong) { BOOST_TEST(!parse_hex16(wrong).has_value()); }
  }
  BOOST_TEST(!parse_hex16(std::string_view{"000000000000000\0", 16}).has_value());
}

BOOST_AUTO_TEST_CASE(a_uuid_is_laid_out_as_the_rfc_shows) {
  // RFC 9562, appendix A.6: 2022-02-22 19:22:22 UTC; rand_a = 0xCC3, rand_b = 0x18C4DC0C0C07398F.
  uuid7 const id{wall{1645557742000ms}, 0xCC3, 0x18C4DC0C0C07398FULL << 2U};
  BOOST_TEST(text_of(id) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
}

BOOST_AUTO_TEST_CASE(a_uuid_says_version_7_and_its_variant_whatever_the_random_bits) {
  for (std::uint64_t const bits :
       {std::uint64_t{0}, UINT64_MAX, std::uint64_t{0x5555555555555555}}) {
    std::string const id = text_of(uuid7{wall{1ms}, bits, bits});
    BOOST_TEST(id.size() == 36U);
    BOOST_TEST(id[8] == '-');
    BOOST_TEST(id[13] == '-');
    BOOST_TEST(id[18] == '-');
    BOOST_TEST(id[23] == '-');
    BOOST_TEST(id[14] == '7');
    BOOST_TEST(std::string{"89ab"}.find(id[19]) != std::string::npos);
  }
  BOOST_TEST(text_of(uuid7{wall{0ms}, 0, 0}) == "00000000-0000-7000-8000-000000000000");
  BOOST_TEST(text_of(uuid7{wall{0ms}, UINT64_MAX, UINT64_MAX}) ==
             "00000000-0000-7fff-bfff-ffffffffffff");
}

BOOST_AUTO_TEST_CASE(a_later_uuid_sorts_behind_an_earlier_one) {
  std::string before = text_of(uuid7{wall{1'700'000'000'000ms}, UINT64_MAX, UINT64_MAX});
  for (auto at = 1'700'000'000'001ms; at < 1'700'000'000'100ms; at += 1ms) {
    std::string const after = text_of(uuid7{wall{at}, 0, 0});
    BOOST_TEST(before < after);
    before = after;
  }
}

BOOST_AUTO_TEST_CASE(a_uuid_is_empty_until_it_is_made) {
  BOOST_TEST(uuid7{}.empty());
  uuid7 const made{wall{0ms}, 0, 0};
  BOOST_TEST(!made.empty());
  BOOST_TEST((made != uuid7{}));
}

BOOST_AUTO_TEST_CASE(each_call_has_numbers_of_its_own_and_no_deadline) {
  boost::asio::io_context context;
  cleat::call const a{context.get_executor()};
  cleat::call const b{context.get_executor()};
  BOOST_TEST(a.operation != b.operation);
  BOOST_TEST((a.correlation != b.correlation));
  BOOST_TEST(!a.correlation.empty());
  BOOST_TEST((a.deadline() == cleat::never));
  BOOST_TEST(a.attempt == 1U);
  BOOST_TEST(a.repeatable);
  BOOST_TEST(a.events == nullptr);
}

BOOST_AUTO_TEST_CASE(the_numbers_of_a_call_are_the_next_three_of_its_context) {
  cleat::test::hand_time time;
  auto& random = cleat::entropy::of(time.context.get_executor());
  random.seed(5);
  auto const [operation, a, b] = random.next<3>();
  random.seed(5);
  auto const c = time.new_call();
  BOOST_TEST(c.operation == operation);
  BOOST_TEST((c.correlation == uuid7{time.clock().wall(), a, b}));
}

BOOST_AUTO_TEST_CASE(a_deadline_is_only_ever_brought_forward) {
  boost::asio::io_context context;
  cleat::call c{context.get_executor()};
  auto const at = c.now() + 1h;
  c.tighten(at);
  BOOST_TEST((c.deadline() == at));
  c.tighten(at + 1h);
  BOOST_TEST((c.deadline() == at));
  c.tighten(cleat::never);
  BOOST_TEST((c.deadline() == at));
  c.tighten(at - 1min);
  BOOST_TEST((c.deadline() == at - 1min));
}

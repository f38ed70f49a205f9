#define BOOST_TEST_MODULE host_text
#include <cleat/base/host_text.hpp>

#include <boost/test/unit_test.hpp>

#include <arpa/inet.h>
#include <net/if.h>

#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>

using cleat::host_text;

namespace {

std::string address_of(std::string_view text) {
  host_text const t{text};
  BOOST_TEST(t.trouble == "");
  return t.address ? t.address->to_string() : "";
}

std::string trouble_of(std::string_view text) {
  host_text const t{text};
  BOOST_TEST(!t.address.has_value());
  return t.trouble;
}

}  // namespace

BOOST_AUTO_TEST_CASE(reads_addresses_in_their_only_form) {
  for (auto const* same : {"192.0.2.10", "0.0.0.0", "127.0.0.1", "::1", "::", "2001:db8::7"})
    BOOST_TEST(address_of(same) == same);
  BOOST_TEST(address_of("2001:DB8:0::7") == "2001:db8::7");
  BOOST_TEST(address_of("::ffff:192.0.2.10") == "192.0.2.10");
}

BOOST_AUTO_TEST_CASE(takes_what_is_neither_number_nor_url_for_a_name) {
  for (auto const* name : {"lamp", "lamp.local", "localhost", "lamp-7.example.", "7.lamp", "a_b",
                           "beef", "deadbeef.cafe", "m\xC3\xBCller.example", "1e3.x", ""}) {
    host_text const t{name};
    BOOST_TEST(!t.address.has_value());
    BOOST_TEST(t.trouble == "", name);
  }
}

BOOST_AUTO_TEST_CASE(refuses_numbers_that_are_no_plain_ipv4_address) {
  for (auto const* text :
       {"127.0.0.010", "0x7f.8", "2130706440", "127.8", "127.0.0.1.", "1.2.3.4.5"}) {
    BOOST_TEST(trouble_of(text) == std::string{text} +
                                       " is no address; write IPv4 as four plain "
                                       "numbers, as 192.0.2.10");
  }
}

BOOST_AUTO_TEST_CASE(leaves_nothing_to_inet_aton_that_it_does_not_read_itself) {
  // Whatever the system's own reader takes for an address is one of ours too, or is refused.
  std::mt19937 random{17};
  constexpr std::string_view alphabet = "0123456789abcfxX....";
  for (int n = 0; n < 200'000; ++n) {
    std::string text(random() % 12 + 1, '0');
    for (char& c : text) c = alphabet[random() % alphabet.size()];
    in_addr read{};
    if (::inet_aton(text.c_str(), &read) == 0) continue;
    host_text const t{text};
    bool const same =
        t.address && t.address->is_v4() && t.address->to_v4().to_uint() == ntohl(read.s_addr);
    if (!same && t.trouble.empty()) BOOST_ERROR(text << " would be looked up");
  }
}

BOOST_AUTO_TEST_CASE(asks_for_the_interface_of_a_link_local_address) {
  BOOST_TEST(trouble_of("fe80::1") ==
             "fe80::1 is link-local; say on which interface, as fe80::1%eth0");
  BOOST_TEST(trouble_of("febf::1%") ==
             "febf::1 is link-local; say on which interface, as febf::1%eth0");
  BOOST_TEST(trouble_of("fe80::1%no-such-if") ==
             "fe80::1%no-such-if: this machine has no interface 'no-such-if'");
  BOOST_TEST(
      trouble_of("fe80::1%25no-such-if") ==
      "fe80::1%25no-such-if: write the interface as in fe80::1%no-such-if, without the 25 of "
      "a URL");
  BOOST_TEST(trouble_of("2001:db8::1%lo") ==
             "2001:db8::1%lo: only a link-local address (fe80::…) has an interface behind it");
}

BOOST_AUTO_TEST_CASE(takes_an_interface_by_its_name_or_its_number) {
  unsigned const loopback = ::if_nametoindex("lo");
  if (loopback == 0) {
    BOOST_TEST_MESSAGE("this machine has no interface lo; not tested");
    return;
  }
  for (std::string const& zone : {std::string{"lo"}, std::to_string(loopback)}) {
    host_text const t{"fe80::1%" + zone};
    BOOST_REQUIRE(t.address.has_value());
    BOOST_TEST(t.address->to_v6().scope_id() == loopback);
    BOOST_TEST(t.address->to_string() == "fe80::1%lo");
  }
}

BOOST_AUTO_TEST_CASE(refuses_the_rest_of_a_url_and_addresses_of_many) {
  BOOST_TEST(trouble_of("lamp:9000") == "lamp:9000 is no host; the port does not belong to it");
  BOOST_TEST(trouble_of("127.0.0.1:9000") ==
             "127.0.0.1:9000 is no host; the port does not belong to it");
  BOOST_TEST(trouble_of("[::1]") ==
             "[::1] is no host; write an address without brackets, and no port behind it");
  BOOST_TEST(trouble_of("tcp://lamp/") == "tcp://lamp/ is neither an address nor a name");
  BOOST_TEST(trouble_of("lamp 7") == "lamp 7 is neither an address nor a name");
  BOOST_TEST(trouble_of("1::2::3") == "1::2::3 is neither an address nor a name");
  for (auto const* many :
       {"224.0.0.1", "239.255.255.255", "255.255.255.255", "ff02::1", "ff02::1%lo"}) {
    BOOST_TEST(trouble_of(many) ==
               std::string{many} + " is an address of many machines; a connection has one peer");
  }
}

BOOST_AUTO_TEST_CASE(only_some_characters_are_in_no_name) {
  std::string foreign = "%/\\[]@?#\"<>\x7F";
  for (char c = 0; c <= 0x20; ++c) foreign += c;
  for (unsigned n = 0; n < 256; ++n) {
    auto const c = static_cast<char>(static_cast<unsigned char>(n));
    host_text const t{std::string{"a"} + c + "b"};
    BOOST_TEST_CONTEXT("character " << n) {
      BOOST_TEST(!t.address.has_value());
      BOOST_TEST(t.trouble.empty() == (c != ':' && foreign.find(c) == std::string::npos));
    }
  }
  BOOST_TEST(trouble_of("la mp:9000") == "la mp:9000 is neither an address nor a name");
  BOOST_TEST(trouble_of("192.0.2.1%lo") == "192.0.2.1%lo is neither an address nor a name");
  BOOST_TEST(!trouble_of(std::string_view{"::1\0x", 5}).empty());
  BOOST_TEST(!trouble_of(std::string_view{"192.0.2.1\0", 10}).empty());
}

BOOST_AUTO_TEST_CASE(a_number_is_of_digits_or_of_0x_and_hexadecimal_digits) {
  for (auto const* number : {"0", "9", "0.9", "0x0", "0X9", "0xa", "0xf", "0xA", "0xF", "1.0xfa"})
    BOOST_TEST(trouble_of(number).find(" is no address;") != std::string::npos, number);
  for (auto const* name : {"0xg", "0xG", "0x`", "0a", "0f", "9x", "1.0xfg", "0x1.lamp"}) {
    host_text const t{name};
    BOOST_TEST((!t.address && t.trouble.empty()), name);
  }
}

BOOST_AUTO_TEST_CASE(the_number_of_an_interface_is_written_plainly) {
  for (auto const* zone : {"0", "01", "1x", "-1", "+1", "4294967296", "4000000000"}) {
    BOOST_TEST(trouble_of(std::string{"fe80::1%"} + zone) ==
               std::string{"fe80::1%"} + zone + ": this machine has no interface '" + zone + "'");
  }
  BOOST_TEST(trouble_of("fe80::1%25-") ==
             "fe80::1%25-: write the interface as in fe80::1%-, without the 25 of a URL");
  if (std::array<char, IF_NAMESIZE> name{}; ::if_indextoname(25, name.data()) == nullptr)
    BOOST_TEST(trouble_of("fe80::1%25") == "fe80::1%25: this machine has no interface '25'");
}

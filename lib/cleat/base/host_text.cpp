#include <cleat/base/host_text.hpp>

#include <boost/asio/ip/address_v4.hpp>
#include <boost/asio/ip/address_v6.hpp>
#include <boost/system/error_code.hpp>

#include <net/if.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace cleat {
namespace {

namespace ip = boost::asio::ip;
using boost::system::error_code;

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
bool is_hex_digit(char c) noexcept {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

bool is_number(std::string_view label) noexcept {
  if (label.starts_with("0x") || label.starts_with("0X")) {
    label.remove_prefix(2);
    return std::all_of(label.begin(), label.end(), is_hex_digit);
  }
  return std::all_of(label.begin(), label.end(), is_digit);
}

/// Numbers with points between them: never a name (RFC 1123, section 2.1), whatever
/// `inet_aton` makes of them.
bool is_numbers(std::string_view text) noexcept {
  if (std::none_of(text.begin(), text.end(), is_digit)) return false;
  for (;;) {
    auto const point = text.find('.');
    if (!is_number(text.substr(0, point))) return false;
    if (point == std::string_view::npos) return true;
    text.remove_prefix(point + 1);
  }
}

/// Whether a character is in no name, of whatever alphabet. (Nor is a colon.)
bool is_foreign(char c) noexcept {
  auto const u = static_cast<unsigned char>(c);
  return u <= 0x20 || u == 0x7F ||
         std::string_view{"%/\\[]@?#\"<>"}.find(c) != std::string_view::npos;
}

/// The number of an interface of this machine, which is written as its name or as that number.
std::optional<unsigned> interface_of(std::string_view zone) {
  if (unsigned const n = ::if_nametoindex(std::string{zone}.c_str()); n != 0) return n;
  unsigned n = 0;
  auto const read = std::from_chars(zone.data(), zone.data() + zone.size(), n);
  std::array<char, IF_NAMESIZE> name{};
  bool const whole =
      read.ec == std::errc{} && read.ptr == zone.data() + zone.size() && !zone.starts_with('0');
  if (!whole || ::if_indextoname(n, name.data()) == nullptr) return std::nullopt;
  return n;
}

bool is_of_many(ip::address const& a) noexcept {
  return a.is_multicast() || (a.is_v4() && a.to_v4() == ip::address_v4::broadcast());
}

}  // namespace

host_text::host_text(std::string_view text) {
  std::string const whole{text};
  auto const percent = text.find('%');
  std::string const bare{text.substr(0, percent)};
  bool const has_zone = percent != std::string_view::npos;
  std::string const zone{has_zone ? text.substr(percent + 1) : std::string_view{}};

  error_code wrong;
  ip::address read;
  // What is behind a NUL would not be seen.
  if (bare.find('\0') == std::string::npos) read = ip::make_address(bare, wrong);
  if (wrong || bare.find('\0') != std::string::npos || (has_zone && read.is_v4())) {
    auto const colons = std::count(text.begin(), text.end(), ':');
    if (is_numbers(text)) {
      trouble = whole + " is no address; write IPv4 as four plain numbers, as 192.0.2.10";
    } else if (text.find_first_of("[]") != std::string_view::npos) {
      trouble = whole + " is no host; write an address without brackets, and no port behind it";
    } else if (colons == 1 && std::none_of(text.begin(), text.end(), is_foreign)) {
      trouble = whole + " is no host; the port does not belong to it";
    } else if (colons != 0 || std::any_of(text.begin(), text.end(), is_foreign)) {
      trouble = whole + " is neither an address nor a name";
    }
    return;
  }
  if (read.is_v6() && read.to_v6().is_v4_mapped())
    read = ip::make_address_v4(ip::v4_mapped, read.to_v6());
  bool const link_local = read.is_v6() && read.to_v6().is_link_local();
  if (is_of_many(read)) {
    trouble = whole + " is an address of many machines; a connection has one peer";
  } else if (!link_local && has_zone) {
    trouble = whole + ": only a link-local address (fe80::…) has an interface behind it";
  } else if (link_local && zone.empty()) {
    trouble = bare + " is link-local; say on which interface, as " + bare + "%eth0";
  } else if (link_local) {
    auto v6 = read.to_v6();
    if (auto const n = interface_of(zone)) {
      v6.scope_id(*n);
      address = v6;
    } else if (zone.size() > 2 && zone.starts_with("25")) {
      trouble = whole + ": write the interface as in " + bare + '%' + zone.substr(2) +
                ", without the 25 of a URL";
    } else {
      trouble = whole + ": this machine has no interface '" + zone + "'";
    }
  } else {
    address = read;
  }
}

}  // namespace cleat

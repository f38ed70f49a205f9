#pragma once

#include <cleat/base/standard.hpp>

#include <boost/asio/ip/address.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace cleat {

/// What the text of a host is before anything is looked up: an address, a name, or neither.
///
/// It is read strictly, so that nobody reaches another machine than the one that was meant. An IPv4
/// address is four decimal numbers without leading zeros; other numbers that the system's resolver
/// takes for one (`127.0.0.010` is 127.0.0.8, `127.8`, `0x7f.8`, `2130706440`) are neither address
/// nor name. A link-local IPv6 address has an interface of this machine behind it
/// (`fe80::1%eth0`), no other address has one. An address of many machines (multicast, broadcast)
/// is none that can be connected to. Brackets, ports and the rest of a URL do not belong to a host.
class host_text {
 public:
  /// Asks the system for the interface that is named, and for nothing else.
  explicit host_text(std::string_view text);

  /// The address, if it is one; an IPv4 address that is written inside an IPv6 address
  /// (`::ffff:192.0.2.1`) as IPv4.
  std::optional<boost::asio::ip::address> address;
  /// If it is neither an address nor a name: one sentence that says what is wrong, and what would
  /// be right.
  std::string trouble;
};

}  // namespace cleat

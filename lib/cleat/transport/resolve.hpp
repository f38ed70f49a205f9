#pragma once

#include <cleat/base/clock.hpp>
#include <cleat/base/task.hpp>

#include <boost/asio/ip/tcp.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace cleat {

using endpoints = std::vector<boost::asio::ip::tcp::endpoint>;

/// The addresses of a host, the two families by turns (RFC 8305, section 4), in the system's order
/// of preference.
///
/// A literal address costs nothing; what looks like one and is none (`host_text`: `127.0.0.010`,
/// `fe80::1` without an interface) fails as `invalid`, and the detail says why. A name is looked up by `getaddrinfo` on a thread of its own, so
/// that all of the system's sources count (hosts file, mDNS) and a resolver that hangs holds up
/// nobody: at the deadline, or when the chain is cancelled, the wait ends and the thread is left to
/// finish by itself. At most 32 lookups are under way at once in a process; beyond that it fails as
/// `overloaded`. Other failures: `unresolved`, `timed_out`, `cancelled`, `resources`. Always
/// `certainty::not_sent`.
[[nodiscard]] task<result<endpoints>> resolve(std::string host, std::uint16_t port,
                                              time_point deadline);

}  // namespace cleat

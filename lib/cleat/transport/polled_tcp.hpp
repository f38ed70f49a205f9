#pragma once

#include <cleat/transport/network.hpp>
#include <cleat/transport/poller.hpp>

#include <boost/asio/ip/tcp.hpp>

#include <cstdint>
#include <memory>

namespace cleat::detail {

/// Whether a connected socket is its own peer. Nobody listens there: the system gave the socket, as
/// its own, the very port that it was to connect to (RFC 9293, section 3.5, simultaneous open).
[[nodiscard]] bool reached_itself(int descriptor, std::uint16_t dialled_port) noexcept;

/// What such a connection is: refused, as by any address on which nobody listens. The socket gives
/// its port back as soon as it is closed.
[[nodiscard]] failure refused_by_itself(int descriptor) noexcept;

/// Connects through the poller, by the deadline.
[[nodiscard]] task<result<any_stream>> polled_connect(poller& with,
                                                      boost::asio::ip::tcp::endpoint to,
                                                      tcp_options options, time_point deadline);

/// Accepts through the poller what `listening`, bound and listening, is asked for.
[[nodiscard]] std::unique_ptr<any_listener::model> polled_listen(
    poller& with, boost::asio::ip::tcp::acceptor listening);

}  // namespace cleat::detail

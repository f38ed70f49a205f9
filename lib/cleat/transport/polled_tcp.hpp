#pragma once

#include <cleat/transport/network.hpp>
#include <cleat/transport/poller.hpp>

#include <boost/asio/ip/tcp.hpp>

#include <memory>

namespace cleat::detail {

/// Connects through the poller, by the deadline.
[[nodiscard]] task<result<any_stream>> polled_connect(poller& with,
                                                      boost::asio::ip::tcp::endpoint to,
                                                      tcp_options options, time_point deadline);

/// Accepts through the poller what `listening`, bound and listening, is asked for.
[[nodiscard]] std::unique_ptr<any_listener::model> polled_listen(
    poller& with, boost::asio::ip::tcp::acceptor listening);

}  // namespace cleat::detail

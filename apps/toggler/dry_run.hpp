#pragma once

#include "options.hpp"

#include <boost/asio/io_context.hpp>

namespace toggler {

/// Writes the request, as it would be sent, as a log record, and sends nothing. The exit code.
[[nodiscard]] int dry_run(options const& o, boost::asio::io_context& context,
                          cleat::log_sink& sink);

}  // namespace toggler

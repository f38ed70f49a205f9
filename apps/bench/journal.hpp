#pragma once

#include "options.hpp"

#include <cleat/observe/log.hpp>
#include <cleat/observe/log_sink.hpp>

#include <memory>

namespace bench {

/// Where the log goes: what goes wrong to stderr, since standard output belongs to the driver, or
/// everything to `--packets`.
[[nodiscard]] inline cleat::result<std::unique_ptr<cleat::log_sink>> open_journal(
    options const& o, cleat::clock const& time) {
  cleat::log_sink_options to{time};
  to.fd = o.packets.empty() ? 2 : -1;
  to.file = o.packets;
  return cleat::log_sink::open(to);
}

/// The level of packets and calls with which nothing is wrong.
[[nodiscard]] inline cleat::log_level level_of_good_news(options const& o) noexcept {
  return o.packets.empty() ? cleat::log_level::debug : cleat::log_level::info;
}

}  // namespace bench

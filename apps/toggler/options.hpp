#pragma once

#include <cleat/codec/f00d.hpp>
#include <cleat/middleware/backoff.hpp>
#include <cleat/observe/log_level.hpp>
#include <cleat/observe/log_sink.hpp>
#include <toggle/device_mode.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

namespace toggler {

/// Exit codes, besides 128 + the number of the signal that ended it.
enum exit_code : int {
  done = 0,
  failed = 1,       ///< and the device did not act
  usage = 2,        ///< bad usage or settings
  unknown = 3,      ///< no good answer; the device may have acted
  environment = 4,  ///< this machine: a port taken, a file that cannot be opened, no descriptors
};

/// How long it waits before another attempt.
inline constexpr auto between_attempts =
    cleat::backoff::additive(std::chrono::milliseconds{250}, std::chrono::milliseconds{100});

/// What the program is to do, checked.
class options {
 public:
  using duration = std::chrono::nanoseconds;

  std::string device_id;
  std::string host;
  std::uint16_t port = 0;

  bool state = true;
  bool ask_only = false;  ///< `--status`
  bool dry_run = false;
  /// The device in this process that is toggled instead of one at `host`.
  std::optional<toggle::device_mode> simulate;

  unsigned attempts_max = 0;
  duration connect_timeout{};
  duration io_timeout{};
  /// For all attempts and the waits between them.
  duration deadline{};
  cleat::unframed reply = cleat::unframed::ack;
  bool op_id = false;

  cleat::log_level level = cleat::log_level::info;
  cleat::log_format format = cleat::log_format::json;
  std::string log_file;

  bool metrics = true;
  std::string metrics_address;
  std::uint16_t metrics_port = 0;
  /// Somebody asked for this port or address, so that doing without is not right.
  bool metrics_asked_for = false;
  duration metrics_linger{};
};

/// From the command line and the environment. The exit code instead, if the program is to end here
/// (`--help`, `--version`). Throws `apps::usage_error`.
[[nodiscard]] std::variant<options, int> read_options(int argc, char const* const* argv);

}  // namespace toggler

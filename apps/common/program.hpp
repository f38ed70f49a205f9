#pragma once

#include <common/signals.hpp>

#include <functional>
#include <string>

namespace apps {

/// The frame of every `main`: signals are heard from the first moment to the last, and what `body`
/// throws is told in one sentence on stderr. Returns the exit code: that of `body`, 2 for a
/// `usage_error`, 4 if this machine has no descriptors, threads or memory for it. The codes 129 and
/// 130 end the program by the signal (see `end`).
[[nodiscard]] int run_program(std::string const& name, std::function<int(signals&)> const& body);

}  // namespace apps

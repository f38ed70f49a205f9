#pragma once

#include "options.hpp"

#include <common/signals.hpp>

namespace toggler {

/// Does what the options say and gives the exit code, which is 128 and the signal's number if a
/// signal ended it. May leave by `apps::end`, when a name lookup that nobody can stop is still under
/// way.
[[nodiscard]] int run(options const& o, apps::signals& ear);

}  // namespace toggler

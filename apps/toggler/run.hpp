#pragma once

#include "options.hpp"

namespace toggler {

/// Does what the options say and gives the exit code. May leave by `std::_Exit`, when a name lookup
/// that nobody can stop is still under way.
[[nodiscard]] int run(options const& o);

}  // namespace toggler

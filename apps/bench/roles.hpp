#pragma once

#include "options.hpp"

namespace bench {

/// Answers toggles until a signal ends it. The exit code.
int serve(options const& o);

/// Asks a server that runs already, in one of the workloads. The exit code, if it fails: a
/// measurement that comes to its end ends the program.
int ask(options const& o);

}  // namespace bench

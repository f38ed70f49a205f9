#pragma once

// CMake would generate this. In a static library there is nothing to export.
#define PROMETHEUS_CPP_CORE_EXPORT

#pragma once

// Included by each header that includes nothing else of cleat, so that this is the first error.
#if __cplusplus < 202002L
#error "cleat needs C++20: compile with -std=c++20 or newer"
#endif

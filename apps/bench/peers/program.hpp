#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <string_view>

namespace peers {

using clock = std::chrono::steady_clock;

/// How long a client waits for anything before it gives up, and how often it looks.
inline constexpr std::chrono::milliseconds deadline{1500};
inline constexpr std::chrono::milliseconds deadline_check{100};

/// What a client says when its deadline has fired.
inline constexpr char const* no_answer = "no answer within 1.5 s";

struct options {
  std::uint16_t port = 0;  ///< a server's may be 0, which picks one
  std::uint32_t connections = 1;
  std::uint32_t window = 1;  ///< requests in flight on each active connection
  std::uint32_t active = 0;  ///< connections with requests; 0: all
  std::chrono::duration<double> warm_up{0.3};
  std::chrono::duration<double> measured{1.0};
  std::uint64_t requests_max = std::numeric_limits<std::uint64_t>::max();
  bool reconnects = false;  ///< a connection for each request
  bool spins = false;       ///< asks the kernel again instead of sleeping
};

/// One of the two things that a peer's program can be; returns or exits when it is over.
using role = void (*)(options const&);

/// `main` of a peer's program: reads the command line, and is server or client.
int run(int argc, char** argv, std::string_view name, role server, role client);

/// Writes a line to standard output, at once.
void say(std::string_view line);

/// Says something and waits until a line comes on standard input, or its end.
void say_and_wait(std::string_view line);

/// Tells who started this server that it listens, and where.
void say_listening(std::uint16_t port);

/// Says on standard error why the program cannot go on, and ends it.
[[noreturn]] void fail(std::string_view why);
/// The same, with what `errno` says.
[[noreturn]] void fail_errno(std::string_view what);

}  // namespace peers

#include "program.hpp"

#include "allocations.hpp"

#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>

#include <cerrno>

#include <unistd.h>

namespace peers {

namespace {

std::string program = "peer";

constexpr std::string_view usage = R"(Either of:
  server --port PORT [--spin]
  client --port PORT [--conns N] [--active N] [--window N] [--w5] [--spin]
         [--warm SECONDS] [--secs SECONDS] [--maxreq N]

The server prints LISTENING and its port; with --port 0 it picks one. The client prints INIT,
READY and END, and after each of them waits for a line; START when it measures, and in the end
RESULT with figures as JSON. apps/bench/compare drives them.
)";

class bad_option : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The words of a command line, one after the other.
class words {
 public:
  explicit words(std::span<char*> all) : rest_(all) {}

  bool empty() const { return rest_.empty(); }
  std::string next() {
    std::string word{rest_.front()};
    rest_ = rest_.subspan(1);
    return word;
  }

  template <class Number>
  Number number(std::string const& option, Number least, Number most) {
    std::string const given = rest_.empty() ? "nothing" : next();
    Number n{};
    char const* const end = given.data() + given.size();
    auto const read = std::from_chars(given.data(), end, n);
    if (read.ec != std::errc{} || read.ptr != end || !(n >= least && n <= most)) {
      std::ostringstream why;
      why << option << " wants a number from " << least << " to " << most << ", not " << given;
      throw bad_option{why.str()};
    }
    return n;
  }

 private:
  std::span<char*> rest_;
};

void say_error(std::string_view why) {
  std::string const line = program + ": " + std::string{why} + "\n";
  [[maybe_unused]] auto const written = ::write(STDERR_FILENO, line.data(), line.size());
}

options read_options(words given, bool is_server) {
  options o;
  bool has_port = false;
  while (!given.empty()) {
    std::string const option = given.next();
    if (option == "--port") {
      o.port = given.number<std::uint16_t>(option, is_server ? 0 : 1, 65535);
      has_port = true;
    } else if (option == "--spin") {
      o.spins = true;
    } else if (is_server) {
      throw bad_option{"a server has no option " + option};
    } else if (option == "--conns") {
      o.connections = given.number<std::uint32_t>(option, 1, 100'000);
    } else if (option == "--active") {
      o.active = given.number<std::uint32_t>(option, 1, 100'000);
    } else if (option == "--window") {
      o.window = given.number<std::uint32_t>(option, 1, 1024);
    } else if (option == "--warm") {
      o.warm_up = std::chrono::duration<double>{given.number<double>(option, 0, 3600)};
    } else if (option == "--secs") {
      o.measured = std::chrono::duration<double>{given.number<double>(option, 0, 3600)};
    } else if (option == "--maxreq") {
      o.requests_max = given.number<std::uint64_t>(option, 1, o.requests_max);
    } else if (option == "--w5") {
      o.reconnects = true;
    } else {
      throw bad_option{"a client has no option " + option};
    }
  }
  if (!has_port) throw bad_option{"--port is missing"};
  if (o.active == 0) o.active = o.connections;
  if (o.active > o.connections) throw bad_option{"--active is greater than --conns"};
  return o;
}

}  // namespace

int run(int argc, char** argv, std::string_view name, role server, role client) {
  program = name;
  words given{std::span{argv, static_cast<std::size_t>(argc)}.subspan(argc > 0 ? 1 : 0)};
  std::string const what = given.empty() ? "--help" : given.next();
  if (what == "--help" || what == "-h") {
    say(usage);
    return 0;
  }
  try {
    bool const is_server = what == "server";
    if (!is_server && what != "client") throw bad_option{"it is a server or a client, no " + what};
    program += " " + what;
    options const o = read_options(given, is_server);
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN);
    if (is_server) tell_allocations_on_sigusr1();
    (is_server ? server : client)(o);
  } catch (bad_option const& e) {
    say_error(e.what());
    return 2;
  } catch (std::exception const& e) {
    fail(e.what());
  }
  return 0;
}

void say(std::string_view line) {
  while (!line.empty()) {
    auto const n = ::write(STDOUT_FILENO, line.data(), line.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EPIPE) std::_Exit(1);  // nobody listens any more
    if (n < 0) {
      say_error("cannot write to standard output: " + std::system_category().message(errno));
      std::_Exit(4);
    }
    line.remove_prefix(static_cast<std::size_t>(n));
  }
}

void say_and_wait(std::string_view line) {
  say(line);
  char c = 0;
  for (;;) {
    auto const n = ::read(STDIN_FILENO, &c, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0 || c == '\n') return;
  }
}

void say_listening(std::uint16_t port) { say("LISTENING " + std::to_string(port) + "\n"); }

void fail(std::string_view why) {
  say_error(why);
  std::_Exit(1);
}

void fail_errno(std::string_view what) {
  std::string const why = std::system_category().message(errno);
  fail(std::string{what} + ": " + why);
}

}  // namespace peers

#include "roles.hpp"

#include <common/settings.hpp>
#include <common/signals.hpp>

#include <cstdio>
#include <string_view>

namespace {

constexpr char const* footer =
    R"(Both speak the driver's few lines: LISTENING; INIT, READY, START, END and RESULT, each
answered by a line. scripts/bench starts them side by side, with others, and compares.

Examples:
  bench server --port 0
  bench client --port 9000 --conns 64)";

bench::stack layers_of(apps::settings const& s) {
  using bench::stack;
  auto const given = s.find("--layers");
  if (!given || given->value == "all") return stack::all;
  if (given->value == "none") return stack::none;
  if (given->value == "three") return stack::three;
  if (given->value == "six") return stack::six;
  given->refuse("none, three, six or all");
}

bench::options read(apps::settings const& s) {
  bench::options o;
  o.port = static_cast<std::uint16_t>(s.number("--port", 0, 65535, 0));
  o.connections = s.number("--conns", 1, 100'000, 1);
  o.window = s.number("--window", 1, 1024, 1);
  o.active = s.number("--active", 1, 100'000, o.connections);
  if (o.active > o.connections) throw apps::usage_error("--active is more than --conns.");
  o.reconnects = s.is_set("--w5");
  o.warm_up = s.time("--warm", std::chrono::seconds{0}, std::chrono::hours{1},
                     std::chrono::milliseconds{300});
  o.measured = s.time("--secs", std::chrono::milliseconds{1}, std::chrono::hours{1},
                      std::chrono::seconds{1});
  if (s.find("--maxreq")) o.requests_max = s.number("--maxreq", 1, UINT32_MAX, UINT32_MAX);
  o.layers = layers_of(s);
  if (auto const file = s.find("--packets")) {
    if (file->value.empty()) file->refuse("the path of a file");
    o.packets = file->value;
  }
  if (s.is_set("--spin")) o.spin = std::chrono::microseconds{50};
  o.threads = s.number("--threads", 1, 64, 1);
  return o;
}

}  // namespace

int main(int argc, char** argv) try {
  apps::survive_broken_outputs();
  apps::settings s{"bench", "The work of docs/performance.md: `bench server` and `bench client`."};
  s.value("Work", "--port", "", "PORT", "where the server listens; 0: the system chooses", "0");
  s.value("Work", "--conns", "", "N", "connections", "1");
  s.value("Work", "--active", "", "N", "of these, with requests under way", "all");
  s.value("Work", "--window", "", "N", "requests under way on each", "1");
  s.flag("Work", "--w5", "", "a connection for each request");
  s.value("Work", "--warm", "", "SECONDS", "before measuring", "0.3");
  s.value("Work", "--secs", "", "SECONDS", "of measuring", "1");
  s.value("Work", "--maxreq", "", "N", "requests at most", "no limit");
  s.value("How", "--layers", "", "WHICH",
          "on the client's session: none; three: metrics, deadline, retry; six: these, "
          "limit, rate, breaker; all: metrics, log, deadline, retry",
          "all");
  s.value("How", "--packets", "", "FILE", "log each packet and call there", "nothing is logged");
  s.flag("How", "--spin", "", "look for work a while before sleeping");
  s.value("How", "--threads", "", "N", "event loops of the server", "1");
  s.footer(footer);

  std::string_view const role = argc > 1 ? argv[1] : "";
  if (role != "server" && role != "client") {
    if (auto const done = s.parse(argc, argv, CLEAT_VERSION)) return *done;
    throw apps::usage_error("say which side first: bench server, or bench client.");
  }
  if (auto const done = s.parse(argc - 1, argv + 1, CLEAT_VERSION)) return *done;
  auto const o = read(s);
  return role == "server" ? bench::serve(o) : bench::ask(o);
} catch (apps::usage_error const& e) {
  apps::complain("bench", e.what());
  return apps::exit_usage;
}

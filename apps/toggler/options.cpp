#include "options.hpp"

#include <cleat/base/utf8.hpp>
#include <common/settings.hpp>
#include <toggle/message.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <initializer_list>
#include <limits>
#include <string_view>
#include <utility>

namespace toggler {
namespace {

using apps::given;
using apps::settings;
using apps::usage_error;
using namespace std::chrono_literals;

constexpr char const* footer =
    R"(Times are written 250ms, 1.5s, 2 (seconds) or 1m. In [brackets] stands what holds if nothing is
given, in {braces} the environment variable that is read if the option is not given. What the
command line says beats the environment; =false takes an option without a value back, as in
--op-id=false.

Attempts: the first at once; before each further one a wait of 250 ms, 500 ms, 1 s, … plus up to
100 ms, or what the device asks for. A connection that fails, an answer that does not come and a
connection that ends are tried again, and a refusal if the device says that it may be. Each
attempt has a connection of its own. All of it ends at the --deadline; a wait that would last
until then is not begun.

Exit codes:
  0    done
  1    failed, and the device did not act
  2    bad usage or settings
  3    no good answer: the device may have acted (--status never acts, and gives 1)
  4    this machine: a port is taken, a file cannot be opened, no descriptors are left
  130  ended by SIGINT, 143 by SIGTERM, 129 by SIGHUP, before it was done

Standard output has log records and nothing else, one a line; the last line on standard error
says what came of it. A signal during --metrics-linger ends that and keeps the exit code. With
--log-file SIGHUP ends no work and opens the file anew.

Examples:
  toggler --simulate
  toggler --device-id DEVICE123 --device-host 192.0.2.10 --state off
  DEVICE_ID=DEVICE123 DEVICE_HOST=lamp.local toggler --status --log-format text
  toggler --device-id DEVICE123 --device-host ::1 --metrics-port 0 --metrics-linger 30s
  toggler --device-id DEVICE123 --dry-run)";

void describe(settings& s) {
  s.value("Device", "--device-id", "DEVICE_ID", "ID", "which device, as it calls itself; required");
  s.value("Device", "--device-host", "DEVICE_HOST", "HOST",
          "its name or IPv4 or IPv6 address; required");
  s.value("Device", "--device-port", "DEVICE_PORT", "PORT", "its TCP port", "9000");

  s.value("What to do", "--state", "CLEAT_STATE", "on|off",
          "what it is to be; also true, false, 1, 0", "on");
  s.flag("What to do", "--status", "", "ask how it is and change nothing");
  s.flag("What to do", "--dry-run", "", "print the request as a log record, send nothing");
  s.optional_value(
      "What to do", "--simulate", "[MODE]",
      "toggle a simulated device (DEVICE123) in this process, by real sockets, in a mode "
      "of the simulator, or else ok",
      "ok");

  s.value("How", "--max-attempts", "CLEAT_MAX_ATTEMPTS", "N", "attempts in all, 1 to 100", "2");
  s.value("How", "--connect-timeout", "CLEAT_CONNECT_TIMEOUT", "TIME",
          "how long an attempt may take to connect, name lookup included", "1s");
  s.value("How", "--io-timeout", "CLEAT_IO_TIMEOUT", "TIME",
          "how long an attempt may take to be answered once it is connected", "1.5s");
  s.value("How", "--deadline", "CLEAT_DEADLINE", "TIME",
          "how long all attempts may take, with the waits between them",
          "10s, or what the attempts need");
  s.value(
      "How", "--reply", "CLEAT_REPLY", "legacy|framed|any",
      "answers to accept: frames, and ACK without a frame with a warning (legacy); frames only; "
      "anything without a frame too",
      "legacy");
  s.flag("How", "--op-id", "CLEAT_OP_ID",
         "send the operation's id, the same in all attempts, for devices that use it to act once");

  s.value("Logs", "--log-level", "CLEAT_LOG_LEVEL", "LEVEL", "DEBUG, INFO, WARNING or ERROR",
          "INFO");
  s.value("Logs", "--log-format", "CLEAT_LOG_FORMAT", "json|text",
          "JSON Lines, or lines for people", "json");
  s.value("Logs", "--log-file", "CLEAT_LOG_FILE", "FILE",
          "write the records there too; opened anew on SIGHUP");

  s.value(
      "Metrics", "--metrics-port", "CLEAT_METRICS_PORT", "PORT",
      "where /metrics and /healthz are; 0 picks a port and says which. If it was asked for and is "
      "taken, the program ends (4); the default is done without",
      "9400");
  s.value("Metrics", "--metrics-address", "CLEAT_METRICS_ADDRESS", "IP", "and on which address",
          "127.0.0.1");
  s.flag("Metrics", "--no-metrics", "CLEAT_NO_METRICS", "no metrics");
  s.value("Metrics", "--metrics-linger", "CLEAT_METRICS_LINGER", "TIME",
          "keep the metrics up for so long after the work", "0");
  s.footer(footer);
}

std::string lower(std::string word) {
  std::transform(word.begin(), word.end(), word.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return word;
}

/// One of some words, or `fallback` if nothing is given.
template <class T>
T one_of(settings const& s, std::string const& name,
         std::initializer_list<std::pair<std::string_view, T>> words, T fallback,
         std::string_view expected) {
  auto const g = s.find(name);
  if (!g) return fallback;
  std::string const word = lower(g->value);
  for (auto const& [each, meaning] : words) {
    if (word == each) return meaning;
  }
  g->refuse(expected);
}

bool has_control_characters(std::string_view word) {
  for (std::size_t i = 0; i < word.size(); ++i) {
    auto const byte = [&](std::size_t at) { return static_cast<unsigned char>(word[at]); };
    if (byte(i) < 0x20 || byte(i) == 0x7F) return true;
    if (byte(i) == 0xC2 && i + 1 < word.size() && byte(i + 1) < 0xA0) return true;  // C1
  }
  return false;
}

std::string required(settings const& s, std::string const& name, std::string const& variable,
                     std::string_view what) {
  auto const g = s.find(name);
  if (!g) {
    throw usage_error{std::string{what} + ": give " + name + " or set " + variable +
                      " in the environment; see --help"};
  }
  return g->value;
}

std::string read_device_id(settings const& s, bool simulated) {
  auto const g = s.find("--device-id");
  if (!g && simulated) return "DEVICE123";
  std::string const id = required(s, "--device-id", "DEVICE_ID", "no device is named");
  if (id.empty() || id.size() > toggle::device_id_bytes_max || !cleat::is_utf8(id) ||
      has_control_characters(id)) {
    g->refuse("1 to 128 bytes of UTF-8 without control characters");
  }
  return id;
}

std::string read_host(settings const& s) {
  static_cast<void>(required(s, "--device-host", "DEVICE_HOST", "no host is named"));
  given const g = *s.find("--device-host");
  auto const& v = g.value;
  if (std::count(v.begin(), v.end(), ':') == 1 || v.find("]:") != std::string::npos) {
    g.refuse("a host only; the port is given with --device-port");
  }
  if (v.empty() || v.size() > 253)
    g.refuse("a name such as lamp.local, or an IPv4 or IPv6 address");
  return g.host();
}

std::optional<toggle::device_mode> read_simulate(settings const& s) {
  auto const g = s.find("--simulate");
  if (!g) return std::nullopt;
  auto const mode = toggle::parse_device_mode(g->value);
  if (mode) return *mode;
  std::string all;
  for (auto const m : toggle::device_modes) {
    if (!all.empty()) all += ", ";
    all += to_string(m);
  }
  g->refuse("one of " + all);
}

void contradict(settings const& s, std::string const& a, std::string const& b) {
  if (s.on_command_line(a) && s.on_command_line(b)) {
    throw usage_error{a + " and " + b + " contradict each other; leave one out"};
  }
}

void read_target(settings const& s, options& o) {
  o.simulate = read_simulate(s);
  o.dry_run = s.is_set("--dry-run");
  o.ask_only = s.is_set("--status");
  for (auto const* const other : {"--device-host", "--device-port"}) {
    contradict(s, "--simulate", other);
  }
  contradict(s, "--status", "--state");
  o.device_id = read_device_id(s, o.simulate.has_value());
  bool const connects = !o.simulate && !o.dry_run;
  if (connects || s.on_command_line("--device-host")) o.host = read_host(s);
  if (connects || s.on_command_line("--device-port")) {
    o.port = static_cast<std::uint16_t>(s.number("--device-port", 1, 65535, 9000));
  }
  if (!o.ask_only) {
    o.state = one_of<bool>(
        s, "--state",
        {{"on", true}, {"true", true}, {"1", true}, {"off", false}, {"false", false}, {"0", false}},
        true, "on or off (or true, false, 1, 0)");
  }
}

/// What the attempts take at most, if the device asks for no waits of its own.
options::duration needed(options const& o) {
  auto all = o.attempts_max * (o.connect_timeout + o.io_timeout);
  for (unsigned failures = 1; failures < o.attempts_max; ++failures) {
    all += between_attempts.wait(failures, std::numeric_limits<std::uint64_t>::max());
  }
  return all;
}

void read_manner(settings const& s, options& o) {
  o.attempts_max = s.number("--max-attempts", 1, 100, 2);
  o.connect_timeout = s.time("--connect-timeout", 1ms, 1h, 1s);
  o.io_timeout = s.time("--io-timeout", 1ms, 1h, 1500ms);
  o.deadline = s.time("--deadline", 1ms, 1000h, std::max<options::duration>(10s, needed(o)));
  using cleat::unframed;
  o.reply = one_of<unframed>(
      s, "--reply",
      {{"legacy", unframed::ack}, {"framed", unframed::refuse}, {"any", unframed::any}},
      unframed::ack, "legacy, framed or any");
  o.op_id = s.is_set("--op-id");
}

void read_logs(settings const& s, options& o) {
  if (auto const g = s.find("--log-level")) {
    auto const level = cleat::parse_log_level(g->value);
    if (!level) g->refuse("DEBUG, INFO, WARNING or ERROR");
    o.level = *level;
  }
  using cleat::log_format;
  o.format = one_of<log_format>(s, "--log-format",
                                {{"json", log_format::json}, {"text", log_format::text}},
                                log_format::json, "json or text");
  if (auto const g = s.find("--log-file")) {
    if (g->value.empty()) g->refuse("the path of a file");
    o.log_file = g->value;
  }
}

/// Whether metrics are shown. On the command line who says where they are to be wants them, whatever
/// the environment says.
bool wants_metrics(settings const& s) {
  bool where = false;
  for (auto const* const other : {"--metrics-port", "--metrics-address", "--metrics-linger"}) {
    contradict(s, "--no-metrics", other);
    where = where || s.on_command_line(other);
  }
  return where || !s.is_set("--no-metrics");
}

void read_metrics(settings const& s, options& o) {
  o.metrics = wants_metrics(s) && !o.dry_run;
  auto const counts = [&](char const* name) { return o.metrics || s.on_command_line(name); };
  if (counts("--metrics-address"))
    o.metrics_address = s.ip_address("--metrics-address", "127.0.0.1");
  if (counts("--metrics-port")) {
    o.metrics_port = static_cast<std::uint16_t>(s.number("--metrics-port", 0, 65535, 9400));
  }
  o.metrics_asked_for = s.find("--metrics-port") || s.find("--metrics-address");
  o.metrics_linger = s.time("--metrics-linger", 0s, 24h, 0s);
}

}  // namespace

std::variant<options, int> read_options(int argc, char const* const* argv) {
  settings s{"toggler", "Turns one device on or off, and says what came of it."};
  describe(s);
  if (auto const end = s.parse(argc, argv, CLEAT_VERSION)) return *end;
  options o;
  read_target(s, o);
  read_manner(s, o);
  read_logs(s, o);
  read_metrics(s, o);
  return o;
}

}  // namespace toggler

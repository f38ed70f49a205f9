#include <cleat/base/clock.hpp>
#include <cleat/base/entropy.hpp>
#include <cleat/base/spawn.hpp>
#include <cleat/observe/line_writer.hpp>
#include <cleat/observe/log_line.hpp>
#include <cleat/observe/log_queue.hpp>
#include <cleat/observe/log_sink.hpp>
#include <cleat/observe/log_writer.hpp>
#include <cleat/observe/signals_blocked.hpp>
#include <common/program.hpp>
#include <common/settings.hpp>
#include <toggle/device.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/json/object.hpp>

#include <charconv>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using apps::settings;
using apps::usage_error;
using namespace std::chrono_literals;

constexpr char const* footer = R"(Modes, one for each connection:
  ok              acts and answers at once
  delay           acts at once, answers after --delay
  disconnect      reads a request, does not act, closes
  reject          closes each connection as soon as it is accepted
  timeout         reads, does not act, never answers
  nack            does not act, answers no
  nack_retryable  does not act, answers no and may be asked again
  garbage         acts, answers random bytes
  unframed        acts, answers the three bytes ACK
  partial         acts, sends half the answer, closes
  wrong_id        acts, answers another msg_id, and nothing else
  duplicate       acts, answers twice
What has an op_id that was carried out before is acknowledged and not carried out again (the
last 1,000 are remembered). A device that is not named is answered by a nack.

The first line on standard output is {"event":"listening","port":N}; what happens follows, a
JSON object a line. Each line of the ledger is an execution: ts, device_id, msg_id, op_id,
state. What cannot be noted there is not carried out, and is answered by a nack.

Exit codes:
  0  stopped by SIGINT, SIGTERM or SIGHUP, which is how it ends
  2  bad usage
  4  this machine: the port is taken, the ledger cannot be opened

Examples:
  simulator --port 0 --device-id LAMP1 --device-id LAMP2
  simulator --script reject,ok --ledger done.jsonl)";

class options {
 public:
  std::string address;
  std::uint16_t port = 0;
  std::optional<std::uint64_t> seed;
  toggle::device_options device;
};

std::string modes() {
  std::string all;
  for (auto const m : toggle::device_modes) {
    if (!all.empty()) all += ", ";
    all += to_string(m);
  }
  return all;
}

std::uint64_t read_seed(apps::given const& g) {
  std::uint64_t n = 0;
  char const* const end = g.value.data() + g.value.size();
  auto const read = std::from_chars(g.value.data(), end, n);
  if (read.ec != std::errc{} || read.ptr != end) g.refuse("a number from 0 to 2^64 - 1");
  return n;
}

/// The exit code instead, if the program is to end here (`--help`, `--version`).
std::variant<options, int> read_options(int argc, char const* const* argv) {
  settings s{"simulator", "A device in software: answers the toggler, well or badly."};
  s.value("Options", "--port", "", "PORT", "TCP port; 0 picks one", "9000");
  s.value("Options", "--address", "", "IP", "the address to listen on", "127.0.0.1");
  s.values("Options", "--device-id", "ID", "a device; may be given several times", "DEVICE123");
  s.value("Options", "--mode", "", "MODE", "how every connection is treated", "ok");
  s.value("Options", "--script", "", "MODES",
          "how each connection is treated in turn, modes with commas between them; the last one is "
          "that of all further ones");
  s.value("Options", "--delay", "", "TIME", "the wait of the mode delay, as 250ms or 1.5s", "1s");
  s.value("Options", "--ledger", "", "FILE", "append what was carried out");
  s.value("Options", "--seed", "", "N", "makes the random bytes the same in each run");
  s.footer(footer);
  if (auto const end = s.parse(argc, argv, CLEAT_VERSION)) return *end;

  options o;
  o.port = static_cast<std::uint16_t>(s.number("--port", 0, 65535, 9000));
  o.address = s.ip_address("--address", "127.0.0.1");
  if (auto const ids = s.find_all("--device-id"); !ids.empty()) {
    o.device.ids.clear();
    for (apps::given const& g : ids) {
      if (g.value.empty() || g.value.size() > toggle::device_id_bytes_max)
        g.refuse("1 to 128 bytes");
      o.device.ids.push_back(g.value);
    }
  }
  auto const mode = s.find("--mode");
  auto const script = s.find("--script");
  if (mode && script) throw usage_error{"--mode and --script contradict each other; leave one out"};
  if (auto const& g = mode ? mode : script) {
    auto parsed = toggle::parse_device_script(g->value);
    bool const good = parsed && (script || parsed->size() == 1);
    if (!good) g->refuse((script ? "modes with commas between them, of " : "one of ") + modes());
    o.device.script = std::move(*parsed);
  }
  o.device.delay = s.time("--delay", 0s, 1h, 1s);
  if (auto const g = s.find("--ledger")) {
    if (g->value.empty()) g->refuse("the path of a file");
    o.device.ledger = g->value;
  }
  if (auto const g = s.find("--seed")) o.seed = read_seed(*g);
  return o;
}

/// What happens, as JSON Lines on standard output: by a queue and a thread, so that the device waits
/// for no reader and no disk.
class journal {
 public:
  explicit journal(cleat::clock const& time)
      : clock_(time),
        with_(time),
        to_(std::make_shared<cleat::log_writer>(cleat::line_writer{1, "standard output"}, with_)) {
    cleat::signals_blocked const for_the_thread;
    thread_ = std::thread{[to = to_] {
      while (auto const line = to->lines.pop()) {
        to->write(*line);
        to->lines.done();
      }
    }};
  }
  journal(journal const&) = delete;
  journal& operator=(journal const&) = delete;
  ~journal() {
    bool const through = to_->lines.close(cleat::log_queue::in(with_.flush_within));
    to_->lines.interrupt();
    if (through) {
      thread_.join();
    } else {
      thread_.detach();  // stuck in a disk
    }
  }

  void listening(std::uint16_t port) {
    write("{\"event\":\"listening\",\"port\":" + std::to_string(port) + "}\n");
  }

  void note(toggle::device_event const& e) {
    json::object o;
    o.emplace("event", to_string(e.what));
    o.emplace("ts", cleat::to_rfc3339(clock_.wall()));
    o.emplace("connection", e.connection);
    o.emplace("mode", to_string(e.mode));
    if (e.request != nullptr) add(o, *e.request);
    std::string line;
    cleat::append_json_line(line, o);
    write(std::move(line));
  }

 private:
  void write(std::string line) {
    to_->lines.push(std::make_shared<std::string const>(std::move(line)), clock_.wall());
  }
  static void add(json::object& o, toggle::message const& m) {
    o.emplace("opcode", m.op == toggle::opcode::toggle ? "toggle" : "status");
    if (m.device_id) o.emplace("device_id", m.device_id->view());
    o.emplace("msg_id", m.msg_id.view());
    if (m.op_id) o.emplace("op_id", m.op_id->view());
    if (m.state) o.emplace("state", *m.state);
  }

  cleat::clock const& clock_;
  cleat::log_sink_options with_;
  std::shared_ptr<cleat::log_writer> to_;
  std::thread thread_;
};

int run(options o, apps::signals& ear) {
  asio::io_context context{1};
  auto const executor = context.get_executor();
  if (o.seed) cleat::entropy::of(executor).seed(*o.seed);
  journal out{cleat::clock::of(executor)};
  o.device.heard = [&out](toggle::device_event const& e) { out.note(e); };
  auto const opened = toggle::device::open(executor, o.address, o.port, std::move(o.device));
  if (!opened) {
    cleat::failure const& why = opened.error();
    std::string sentence{why.detail()};
    if (why.code().failed() && sentence.find(why.code().message()) == std::string::npos) {
      sentence += ": " + why.code().message();
    }
    apps::complain("simulator", "cannot run: " + sentence);
    return apps::exit_environment;
  }
  toggle::device& device = **opened;

  // From here on it is told to stop by a signal, and that is how it ends.
  auto const heard = [&](int) { asio::post(context, [&device] { device.stop(); }); };
  auto const attached = ear.attach(heard);
  ear.settle(apps::exit_done);
  out.listening(device.port());

  std::exception_ptr thrown;
  auto const ended = [&](std::exception_ptr error, cleat::failure const&) { thrown = error; };
  cleat::spawn(executor, device.run(), ended);
  context.run();
  if (thrown) std::rethrow_exception(thrown);
  return apps::exit_done;
}

}  // namespace

int main(int argc, char** argv) {
  return apps::run_program("simulator", [&](apps::signals& ear) {
    auto read = read_options(argc, argv);
    if (auto const* const code = std::get_if<int>(&read)) return *code;
    return run(std::move(*std::get_if<options>(&read)), ear);
  });
}

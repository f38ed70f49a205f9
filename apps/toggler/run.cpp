#include "run.hpp"

#include "dry_run.hpp"
#include "report.hpp"

#include <cleat/base/host_text.hpp>
#include <cleat/base/scope.hpp>
#include <cleat/base/spawn.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/observe/log.hpp>
#include <cleat/observe/log_sink.hpp>
#include <cleat/observe/metrics.hpp>
#include <cleat/observe/metrics_endpoint.hpp>
#include <cleat/runtime/per_call.hpp>
#include <cleat/transport/tcp.hpp>
#include <common/settings.hpp>
#include <toggle/device.hpp>
#include <toggle/protocol.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/json/object.hpp>

#include <csignal>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

namespace toggler {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using cleat::log_level;
using cleat::task;
using namespace std::chrono_literals;
using reply = cleat::result<toggle::response>;

/// What of this machine stops the program before anything was sent.
class cannot_begin {
 public:
  explicit cannot_begin(std::string why) : sentence(std::move(why)) {}
  std::string sentence;
};

/// The metrics and where they are shown; neither, if they are not wanted.
class shown_metrics {
 public:
  shown_metrics(options const& o, cleat::log_sink& log) {
    metrics_.add_peer(o.device_id);
    metrics_.add_log(log);
    if (!o.metrics) {
      miss("there are no metrics", o);
      return;
    }
    auto opened = cleat::metrics_endpoint::open(o.metrics_address, o.metrics_port, metrics_);
    if (opened) {
      endpoint_.emplace(std::move(*opened));
      bool const news = o.metrics_port == 0 || o.metrics_linger > 0s;
      log.write(
          news ? log_level::info : log_level::debug, "the metrics are at " + url(),
          {{"event", "metrics"}, {"address", endpoint_->address()}, {"port", endpoint_->port()}});
      if (o.metrics_port == 0) apps::complain("toggler", "the metrics are at " + url());
      return;
    }
    cleat::failure const& why = opened.error();
    std::string const sentence{"no metrics: " + std::string{why.detail()}};
    if (o.metrics_asked_for) throw cannot_begin{sentence};
    log.write(log_level::warning, sentence,
              {{"event", "metrics"}, {"reason", to_string(why.why())}});
    miss(sentence, o);
  }

  [[nodiscard]] cleat::metrics& counters() noexcept { return metrics_; }
  [[nodiscard]] bool shown() const noexcept { return endpoint_.has_value(); }
  [[nodiscard]] std::string url() const { return "http://" + endpoint_->address() + "/metrics"; }

 private:
  /// A linger that was asked for and cannot be had.
  static void miss(std::string const& why, options const& o) {
    if (o.metrics_linger == 0s) return;
    apps::complain("toggler", why + ", so that nothing lingers for --metrics-linger");
  }

  cleat::metrics metrics_;
  std::optional<cleat::metrics_endpoint> endpoint_;
};

/// The work, from the first attempt to the end of the linger.
class toggling {
 public:
  toggling(options const& o, asio::io_context& context, cleat::log_sink& sink,
           shown_metrics& metrics, apps::signals& ear)
      : options_(o),
        context_(context),
        sink_(sink),
        metrics_(metrics),
        ear_(ear),
        log_(sink, log_level::info) {}

  int run() {
    auto const heard = [this](int signal) {
      asio::post(context_, [this, signal] { hear(signal); });
    };
    auto const attached = ear_.attach(heard, !options_.log_file.empty());
    std::exception_ptr thrown;
    auto const ended = [&](std::exception_ptr error) { thrown = error; };
    if (options_.simulate) open_device();
    cleat::spawn(context_.get_executor(), work(),
                 asio::bind_cancellation_slot(stop_.slot(), ended));
    context_.run();
    if (thrown) std::rethrow_exception(thrown);
    return report_->code();
  }

 private:
  void hear(int signal) {
    if (signal == SIGHUP && !options_.log_file.empty()) return reopen_log();
    signal_ = signal;
    stop_.emit(asio::cancellation_type::terminal);
  }

  void open_device() {
    toggle::device_options with;
    with.ids = {options_.device_id};
    with.script = {*options_.simulate};
    auto opened = toggle::device::open(context_.get_executor(), "127.0.0.1", 0, std::move(with));
    if (!opened) {
      throw cannot_begin{"no simulated device: " + opened.error().message()};
    }
    device_ = std::move(*opened);
  }

  task<> work() {
    cleat::environment& env = co_await cleat::this_chain::environment;
    cleat::scope beside{env};
    if (device_) beside.spawn(serve());
    auto const began = cleat::clock::of(context_.get_executor()).now();
    reply const r = co_await call();
    auto const elapsed = cleat::clock::of(context_.get_executor()).now() - began;
    if (device_) device_->stop();
    if (r) remark(*r);
    bool const lingers = metrics_.shown() && options_.metrics_linger > 0s && signal_ == 0;
    report_.emplace(options_, r, counter_.made(), elapsed, signal_);
    ear_.settle(report_->code());
    static_cast<void>(sink_.flush());  // the last line is the report, where both are one terminal
    print(*report_);
    if (lingers) co_await linger();
    auto const guard = co_await cleat::this_chain::shield;
    co_await beside.join();
  }

  task<reply> call() {
    std::string const host = device_ ? "127.0.0.1" : options_.host;
    std::uint16_t const port = device_ ? device_->port() : options_.port;
    toggle::protocol const speaks{
        toggle::protocol_options{options_.op_id, cleat::f00d_options{options_.reply}}};
    auto lamp = cleat::observe(metrics_.counters(), log_, counter_) |
                cleat::retry(options_.attempts_max).wait(between_attempts) |
                cleat::per_call<toggle::protocol>(cleat::tcp{host, port}, speaks)
                    .connect_within(options_.connect_timeout)
                    .answer_within(options_.io_timeout);

    cleat::call c{context_.get_executor()};
    c.peer = options_.device_id;
    c.repeatable = true;  // "be on" twice is as good as once
    c.tighten(c.now() + options_.deadline);
    auto request = options_.ask_only ? toggle::request::status(options_.device_id)
                                     : toggle::request::turn(options_.device_id, options_.state);
    auto r = co_await lamp(std::move(request), c);
    co_return r;
  }

  task<> serve() { static_cast<void>(co_await device_->run()); }

  task<> linger() {
    auto& clock = cleat::clock::of(context_.get_executor());
    static_cast<void>(co_await cleat::sleep_until(clock.now() + options_.metrics_linger));
  }

  /// What the packets' records do not say.
  void remark(toggle::response const& r) {
    if (names_another(options_, r)) {
      sink_.write(log_level::warning,
                  "the answer to " + options_.device_id + " names another device: '" +
                      std::string{r.device_id.view()} + "'",
                  {{"event", "other_device"},
                   {"device_id", options_.device_id},
                   {"answered_device_id", r.device_id.view()}});
    }
    if (!r.state) return;
    bool const strange = !options_.ask_only && *r.state != options_.state;
    if (!options_.ask_only && !strange) return;
    std::string const how = *r.state ? "on" : "off";
    sink_.write(strange ? log_level::warning : log_level::info,
                options_.device_id + (strange ? " agreed, but says that it is " : " is ") + how,
                {{"event", "state"}, {"device_id", options_.device_id}, {"state", *r.state}});
  }

  void reopen_log() {
    auto const done = sink_.reopen();
    if (!done) {
      sink_.write(log_level::warning,
                  "the log stays where it was: " + std::string{done.error().detail()});
    }
  }

  options const& options_;
  asio::io_context& context_;
  cleat::log_sink& sink_;
  shown_metrics& metrics_;
  apps::signals& ear_;
  cleat::log log_;
  attempt_counter counter_;
  asio::cancellation_signal stop_;
  int signal_ = 0;
  std::unique_ptr<toggle::device> device_;
  std::optional<report> report_;
};

/// Everything that logs; its code once the log is written.
int run_logged(options const& o, asio::io_context& context, apps::signals& ear) {
  cleat::log_sink_options with{cleat::clock::of(context.get_executor())};
  with.level = o.dry_run ? std::min(o.level, log_level::info) : o.level;
  with.format = o.format;
  with.file = o.log_file;
  with.boost_log = false;
  // Its record is all that was asked for: as long as that takes.
  if (o.dry_run) with.flush_within = 24h;
  auto sink = cleat::log_sink::open(with);
  if (!sink) {
    throw cannot_begin{"cannot open the " + std::string{sink.error().detail()}};
  }
  if (o.dry_run) return dry_run(o, context, **sink);
  shown_metrics metrics{o, **sink};
  toggling work{o, context, **sink, metrics, ear};
  return work.run();
}

}  // namespace

int run(options const& o, apps::signals& ear) {
  asio::io_context context{1};
  try {
    int const code = run_logged(o, context, ear);
    // A lookup cannot be stopped. Its thread must not see what `exit` takes down.
    bool const may_look_up = !o.simulate && !cleat::host_text{o.host}.address;
    if (may_look_up && code != done) apps::end(code);
    return code;
  } catch (cannot_begin const& why) {
    apps::complain("toggler", why.sentence);
    return environment;
  }
}

}  // namespace toggler

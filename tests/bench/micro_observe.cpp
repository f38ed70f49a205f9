// Observers: what an event costs whoever tells of it.
#include "measured.hpp"

#include <cleat/base/bytes.hpp>
#include <cleat/base/clock.hpp>
#include <cleat/base/events.hpp>
#include <cleat/observe/log.hpp>
#include <cleat/observe/log_sink.hpp>
#include <cleat/observe/metrics.hpp>
#include <cleat/observe/observe.hpp>

#include <boost/asio/io_context.hpp>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <string_view>

namespace {

using cleat::event_table;
using namespace std::chrono_literals;

constexpr std::string_view id = "8de74d08753f195d";
constexpr std::string_view frame =
    "\xF0\x0D\x01\0\0\0\x5B"
    R"({"opcode":"toggle","device_id":"DEVICE123","msg_id":"8de74d08753f195d","state":true})";

/// A call and what is told of it.
class told {
 public:
  boost::asio::io_context context{1};
  cleat::call call = micro::new_call(context);
  cleat::bytes_view bytes = cleat::as_bytes(frame);
  cleat::frame_sent sent{&call, id, bytes, nullptr, 20us};
  cleat::frame_received received{&call, id, bytes, cleat::verdict::answer, {}, nullptr, 300us};
};

void metrics_frame_sent(benchmark::State& state) {
  told t;
  cleat::metrics metrics;
  micro::measure(state, [&] { metrics.on(t.sent); });
}

void metrics_frame_received(benchmark::State& state) {
  told t;
  cleat::metrics metrics;
  micro::measure(state, [&] { metrics.on(t.received); });
}

void log_frame_sent(benchmark::State& state, cleat::log_level level, bool boost_log) {
  told t;
  cleat::log_sink_options options{cleat::clock::of(t.context.get_executor())};
  options.level = level;
  options.fd = -1;
  options.file = "/dev/null";
  options.boost_log = boost_log;
  auto const sink = cleat::log_sink::open(std::move(options));
  if (!sink) std::abort();
  cleat::log log{**sink};
  micro::measure(state, [&] {
    benchmark::DoNotOptimize(t.sent);
    log.on(t.sent);
  });
}

/// There is a table, but nobody in it wants this event.
void unwanted(benchmark::State& state) {
  told t;
  cleat::metrics metrics;
  cleat::tee const events{metrics};
  event_table const* table = &events;
  micro::measure(state, [&] {
    benchmark::DoNotOptimize(table);
    cleat::notify(table, cleat::attempt_started{t.call});
  });
}

void no_table(benchmark::State& state) {
  told t;
  event_table const* table = nullptr;
  micro::measure(state, [&] {
    benchmark::DoNotOptimize(table);
    cleat::notify(table, cleat::attempt_started{t.call});
  });
}

/// The loop itself.
void nothing(benchmark::State& state) {
  micro::measure(state, [] { benchmark::ClobberMemory(); });
}

}  // namespace

BENCHMARK(nothing)->Name("nothing");
BENCHMARK(metrics_frame_sent)->Name("observe/metrics_frame_sent");
BENCHMARK(metrics_frame_received)->Name("observe/metrics_frame_received");
BENCHMARK_CAPTURE(log_frame_sent, off, cleat::log_level::info, false)
    ->Name("observe/log_level_off");
BENCHMARK_CAPTURE(log_frame_sent, on, cleat::log_level::debug, false)->Name("observe/log_level_on");
BENCHMARK_CAPTURE(log_frame_sent, host, cleat::log_level::debug, true)
    ->Name("observe/log_in_boost_log");
BENCHMARK(unwanted)->Name("observe/unwanted_event");
BENCHMARK(no_table)->Name("observe/no_table");

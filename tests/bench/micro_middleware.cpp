// Middleware: each over a service that answers at once. What it costs more than `service` alone is
// the layer's price.
#include "measured.hpp"

#include <cleat/base/clock.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/observe/log.hpp>
#include <cleat/observe/log_sink.hpp>
#include <cleat/observe/metrics.hpp>
#include <toggle/protocol.hpp>

#include <boost/asio/io_context.hpp>

#include <cstdlib>
#include <memory>

namespace {

using cleat::result;
using cleat::task;
using micro::measured;
using namespace std::chrono_literals;

class service {
 public:
  using request = toggle::request;
  using response = toggle::response;

  task<result<response>> operator()(request q, cleat::call) const {
    response r;
    r.device_id.assign(q.device_id());
    r.state = q.state();
    co_return r;
  }
};

/// A log that writes nothing of what happens here.
class quiet {
 public:
  explicit quiet(boost::asio::io_context& context)
      : sink(open(cleat::clock::of(context.get_executor()))), log(*sink) {}

  std::unique_ptr<cleat::log_sink> sink;
  cleat::log log;

 private:
  static std::unique_ptr<cleat::log_sink> open(cleat::clock const& time) {
    cleat::log_sink_options options{time};
    options.level = cleat::log_level::error;
    auto opened = cleat::log_sink::open(std::move(options));
    if (!opened) std::abort();
    return *std::move(opened);
  }
};

template <class Service>
task<> call_again_and_again(benchmark::State& state, Service& s, cleat::call c) {
  auto const q = toggle::request::turn(micro::device_id, true);
  measured loop{state};
  while (loop.again()) {
    auto answer = co_await s(q, c);
    benchmark::DoNotOptimize(answer);
  }
}

template <class Service>
void measure_calls(benchmark::State& state, boost::asio::io_context& context, Service s) {
  micro::run(context, call_again_and_again(state, s, micro::new_call(context)));
}

void bare(benchmark::State& state) {
  boost::asio::io_context context{1};
  measure_calls(state, context, service{});
}

void with_deadline(benchmark::State& state) {
  boost::asio::io_context context{1};
  measure_calls(state, context, cleat::deadline(5s) | service{});
}

cleat::retry retry() {
  return cleat::retry(3).per_attempt(1500ms).budget(cleat::retry_budget::settings{});
}

void with_retry(benchmark::State& state) {
  boost::asio::io_context context{1};
  measure_calls(state, context, retry() | service{});
}

void with_metrics(benchmark::State& state) {
  boost::asio::io_context context{1};
  cleat::metrics metrics;
  measure_calls(state, context, cleat::observe(metrics) | service{});
}

void with_quiet_log(benchmark::State& state) {
  boost::asio::io_context context{1};
  quiet q{context};
  measure_calls(state, context, cleat::observe(q.log) | service{});
}

void with_all(benchmark::State& state) {
  boost::asio::io_context context{1};
  cleat::metrics metrics;
  quiet q{context};
  measure_calls(state, context,
                cleat::observe(metrics, q.log) | cleat::deadline(5s) | retry() | service{});
}

}  // namespace

BENCHMARK(bare)->Name("middleware/service");
BENCHMARK(with_deadline)->Name("middleware/deadline");
BENCHMARK(with_retry)->Name("middleware/retry");
BENCHMARK(with_metrics)->Name("middleware/observe_metrics");
BENCHMARK(with_quiet_log)->Name("middleware/observe_quiet_log");
BENCHMARK(with_all)->Name("middleware/all");

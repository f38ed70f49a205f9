// Base: calls through coroutines, the memory of their frames, alarms, and making a `call`.
#include "measured.hpp"

#include <cleat/base/clock.hpp>
#include <cleat/base/frame_memory.hpp>
#include <cleat/base/result.hpp>
#include <cleat/base/use_task.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>

namespace {

using cleat::result;
using cleat::task;
using micro::measured;
using namespace std::chrono_literals;

task<result<int>> through(std::int64_t layers) {
  if (layers == 1) co_return 1;
  auto r = co_await through(layers - 1);
  co_return r;
}

task<> call_through(benchmark::State& state) {
  measured loop{state};
  while (loop.again()) {
    auto r = co_await through(state.range(0));
    benchmark::DoNotOptimize(r);
  }
}

void layers(benchmark::State& state) {
  boost::asio::io_context context{1};
  micro::run(context, call_through(state));
}

task<> post_again_and_again(benchmark::State& state) {
  auto const executor = co_await cleat::this_chain::executor;
  measured loop{state};
  while (loop.again()) co_await boost::asio::post(executor, cleat::use_task);
}

void posts(benchmark::State& state) {
  boost::asio::io_context context{1};
  micro::run(context, post_again_and_again(state));
}

void frame(benchmark::State& state) {
  auto const bytes = static_cast<std::size_t>(state.range(0));
  micro::measure(state, [&] {
    void* memory = cleat::detail::frame_memory::allocate(bytes);
    benchmark::DoNotOptimize(memory);
    cleat::detail::frame_memory::deallocate(memory, bytes);
  });
}

/// Never rings here.
class bell final : private cleat::alarm {
 public:
  explicit bell(cleat::clock& on) noexcept : clock_(on) {}
  ~bell() { unset(); }

  void set(cleat::time_point due) { clock_.set(*this, due); }
  bool unset() noexcept { return clock_.unset(*this); }

 private:
  void ring() noexcept override {}
  cleat::clock& clock_;
};

/// Beside others that are set to earlier times.
void alarms(benchmark::State& state) {
  boost::asio::io_context context{1};
  cleat::clock& clock = cleat::clock::of(context.get_executor());
  auto const due = clock.now() + 2h;
  std::deque<bell> others;
  for (std::int64_t n = 0; n < state.range(0); ++n) {
    others.emplace_back(clock);
    others.back().set(clock.now() + 1h);
  }
  bell one{clock};
  micro::measure(state, [&] {
    one.set(due);
    benchmark::DoNotOptimize(one.unset());
  });
}

/// With no others the system's timer is set and cancelled each time, which ends in the executor's
/// queue: a `task/post` is part of it.
task<> set_and_unset(benchmark::State& state) {
  auto const executor = co_await cleat::this_chain::executor;
  cleat::clock& clock = cleat::clock::of(executor);
  auto const due = clock.now() + 2h;
  bell one{clock};
  measured loop{state};
  while (loop.again()) {
    one.set(due);
    benchmark::DoNotOptimize(one.unset());
    co_await boost::asio::post(executor, cleat::use_task);
  }
}

void only_alarm(benchmark::State& state) {
  boost::asio::io_context context{1};
  micro::run(context, set_and_unset(state));
}

void now(benchmark::State& state) {
  boost::asio::io_context context{1};
  cleat::clock& clock = cleat::clock::of(context.get_executor());
  micro::measure(state, [&] { benchmark::DoNotOptimize(clock.now()); });
}

task<> make_calls(benchmark::State& state) {
  cleat::environment& env = co_await cleat::this_chain::environment;
  measured loop{state};
  while (loop.again()) {
    cleat::call c{env};
    benchmark::DoNotOptimize(c);
  }
}

void new_call(benchmark::State& state) {
  boost::asio::io_context context{1};
  micro::run(context, make_calls(state));
}

}  // namespace

BENCHMARK(layers)->Name("task/layers")->Arg(1)->Arg(3)->Arg(6);
BENCHMARK(posts)->Name("task/post");
BENCHMARK(frame)->Name("task/frame_memory/bytes")->Arg(256)->Arg(4096);
BENCHMARK(alarms)->Name("clock/set_unset/others")->Arg(1)->Arg(1000);
BENCHMARK(only_alarm)->Name("clock/set_unset_and_post/others/0");
BENCHMARK(now)->Name("clock/now");
BENCHMARK(new_call)->Name("call/new");

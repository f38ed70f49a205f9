// The code of docs/how-to/asio.md: a service in a program that is built on Asio.
#include <cleat/base/clock.hpp>
#include <cleat/base/scope.hpp>
#include <cleat/base/spawn.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/service/any_service.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <future>
#include <iostream>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using namespace std::chrono_literals;
using cleat::result;
using cleat::task;

namespace {

using service = cleat::any_service<std::string, std::string>;

/// Stands for a pipeline down to a real device: says done after a while.
task<result<std::string>> answer(std::string q, cleat::call c) {
  auto const waited = co_await cleat::sleep_until(c.now() + 20ms);
  if (!waited) co_return waited.error();
  co_return q + ": done";
}

service make_lamp() {
  auto device = [](std::string q, cleat::call c) -> task<result<std::string>> {
    return answer(std::move(q), c);
  };
  return cleat::deadline(5s) | device;
}

int checked = 0;
void check(bool good, char const* what) {
  ++checked;
  if (good) return;
  std::cerr << "wrong: " << what << '\n';
  std::exit(1);
}

// [task]
task<bool> switch_on(service& lamp) {
  cleat::environment& env = co_await cleat::this_chain::environment;
  asio::steady_timer timer{env.executor(), 1ms};
  auto const waited = co_await timer.async_wait(cleat::use_task);  // any operation of Asio
  if (!waited) co_return false;
  cleat::call const c{env};
  auto const r = co_await lamp("on", c);
  co_return r.has_value();
}
// [task]

// [awaitable]
asio::awaitable<std::string> ask_in_an_awaitable(service& lamp) {
  auto const executor = co_await asio::this_coro::executor;
  cleat::call c{executor};
  c.tighten(c.now() + 2s);
  auto asked = cleat::ask(lamp, "on", c);  // a task, which has not begun yet
  result<std::string> const r = co_await std::move(asked)(asio::use_awaitable);
  co_return r ? *r : r.error().message();
}
// [awaitable]

void awaitable() {
  asio::io_context context{1};
  service lamp = make_lamp();
  std::string said;
  asio::co_spawn(context, ask_in_an_awaitable(lamp),
                 [&](std::exception_ptr, std::string s) { said = std::move(s); });
  context.run();
  check(said == "on: done", "an awaitable asks");
}

void future() {
  service lamp = make_lamp();
  // [future]
  asio::io_context context{1};
  auto const executor = context.get_executor();
  auto answer =
      cleat::spawn(executor, cleat::ask(lamp, "on", cleat::call{executor}), asio::use_future);
  std::thread loop{[&] { context.run(); }};
  result<std::string> const r = answer.get();  // on any thread but the loop's
  loop.join();
  // [future]
  check(r && *r == "on: done", "a future of an answer");
}

void loops() {
  // [loops]
  auto const work = [] {
    asio::io_context context{1};  // of this thread alone, and so is all that is made on it
    service lamp = make_lamp();
    auto done = cleat::spawn(context.get_executor(), switch_on(lamp), asio::use_future);
    context.run();
    return done.get();
  };
  std::vector<std::future<bool>> threads;
  for (int i = 0; i < 4; ++i) threads.push_back(std::async(std::launch::async, work));
  // [loops]
  for (auto& t : threads) check(t.get(), "a loop for each thread");
}

void strands() {
  service lamp = make_lamp();
  // [strand]
  asio::io_context context;
  auto const strand = asio::make_strand(context);  // for the service and for all its callers
  auto first = cleat::spawn(strand, switch_on(lamp), asio::use_future);
  auto second = switch_on(lamp)(asio::bind_executor(strand, asio::use_future));
  std::thread one{[&] { context.run(); }};
  std::thread two{[&] { context.run(); }};
  // [strand]
  one.join();
  two.join();
  check(first.get() && second.get(), "a strand on two threads");
}

void cancellation() {
  asio::io_context context{1};
  service lamp = make_lamp();
  std::optional<result<std::string>> outcome;
  // [cancel]
  auto const executor = context.get_executor();
  asio::cancellation_signal stop;
  auto const ended = [&](std::exception_ptr, result<std::string> r) { outcome = std::move(r); };
  cleat::spawn(executor, cleat::ask(lamp, "on", cleat::call{executor}),
               asio::bind_cancellation_slot(stop.slot(), ended));
  // On the executor, and from no other thread:
  asio::post(executor, [&] { stop.emit(asio::cancellation_type::terminal); });
  // [cancel]
  context.run();
  check(outcome && !*outcome && outcome->error().why() == cleat::kind::cancelled, "cancellation");
}

}  // namespace

int main() {
  awaitable();
  future();
  loops();
  strands();
  cancellation();
  std::cout << checked << " right\n";
}

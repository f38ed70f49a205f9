// The middleware of docs/tutorial/middleware.md, as a program that shows it.
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/middleware.hpp>
#include <cleat/runtime/block_on.hpp>

#include <iostream>
#include <string>

using namespace std::chrono_literals;
using cleat::call;
using cleat::response_of;
using cleat::result;
using cleat::task;

// [slow_log]
struct slow_log : cleat::stage {
  template <class Request, class Next>
  task<result<response_of<Next>>> operator()(Request q, call c, Next& next) {
    auto const began = c.now();
    auto r = co_await next(std::move(q), c);
    if (c.now() - began > 100ms) std::clog << "slow: " << c.peer << '\n';
    co_return r;
  }
};
// [slow_log]

// [service]
auto const sleepy = [](std::string q, call c) -> task<result<std::string>> {
  auto const slept = co_await cleat::sleep_until(c.now() + 150ms);
  if (!slept) co_return slept.error();
  co_return "slept over " + q;
};
// [service]

task<int> show() {
  // [compose]
  auto service = slow_log{} | cleat::deadline(1s) | sleepy;

  call c{co_await cleat::this_chain::executor};
  c.peer = "the cat";
  auto const r = co_await service("it", c);  // prints "slow: the cat"
  // [compose]
  if (!r) co_return 1;
  std::cout << *r << '\n';
  co_return 0;
}

int main() { return cleat::block_on(show()); }

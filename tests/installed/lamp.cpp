// A device in software that is switched on through a pipeline: the toggled devices' protocol, installed.
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/runtime/block_on.hpp>
#include <cleat/runtime/per_call.hpp>
#include <cleat/transport/tcp.hpp>
#include <toggle/device.hpp>
#include <toggle/protocol.hpp>

#include <chrono>
#include <iostream>

namespace {

using namespace std::chrono_literals;

cleat::task<> live(toggle::device& device) { static_cast<void>(co_await device.run()); }

cleat::task<int> switch_on() {
  cleat::environment& env = co_await cleat::this_chain::environment;
  auto const device = toggle::device::open(env.executor(), "127.0.0.1", 0, {});
  if (!device) co_return 4;
  cleat::scope beside{env};
  beside.spawn(live(**device));
  auto lamp = cleat::deadline(30s) | cleat::retry(2) |
              cleat::per_call<toggle::protocol>(cleat::tcp{"127.0.0.1", (*device)->port()});
  auto const reply = co_await lamp(toggle::request::turn("DEVICE123", true));
  if (reply)
    std::cout << reply->device_id << (reply->state.value_or(false) ? " is on\n" : " is off\n");
  (*device)->stop();
  co_await beside.join();
  co_return reply ? 0 : 1;
}

}  // namespace

int main() { return cleat::block_on(switch_on()); }

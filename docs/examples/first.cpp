// The example of the README, as a program: `first HOST PORT`. Switches DEVICE123 on.
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/runtime/block_on.hpp>
#include <cleat/runtime/per_call.hpp>
#include <cleat/transport/tcp.hpp>
#include <toggle/protocol.hpp>

#include <iostream>
#include <string>

using namespace std::chrono_literals;

cleat::task<int> switch_on(std::string host, std::uint16_t port) {
  // [first]
  auto lamp = cleat::deadline(5s)
            | cleat::retry(2).per_attempt(1500ms)
            | cleat::per_call<toggle::protocol>(cleat::tcp{host, port});

  auto const reply = co_await lamp(toggle::request::turn("DEVICE123", true));
  if (!reply) {
    std::cerr << reply.error() << '\n';  // "timed out after 2 attempts; the peer may have acted"
    co_return 1;
  }
  std::cout << reply->device_id << (reply->state.value_or(false) ? " is on\n" : " is off\n");
  // [first]
  co_return 0;
}

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: first HOST PORT\n";
    return 2;
  }
  return cleat::block_on(switch_on(argv[1], static_cast<std::uint16_t>(std::stoi(argv[2]))));
}

#include "asio.hpp"

int main(int argc, char** argv) {
  return peers::run(argc, argv, "bench-asio", peers::asio_server, peers::asio_client);
}

#include "limit.hpp"

int main(int argc, char** argv) {
  return peers::run(argc, argv, "bench-limit", peers::limit_server, peers::limit_client);
}

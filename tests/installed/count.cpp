// A program of somebody who has installed cleat-observe as well.
#include <cleat/observe/metrics.hpp>

#include <iostream>

int main() {
  cleat::metrics counted;
  counted.add_peer("lamp");
  std::cout << counted.exposition();
}

// Says which C++ it was compiled as: what the user chose.
#include <cleat/base/result.hpp>

#include <iostream>

int main() {
  std::cout << "C++ " << __cplusplus << (__cplusplus > 202002L ? ", newer than C++20\n" : "\n");
}

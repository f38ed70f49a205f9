// Runs a fuzzer over files: the corpus as a regression test, with any compiler.
#include "fuzz.hpp"

#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <vector>

namespace {

namespace fs = std::filesystem;

/// The files that are named, and those in the folders that are named, by name.
std::vector<fs::path> inputs(int argc, char** argv) {
  std::vector<fs::path> found;
  for (int i = 1; i < argc; ++i) {
    if (!fs::is_directory(argv[i])) {
      found.emplace_back(argv[i]);
      continue;
    }
    for (auto const& entry : fs::directory_iterator{argv[i]}) {
      if (entry.is_regular_file()) found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

int main(int argc, char** argv) {
  auto const files = inputs(argc, argv);
  for (fs::path const& file : files) {
    std::cout << file.filename().string() << std::endl;  // the last one said is the one that failed
    std::ifstream in{file, std::ios::binary};
    std::vector<char> const bytes{std::istreambuf_iterator<char>{in}, {}};
    // A copy that ends where the input ends, for the address sanitizer.
    std::vector<std::uint8_t> const data(bytes.begin(), bytes.end());
    if (!in || LLVMFuzzerTestOneInput(data.data(), data.size()) != 0) return 1;
  }
  std::cout << "replayed " << files.size() << " inputs\n";
  if (files.empty()) std::cerr << "replay: no input; name files or folders.\n";
  return files.empty() ? 1 : 0;
}

#include "options.hpp"
#include "run.hpp"

#include <common/program.hpp>

#include <variant>

int main(int argc, char** argv) {
  return apps::run_program("toggler", [&](apps::signals& ear) {
    auto const read = toggler::read_options(argc, argv);
    if (auto const* const code = std::get_if<int>(&read)) return *code;
    return toggler::run(*std::get_if<toggler::options>(&read), ear);
  });
}

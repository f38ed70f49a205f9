#include "options.hpp"
#include "run.hpp"

#include <common/settings.hpp>
#include <common/signals.hpp>

#include <exception>
#include <variant>

int main(int argc, char** argv) {
  apps::signals::hold();
  apps::fill_standard_descriptors();
  try {
    auto const read = toggler::read_options(argc, argv);
    if (auto const* const code = std::get_if<int>(&read)) return *code;
    return toggler::run(*std::get_if<toggler::options>(&read));
  } catch (apps::usage_error const& e) {
    apps::complain("toggler", e.what());
    return toggler::usage;
  } catch (std::exception const& e) {  // no descriptors, no threads, no memory
    apps::complain("toggler", std::string{"this machine cannot run it now: "} + e.what());
    return toggler::environment;
  }
}

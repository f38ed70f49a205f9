#include <common/program.hpp>

#include <common/settings.hpp>

#include <exception>

namespace apps {
namespace {

int cannot_run(std::string const& name, std::exception const& e) {
  complain(name, std::string{"this machine cannot run it now: "} + e.what());
  return exit_environment;
}

int code_of(std::string const& name, std::function<int(signals&)> const& body, signals& ear) {
  try {
    return body(ear);
  } catch (usage_error const& e) {
    complain(name, e.what());
    return exit_usage;
  } catch (std::exception const& e) {
    return cannot_run(name, e);
  }
}

}  // namespace

int run_program(std::string const& name, std::function<int(signals&)> const& body) {
  fill_standard_descriptors();
  try {
    signals ear{name};
    int const code = code_of(name, body, ear);
    if (code > 128) end(code);
    return code;
  } catch (std::exception const& e) {  // nobody could hear the signals
    return cannot_run(name, e);
  }
}

}  // namespace apps

#include "report.hpp"

#include <cleat/base/utf8.hpp>
#include <common/duration.hpp>
#include <common/signals.hpp>

#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace toggler {
namespace {

using cleat::certainty;
using cleat::failure;
using cleat::kind;

std::string_view word(bool on) noexcept { return on ? "on" : "off"; }

int code_of(options const& o, failure const& why) noexcept {
  if (why.sure() == certainty::maybe_executed) return o.ask_only ? failed : unknown;
  if (why.why() == kind::resources || why.why() == kind::overloaded) {
    return why.sure() == certainty::not_sent ? environment : failed;
  }
  return why.why() == kind::invalid ? usage : failed;
}

std::string good_news(options const& o, toggle::response const& r) {
  if (!r.framed) {
    return o.device_id + " answered '" + std::string{r.outcome.view().substr(0, 40)} +
           "' without a frame";
  }
  if (!r.state) {
    return o.device_id + (o.ask_only ? " answered, but does not say how it is"
                                     : " is " + std::string{word(o.state)});
  }
  std::string out = o.device_id;
  if (!o.ask_only && *r.state != o.state) out += " agreed, but says that it";
  return out + " is " + std::string{word(*r.state)};
}

/// What is certain, as the end of a sentence.
std::string_view known(options const& o, certainty sure) noexcept {
  switch (sure) {
    case certainty::not_sent:
      return "; nothing was sent";
    case certainty::rejected:
      return "; the device did not act";
    case certainty::maybe_executed:
      return o.ask_only ? "" : "; the device may have acted";
  }
  return "";
}

/// The failure's own sentence, without what we say ourselves.
std::string reason(failure const& why) {
  std::string const all = why.with_attempts(1).message();
  return all.substr(0, all.rfind("; "));
}

bool wants_colour() noexcept {
  char const* const no = std::getenv("NO_COLOR");    // NOLINT(concurrency-mt-unsafe)
  char const* const terminal = std::getenv("TERM");  // NOLINT(concurrency-mt-unsafe)
  if (no != nullptr && *no != '\0') return false;
  if (terminal != nullptr && std::string_view{terminal} == "dumb") return false;
  return ::isatty(STDERR_FILENO) == 1;
}

}  // namespace

bool names_another(options const& o, toggle::response const& r) noexcept {
  return r.framed && !r.device_id.empty() && r.device_id.view() != o.device_id;
}

report::report(options const& o, cleat::result<toggle::response> const& reply,
               std::uint32_t attempts, std::chrono::nanoseconds elapsed, int signal)
    : code_(done) {
  std::string const took = apps::to_words(elapsed) + ", " + std::to_string(attempts) +
                           (attempts == 1 ? " attempt" : " attempts");
  std::string sentence;
  if (reply) {
    sentence = good_news(o, *reply) + ": done in " + took;
    if (names_another(o, *reply)) {
      sentence +=
          "; but the answer names another device, '" + std::string{reply->device_id.view()} + "'";
    }
  } else if (signal != 0) {
    code_ = 128 + signal;
    sentence = o.device_id + ": ended by " + std::string{apps::name_of(signal)} + " after " + took;
  } else {
    code_ = code_of(o, reply.error());
    sentence = o.device_id + ": failed after " + took + ": " + reason(reply.error());
  }
  if (!reply) sentence += known(o, reply.error().sure());
  sentence_ = cleat::printable(sentence);
}

void print(report const& r) {
  std::string line = r.sentence();
  if (wants_colour()) line = (r.code() == done ? "\x1b[32m" : "\x1b[31m") + line + "\x1b[0m";
  line += '\n';
  (void)!::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace toggler

#include <cleat/observe/log_writer.hpp>

#include <cleat/observe/log_line.hpp>

#include <boost/json/object.hpp>

#include <unistd.h>
#include <algorithm>
#include <cstdlib>
#include <source_location>
#include <utility>

namespace cleat {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

/// How soon the thread that waits for a pipe sees what else it has to do.
constexpr auto glance = 50ms;
constexpr std::chrono::milliseconds pause_min = 100ms;
constexpr std::chrono::milliseconds pause_max = 1s;

bool wants_colour(line_writer const& to) noexcept {
  char const* const no = std::getenv("NO_COLOR");     // NOLINT(concurrency-mt-unsafe)
  char const* const terminal = std::getenv("TERM");   // NOLINT(concurrency-mt-unsafe)
  bool const refused = no != nullptr && *no != '\0';  // no-color.org
  return !refused && to.is_terminal() &&
         (terminal == nullptr || std::string_view{terminal} != "dumb");
}

std::string to_line(log_queue::gap const& lost, log_format format, bool coloured) {
  json::object record;
  record.emplace("ts", to_rfc3339(lost.last));
  record.emplace("level", to_string(log_level::warning));
  record.emplace("module", "log_writer");
  record.emplace("line", std::source_location::current().line());
  record.emplace("message", std::to_string(lost.records) +
                                (lost.records == 1 ? " record was lost" : " records were lost"));
  record.emplace("event", "records_lost");
  record.emplace("lost", lost.records);
  record.emplace("since", to_rfc3339(lost.first));
  std::string line;
  if (format == log_format::json) {
    append_json_line(line, record);
  } else {
    append_text_line(line, record, coloured);
  }
  return line;
}

}  // namespace

log_writer::log_writer(line_writer to, log_sink_options const& with)
    : lines(with.queue_records_max, with.queue_bytes_max, with.flush_within),
      to_(std::move(to)),
      name_(to_.name()),
      format_(with.format),
      coloured_(with.format == log_format::text && wants_colour(to_)),
      pause_(pause_min) {}

log_writer::~log_writer() {
  if (reopened_ >= 0) ::close(reopened_);
}

void log_writer::write(log_queue::item const& taken) {
  bool const goes_on =
      taken.lost.records == 0 || write_line(to_line(taken.lost, format_, coloured_));
  if (goes_on && taken.text) write_line(*taken.text);
}

result<void> log_writer::reopen() {
  auto const fd = to_.open_again();
  if (!fd) return fd.error();
  if (*fd < 0) return {};
  {
    std::lock_guard const lock{mutex_};
    if (int const unused = std::exchange(reopened_, *fd); unused >= 0) ::close(unused);
  }
  lines.revive();
  return {};
}

bool log_writer::write_line(std::string_view line) {
  for (;;) {
    take_over_reopened();
    auto const written = to_.written();
    auto const how = to_.try_write(line);
    error_ = to_.error();
    if (how == line_writer::progress::written) {
      pause_ = pause_min;
      return true;
    }
    bool const may_go_on = how == line_writer::progress::waiting ||
                           (how == line_writer::progress::failed && !lines.is_closed());
    if (!may_go_on || lines.is_over()) {
      lines.give_up();
      return false;
    }
    if (how == line_writer::progress::waiting) {
      if (to_.written() != written) lines.moved();
      to_.wait(glance);
    } else {
      lines.failed();
      lines.rest(pause_);
      pause_ = std::min(2 * pause_, pause_max);
    }
  }
}

void log_writer::take_over_reopened() {
  std::lock_guard const lock{mutex_};
  if (reopened_ >= 0) to_.use(std::exchange(reopened_, -1));
}

}  // namespace cleat

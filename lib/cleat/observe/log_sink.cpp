#include <cleat/observe/log_sink.hpp>

#include <cleat/observe/line_writer.hpp>
#include <cleat/observe/log_line.hpp>

#include <boost/json/object.hpp>
#include <boost/log/attributes/attribute_name.hpp>
#include <boost/log/attributes/attribute_set.hpp>
#include <boost/log/attributes/attribute_value_impl.hpp>
#include <boost/log/attributes/attribute_value_set.hpp>
#include <boost/log/attributes/constant.hpp>
#include <boost/log/attributes/value_extraction.hpp>
#include <boost/log/core/core.hpp>
#include <boost/log/core/record.hpp>
#include <boost/log/core/record_view.hpp>
#include <boost/log/sinks/basic_sink_backend.hpp>
#include <boost/log/sinks/sync_frontend.hpp>
#include <boost/log/utility/exception_handler.hpp>
#include <boost/smart_ptr/make_shared_object.hpp>
#include <boost/smart_ptr/shared_ptr.hpp>

#include <csignal>
#include <cstdlib>
#include <utility>
#include <vector>

namespace cleat {
namespace {

namespace json = boost::json;
namespace logging = boost::log;

std::string_view stem(std::string_view path) noexcept {
  path = path.substr(path.find_last_of('/') + 1);
  return path.substr(0, path.find_last_of('.'));
}

/// What a record carries through Boost.Log: one attribute with everything, by value.
struct entry {
  log_sink const* to;
  json::object fields;
};

logging::attribute_name const& entry_name() {
  static logging::attribute_name const name{"CleatRecord"};
  return name;
}

/// One place to write to. The front-end holds its lock around all of it.
class line_backend final
    : public logging::sinks::basic_sink_backend<logging::sinks::synchronized_feeding> {
 public:
  line_backend(line_writer to, log_format format, bool colour)
      : to_(std::move(to)), format_(format), colour_(colour) {}

  void consume(logging::record_view const& record) {
    auto const& fields = record[entry_name()].extract<entry>()->fields;
    line_.clear();
    if (format_ == log_format::json) {
      append_json_line(line_, fields);
    } else {
      append_text_line(line_, fields, colour_);
    }
    to_.write(line_);
  }

  [[nodiscard]] result<void> reopen() { return to_.reopen(); }

 private:
  line_writer to_;
  log_format format_;
  bool colour_;
  std::string line_;
};

using front_end = logging::sinks::synchronous_sink<line_backend>;

bool wants_colour(line_writer const& to) noexcept {
  char const* const no = std::getenv("NO_COLOR");     // NOLINT(concurrency-mt-unsafe)
  char const* const terminal = std::getenv("TERM");   // NOLINT(concurrency-mt-unsafe)
  bool const refused = no != nullptr && *no != '\0';  // no-color.org
  return !refused && to.is_terminal() &&
         (terminal == nullptr || std::string_view{terminal} != "dumb");
}

/// A closed pipe and a file at its limit are errors of `write`, and no end of the program.
void survive_broken_outputs() noexcept {
  for (int const signal : {SIGPIPE, SIGXFSZ}) {
    struct sigaction now{};
    if (::sigaction(signal, nullptr, &now) != 0 || now.sa_handler != SIG_DFL) continue;
    now.sa_handler = SIG_IGN;
    ::sigaction(signal, &now, nullptr);
  }
}

}  // namespace

struct log_sink::impl {
  explicit impl(log_sink_options o) : options(std::move(o)) {}

  void add(line_writer to, log_sink const* owner, bool colour) {
    auto const backend = boost::make_shared<line_backend>(std::move(to), options.format, colour);
    auto const sink = boost::make_shared<front_end>(backend);
    sink->set_filter([owner](logging::attribute_value_set const& values) {
      auto const found = values[entry_name()].extract<entry>();
      return found && found->to == owner;
    });
    sink->set_exception_handler(logging::make_exception_suppressor());
    sinks.push_back(sink);
    logging::core::get()->add_sink(sink);
  }

  log_sink_options options;
  std::vector<boost::shared_ptr<front_end>> sinks;
};

log_sink::log_sink(std::unique_ptr<impl> i, log_level l) noexcept
    : impl_(std::move(i)), level_(l) {}

log_sink::~log_sink() {
  for (auto const& sink : impl_->sinks) logging::core::get()->remove_sink(sink);
}

result<std::unique_ptr<log_sink>> log_sink::open(log_sink_options options) {
  log_level const level = options.level;
  std::unique_ptr<log_sink> made{new log_sink{std::make_unique<impl>(std::move(options)), level}};
  log_sink_options const& with = made->impl_->options;
  if (!with.file.empty()) {
    auto file = line_writer::open(with.file);
    if (!file) return file.error();
    made->impl_->add(std::move(*file), made.get(), false);
  }
  if (with.fd >= 0) {
    line_writer out{with.fd,
                    with.fd == 1 ? "standard output" : "descriptor " + std::to_string(with.fd)};
    bool const colour = wants_colour(out);
    made->impl_->add(std::move(out), made.get(), colour);
  }
  survive_broken_outputs();
  return made;
}

void log_sink::write(log_level level, std::string_view message,
                     std::source_location where) noexcept {
  if (enabled(level)) write_at(impl_->options.clock->wall(), level, message, {}, where);
}

void log_sink::write(log_level level, std::string_view message, json::object fields,
                     std::source_location where) noexcept {
  if (enabled(level)) {
    write_at(impl_->options.clock->wall(), level, message, std::move(fields), where);
  }
}

void log_sink::write_at(std::chrono::system_clock::time_point at, log_level level,
                        std::string_view message, json::object fields,
                        std::source_location where) noexcept {
  if (!enabled(level)) return;
  try {
    json::object record;
    record.reserve(fields.size() + 5);
    record.emplace("ts", to_rfc3339(at));
    record.emplace("level", to_string(level));
    record.emplace("module", stem(where.file_name()));
    record.emplace("line", where.line());
    record.emplace("message", message);
    for (auto& field : fields) record.emplace(field.key(), std::move(field.value()));

    auto const core = logging::core::get();
    logging::attribute_set attributes;
    attributes[entry_name()] = logging::attributes::constant<entry>(entry{this, std::move(record)});
    if (auto opened = core->open_record(attributes)) core->push_record(std::move(opened));
  } catch (...) {  // NOLINT(bugprone-empty-catch): out of memory; a record less is better than a
                   // program less
  }
}

result<void> log_sink::reopen() {
  result<void> all;
  for (auto const& sink : impl_->sinks) {
    auto const done = sink->locked_backend()->reopen();
    if (!done) all = done;
  }
  return all;
}

}  // namespace cleat

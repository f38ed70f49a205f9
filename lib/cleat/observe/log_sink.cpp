#include <cleat/observe/log_sink.hpp>

#include <cleat/base/utf8.hpp>
#include <cleat/observe/line_writer.hpp>
#include <cleat/observe/log_line.hpp>
#include <cleat/observe/log_writer.hpp>
#include <cleat/observe/signals_blocked.hpp>

#include <boost/json/object.hpp>
#include <boost/log/attributes/attribute_name.hpp>
#include <boost/log/attributes/attribute_set.hpp>
#include <boost/log/attributes/attribute_value_set.hpp>
#include <boost/log/attributes/constant.hpp>
#include <boost/log/attributes/value_extraction.hpp>
#include <boost/log/core/core.hpp>
#include <boost/log/core/record.hpp>
#include <boost/log/sinks/async_frontend.hpp>
#include <boost/log/sinks/basic_sink_backend.hpp>
#include <boost/log/trivial.hpp>
#include <boost/log/utility/exception_handler.hpp>
#include <boost/smart_ptr/make_shared_object.hpp>
#include <boost/smart_ptr/shared_ptr.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace cleat {
namespace {

namespace json = boost::json;
namespace logging = boost::log;
namespace attributes = boost::log::attributes;
using namespace std::chrono_literals;

std::string_view stem(std::string_view path) noexcept {
  path = path.substr(path.find_last_of('/') + 1);
  return path.substr(0, path.find_last_of('.'));
}

/// Writes what `queueing` has taken out.
class line_backend final
    : public logging::sinks::basic_sink_backend<logging::sinks::synchronized_feeding> {
 public:
  line_backend(line_writer to, log_sink_options const& with) : writer(std::move(to), with) {}

  void consume(logging::record_view const& /*not kept*/) {
    if (taken) writer.write(*taken);
    taken.reset();
    writer.lines.done();
  }

  log_writer writer;
  std::optional<log_queue::item> taken;  ///< by the thread that writes
};

/// The queue as Boost.Log's `asynchronous_sink` wants it: bounded in bytes too, and counting. The
/// records themselves are not kept: a thread that is stuck must hold nothing of Boost.Log's.
class queueing {
 protected:
  queueing() = default;
  template <class Arguments>
  explicit queueing(Arguments const& /*none*/) {}

  void enqueue(logging::record_view const& record) { read_(record); }
  bool try_enqueue(logging::record_view const& record) {
    read_(record);
    return true;
  }
  bool try_dequeue_ready(logging::record_view& record) { return try_dequeue(record); }
  bool try_dequeue(logging::record_view& /*stays empty*/) {
    to_->taken = to_->writer.lines.try_pop();
    return to_->taken.has_value();
  }
  bool dequeue_ready(logging::record_view& /*stays empty*/) {
    to_->taken = to_->writer.lines.pop();
    return to_->taken.has_value();
  }
  void interrupt_dequeue() { to_->writer.lines.interrupt(); }

  boost::shared_ptr<line_backend> to_;
  std::function<void(logging::record_view const&)> read_;
};

class front_end final : public logging::sinks::asynchronous_sink<line_backend, queueing> {
 public:
  front_end(boost::shared_ptr<line_backend> const& to,
            std::function<void(logging::record_view const&)> read,
            std::chrono::milliseconds flush_within)
      : asynchronous_sink(to, false), flush_within_(flush_within) {
    to_ = to;
    read_ = std::move(read);
    set_exception_handler(logging::make_exception_suppressor());
  }

  // The stock ones make who logs wait while somebody flushes, and who flushes wait for ever.
  void consume(logging::record_view const& record) override { enqueue(record); }
  bool try_consume(logging::record_view const& record) override { return try_enqueue(record); }
  void flush() override { (void)to_->writer.lines.flush(log_queue::in(flush_within_)); }

  [[nodiscard]] log_writer& writer() const noexcept { return to_->writer; }

 private:
  std::chrono::milliseconds const flush_within_;
};

/// One place that lines are written to: a queue, and a thread that writes what is in it. Who pushes
/// never waits for the place.
///
/// The thread waits for a pipe or a terminal by `poll` and so can give up. Where it is stuck all the
/// same, in a disk, `close` leaves it alone; all that it uses lives until it comes back, if ever.
class log_place {
 public:
  /// `read` is given each record that comes by way of `sink`, on the thread that writes it. Throws
  /// `std::system_error` if there is no thread to be had.
  log_place(line_writer to, log_sink_options const& with,
            std::function<void(logging::record_view const&)> read)
      : front_(boost::make_shared<front_end>(boost::make_shared<line_backend>(std::move(to), with),
                                             std::move(read), with.flush_within)) {
    signals_blocked const for_the_thread;
    thread_ = std::thread{[front = front_] { front->run(); }};
  }
  log_place(log_place&&) noexcept = default;
  log_place& operator=(log_place&&) = delete;
  ~log_place() {
    if (thread_.joinable()) close(log_queue::in(0ms));
  }

  [[nodiscard]] log_writer& writer() const noexcept { return front_->writer(); }
  /// To be added to Boost.Log's core, and removed from it before `close`.
  [[nodiscard]] boost::shared_ptr<front_end> const& sink() const noexcept { return front_; }

  /// Waits until everything is written. Fails as `resources`: at that time, or at once if it is known
  /// that the place cannot be written to.
  [[nodiscard]] result<void> flush(log_queue::deadline until) const {
    if (writer().lines.flush(until)) return {};
    boost::system::error_code const why{writer().error(), boost::system::system_category()};
    return failure{why, kind::resources, certainty::not_sent}.with_detail(
        "cannot write the log to " + writer().name() + ": " +
        (why.failed() ? why.message() : "it takes nothing more"));
  }
  /// Waits for everything to be written, but not longer than that.
  void close(log_queue::deadline until) noexcept {
    bool const through = writer().lines.close(until);
    front_->stop();  // which does not wait: the thread is ours
    if (through) {
      thread_.join();
    } else {
      thread_.detach();
    }
  }

 private:
  boost::shared_ptr<front_end> front_;
  std::thread thread_;
};

/// A record under way to the places, on the stack of who writes it.
class delivery {
 public:
  delivery(std::vector<log_place> const& to, json::object const& record, log_format format,
           log_queue::time at)
      : to_(to), record_(record), format_(format), at_(at) {}

  /// Once to each place.
  void reach(std::size_t index) {
    std::uint64_t const bit = std::uint64_t{1} << index;
    if ((reached_ & bit) != 0) return;
    reached_ |= bit;
    log_writer& to = to_[index].writer();
    to.lines.push(line(to.is_coloured()), at_);
  }
  void reach_all() {
    for (std::size_t i = 0; i < to_.size(); ++i) reach(i);
  }

 private:
  log_queue::line const& line(bool coloured) {
    log_queue::line& made = lines_.at(coloured ? 1 : 0);
    if (!made) {
      std::string text;
      if (format_ == log_format::json) {
        append_json_line(text, record_);
      } else {
        append_text_line(text, record_, coloured);
      }
      made = std::make_shared<std::string const>(std::move(text));
    }
    return made;
  }

  std::vector<log_place> const& to_;
  json::object const& record_;
  log_format const format_;
  log_queue::time const at_;
  std::array<log_queue::line, 2> lines_;
  std::uint64_t reached_ = 0;
};

/// By what our own places know a record in Boost.Log.
class entry {
 public:
  log_sink const* of;
  delivery* under_way;  ///< as long as the core passes it on
};

/// The attributes of a record.
class names {
 public:
  logging::attribute_name entry{"CleatEntry"};
  logging::attribute_name channel{"Channel"};
  logging::attribute_name severity{"Severity"};
  logging::attribute_name message{"Message"};
};
names const& name() {
  static names const all;
  return all;
}

logging::attribute const& channel() {
  static attributes::constant<std::string> const name{std::string{log_channel}};
  return name;
}

logging::attribute const& severity(log_level l) {
  using of = attributes::constant<logging::trivial::severity_level>;
  static std::array<of, 4> const all{of{logging::trivial::debug}, of{logging::trivial::info},
                                     of{logging::trivial::warning}, of{logging::trivial::error}};
  return all.at(static_cast<std::size_t>(l));
}

}  // namespace

struct log_sink::impl {
  explicit impl(log_sink_options o) : options(std::move(o)) {}

  void add(line_writer to) {
    std::size_t const index = places.size();
    places.emplace_back(std::move(to), options, [index](logging::record_view const& record) {
      record[name().entry].extract<entry>()->under_way->reach(index);
    });
  }

  /// Shows our places to Boost.Log's core.
  void join_core(log_sink const* of) {
    for (log_place const& place : places) {
      place.sink()->set_filter([of](logging::attribute_value_set const& values) {
        auto const found = values[name().entry].extract<entry>();
        return found && found->of == of;
      });
      core->add_sink(place.sink());
    }
  }

  log_sink_options options;
  boost::shared_ptr<logging::core> core =
      logging::core::get();  // may outlive the program's statics
  std::vector<log_place> places;
};

namespace {

/// To the sinks in Boost.Log's core, as far as its filter lets it. Ours are among them, but what the
/// program does with its core is no matter of theirs: see `reach_all`.
void pass_on(logging::core& core, log_sink const* of, log_level level, std::string_view message,
             delivery& under_way) {
  logging::attribute_set all;
  all[name().entry] = attributes::constant<entry>{entry{of, &under_way}};
  all[name().channel] = channel();
  all[name().severity] = severity(level);
  all[name().message] = attributes::constant<std::string>{printable(message)};
  if (auto opened = core.open_record(all)) core.push_record(std::move(opened));
}

}  // namespace

log_sink::log_sink(std::unique_ptr<impl> i, log_level l) noexcept
    : impl_(std::move(i)), level_(l) {}

log_sink::~log_sink() {
  if (impl_->options.boost_log) {
    for (log_place const& place : impl_->places) impl_->core->remove_sink(place.sink());
  }
  auto const until = log_queue::in(impl_->options.flush_within);
  for (log_place& place : impl_->places) place.close(until);
}

result<std::unique_ptr<log_sink>> log_sink::open(log_sink_options options) {
  log_level const level = options.level;
  std::unique_ptr<log_sink> made{new log_sink{std::make_unique<impl>(std::move(options)), level}};
  log_sink_options const& with = made->impl_->options;
  try {
    if (!with.file.empty()) {
      auto file = line_writer::open(with.file);
      if (!file) return file.error();
      made->impl_->add(std::move(*file));
    }
    if (with.fd >= 0) {
      made->impl_->add(line_writer{
          with.fd, with.fd == 1 ? "standard output" : "descriptor " + std::to_string(with.fd)});
    }
  } catch (std::system_error const& e) {
    return failure{e.code(), kind::resources, certainty::not_sent}.with_detail(
        "no thread for the log: " + e.code().message());
  }
  if (with.boost_log) made->impl_->join_core(made.get());
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

    delivery under_way{impl_->places, record, impl_->options.format, at};
    if (impl_->options.boost_log) pass_on(*impl_->core, this, level, message, under_way);
    under_way.reach_all();
  } catch (...) {  // NOLINT(bugprone-empty-catch): out of memory; a record less is better than a
                   // program less
  }
}

std::uint64_t log_sink::lost() const noexcept {
  std::uint64_t all = 0;
  for (log_place const& place : impl_->places) all += place.writer().lines.lost();
  return all;
}

result<void> log_sink::flush() {
  auto const until = log_queue::in(impl_->options.flush_within);
  result<void> all;
  for (log_place const& place : impl_->places) {
    auto const done = place.flush(until);
    if (!done) all = done;
  }
  return all;
}

result<void> log_sink::reopen() {
  result<void> all;
  for (log_place const& place : impl_->places) {
    auto const done = place.writer().reopen();
    if (!done) all = done;
  }
  return all;
}

}  // namespace cleat

#define BOOST_TEST_MODULE log_sink
#include "../support/sanitized.hpp"
#include "files.hpp"

#include <cleat/base/clock.hpp>
#include <cleat/observe/log_sink.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/log/attributes/attribute_value_set.hpp>
#include <boost/log/attributes/value_extraction.hpp>
#include <boost/log/core/core.hpp>
#include <boost/log/core/record_view.hpp>
#include <boost/log/sinks/basic_sink_backend.hpp>
#include <boost/log/sinks/sync_frontend.hpp>
#include <boost/log/trivial.hpp>
#include <boost/smart_ptr/make_shared_object.hpp>
#include <boost/test/unit_test.hpp>

#include <sys/stat.h>
#include <sys/wait.h>
#include <array>
#include <chrono>
#include <csignal>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace json = boost::json;
namespace logging = boost::log;
using cleat::kind;
using cleat::log_level;
using namespace std::chrono_literals;

namespace {

/// A pipe, and what is in it.
class a_pipe {
 public:
  a_pipe() { BOOST_REQUIRE(::pipe2(ends_.data(), O_CLOEXEC) == 0); }
  a_pipe(a_pipe const&) = delete;
  a_pipe& operator=(a_pipe const&) = delete;
  ~a_pipe() {
    close_writer();
    ::close(ends_[0]);
  }
  [[nodiscard]] int writer() const { return ends_[1]; }
  void close_writer() {
    if (ends_[1] >= 0) ::close(std::exchange(ends_[1], -1));
  }
  /// Everything, up to its end.
  [[nodiscard]] std::string read_all() const {
    std::string all;
    std::array<char, 4096> some{};
    for (ssize_t n = 0; (n = ::read(ends_[0], some.data(), some.size())) > 0;) {
      all.append(some.data(), static_cast<std::size_t>(n));
    }
    return all;
  }

 private:
  std::array<int, 2> ends_{-1, -1};
};

struct fixture {
  cleat::log_sink_options options() const {
    cleat::log_sink_options o{cleat::clock::of(context.get_executor())};
    o.fd = -1;
    o.flush_within = 1min;
    return o;
  }
  cleat::log_sink_options to_file() const {
    auto o = options();
    o.file = file.string();
    return o;
  }
  std::unique_ptr<cleat::log_sink> open(cleat::log_sink_options const& o) const {
    return cleat::log_sink::open(o).value();
  }

  mutable boost::asio::io_context context;
  temporary_directory directory;
  std::filesystem::path file = directory.path / "log";
};

json::object parsed(std::string const& line) { return json::parse(line).as_object(); }

/// A sink of a program that uses Boost.Log itself: keeps "Channel Severity Message" of what it gets.
class host_backend final
    : public logging::sinks::basic_sink_backend<logging::sinks::synchronized_feeding> {
 public:
  void consume(logging::record_view const& r) {
    auto const channel = r["Channel"].extract<std::string>();
    auto const severity = r["Severity"].extract<logging::trivial::severity_level>();
    auto const message = r["Message"].extract<std::string>();
    got.push_back((channel ? channel.get() + ' ' : "") +
                  (severity ? logging::trivial::to_string(severity.get()) : "none") + ' ' +
                  (message ? message.get() : ""));
  }
  std::vector<std::string> got;
};

class host {
 public:
  using front_end = logging::sinks::synchronous_sink<host_backend>;

  host() {
    sink->set_exception_handler(std::nullptr_t{});
    logging::core::get()->add_sink(sink);
  }
  host(host const&) = delete;
  host& operator=(host const&) = delete;
  ~host() {
    logging::core::get()->remove_all_sinks();
    logging::core::get()->reset_filter();
    logging::core::get()->set_logging_enabled(true);
  }
  [[nodiscard]] std::vector<std::string> got() const { return sink->locked_backend()->got; }

  boost::shared_ptr<front_end> sink = boost::make_shared<front_end>();
};

using strings = std::vector<std::string>;
constexpr auto each = boost::test_tools::per_element();

}  // namespace

// Places that are slow

BOOST_FIXTURE_TEST_CASE(a_pipe_that_nobody_reads_holds_up_nobody_and_what_is_lost_is_counted,
                        fixture) {
  a_pipe pipe;
  auto o = options();
  o.fd = pipe.writer();
  auto const to = open(o);
  constexpr int written = 100'000;
  for (int i = 0; i < written; ++i) to->write(log_level::info, "hello");
  BOOST_TEST(to->lost() > 0U);
  BOOST_TEST(to->lost() < std::uint64_t{written});

  std::string all;
  std::thread reader{[&] { all = pipe.read_all(); }};
  BOOST_TEST(to->flush().has_value());
  pipe.close_writer();
  reader.join();
  std::uint64_t got = 0;
  std::uint64_t missing = 0;
  std::istringstream in{all};
  for (std::string line; std::getline(in, line);) {
    auto const r = parsed(line);
    if (r.contains("lost")) {
      BOOST_TEST(r.at("event").as_string() == "records_lost");
      BOOST_TEST(r.at("level").as_string() == "WARNING");
      BOOST_TEST(r.at("message").as_string() ==
                 std::to_string(r.at("lost").as_int64()) + " records were lost");
      BOOST_TEST(r.at("since").as_string() <= r.at("ts").as_string());
      missing += static_cast<std::uint64_t>(r.at("lost").as_int64());
    } else {
      ++got;
    }
  }
  BOOST_TEST(missing == to->lost());
  BOOST_TEST(got + missing == std::uint64_t{written});
}

BOOST_FIXTURE_TEST_CASE(does_not_wait_longer_than_it_may_for_a_pipe_that_nobody_reads, fixture) {
  a_pipe pipe;
  auto o = options();
  o.fd = pipe.writer();
  o.flush_within = 50ms;
  auto to = open(o);
  for (int i = 0; i < 2000; ++i) to->write(log_level::info, "hello");
  auto const failed = to->flush();
  BOOST_REQUIRE(!failed);
  BOOST_TEST(failed.error().detail() == "cannot write the log to descriptor " +
                                            std::to_string(pipe.writer()) +
                                            ": it takes nothing more");
  to.reset();  // nor does this wait
  pipe.close_writer();
  BOOST_TEST(pipe.read_all().starts_with("{\"ts\""));
}

BOOST_FIXTURE_TEST_CASE(a_place_that_is_slow_does_not_hold_up_the_other, fixture) {
  a_pipe pipe;
  auto o = to_file();
  o.fd = pipe.writer();
  o.flush_within = 50ms;
  auto const to = open(o);
  for (int i = 0; i < 2000; ++i) to->write(log_level::info, "hello");
  BOOST_TEST(!to->flush());
  while (lines_of(file).size() < 2000) std::this_thread::yield();
  BOOST_TEST(to->lost() == 0U);
}

BOOST_FIXTURE_TEST_CASE(a_fifo_whose_reader_stops_goes_on_when_it_does, fixture) {
  BOOST_REQUIRE(::mkfifo(file.c_str(), 0600) == 0);
  int const reader = ::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  auto to = open(to_file());
  std::string const long_message(3000, 'x');
  for (int i = 0; i < 100; ++i) to->write(log_level::info, long_message);
  BOOST_REQUIRE(::fcntl(reader, F_SETFL, 0) == 0);
  std::string all;
  std::thread reads{[&] {
    std::array<char, 777> some{};
    for (ssize_t n = 0; (n = ::read(reader, some.data(), some.size())) > 0;) {
      all.append(some.data(), static_cast<std::size_t>(n));
    }
  }};
  to.reset();
  reads.join();
  ::close(reader);
  std::istringstream in{all};
  int lines = 0;
  for (std::string line; std::getline(in, line); ++lines) {
    BOOST_TEST(parsed(line).at("message").as_string().size() == 3000U);
  }
  BOOST_TEST(lines == 100);
}

BOOST_FIXTURE_TEST_CASE(keeps_the_time_at_which_a_record_happened, fixture) {
  auto to = open(to_file());
  to->write_at(std::chrono::system_clock::time_point{1h}, log_level::info, "then", {});
  to.reset();
  BOOST_TEST(parsed(lines_of(file).at(0)).at("ts").as_string() == "1970-01-01T01:00:00.000Z");
}

// Disks that are full

BOOST_FIXTURE_TEST_CASE(goes_on_when_a_disk_has_room_again_twice, fixture) {
  auto o = to_file();
  o.queue_records_max = 4;
  auto to = open(o);
  strings words;
  {
    stderr_caught const said;
    for (int times = 0; times < 2; ++times) {
      BOOST_TEST(to->flush().has_value());
      auto const room = std::filesystem::exists(file) ? std::filesystem::file_size(file) + 10 : 10;
      {
        file_size_limit const limit{static_cast<rlim_t>(room)};
        to->write(log_level::info, "first");
        BOOST_TEST(!to->flush());
        for (int i = 0; i < 7; ++i) to->write(log_level::info, "another");
        BOOST_TEST(!to->flush());
      }
      BOOST_TEST(to->flush().has_value());
    }
    words = said.lines();
  }
  to.reset();
  BOOST_TEST(words.size() == 2U);
  strings got;
  for (std::string const& line : lines_of(file)) {
    if (line.size() == 10) {
      got.emplace_back("torn");
    } else {
      got.emplace_back(parsed(line).at("message").as_string());
    }
  }
  strings once{"torn", "first", "another", "another", "another", "another", "3 records were lost"};
  strings twice = once;
  twice.insert(twice.end(), once.begin(), once.end());
  BOOST_TEST(got == twice, each);
}

BOOST_FIXTURE_TEST_CASE(a_file_opened_anew_gets_what_a_full_disk_did_not_take, fixture) {
  auto to = open(to_file());
  auto const moved = directory.path / "log.1";
  {
    stderr_caught const said;
    file_size_limit const limit{10};
    to->write(log_level::info, "one");
    BOOST_TEST(!to->flush());
  }
  std::filesystem::rename(file, moved);
  BOOST_TEST(to->reopen().has_value());
  to->write(log_level::info, "two");
  to.reset();
  BOOST_TEST(std::filesystem::file_size(moved) == 10U);
  auto const lines = lines_of(file);
  BOOST_REQUIRE(lines.size() == 2U);
  BOOST_TEST(parsed(lines[0]).at("message").as_string() == "one");
  BOOST_TEST(parsed(lines[1]).at("message").as_string() == "two");
}

BOOST_FIXTURE_TEST_CASE(does_not_wait_at_its_end_for_a_disk_that_is_full, fixture) {
  auto o = options();
  o.flush_within = 10h;
  o.fd = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  stderr_caught const said;
  open(o)->write(log_level::info, "lost");
  ::close(o.fd);
}

// Other programs

BOOST_FIXTURE_TEST_CASE(the_child_of_a_fork_neither_writes_nor_waits, fixture,
                        *boost::unit_test::enable_if<!cleat::test::is_under_thread_sanitizer>()) {
  auto o = to_file();
  o.flush_within = 10h;
  auto to = open(o);
  pid_t const child = ::fork();
  if (child == 0) {
    to->write(log_level::info, "lost");
    (void)to->flush();
    to.reset();
    ::_exit(0);
  }
  int how = -1;
  BOOST_REQUIRE(::waitpid(child, &how, 0) == child);
  BOOST_TEST(how == 0);
  to->write(log_level::info, "hello");
  to.reset();
  BOOST_TEST(lines_of(file).size() == 1U);
}

BOOST_FIXTURE_TEST_CASE(leaves_the_signals_of_the_program_as_they_are, fixture) {
  auto const to = open(to_file());
  for (int const signal : {SIGPIPE, SIGXFSZ}) {
    struct sigaction now{};
    BOOST_REQUIRE(::sigaction(signal, nullptr, &now) == 0);
    BOOST_TEST((now.sa_handler == SIG_DFL));
  }
}

BOOST_FIXTURE_TEST_CASE(a_sink_of_the_program_gets_records_with_a_channel_and_a_message, fixture) {
  host const h;
  auto const to = open(to_file());
  to->write(log_level::info, "hello");
  to->write(log_level::warning, "take care");
  BOOST_LOG_TRIVIAL(error) << "of its own";
  BOOST_TEST(
      h.got() == (strings{"cleat info hello", "cleat warning take care", "error of its own"}),
      each);
}

BOOST_FIXTURE_TEST_CASE(a_sink_of_the_program_can_filter_records_by_their_channel, fixture) {
  host const none;
  host const only;
  auto const is_ours = [](logging::attribute_value_set const& values) {
    auto const channel = values["Channel"].extract<std::string>();
    return channel && channel.get() == cleat::log_channel;
  };
  none.sink->set_filter([&](auto const& values) { return !is_ours(values); });
  only.sink->set_filter(is_ours);
  auto const to = open(to_file());
  to->write(log_level::info, "hello");
  BOOST_LOG_TRIVIAL(error) << "of its own";
  BOOST_TEST(none.got() == strings{"error of its own"}, each);
  BOOST_TEST(only.got() == strings{"cleat info hello"}, each);
}

BOOST_FIXTURE_TEST_CASE(what_the_program_does_to_its_core_takes_nothing_from_our_file, fixture) {
  host const h;
  auto const to = open(to_file());
  auto const core = logging::core::get();
  core->set_filter([](auto const& /*values*/) { return false; });
  to->write(log_level::info, "behind a filter");
  core->reset_filter();
  core->set_logging_enabled(false);
  to->write(log_level::info, "switched off");
  core->set_logging_enabled(true);
  core->remove_all_sinks();
  host const another;
  to->write(log_level::info, "without a sink of ours");
  BOOST_TEST(h.got().empty());
  BOOST_TEST(another.got() == strings{"cleat info without a sink of ours"}, each);
  BOOST_TEST(to->flush().has_value());
  strings got;
  for (auto const& line : lines_of(file)) {
    got.emplace_back(parsed(line).at("message").as_string());
  }
  BOOST_TEST(got == (strings{"behind a filter", "switched off", "without a sink of ours"}), each);
}

BOOST_FIXTURE_TEST_CASE(a_flush_of_the_core_waits_no_longer_than_ours, fixture) {
  host const h;
  a_pipe pipe;
  auto o = options();
  o.fd = pipe.writer();
  o.flush_within = 50ms;
  auto const to = open(o);
  for (int i = 0; i < 2000; ++i) to->write(log_level::info, "hello");
  logging::core::get()->flush();
  to->write(log_level::info, "and this neither");
  BOOST_TEST(h.got().size() == 2001U);
}

BOOST_FIXTURE_TEST_CASE(stays_out_of_boost_log_if_it_is_told_so, fixture) {
  host const h;
  auto o = to_file();
  o.boost_log = false;
  auto to = open(o);
  to->write(log_level::info, "hello");
  to.reset();
  BOOST_TEST(h.got().empty());
  BOOST_TEST(lines_of(file).size() == 1U);
}

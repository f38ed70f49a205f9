#define BOOST_TEST_MODULE log
#include "../support/terminal.hpp"
#include "events.hpp"
#include "files.hpp"

#include <cleat/observe/log.hpp>
#include <cleat/observe/log_line.hpp>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace json = boost::json;
using cleat::action;
using cleat::failure;
using cleat::kind;
using cleat::log_level;
using cleat::verdict;
using namespace std::chrono_literals;

namespace {

/// A log into a file.
struct fixture {
  explicit fixture(log_level packets = log_level::debug) : to(open()), log(*to, packets) {}

  std::unique_ptr<cleat::log_sink> open() const {
    cleat::log_sink_options o{made.of.clock()};
    o.fd = -1;
    o.file = file.string();
    o.level = log_level::debug;
    o.flush_within = 1min;
    return cleat::log_sink::open(o).value();
  }
  [[nodiscard]] std::vector<std::string> written() const {
    BOOST_TEST(to->flush().has_value());
    return lines_of(file);
  }
  /// The only line, as an object.
  [[nodiscard]] json::object only() const {
    auto const all = written();
    BOOST_REQUIRE(all.size() == 1U);
    BOOST_TEST_MESSAGE(all.front());
    return json::parse(all.front()).as_object();
  }

  temporary_directory directory;
  std::filesystem::path file = directory.path / "log";
  made_events made;
  std::unique_ptr<cleat::log_sink> to;
  cleat::log log;
};
struct packets_at_info : fixture {
  packets_at_info() : fixture(log_level::info) {}
};

std::string text_of(json::object const& o, std::string_view key) {
  auto const* const v = o.if_contains(key);
  return v != nullptr && v->is_string() ? std::string{v->get_string()}
                                        : "nothing at " + std::string{key};
}

std::unique_ptr<cleat::log_sink> sink_to(int fd, cleat::clock const& clock,
                                         cleat::log_format format = cleat::log_format::json) {
  cleat::log_sink_options o{clock};
  o.fd = fd;
  o.format = format;
  o.flush_within = 1min;
  return cleat::log_sink::open(o).value();
}

}  // namespace

BOOST_AUTO_TEST_CASE(reads_the_names_of_levels_in_any_case) {
  BOOST_TEST((cleat::parse_log_level("DEBUG").value() == log_level::debug));
  BOOST_TEST((cleat::parse_log_level("info").value() == log_level::info));
  BOOST_TEST((cleat::parse_log_level("Warning").value() == log_level::warning));
  BOOST_TEST((cleat::parse_log_level("ERROR").value() == log_level::error));
  for (auto const* no : {"", "INF", "INFOS", "warn", "1"}) BOOST_TEST(!cleat::parse_log_level(no));
  BOOST_TEST(cleat::parse_log_level("LOUD").error().detail() ==
             "'LOUD' is no log level; there are DEBUG, INFO, WARNING and ERROR");
}

BOOST_AUTO_TEST_CASE(writes_times_as_rfc_3339_says) {
  using std::chrono::system_clock;
  BOOST_TEST(cleat::to_rfc3339(system_clock::time_point{}) == "1970-01-01T00:00:00.000Z");
  BOOST_TEST(cleat::to_rfc3339(system_clock::time_point{1795364340s + 7ms + 999us}) ==
             "2026-11-22T16:19:00.007Z");
  BOOST_TEST(cleat::to_rfc3339(system_clock::time_point{-1ms}) == "1969-12-31T23:59:59.999Z");
}

BOOST_AUTO_TEST_CASE(escapes_what_would_steer_a_terminal_beyond_ascii_and_other_line_ends) {
  std::string line;
  // U+0085, U+009B, U+00A0 (which is none), U+2028, U+2029, U+2030 (which is none)
  cleat::append_json_line(line,
                          {{"a", "\xC2\x85\xC2\x9B\xC2\xA0\xE2\x80\xA8\xE2\x80\xA9\xE2\x80\xB0"}});
  BOOST_TEST(line == "{\"a\":\"\\u0085\\u009b\xC2\xA0\\u2028\\u2029\xE2\x80\xB0\"}\n");

  // U+061C, U+200F, U+202E, U+2066: what turns the text round
  json::object const round{{"a", "\xD8\x9C\xE2\x80\x8F\xE2\x80\xAE\xE2\x81\xA6"}};
  line.clear();
  cleat::append_json_line(line, round);
  BOOST_TEST(line == "{\"a\":\"\\u061c\\u200f\\u202e\\u2066\"}\n");
  line.clear();
  cleat::append_text_line(line, round, false);
  BOOST_TEST(line.ends_with("a=\"\\u061c\\u200f\\u202e\\u2066\"\n"), line);
}

BOOST_AUTO_TEST_CASE(escapes_each_control_character_of_ascii_wherever_it_stands) {
  for (int i = 0; i <= 0x20; ++i) {
    char const c = i < 0x20 ? static_cast<char>(i) : '\x7F';
    std::string const raw = std::string{"a"} + c + "b";
    char hex[8];
    std::snprintf(hex, sizeof hex, "\\u%04x", static_cast<unsigned>(c));
    std::string const escaped = "a" + (c == '\n' ? std::string{"\\n"} : std::string{hex}) + "b";
    BOOST_TEST_CONTEXT(escaped) {
      std::string line;
      cleat::append_json_line(line, {{raw, raw}, {"x", json::array{raw}}, {"y", {{raw, raw}}}});
      std::string const quoted = '"' + escaped + '"';
      BOOST_TEST(line == "{" + quoted + ":" + quoted + ",\"x\":[" + quoted + "],\"y\":{" + quoted +
                             ":" + quoted + "}}\n");
      line.clear();
      cleat::append_text_line(line,
                              {{"ts", raw},
                               {"level", "INFO"},
                               {"module", raw},
                               {"line", raw},
                               {"message", raw},
                               {raw, raw},
                               {"x", json::array{raw}},
                               {"y", {{raw, raw}}}},
                              false);
      BOOST_TEST(line == escaped + " INFO    " + escaped + ":" + quoted + "  " + escaped + " " +
                             escaped + "=" + quoted + " x=[" + quoted + "] y={" + quoted + ":" +
                             quoted + "}\n");
    }
  }
}

BOOST_FIXTURE_TEST_CASE(no_word_of_a_peer_puts_a_control_character_into_a_line, fixture) {
  std::string all;
  for (char c = 0; c < 0x20; ++c) all += c;
  all += '\x7F';
  auto const text_sink = [this](std::string const& name) {
    cleat::log_sink_options o{made.of.clock()};
    o.fd = -1;
    o.file = (directory.path / name).string();
    o.level = log_level::debug;
    o.format = cleat::log_format::text;
    o.flush_within = 1min;
    return cleat::log_sink::open(o).value();
  };
  auto const for_people = text_sink("text");
  cleat::log text_log{*for_people, log_level::debug};
  made.id = all;
  std::string const peer = "lamp" + all;
  made.of.peer = peer;
  failure const why = failure{kind::rejected}.with_detail(all);
  std::size_t records = 0;
  for (cleat::log* const to_this : {&log, &text_log}) {
    to_this->on(made.sent());
    to_this->on(made.received(verdict::answer, &why, all));
    to_this->on(made.received(verdict::unmatched));
    to_this->on(made.missing(why));
    records = 4;
  }
  to->write(log_level::info, all, {{"word", all}});
  for_people->write(log_level::info, all, {{"word", all}});
  BOOST_TEST(to->flush().has_value());
  BOOST_TEST(for_people->flush().has_value());
  for (std::filesystem::path const& path : {file, directory.path / "text"}) {
    std::ifstream in{path, std::ios::binary};
    std::string const bytes{std::istreambuf_iterator<char>{in}, {}};
    BOOST_TEST(bytes.find("lamp\\u0000\\u0001") != std::string::npos);
    std::size_t lines = 0;
    for (char const c : bytes) {
      lines += c == '\n' ? 1U : 0U;
      BOOST_TEST((c == '\n' || (static_cast<unsigned char>(c) >= 0x20 && c != '\x7F')));
    }
    BOOST_TEST(lines == records + 1);
  }
}

BOOST_AUTO_TEST_CASE(writes_numbers_as_people_do_and_only_valid_text) {
  std::string line;
  cleat::append_json_line(line, {{"a", 12.345},
                                 {"b", -3},
                                 {"c", std::numeric_limits<double>::infinity()},
                                 {"d", json::array{true, nullptr}},
                                 {"e", "x\xFFy\n\"\\\x01\xC3\xA9"},
                                 {"f", json::object{}}});
  BOOST_TEST(line ==
             "{\"a\":12.345,\"b\":-3,\"c\":null,\"d\":[true,null],"
             "\"e\":\"x\xEF\xBF\xBDy\\n\\\"\\\\\\u0001\xC3\xA9\",\"f\":{}}\n");
}

BOOST_FIXTURE_TEST_CASE(describes_a_packet_sent, packets_at_info) {
  made.of.attempt = 2;
  log.on(made.sent());
  json::object const o = only();
  BOOST_TEST(text_of(o, "level") == "INFO");
  BOOST_TEST(text_of(o, "module") == "log");
  BOOST_TEST(o.at("line").is_int64());
  BOOST_TEST(text_of(o, "message") == "sent 4 bytes to DEVICE123");
  BOOST_TEST(text_of(o, "event") == "tcp_packet");
  BOOST_TEST(text_of(o, "direction") == "send");
  BOOST_TEST(text_of(o, "msg_id") == "0123456789abcdef");
  BOOST_TEST(text_of(o, "device_id") == "DEVICE123");
  BOOST_TEST(text_of(o, "raw_packet_hex") == "f0 0d 7b 7d");
  BOOST_TEST(!o.contains("raw_packet_truncated"));
  BOOST_TEST(o.at("elapsed_ms").as_double() == 1.234);
  BOOST_TEST(text_of(o, "outcome") == "success");
  BOOST_TEST(text_of(o, "correlation_id") == made.of.correlation.to_text().view());
  BOOST_TEST(text_of(o, "op_id") == cleat::hex16(made.of.operation).view());
  BOOST_TEST(o.at("attempt").as_int64() == 2);
  std::string const ts = text_of(o, "ts");
  BOOST_TEST(ts.size() == 24U);
  BOOST_TEST(ts.ends_with('Z'));
  BOOST_TEST(o.begin()->key() == "ts");
}

BOOST_FIXTURE_TEST_CASE(describes_an_answer_and_a_refusal, fixture) {
  log.on(made.received(verdict::answer));
  failure const no = failure{kind::rejected, cleat::certainty::rejected}.with_detail("busy");
  log.on(made.received(verdict::answer, &no));
  auto const lines = written();
  BOOST_REQUIRE(lines.size() == 2U);
  auto const yes = json::parse(lines[0]).as_object();
  BOOST_TEST(text_of(yes, "level") == "DEBUG");
  BOOST_TEST(text_of(yes, "direction") == "recv");
  BOOST_TEST(text_of(yes, "outcome") == "success");
  BOOST_TEST(yes.at("elapsed_ms").as_int64() == 60);
  BOOST_TEST(!yes.contains("reply"));
  auto const refusal = json::parse(lines[1]).as_object();
  BOOST_TEST(text_of(refusal, "outcome") == "error");
  BOOST_TEST(text_of(refusal, "reason") == "rejected");
  BOOST_TEST(text_of(refusal, "failure") == no.message());
}

BOOST_FIXTURE_TEST_CASE(warns_of_answers_that_are_strange, packets_at_info) {
  log.on(made.received(verdict::answer, nullptr, "unframed"));
  log.on(made.received(verdict::unmatched));
  log.on(made.received(verdict::late));
  auto const lines = written();
  BOOST_REQUIRE(lines.size() == 3U);
  std::vector<std::pair<std::string, std::string>> const expected{
      {"unframed", "success"}, {"unmatched", "error"}, {"late", "error"}};
  for (std::size_t i = 0; i < lines.size(); ++i) {
    auto const o = json::parse(lines[i]).as_object();
    BOOST_TEST(text_of(o, "level") == "WARNING");
    BOOST_TEST(text_of(o, "event") == "tcp_packet");
    BOOST_TEST(text_of(o, "reply") == expected[i].first);
    BOOST_TEST(text_of(o, "outcome") == expected[i].second);
    BOOST_TEST(o.contains("attempt") == (i == 0));
  }
}

BOOST_FIXTURE_TEST_CASE(reports_an_answer_that_never_came_as_a_packet, fixture) {
  log.on(made.missing(failure{kind::timed_out}));
  json::object const o = only();
  BOOST_TEST(text_of(o, "level") == "WARNING");
  BOOST_TEST(text_of(o, "event") == "tcp_packet");
  BOOST_TEST(text_of(o, "direction") == "recv");
  BOOST_TEST(text_of(o, "outcome") == "timeout");
  BOOST_TEST(text_of(o, "raw_packet_hex").empty());
  BOOST_TEST(o.at("elapsed_ms").as_int64() == 1500);
}

BOOST_FIXTURE_TEST_CASE(does_not_warn_when_the_caller_gave_up, fixture) {
  log.on(made.missing(failure{kind::cancelled}));
  BOOST_TEST(text_of(only(), "level") == "DEBUG");
}

BOOST_FIXTURE_TEST_CASE(reports_unreadable_bytes_as_one_packet, fixture) {
  failure const why = failure{kind::malformed}.with_offset(2);
  log.on(cleat::decode_failed{&made.of, cleat::as_bytes("zz"), why, true, "1f", 12ms});
  log.on(made.missing(why));
  auto const lines = written();
  BOOST_REQUIRE(lines.size() == 2U);
  auto const packet = json::parse(lines[0]).as_object();
  BOOST_TEST(text_of(packet, "level") == "WARNING");
  BOOST_TEST(text_of(packet, "event") == "tcp_packet");
  BOOST_TEST(text_of(packet, "outcome") == "decode_error");
  BOOST_TEST(text_of(packet, "raw_packet_hex") == "7a 7a");
  BOOST_TEST(text_of(packet, "msg_id") == "1f");
  BOOST_TEST(packet.at("elapsed_ms").as_int64() == 12);
  BOOST_TEST(packet.at("offset").as_int64() == 2);
  BOOST_TEST(packet.at("lost").as_bool());
  auto const missing = json::parse(lines[1]).as_object();
  BOOST_TEST(text_of(missing, "event") == "answer_missing");
  BOOST_TEST(text_of(missing, "outcome") == "decode_error");
}

BOOST_FIXTURE_TEST_CASE(cuts_long_packets_and_says_so, fixture) {
  std::string const bytes(4097, '\xAB');
  made.frame = cleat::as_bytes(bytes);
  log.on(made.sent());
  json::object const o = only();
  BOOST_TEST(text_of(o, "raw_packet_hex").size() == 4096 * 3 - 1U);
  BOOST_TEST(o.at("raw_packet_truncated").as_bool());
  BOOST_TEST(text_of(o, "message") == "sent 4097 bytes to DEVICE123");
}

BOOST_FIXTURE_TEST_CASE(says_why_and_when_another_attempt_follows, fixture) {
  failure const why{kind::refused, cleat::certainty::not_sent};
  log.on(made.retry(why));
  json::object const o = only();
  BOOST_TEST(text_of(o, "level") == "WARNING");
  BOOST_TEST(text_of(o, "event") == "retry");
  BOOST_TEST(text_of(o, "reason") == "refused");
  BOOST_TEST(text_of(o, "failure") == why.message());
  BOOST_TEST(o.at("wait_ms").as_int64() == 250);
  BOOST_TEST(o.at("attempt").as_int64() == 1);
}

BOOST_FIXTURE_TEST_CASE(says_what_a_layer_did_and_why, fixture) {
  failure const why = failure{kind::overloaded, cleat::certainty::not_sent};
  log.on(cleat::layer_acted{made.of, action::limit_dropped, &why, 1500us});
  json::object const o = only();
  BOOST_TEST(text_of(o, "level") == "WARNING");
  BOOST_TEST(text_of(o, "event") == "layer");
  BOOST_TEST(text_of(o, "action") == "limit_dropped");
  BOOST_TEST(text_of(o, "device_id") == "DEVICE123");
  BOOST_TEST(o.at("elapsed_ms").as_double() == 1.5);
  BOOST_TEST(text_of(o, "reason") == "overloaded");
  BOOST_TEST(text_of(o, "failure") == why.message());
  BOOST_TEST(o.at("attempt").as_int64() == 1);
  BOOST_TEST(text_of(o, "correlation_id") == made.of.correlation.to_text().view());
  BOOST_TEST(text_of(o, "message") ==
             "the call to DEVICE123 gave its place in the queue up to a younger one (" +
                 why.message() + ")");
}

BOOST_FIXTURE_TEST_CASE(leaves_out_what_a_layer_did_not_say, fixture) {
  log.on(cleat::layer_acted{made.of, action::breaker_closed});
  json::object const o = only();
  BOOST_TEST(text_of(o, "level") == "INFO");
  BOOST_TEST(text_of(o, "message") == "the breaker of DEVICE123 has closed again");
  for (auto const* no : {"elapsed_ms", "reason", "failure"}) BOOST_TEST(!o.contains(no));
}

BOOST_FIXTURE_TEST_CASE(has_a_sentence_of_its_own_for_each_action, fixture) {
  std::string const trouble =
      "limit_rejected limit_dropped rate_rejected breaker_rejected breaker_opened "
      "hedge_budget_empty idempotent_rejected fallback_used shadow_differed shadow_failed "
      "timeout_expired ";
  std::string warned;
  std::set<std::string> sentences;
  for (std::size_t i = 0; i < cleat::action_count; ++i) {
    log.on(cleat::layer_acted{made.of, static_cast<action>(i)});
  }
  for (std::string const& line : written()) {
    auto const o = json::parse(line).as_object();
    if (text_of(o, "level") == "WARNING") warned += text_of(o, "action") + " ";
    auto const says = text_of(o, "message");
    BOOST_TEST(says.find("DEVICE123") != std::string::npos);
    BOOST_TEST(!says.starts_with("a layer acted"));
    sentences.insert(says);
  }
  BOOST_TEST(sentences.size() == cleat::action_count);
  BOOST_TEST(warned == trouble);
}

BOOST_FIXTURE_TEST_CASE(counts_the_attempts_of_a_call_that_succeeds_in_the_end, fixture) {
  failure const why{kind::refused};
  log.on(made.retry(why));
  log.on(cleat::call_ended{made.of, nullptr, 12345us});
  log.on(cleat::call_ended{made.of, nullptr, 1ms});
  auto const lines = written();
  BOOST_REQUIRE(lines.size() == 3U);
  auto const o = json::parse(lines[1]).as_object();
  BOOST_TEST(text_of(o, "level") == "INFO");
  BOOST_TEST(text_of(o, "event") == "call");
  BOOST_TEST(o.at("attempts").as_int64() == 2);
  BOOST_TEST(o.at("elapsed_ms").as_double() == 12.345);
  BOOST_TEST(text_of(o, "outcome") == "success");
  BOOST_TEST(!o.contains("certainty"));
  BOOST_TEST(json::parse(lines[2]).at("attempts").as_int64() == 1);
}

BOOST_FIXTURE_TEST_CASE(describes_a_call_that_failed, fixture) {
  failure const why = failure{kind::timed_out}.with_attempts(3);
  log.on(cleat::call_ended{made.of, &why, 5s});
  json::object const o = only();
  BOOST_TEST(text_of(o, "level") == "ERROR");
  BOOST_TEST(o.at("attempts").as_int64() == 3);
  BOOST_TEST(text_of(o, "outcome") == "timeout");
  BOOST_TEST(text_of(o, "certainty") == "maybe_executed");
  BOOST_TEST(text_of(o, "reason") == "timed_out");
}

BOOST_FIXTURE_TEST_CASE(writes_calls_that_succeed_at_a_level_of_their_own, fixture) {
  cleat::log quiet{*to, log_level::debug, log_level::debug};
  failure const why{kind::timed_out};
  quiet.on(cleat::call_ended{made.of, nullptr, 1ms});
  quiet.on(cleat::call_ended{made.of, &why, 1ms});
  to->set_level(log_level::info);
  quiet.on(cleat::call_ended{made.of, nullptr, 1ms});
  quiet.on(cleat::call_ended{made.of, &why, 1ms});
  std::string levels;
  for (auto const& line : written())
    levels += text_of(json::parse(line).as_object(), "level") + " ";
  BOOST_TEST(levels == "DEBUG ERROR ERROR ");
}

BOOST_FIXTURE_TEST_CASE(warns_of_connections_that_fail, fixture) {
  failure const why{kind::refused, cleat::certainty::not_sent};
  log.on(cleat::connect_ended{made.of, "127.0.0.1:9000", &why, 1ms});
  json::object const o = only();
  BOOST_TEST(text_of(o, "level") == "WARNING");
  BOOST_TEST(text_of(o, "event") == "connect");
  BOOST_TEST(text_of(o, "address") == "127.0.0.1:9000");
  BOOST_TEST(text_of(o, "outcome") == "error");
  BOOST_TEST(text_of(o, "reason") == "refused");
}

BOOST_FIXTURE_TEST_CASE(sums_up_the_stray_frames_that_have_no_record_of_their_own, fixture) {
  failure const why{kind::malformed};
  auto unmatched = made.received(cleat::verdict::unmatched);
  cleat::decode_failed unreadable{nullptr, made.frame, why, false};
  cleat::push_dropped dropped{"DEVICE123"};
  unmatched.summed = unreadable.summed = dropped.summed = true;
  log.on(unmatched);
  log.on(unreadable);
  log.on(dropped);
  BOOST_TEST(written().empty());
  log.on(cleat::frames_passed_over{&made.of, "DEVICE123", 1234, 1s});
  json::object const o = only();
  BOOST_TEST(text_of(o, "level") == "WARNING");
  BOOST_TEST(text_of(o, "message") == "passed over 1234 more stray frames from DEVICE123");
  BOOST_TEST(o.at("more").to_number<int>() == 1234);
  BOOST_TEST(o.at("elapsed_ms").to_number<int>() == 1000);
  BOOST_TEST(!text_of(o, "correlation_id").empty());
}

BOOST_FIXTURE_TEST_CASE(tells_everything_through_a_tee, fixture) {
  failure const why{kind::closed};
  cleat::tee const events{log};
  BOOST_TEST(!events.listens<cleat::attempt_started>());
  events.notify(cleat::retry_budget_empty{made.of, why});
  events.notify(cleat::connect_ended{made.of, "127.0.0.1:9000", nullptr, 1ms});
  events.notify(cleat::push_dropped{"DEVICE123"});
  events.notify(cleat::frames_passed_over{nullptr, "DEVICE123", 7, 1s});
  events.notify(cleat::session_ended{"DEVICE123", why});
  auto const lines = written();
  BOOST_REQUIRE(lines.size() == 5U);
  std::vector<std::string> const expected{"retry_budget_empty", "connect", "push_dropped",
                                          "frames_passed_over", "session_ended"};
  for (std::size_t i = 0; i < lines.size(); ++i) {
    auto const o = json::parse(lines[i]).as_object();
    BOOST_TEST(text_of(o, "event") == expected[i]);
    BOOST_TEST(text_of(o, "device_id") == "DEVICE123");
  }
}

BOOST_FIXTURE_TEST_CASE(writes_nothing_below_its_level, packets_at_info) {
  log.set_level(log_level::warning);
  log.on(made.sent());
  to->write(log_level::info, "no");
  BOOST_TEST(written().empty());
  to->write(log_level::warning, "yes");
  BOOST_TEST(written().size() == 1U);
  log.set_level(log_level::info);
  log.on(made.sent());
  BOOST_TEST(written().size() == 2U);
}

BOOST_FIXTURE_TEST_CASE(writes_records_of_the_program_with_its_own_fields, fixture) {
  to->write(log_level::info, "listening", {{"port", 9400}, {"ts", "mine"}});
  json::object const o = only();
  BOOST_TEST(text_of(o, "message") == "listening");
  BOOST_TEST(text_of(o, "module") == "log_test");
  BOOST_TEST(o.at("line").as_int64() > 100);
  BOOST_TEST(o.at("port").as_int64() == 9400);
  BOOST_TEST(text_of(o, "ts") != "mine");
}

BOOST_FIXTURE_TEST_CASE(keeps_a_record_on_one_line_whatever_is_in_it, fixture) {
  made.id = "id\n\"\x80";
  failure const why = failure{kind::rejected}.with_detail("two\nlines\xFE");
  log.on(made.received(verdict::answer, &why));
  json::object const o = only();
  BOOST_TEST(text_of(o, "msg_id") == "id\n\"\xEF\xBF\xBD");
}

BOOST_FIXTURE_TEST_CASE(keeps_two_logs_apart, fixture) {
  auto const second_file = directory.path / "second";
  cleat::log_sink_options o{made.of.clock()};
  o.fd = -1;
  o.file = second_file.string();
  {
    auto const second = cleat::log_sink::open(o).value();
    to->write(log_level::info, "first");
    second->write(log_level::info, "second");
    second->write(log_level::info, "second");
  }
  to->write(log_level::info, "first");
  BOOST_TEST(written().size() == 2U);
  BOOST_TEST(lines_of(second_file).size() == 2U);
}

BOOST_AUTO_TEST_CASE(never_mixes_the_lines_of_two_threads) {
  int ends[2];
  BOOST_REQUIRE(pipe(ends) == 0);
  std::string all;
  std::thread reader{[&all, from = ends[0]] {
    std::vector<char> some(1000);
    for (ssize_t n = 0; (n = read(from, some.data(), some.size())) > 0;) {
      all.append(some.data(), static_cast<std::size_t>(n));
    }
  }};
  {
    made_events const made;
    std::string const bytes(3000, 'x');
    auto const to = sink_to(ends[1], made.of.clock());
    cleat::log log{*to, log_level::info};
    std::vector<std::thread> writers;
    for (int t = 0; t < 2; ++t) {
      writers.emplace_back([&, t] {
        made_events mine{t == 0 ? "A" : "B"};
        mine.frame = cleat::as_bytes(bytes);
        for (int i = 0; i < 300; ++i) log.on(mine.sent());
      });
    }
    for (auto& w : writers) w.join();
  }
  close(ends[1]);
  reader.join();
  close(ends[0]);
  std::size_t lines = 0;
  for (std::size_t at = 0; at < all.size(); ++lines) {
    auto const end = all.find('\n', at);
    BOOST_REQUIRE(end != std::string::npos);
    BOOST_REQUIRE(json::parse(all.substr(at, end - at)).as_object().contains("raw_packet_hex"));
    at = end + 1;
  }
  BOOST_TEST(lines == 600U);
}

BOOST_AUTO_TEST_CASE(finishes_a_line_on_a_descriptor_that_does_not_block) {
  int ends[2];
  BOOST_REQUIRE(pipe2(ends, O_NONBLOCK) == 0);
  std::string all;
  std::thread reader{[&all, from = ends[0]] {
    std::vector<char> some(512);
    for (;;) {
      ssize_t const n = read(from, some.data(), some.size());
      if (n == 0) return;
      if (n > 0) all.append(some.data(), static_cast<std::size_t>(n));
      pollfd readable{from, POLLIN, 0};
      if (n < 0) poll(&readable, 1, -1);
    }
  }};
  {
    made_events const made;
    auto const to = sink_to(ends[1], made.of.clock());
    to->write(log_level::info, std::string(3'000'000, 'x'));
  }
  close(ends[1]);
  reader.join();
  close(ends[0]);
  BOOST_TEST(all.ends_with("\"}\n"));
  BOOST_TEST(json::parse(all).at("message").as_string().size() == 3'000'000U);
}

BOOST_AUTO_TEST_CASE(survives_a_closed_pipe_in_silence) {
  stderr_caught const said;
  made_events const made;
  int ends[2];
  BOOST_REQUIRE(pipe(ends) == 0);
  auto to = sink_to(ends[1], made.of.clock());
  close(ends[0]);
  to->write(log_level::info, "nobody reads this");
  to->write(log_level::info, "nor this");
  BOOST_TEST(to->flush().has_value());
  BOOST_TEST(to->lost() == 2U);
  to.reset();
  close(ends[1]);
  BOOST_TEST(said.lines().empty());
}

BOOST_AUTO_TEST_CASE(survives_a_file_at_its_size_limit_and_says_so) {
  temporary_directory const directory;
  stderr_caught const said;
  made_events const made;
  cleat::log_sink_options o{made.of.clock()};
  o.fd = -1;
  o.file = (directory.path / "log").string();
  {
    file_size_limit const limit{1024};
    auto const to = cleat::log_sink::open(o).value();
    for (int i = 0; i < 20; ++i) to->write(log_level::info, std::string(100, 'x'));
  }
  BOOST_TEST(std::filesystem::file_size(o.file) <= 1024U);
  auto const lines = said.lines();
  BOOST_REQUIRE(lines.size() == 1U);
  BOOST_TEST(lines.front().starts_with("cannot write the log to " + o.file + ": File too large"));
}

BOOST_AUTO_TEST_CASE(says_once_that_a_disk_is_full) {
  stderr_caught const said;
  made_events const made;
  int const full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  BOOST_REQUIRE(full >= 0);
  auto to = sink_to(full, made.of.clock());
  to->write(log_level::info, "lost");
  to->write(log_level::info, "lost as well");
  auto const failed = to->flush();
  BOOST_REQUIRE(!failed);
  BOOST_TEST((failed.error().why() == kind::resources));
  BOOST_TEST(failed.error().detail() == "cannot write the log to descriptor " +
                                            std::to_string(full) + ": No space left on device");
  to.reset();
  auto const lines = said.lines();
  BOOST_REQUIRE(lines.size() == 1U);
  BOOST_TEST(lines.front() == "cannot write the log to descriptor " + std::to_string(full) +
                                  ": No space left on device; it is tried again");
  close(full);
}

BOOST_FIXTURE_TEST_CASE(opens_its_file_anew_when_asked, fixture) {
  to->write(log_level::info, "one");
  auto const moved = directory.path / "log.1";
  std::filesystem::rename(file, moved);
  to->write(log_level::info, "two");
  BOOST_TEST(to->flush().has_value());
  BOOST_TEST(to->reopen().has_value());
  to->write(log_level::info, "three");
  BOOST_TEST(lines_of(moved).size() == 2U);
  BOOST_TEST(written().size() == 1U);
  std::filesystem::remove(file);
  std::filesystem::create_directory(file);
  auto const failed = to->reopen();
  BOOST_REQUIRE(!failed);
  BOOST_TEST(failed.error().detail().ends_with("/log: Is a directory"));
  std::filesystem::remove(file);
  BOOST_TEST(to->reopen().has_value());
  to->write(log_level::info, "four");
  BOOST_TEST(written().size() == 1U);
}

BOOST_AUTO_TEST_CASE(says_which_file_cannot_be_opened_and_why) {
  made_events const made;
  cleat::log_sink_options o{made.of.clock()};
  o.file = "/nowhere/at/all.log";
  auto const failed = cleat::log_sink::open(o);
  BOOST_REQUIRE(!failed);
  BOOST_TEST((failed.error().why() == kind::resources));
  BOOST_TEST((failed.error().sure() == cleat::certainty::not_sent));
  BOOST_TEST(failed.error().detail() == "log file /nowhere/at/all.log: No such file or directory");
  o.file = std::string(200, 'x') + "/the_end.log";
  auto const long_name = cleat::log_sink::open(o);
  BOOST_TEST(long_name.error().detail().ends_with("/the_end.log: No such file or directory"));
}

BOOST_AUTO_TEST_CASE(writes_a_line_for_people_without_colour_into_a_pipe) {
  made_events const made;
  int ends[2];
  BOOST_REQUIRE(pipe(ends) == 0);
  auto const to = sink_to(ends[1], made.of.clock(), cleat::log_format::text);
  to->write(log_level::warning, "a\nb", {{"port", 9400}, {"name", "two words"}, {"id", "x1"}});
  std::vector<char> some(1000);
  ssize_t const n = read(ends[0], some.data(), some.size());
  std::string const line{some.data(), static_cast<std::size_t>(n)};
  close(ends[0]);
  close(ends[1]);
  BOOST_TEST(line.find("Z WARNING log_test:") == 23U);
  BOOST_TEST(line.ends_with("  a\\nb port=9400 name=\"two words\" id=x1\n"));
  BOOST_TEST(line.find('\x1b') == std::string::npos);
}

BOOST_AUTO_TEST_CASE(colours_a_line_for_people_on_a_terminal_unless_told_not_to,
                     *boost::unit_test::precondition(cleat::test::needs_a_terminal)) {
  made_events const made;
  cleat::test::terminal const its;
  auto const shown = [&] {
    auto const to = sink_to(its.screen(), made.of.clock(), cleat::log_format::text);
    to->write(log_level::error, "no");
    std::vector<char> some(1000);
    ssize_t const n = read(its.behind(), some.data(), some.size());
    return std::string{some.data(), static_cast<std::size_t>(n)};
  };
  // NOLINTBEGIN(concurrency-mt-unsafe)
  setenv("TERM", "xterm", 1);
  unsetenv("NO_COLOR");
  BOOST_TEST(shown().find("\x1b[31mERROR\x1b[0m") != std::string::npos);
  setenv("NO_COLOR", "1", 1);
  BOOST_TEST(shown().find('\x1b') == std::string::npos);
  unsetenv("NO_COLOR");
  // NOLINTEND(concurrency-mt-unsafe)
}

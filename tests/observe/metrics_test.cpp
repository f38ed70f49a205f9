#define BOOST_TEST_MODULE metrics
#include "events.hpp"

#include <cleat/base/clock.hpp>
#include <cleat/observe/log_sink.hpp>
#include <cleat/observe/metrics.hpp>
#include <cleat/observe/metrics_endpoint.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace asio = boost::asio;
using asio::ip::tcp;
using cleat::action;
using cleat::failure;
using cleat::kind;
using cleat::verdict;
using namespace std::chrono_literals;

namespace {

class words_category final : public boost::system::error_category {
 public:
  [[nodiscard]] char const* name() const noexcept override { return "words"; }
  [[nodiscard]] std::string message(int value) const override {
    return value == 1 ? "wrong magic" : "error number " + std::to_string(value);
  }
};
words_category const words;

failure decode_error(int value) { return failure{{value, words}, kind::malformed, {}}; }

/// Whether the exposition has this line. `name` with labels in the order of the alphabet.
bool has(std::string const& text, std::string const& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}
bool has(cleat::metrics const& m, std::string const& line) {
  bool const found = has(m.exposition(), line);
  if (!found) BOOST_TEST_MESSAGE(m.exposition());
  return found;
}
std::string count(std::string const& family, std::string const& labels, int n) {
  return "tcp_comm_" + family + "{" + labels + "} " + std::to_string(n);
}
std::string device(std::string const& more) { return "device_id=\"DEVICE123\"," + more; }

std::size_t occurrences(std::string const& text, std::string const& part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

/// A client as plain as can be.
class browser {
 public:
  explicit browser(cleat::metrics_endpoint const& to) {
    socket.connect({asio::ip::make_address("127.0.0.1"), to.port()});
  }
  std::string ask(std::string const& request) {
    asio::write(socket, asio::buffer(request));
    return rest();
  }
  std::string rest() {
    std::string all;
    boost::system::error_code end;
    asio::read(socket, asio::dynamic_buffer(all), end);
    BOOST_TEST(end == asio::error::eof);
    return all;
  }
  asio::io_context context;
  tcp::socket socket{context};
};

std::string ask(cleat::metrics_endpoint const& to, std::string const& method,
                std::string const& path) {
  browser b{to};
  return b.ask(method + " " + path + " HTTP/1.1\r\nHost: x\r\n\r\n");
}
std::string body(std::string const& response) {
  return response.substr(response.find("\r\n\r\n") + 4);
}

struct fixture {
  cleat::metrics m;
  cleat::metrics_endpoint endpoint = cleat::metrics_endpoint::open("127.0.0.1", 0, m).value();
};

}  // namespace

BOOST_AUTO_TEST_CASE(shows_all_five_families_of_an_added_peer_at_zero) {
  cleat::metrics m;
  BOOST_TEST(m.exposition().empty());
  m.add_peer("DEVICE123");
  for (auto const* o : {"success", "error", "timeout", "closed", "decode_error"}) {
    auto const label = device("outcome=\"" + std::string{o} + "\"");
    BOOST_TEST(has(m, count("packet_sent_total", label, 0)));
    BOOST_TEST(has(m, count("packet_recv_total", label, 0)));
  }
  BOOST_TEST(has(m, "tcp_comm_packet_latency_seconds_count{device_id=\"DEVICE123\"} 0"));
  for (auto const* b : {"0.01", "0.025", "0.05", "0.075", "0.1", "0.15", "0.25", "0.3", "0.5",
                        "0.75", "0.8", "1", "1.5", "2", "3", "5", "+Inf"}) {
    BOOST_TEST(
        has(m, count("packet_latency_seconds_bucket", device("le=\"" + std::string{b} + "\""), 0)));
  }
  BOOST_TEST(occurrences(m.exposition(), "_bucket{") == 17U);
  BOOST_TEST(has(m, count("packet_retransmit_total", device("reason=\"timed_out\""), 0)));
  BOOST_TEST(has(m, count("decode_errors_total", device("reason=\"malformed\""), 0)));
  m.add_peer("DEVICE123");
  BOOST_TEST(occurrences(m.exposition(), "_bucket{") == 17U);
}

BOOST_AUTO_TEST_CASE(counts_what_is_sent_by_outcome) {
  cleat::metrics m;
  made_events const made;
  m.on(made.sent());
  m.on(made.sent());
  for (auto const why :
       {kind::timed_out, kind::closed, kind::reset, kind::cancelled, kind::malformed}) {
    failure const f{why};
    m.on(made.sent(&f));
  }
  BOOST_TEST(has(m, count("packet_sent_total", device("outcome=\"success\""), 2)));
  BOOST_TEST(has(m, count("packet_sent_total", device("outcome=\"timeout\""), 1)));
  BOOST_TEST(has(m, count("packet_sent_total", device("outcome=\"closed\""), 2)));
  BOOST_TEST(has(m, count("packet_sent_total", device("outcome=\"error\""), 2)));
  BOOST_TEST(has(m, count("packet_sent_total", device("outcome=\"decode_error\""), 0)));
}

BOOST_AUTO_TEST_CASE(counts_what_is_received_and_how_long_answers_took) {
  cleat::metrics m;
  made_events const made;
  failure const no{kind::rejected};
  m.on(made.received(verdict::progress));
  m.on(made.received(verdict::answer));
  m.on(made.received(verdict::answer, &no));
  BOOST_TEST(has(m, count("packet_recv_total", device("outcome=\"success\""), 2)));
  BOOST_TEST(has(m, count("packet_recv_total", device("outcome=\"error\""), 1)));
  BOOST_TEST(has(m, "tcp_comm_packet_latency_seconds_count{device_id=\"DEVICE123\"} 2"));
  BOOST_TEST(has(m, "tcp_comm_packet_latency_seconds_sum{device_id=\"DEVICE123\"} 0.12"));
  BOOST_TEST(has(m, count("packet_latency_seconds_bucket", device("le=\"0.05\""), 0)));
  BOOST_TEST(has(m, count("packet_latency_seconds_bucket", device("le=\"0.075\""), 2)));
}

BOOST_AUTO_TEST_CASE(counts_answers_that_nobody_waits_for_as_errors_of_an_unknown_device) {
  cleat::metrics m;
  made_events const made;
  m.on(made.received(verdict::late));
  m.on(made.received(verdict::unmatched));
  made_events const nameless{""};
  m.on(nameless.sent());
  BOOST_TEST(has(m, count("packet_recv_total", "device_id=\"unknown\",outcome=\"error\"", 2)));
  BOOST_TEST(has(m, count("packet_sent_total", "device_id=\"unknown\",outcome=\"success\"", 1)));
  BOOST_TEST(has(m, "tcp_comm_packet_latency_seconds_count{device_id=\"unknown\"} 0"));
}

BOOST_AUTO_TEST_CASE(counts_answers_that_never_came) {
  cleat::metrics m;
  made_events const made;
  for (auto const why :
       {kind::timed_out, kind::closed, kind::reset, kind::malformed, kind::cancelled}) {
    m.on(made.missing(failure{why}));
  }
  BOOST_TEST(has(m, count("packet_recv_total", device("outcome=\"timeout\""), 1)));
  BOOST_TEST(has(m, count("packet_recv_total", device("outcome=\"closed\""), 2)));
  BOOST_TEST(has(m, count("packet_recv_total", device("outcome=\"decode_error\""), 1)));
  BOOST_TEST(has(m, count("packet_recv_total", device("outcome=\"error\""), 1)));
  BOOST_TEST(has(m, "tcp_comm_packet_latency_seconds_count{device_id=\"DEVICE123\"} 0"));
}

BOOST_AUTO_TEST_CASE(counts_further_attempts_by_the_kind_of_failure) {
  cleat::metrics m;
  made_events const made;
  m.on(made.retry(failure{kind::refused}));
  m.on(made.retry(failure{kind::refused}));
  m.on(made.retry(failure{kind::overloaded}));
  BOOST_TEST(has(m, count("packet_retransmit_total", device("reason=\"refused\""), 2)));
  BOOST_TEST(has(m, count("packet_retransmit_total", device("reason=\"overloaded\""), 1)));
  BOOST_TEST(has(m, count("packet_retransmit_total", device("reason=\"timed_out\""), 0)));
}

BOOST_AUTO_TEST_CASE(counts_what_layers_do_from_the_first_time_on) {
  cleat::metrics m;
  made_events const made;
  m.add_peer("DEVICE123");
  BOOST_TEST(occurrences(m.exposition(), "layer_actions_total") == 0U);
  for (std::size_t i = 0; i < cleat::action_count; ++i) {
    m.on(cleat::layer_acted{made.of, static_cast<action>(i)});
  }
  m.on(cleat::layer_acted{made.of, action::limit_queued, nullptr, 5ms});
  BOOST_TEST(
      has(m, count("layer_actions_total", "action=\"limit_queued\",device_id=\"DEVICE123\"", 2)));
  BOOST_TEST(has(
      m, count("layer_actions_total", "action=\"timeout_expired\",device_id=\"DEVICE123\"", 1)));
  BOOST_TEST(occurrences(m.exposition(), "\ntcp_comm_layer_actions_total{") == cleat::action_count);
}

BOOST_AUTO_TEST_CASE(shows_the_state_of_a_breaker_once_it_has_opened) {
  cleat::metrics_options o;
  o.peers_max = 1;
  cleat::metrics m{o};
  made_events const made;
  std::string const gauge = "tcp_comm_breaker_state{device_id=\"DEVICE123\"} ";
  m.on(cleat::layer_acted{made.of, action::breaker_rejected});
  BOOST_TEST(occurrences(m.exposition(), "breaker_state") == 0U);
  m.on(cleat::layer_acted{made.of, action::breaker_opened});
  BOOST_TEST(has(m, gauge + "2"));
  m.on(cleat::layer_acted{made.of, action::breaker_half_opened});
  BOOST_TEST(has(m, gauge + "1"));
  m.on(cleat::layer_acted{made.of, action::breaker_rejected});
  BOOST_TEST(has(m, gauge + "1"));
  m.on(cleat::layer_acted{made.of, action::breaker_closed});
  BOOST_TEST(has(m, gauge + "0"));

  made_events const one_too_many{"DEVICE456"};
  m.on(cleat::layer_acted{one_too_many.of, action::breaker_opened});
  BOOST_TEST(
      has(m, count("layer_actions_total", "action=\"breaker_opened\",device_id=\"other\"", 1)));
  BOOST_TEST(occurrences(m.exposition(), "\ntcp_comm_breaker_state{") == 1U);
}

BOOST_AUTO_TEST_CASE(counts_an_unreadable_answer_of_a_known_call_once) {
  cleat::metrics m;
  made_events const made;
  failure const why = decode_error(1);
  m.on(cleat::decode_failed{&made.of, made.frame, why, true});
  m.on(made.missing(why));
  BOOST_TEST(has(m, count("decode_errors_total", device("reason=\"wrong_magic\""), 1)));
  BOOST_TEST(has(m, count("packet_recv_total", device("outcome=\"decode_error\""), 1)));
  m.on(cleat::decode_failed{&made.of, made.frame, why, false});  // skipped, the call goes on
  BOOST_TEST(has(m, count("packet_recv_total", device("outcome=\"decode_error\""), 2)));
  m.on(cleat::decode_failed{nullptr, made.frame, why, true});
  BOOST_TEST(
      has(m, count("packet_recv_total", "device_id=\"unknown\",outcome=\"decode_error\"", 1)));
  BOOST_TEST(
      has(m, count("decode_errors_total", "device_id=\"unknown\",reason=\"wrong_magic\"", 1)));
  m.on(cleat::decode_failed{&made.of, made.frame, failure{kind::malformed}, true});
  BOOST_TEST(has(m, count("decode_errors_total", device("reason=\"malformed\""), 1)));
}

BOOST_AUTO_TEST_CASE(bounds_the_reasons_of_decode_errors) {
  cleat::metrics m;
  made_events const made;
  for (int i = 100; i < 150; ++i) m.on(cleat::decode_failed{&made.of, {}, decode_error(i), true});
  std::string const text = m.exposition();
  BOOST_TEST(occurrences(text, "\ntcp_comm_decode_errors_total{") == 33U);
  BOOST_TEST(has(text, count("decode_errors_total", device("reason=\"error_number_130\""), 1)));
  BOOST_TEST(has(text, count("decode_errors_total", device("reason=\"other\""), 19)));
}

BOOST_AUTO_TEST_CASE(shows_the_reasons_that_the_codec_has_from_the_start) {
  cleat::metrics_options o;
  o.decode_reasons = {"wrong magic", "oversize"};
  o.prefix = "lamp_";
  cleat::metrics m{o};
  m.add_peer("DEVICE123");
  BOOST_TEST(has(m, "lamp_decode_errors_total{device_id=\"DEVICE123\",reason=\"wrong_magic\"} 0"));
  BOOST_TEST(has(m, "lamp_decode_errors_total{device_id=\"DEVICE123\",reason=\"oversize\"} 0"));
  o.prefix = "not a name ";
  BOOST_CHECK_THROW(cleat::metrics{o}, std::invalid_argument);
}

BOOST_AUTO_TEST_CASE(caps_the_peers_that_have_series_of_their_own) {
  cleat::metrics_options o;
  o.peers_max = 2;
  cleat::metrics m{o};
  for (auto const* peer : {"a", "b", "c", "d", "", "a", "other"}) m.on(made_events{peer}.sent());
  BOOST_TEST(has(m, count("packet_sent_total", "device_id=\"a\",outcome=\"success\"", 2)));
  BOOST_TEST(has(m, count("packet_sent_total", "device_id=\"b\",outcome=\"success\"", 1)));
  BOOST_TEST(has(m, count("packet_sent_total", "device_id=\"other\",outcome=\"success\"", 3)));
  BOOST_TEST(has(m, count("packet_sent_total", "device_id=\"unknown\",outcome=\"success\"", 1)));
  BOOST_TEST(occurrences(m.exposition(), "packet_latency_seconds_count{") == 4U);
}

BOOST_AUTO_TEST_CASE(survives_peers_with_strange_names) {
  cleat::metrics m;
  m.add_peer("a\xFF\"b\\\n");
  m.add_peer(std::string(5000, 'x'));
  std::string const text = m.exposition();
  BOOST_TEST(text.find("device_id=\"a\xEF\xBF\xBD\\\"b\\\\\\n\"") != std::string::npos);
  BOOST_TEST(text.find(std::string(200, 'x')) == std::string::npos);
}

BOOST_AUTO_TEST_CASE(
    has_no_line_end_but_the_newline_in_a_label_and_nothing_that_steers_a_terminal) {
  // U+2028, U+2029, U+0085 and what else ends a line for some, U+009B, U+202E, U+061C
  for (auto const* bad : {"\xE2\x80\xA8", "\xE2\x80\xA9", "\xC2\x85", "\x0B", "\x0C", "\r", "\x1C",
                          "\x1D", "\x1E", "\xC2\x9B", "\xE2\x80\xAE", "\xD8\x9C", "\x7F"}) {
    cleat::metrics m;
    m.add_peer("a" + std::string{bad} + "b");
    made_events const made;
    failure const why = decode_error(1);
    m.on(cleat::decode_failed{&made.of, {}, why, true});
    std::string const text = m.exposition();
    BOOST_TEST(text.find(bad) == std::string::npos);
    BOOST_TEST(text.find("device_id=\"a\xEF\xBF\xBD"
                         "b\"") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(counts_what_logs_lose_once_they_do) {
  boost::asio::io_context context;
  cleat::log_sink_options o{cleat::clock::of(context.get_executor())};
  o.fd = -1;
  o.file = "/dev/null";
  o.queue_bytes_max = 1000;
  auto const first = cleat::log_sink::open(o).value();
  auto const second = cleat::log_sink::open(o).value();
  cleat::metrics m;
  m.add_log(*first);
  m.add_log(*second);
  BOOST_TEST(m.exposition().empty());
  std::string const too_long(1000, 'x');
  first->write(cleat::log_level::info, too_long);
  BOOST_TEST(has(m, "tcp_comm_log_records_dropped_total 1"));
  first->write(cleat::log_level::info, too_long);
  second->write(cleat::log_level::info, too_long);
  BOOST_TEST(has(m, "tcp_comm_log_records_dropped_total 3"));
  BOOST_TEST(has(m, "tcp_comm_log_records_dropped_total 3"));
}

BOOST_AUTO_TEST_CASE(counts_exactly_from_several_threads) {
  cleat::metrics m;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&m] {
      made_events const one;
      made_events const two{"DEVICE456"};
      failure const why = decode_error(1);
      for (int i = 0; i < 2000; ++i) {
        m.on(one.sent());
        m.on(two.sent());
        m.on(cleat::decode_failed{&two.of, {}, why, true});
        m.on(cleat::layer_acted{two.of, i % 2 == 0 ? action::breaker_opened : action::hedge_sent});
        if (i % 500 == 0) (void)m.exposition();
      }
    });
  }
  for (auto& t : threads) t.join();
  BOOST_TEST(has(m, count("packet_sent_total", device("outcome=\"success\""), 8000)));
  BOOST_TEST(
      has(m, count("decode_errors_total", "device_id=\"DEVICE456\",reason=\"wrong_magic\"", 8000)));
  BOOST_TEST(
      has(m, count("layer_actions_total", "action=\"hedge_sent\",device_id=\"DEVICE456\"", 4000)));
  BOOST_TEST(has(m, "tcp_comm_breaker_state{device_id=\"DEVICE456\"} 2"));
}

BOOST_FIXTURE_TEST_CASE(serves_metrics_in_the_text_format, fixture) {
  m.add_peer("DEVICE123");
  m.on(made_events{}.sent());
  std::string const got = ask(endpoint, "GET", "/metrics");
  BOOST_TEST(got.starts_with("HTTP/1.1 200 OK\r\n"));
  BOOST_TEST(got.find("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n") !=
             std::string::npos);
  BOOST_TEST(has(body(got), count("packet_sent_total", device("outcome=\"success\""), 1)));
  BOOST_TEST(body(got) == m.exposition());
  BOOST_TEST(body(ask(endpoint, "GET", "/metrics?x=y")) == m.exposition());
}

BOOST_FIXTURE_TEST_CASE(says_that_it_is_healthy, fixture) {
  std::string const got = ask(endpoint, "GET", "/healthz");
  BOOST_TEST(got.starts_with("HTTP/1.1 200 OK\r\n"));
  BOOST_TEST(body(got) == "ok\n");
}

BOOST_FIXTURE_TEST_CASE(answers_head_without_a_body, fixture) {
  std::string const got = ask(endpoint, "HEAD", "/healthz");
  BOOST_TEST(got.starts_with("HTTP/1.1 200 OK\r\n"));
  BOOST_TEST(got.find("\r\nContent-Length: 3\r\n") != std::string::npos);
  BOOST_TEST(body(got).empty());
}

BOOST_FIXTURE_TEST_CASE(refuses_other_paths_and_methods, fixture) {
  BOOST_TEST(ask(endpoint, "GET", "/").starts_with("HTTP/1.1 404 "));
  BOOST_TEST(ask(endpoint, "GET", "/metricsx").starts_with("HTTP/1.1 404 "));
  BOOST_TEST(ask(endpoint, "DELETE", "/metrics").starts_with("HTTP/1.1 405 "));
  browser b{endpoint};
  std::string const got =
      b.ask("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 30000\r\n\r\n" +
            std::string(30000, 'x'));
  BOOST_TEST(got.starts_with("HTTP/1.1 405 "));
  BOOST_TEST(got.find("\r\nAllow: GET, HEAD\r\n") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(refuses_what_is_not_http_and_what_is_too_long, fixture) {
  browser nonsense{endpoint};
  BOOST_TEST(nonsense.ask("\x01\x02\x03 nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
  browser endless{endpoint};
  std::string const got = endless.ask("GET /metrics HTTP/1.1\r\nX: " + std::string(12000, 'x'));
  BOOST_TEST(got.starts_with("HTTP/1.1 431 "));
  BOOST_TEST(ask(endpoint, "GET", "/healthz").starts_with("HTTP/1.1 200 "));
}

BOOST_FIXTURE_TEST_CASE(answers_others_while_clients_say_nothing, fixture) {
  std::vector<std::unique_ptr<browser>> silent;
  for (int i = 0; i < 10; ++i) silent.push_back(std::make_unique<browser>(endpoint));
  silent.front()->socket.send(asio::buffer("GET /met", 8));
  BOOST_TEST(ask(endpoint, "GET", "/healthz").starts_with("HTTP/1.1 200 "));
}

BOOST_FIXTURE_TEST_CASE(sends_the_one_away_that_has_been_idle_longest_when_one_more_comes,
                        fixture) {
  std::vector<std::unique_ptr<browser>> silent;
  for (int i = 0; i < 32; ++i) silent.push_back(std::make_unique<browser>(endpoint));
  silent.front()->socket.send(asio::buffer("GET /met", 8));  // no request is no reason to stay
  BOOST_TEST(ask(endpoint, "GET", "/healthz").starts_with("HTTP/1.1 200 "));
  std::array<char, 1> byte{};
  boost::system::error_code end;
  (void)silent.front()->socket.read_some(asio::buffer(byte), end);
  BOOST_TEST(end.failed());
  BOOST_TEST(silent.back()->ask("GET /healthz HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200 "));
}

BOOST_FIXTURE_TEST_CASE(answers_behind_a_crowd_that_says_nothing_and_comes_back, fixture) {
  std::vector<std::unique_ptr<browser>> silent;
  for (int times = 0; times < 3; ++times) {
    for (int i = 0; i < 200; ++i) silent.push_back(std::make_unique<browser>(endpoint));
    BOOST_TEST(ask(endpoint, "GET", "/healthz").starts_with("HTTP/1.1 200 "));
  }
}

BOOST_FIXTURE_TEST_CASE(serves_targets_in_absolute_form, fixture) {
  m.add_peer("DEVICE123");
  for (auto const* target : {"http://127.0.0.1:9400/metrics", "HTTP://anything.example/metrics?x=y",
                             "http://[::1]/metrics"}) {
    std::string const got = ask(endpoint, "GET", target);
    BOOST_TEST(got.starts_with("HTTP/1.1 200 OK\r\n"));
    BOOST_TEST(body(got) == m.exposition());
  }
  BOOST_TEST(ask(endpoint, "GET", "http://x/healthz").starts_with("HTTP/1.1 200 "));
  BOOST_TEST(ask(endpoint, "POST", "http://x/metrics").starts_with("HTTP/1.1 405 "));
  for (auto const* target :
       {"http://x", "http://x/", "http://x?y", "http://x/other", "//x/metrics"}) {
    BOOST_TEST(ask(endpoint, "GET", target).starts_with("HTTP/1.1 404 "));
  }
  for (auto const* target :
       {"http:///metrics", "http://", "ftp://x/metrics", "metrics", "*", "x:80"}) {
    BOOST_TEST(ask(endpoint, "GET", target).starts_with("HTTP/1.1 400 "));
  }
  BOOST_TEST(ask(endpoint, "OPTIONS", "*").starts_with("HTTP/1.1 405 "));
  BOOST_TEST(ask(endpoint, "CONNECT", "x:80").starts_with("HTTP/1.1 405 "));
}

BOOST_FIXTURE_TEST_CASE(answers_older_clients_and_the_first_of_requests_that_are_sent_at_once,
                        fixture) {
  browser old{endpoint};
  BOOST_TEST(body(old.ask("GET /healthz HTTP/1.0\r\n\r\n")) == "ok\n");
  browser hasty{endpoint};
  std::string const request = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
  BOOST_TEST(body(hasty.ask(request + request)) == "ok\n");
  browser oldest{endpoint};
  BOOST_TEST(oldest.ask("GET /metrics\r\n\r\n").starts_with("HTTP/1.1 400 "));
  browser newest{endpoint};
  BOOST_TEST(newest.ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").starts_with("HTTP/1.1 400 "));
}

BOOST_AUTO_TEST_CASE(stops_at_once_with_a_client_that_says_nothing) {
  cleat::metrics m;
  std::optional<cleat::metrics_endpoint> endpoint =
      cleat::metrics_endpoint::open("localhost", 0, m).value();
  browser silent{*endpoint};
  BOOST_TEST(ask(*endpoint, "GET", "/healthz").starts_with("HTTP/1.1 200 "));  // accepted after it
  auto const began = std::chrono::steady_clock::now();
  endpoint.reset();
  BOOST_TEST((std::chrono::steady_clock::now() - began < 200ms));
  std::array<char, 1> byte{};
  boost::system::error_code end;
  (void)silent.socket.read_some(asio::buffer(byte), end);
  BOOST_TEST(end.failed());
}

BOOST_FIXTURE_TEST_CASE(says_that_a_port_is_taken_and_which, fixture) {
  BOOST_TEST(endpoint.port() != 0);
  BOOST_TEST(endpoint.address() == "127.0.0.1:" + std::to_string(endpoint.port()));
  auto const second = cleat::metrics_endpoint::open("127.0.0.1", endpoint.port(), m);
  BOOST_REQUIRE(!second);
  BOOST_TEST((second.error().why() == kind::resources));
  BOOST_TEST((second.error().sure() == cleat::certainty::not_sent));
  BOOST_TEST(second.error().detail() ==
             endpoint.address() + " is taken: another program listens there");
}

BOOST_AUTO_TEST_CASE(says_what_is_wrong_with_an_address) {
  cleat::metrics const m;
  auto const foreign = cleat::metrics_endpoint::open("203.0.113.7", 9400, m);
  BOOST_REQUIRE(!foreign);
  BOOST_TEST((foreign.error().why() == kind::resources));
  BOOST_TEST(foreign.error().detail() == "203.0.113.7:9400 is not an address of this machine");
  auto const nonsense = cleat::metrics_endpoint::open("lamp", 9400, m);
  BOOST_REQUIRE(!nonsense);
  BOOST_TEST((nonsense.error().why() == kind::invalid));
  BOOST_TEST((nonsense.error().sure() == cleat::certainty::not_sent));
  BOOST_TEST(nonsense.error().detail() == "'lamp' with port 9400 is not an IPv4 or IPv6 address");
  auto const octal = cleat::metrics_endpoint::open("127.0.0.010", 9400, m);
  BOOST_REQUIRE(!octal);
  BOOST_TEST((octal.error().why() == kind::invalid));
  BOOST_TEST(octal.error().detail() ==
             "127.0.0.010 is no address; write IPv4 as four plain numbers, as 192.0.2.10");
}

BOOST_AUTO_TEST_CASE(listens_again_at_once_where_it_listened_before) {
  cleat::metrics const m;
  std::optional<cleat::metrics_endpoint> endpoint =
      cleat::metrics_endpoint::open("127.0.0.1", 0, m).value();
  auto const port = endpoint->port();
  BOOST_TEST(ask(*endpoint, "GET", "/healthz").starts_with("HTTP/1.1 200 "));
  endpoint.reset();
  BOOST_TEST(cleat::metrics_endpoint::open("127.0.0.1", port, m).has_value());
}

BOOST_FIXTURE_TEST_CASE(pleases_promtool, fixture) {
  // NOLINTBEGIN(concurrency-mt-unsafe,cert-env33-c): where promtool is installed
  if (std::system("command -v promtool >/dev/null") != 0) {
    BOOST_TEST_MESSAGE("promtool is not installed: skipped");
    return;
  }
  made_events const made;
  m.add_peer("DEVICE123");
  m.on(made.sent());
  m.on(made.received(verdict::answer));
  m.on(made.retry(failure{kind::timed_out}));
  m.on(cleat::layer_acted{made.of, action::breaker_opened});
  FILE* const pipe = popen("promtool check metrics 2>&1", "w");
  BOOST_REQUIRE(pipe != nullptr);
  std::string const text = body(ask(endpoint, "GET", "/metrics"));
  BOOST_TEST(fwrite(text.data(), 1, text.size(), pipe) == text.size());
  BOOST_TEST(pclose(pipe) == 0);
  // NOLINTEND(concurrency-mt-unsafe,cert-env33-c)
}

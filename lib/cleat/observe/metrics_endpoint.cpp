#include <cleat/observe/metrics_endpoint.hpp>

#include <cleat/base/host_text.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/system/system_error.hpp>

#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <optional>
#include <sstream>
#include <system_error>
#include <thread>
#include <utility>

namespace cleat {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::asio::ip::tcp;
using boost::system::error_code;
using namespace std::chrono_literals;

constexpr auto patience = 5s;
constexpr std::size_t connections_max = 32;
constexpr std::uint32_t header_bytes_max = 8 * 1024;
constexpr std::size_t buffer_bytes_max = 2 * std::size_t{header_bytes_max};
constexpr std::size_t discarded_reads_max = 64;

using response = http::response<http::string_body>;

response answer(http::request_header<> const& ask, metrics const& shown) {
  response r{http::status::ok, 11};
  r.set(http::field::content_type, "text/plain; charset=utf-8");
  r.keep_alive(false);
  std::string_view const target{ask.target().data(), ask.target().size()};
  std::string_view const path = target.substr(0, target.find('?'));
  bool const is_metrics = path == "/metrics";
  if (!is_metrics && path != "/healthz") {
    r.result(http::status::not_found);
    r.body() = "There are /metrics and /healthz.\n";
  } else if (ask.method() != http::verb::get && ask.method() != http::verb::head) {
    r.result(http::status::method_not_allowed);
    r.set(http::field::allow, "GET, HEAD");
    r.body() = "GET and HEAD only.\n";
  } else if (is_metrics) {
    r.set(http::field::content_type, "text/plain; version=0.0.4; charset=utf-8");
    r.body() = shown.exposition();
  } else {
    r.body() = "ok\n";
  }
  r.prepare_payload();
  if (ask.method() == http::verb::head) r.body().clear();  // Content-Length stays
  return r;
}

/// One client: reads a request's header, answers, closes.
class client : public std::enable_shared_from_this<client> {
 public:
  client(tcp::socket socket, metrics const& shown, std::size_t& connected)
      : stream_(std::move(socket)), shown_(shown), connected_(connected) {
    ++connected_;
    parser_.header_limit(header_bytes_max);
  }
  client(client const&) = delete;
  client& operator=(client const&) = delete;
  ~client() { --connected_; }

  void start() {
    stream_.expires_after(patience);
    http::async_read_header(
        stream_, buffer_, parser_,
        [self = shared_from_this()](error_code failed, std::size_t) { self->reply(failed); });
  }

 private:
  void reply(error_code failed) {
    if (!failed) {
      response_ = answer(parser_.get().base(), shown_);
    } else if (is_bad_request(failed)) {
      response_ = response{failed == http::error::header_limit
                               ? http::status::request_header_fields_too_large
                               : http::status::bad_request,
                           11};
      response_.keep_alive(false);
      response_.prepare_payload();
    } else {
      return;  // gone, or too slow
    }
    stream_.expires_after(patience);
    serializer_.emplace(response_);
    auto const sent = [self = shared_from_this()](error_code not_sent, std::size_t) {
      if (!not_sent) self->say_goodbye();
    };
    if (!failed && parser_.get().method() == http::verb::head) {
      http::async_write_header(stream_, *serializer_, sent);
    } else {
      http::async_write(stream_, *serializer_, sent);
    }
  }

  static bool is_bad_request(error_code failed) {
    return failed.category() == make_error_code(http::error::bad_method).category() &&
           failed != http::error::end_of_stream && failed != http::error::partial_message;
  }

  /// What a client sent on top is read and dropped: closing over unread bytes would reset the
  /// connection and could take the answer with it.
  void say_goodbye() {
    error_code ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_send,
                              ignored);  // NOLINT(bugprone-unused-return-value)
    stream_.expires_after(1s);
    discard(discarded_reads_max);
  }
  void discard(std::size_t reads_left) {
    if (reads_left == 0) return;
    stream_.async_read_some(asio::buffer(discarded_),
                            [self = shared_from_this(), reads_left](error_code end, std::size_t) {
                              if (!end) self->discard(reads_left - 1);
                            });
  }

  boost::beast::tcp_stream stream_;
  metrics const& shown_;
  std::size_t& connected_;
  boost::beast::flat_buffer buffer_{buffer_bytes_max};
  http::request_parser<http::empty_body> parser_;
  response response_;
  std::optional<http::response_serializer<http::string_body>> serializer_;
  std::array<std::byte, 1024> discarded_{};
};

std::string to_text(tcp::endpoint const& e) {
  std::ostringstream out;
  out << e;
  return std::move(out).str();
}

failure cannot_listen(error_code why, tcp::endpoint const& where) {
  namespace errc = boost::system::errc;
  std::string sentence = to_text(where);
  if (why == errc::address_in_use) {
    sentence += " is taken: another program listens there";
  } else if (why == errc::address_not_available) {
    sentence += " is not an address of this machine";
  } else if (why == errc::permission_denied) {
    sentence += ": this program may not listen on that port";
  } else {
    sentence += ": cannot listen there: " + why.message();
  }
  return failure{why, kind::resources, certainty::not_sent}.with_detail(sentence);
}

/// While it lives, the calling thread, and a thread that it starts, take no signals.
class signals_blocked {
 public:
  signals_blocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  signals_blocked(signals_blocked const&) = delete;
  signals_blocked& operator=(signals_blocked const&) = delete;
  ~signals_blocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

}  // namespace

struct metrics_endpoint::impl {
  explicit impl(metrics const& m) : shown(m) {}
  impl(impl const&) = delete;
  impl& operator=(impl const&) = delete;
  ~impl() {
    context.stop();
    if (thread.joinable()) thread.join();
  }

  error_code listen(tcp::endpoint const& at) {
    error_code failed;
    acceptor.open(at.protocol(), failed);
    if (!failed) acceptor.set_option(tcp::acceptor::reuse_address(true), failed);
    if (!failed) acceptor.bind(at, failed);
    if (!failed) acceptor.listen(tcp::acceptor::max_listen_connections, failed);
    if (!failed) bound = acceptor.local_endpoint(failed);
    return failed;
  }

  void start() {
    accept();
    signals_blocked const for_the_thread;
    thread = std::thread{[this] { run(); }};
  }

  void run() noexcept {
    while (!context.stopped()) {
      try {
        context.run();
      } catch (...) {  // NOLINT(bugprone-empty-catch): out of memory; that client is gone, the
                       // others stay
      }
    }
  }

  void accept() {
    acceptor.async_accept([this](error_code failed, tcp::socket socket) {
      if (failed) return accept_later();
      if (connected < connections_max) {
        try {
          std::make_shared<client>(std::move(socket), shown, connected)->start();
        } catch (...) {  // NOLINT(bugprone-empty-catch): out of memory: the client is closed
        }
      }
      accept();
    });
  }

  /// Out of descriptors, most likely: trying again at once would spin.
  void accept_later() {
    pause.expires_after(100ms);
    pause.async_wait([this](error_code cancelled) {
      if (!cancelled) accept();
    });
  }

  metrics const& shown;
  std::size_t connected = 0;  ///< counted by clients, which the context destroys: stands before it
  asio::io_context context{1};
  tcp::acceptor acceptor{context};
  asio::steady_timer pause{context};
  tcp::endpoint bound;
  std::thread thread;
};

metrics_endpoint::metrics_endpoint(std::unique_ptr<impl> i) noexcept : impl_(std::move(i)) {}
metrics_endpoint::metrics_endpoint(metrics_endpoint&&) noexcept = default;
metrics_endpoint& metrics_endpoint::operator=(metrics_endpoint&&) noexcept = default;
metrics_endpoint::~metrics_endpoint() = default;

result<metrics_endpoint> metrics_endpoint::open(std::string_view address, std::uint16_t port,
                                                metrics const& shown) {
  host_text const host{address == "localhost" ? std::string_view{"127.0.0.1"} : address};
  if (!host.address) {
    std::string const given{text<24>{address}.view()};
    return failure{kind::invalid, certainty::not_sent}.with_detail(
        !host.trouble.empty() ? host.trouble
                              : "'" + given + "' with port " + std::to_string(port) +
                                    " is not an IPv4 or IPv6 address");
  }
  tcp::endpoint const where{*host.address, port};
  try {
    error_code failed;
    auto made = std::make_unique<impl>(shown);
    if (failed = made->listen(where); failed) return cannot_listen(failed, where);
    made->start();
    return metrics_endpoint{std::move(made)};
  } catch (boost::system::system_error const& e) {  // no descriptors
    return cannot_listen(e.code(), where);
  } catch (std::system_error const& e) {  // no thread
    return cannot_listen(error_code{e.code()}, where);
  }
}

std::uint16_t metrics_endpoint::port() const noexcept { return impl_->bound.port(); }
std::string metrics_endpoint::address() const { return to_text(impl_->bound); }

}  // namespace cleat

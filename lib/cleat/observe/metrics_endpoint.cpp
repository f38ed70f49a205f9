#include <cleat/observe/metrics_endpoint.hpp>

#include <cleat/base/host_text.hpp>
#include <cleat/observe/signals_blocked.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/system/system_error.hpp>

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
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
/// At once; a process that may have few descriptors needs them for its work.
std::size_t connections_max() noexcept {
  rlimit descriptors{};
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) != 0) return 32;
  return std::clamp<std::size_t>(descriptors.rlim_cur / 4, 1, 32);
}
/// What a client has of its place before another may get it: while it says nothing, and while it
/// takes its answer.
constexpr auto silence_min = 20ms;
constexpr auto answering_min = 1s;
constexpr std::uint32_t header_bytes_max = 8 * 1024;
constexpr std::size_t buffer_bytes_max = 2 * std::size_t{header_bytes_max};
constexpr std::size_t discarded_reads_max = 64;

using response = http::response<http::string_body>;

/// The path of a target in origin-form (`/metrics?x`) or absolute-form (`http://here/metrics?x`),
/// whatever the authority: RFC 9112, section 3.2. Empty for one that is neither.
std::string_view path_of(std::string_view target) noexcept {
  constexpr std::string_view scheme = "http://";
  if (boost::beast::iequals(target.substr(0, scheme.size()), scheme)) {
    target.remove_prefix(scheme.size());
    std::size_t const end = std::min(target.find_first_of("/?"), target.size());
    if (end == 0) return {};
    target.remove_prefix(end);
    if (target.empty() || target.front() == '?') return "/";
  }
  return target.starts_with('/') ? target.substr(0, target.find('?')) : std::string_view{};
}

response answer(http::request_header<> const& ask, metrics const& shown) {
  response r{http::status::ok, 11};
  r.set(http::field::content_type, "text/plain; charset=utf-8");
  r.keep_alive(false);
  std::string_view const path = path_of({ask.target().data(), ask.target().size()});
  bool const is_metrics = path == "/metrics";
  bool const is_read = ask.method() == http::verb::get || ask.method() == http::verb::head;
  if (path.empty() && is_read) {
    r.result(http::status::bad_request);
    r.body() = "The target is neither a path nor http://HOST/PATH.\n";
  } else if (!path.empty() && !is_metrics && path != "/healthz") {
    r.result(http::status::not_found);
    r.body() = "There are /metrics and /healthz.\n";
  } else if (!is_read) {
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

using steady_clock = std::chrono::steady_clock;

class client;

/// The clients that are connected, in the order in which they came.
using guest_list = std::list<client*>;

/// One client: reads a request's header, answers, closes.
class client : public std::enable_shared_from_this<client> {
 public:
  client(tcp::socket socket, metrics const& shown, guest_list& guests)
      : stream_(std::move(socket)),
        shown_(shown),
        guests_(guests),
        here_(guests.insert(guests.end(), this)) {
    parser_.header_limit(header_bytes_max);
  }
  client(client const&) = delete;
  client& operator=(client const&) = delete;
  ~client() { leave(); }

  /// Whether it is being answered now, not before and not after.
  [[nodiscard]] bool is_answered() const noexcept { return answered_; }
  /// When it came, or the last phase of it began.
  [[nodiscard]] steady_clock::time_point since() const noexcept { return since_; }
  void close() {
    leave();
    stream_.close();
  }

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
    enter(true);
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

  void enter(bool answering) noexcept {
    answered_ = answering;
    since_ = steady_clock::now();
  }
  void leave() noexcept {
    if (here_ != guests_.end()) guests_.erase(std::exchange(here_, guests_.end()));
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
    enter(false);
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
  guest_list& guests_;
  guest_list::iterator here_;
  bool answered_ = false;
  steady_clock::time_point since_ = steady_clock::now();
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
      // Out of descriptors, most likely: trying again at once would spin.
      if (failed) return later(100ms, [this] { accept(); });
      next = std::move(socket);
      receive();
    });
  }

  /// The one that came last, as soon as there is a place. The others wait in the kernel.
  void receive() {
    if (guests.size() >= connections_max() && !send_one_away()) {
      return later(silence_min, [this] { receive(); });
    }
    try {
      std::make_shared<client>(std::move(next), shown, guests)->start();
    } catch (...) {  // out of memory
      next = tcp::socket{context};
    }
    accept();
  }

  /// The one that has been idle longest, if it has had its time; or else whoever takes too long
  /// over an answer.
  bool send_one_away() {
    auto const now = steady_clock::now();
    client* chosen = nullptr;
    for (client* const each : guests) {
      auto const had = each->is_answered() ? steady_clock::duration{answering_min} : silence_min;
      if (now - each->since() < had) continue;
      auto const rank = [](client const& c) { return std::pair{c.is_answered(), c.since()}; };
      if (chosen == nullptr || rank(*each) < rank(*chosen)) chosen = each;
    }
    if (chosen != nullptr) chosen->close();
    return chosen != nullptr;
  }

  template <class Act>
  void later(steady_clock::duration time, Act act) {
    pause.expires_after(time);
    pause.async_wait([act](error_code cancelled) {
      if (!cancelled) act();
    });
  }

  metrics const& shown;
  guest_list guests;  ///< of clients, which the context destroys: stands before it
  asio::io_context context{1};
  tcp::acceptor acceptor{context};
  asio::steady_timer pause{context};
  tcp::socket next{context};
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

#include <cleat/transport/tcp_network.hpp>

#include <cleat/base/event.hpp>
#include <cleat/base/host_text.hpp>
#include <cleat/base/scope.hpp>
#include <cleat/base/timed.hpp>
#include <cleat/transport/polled_tcp.hpp>
#include <cleat/transport/resolve.hpp>
#include <cleat/transport/tcp.hpp>

#include <boost/asio/ip/tcp.hpp>

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <optional>

namespace cleat {
namespace {

namespace asio = boost::asio;
using protocol = asio::ip::tcp;
using boost::system::error_code;
using namespace std::chrono_literals;

/// "Connection Attempt Delay", RFC 8305 section 5.
constexpr auto attempt_delay = 250ms;
/// Its lower limit there: addresses that fail at once are not tried in one burst.
constexpr auto attempt_delay_min = 10ms;

std::string to_text(protocol::endpoint const& e) {
  return to_address(e.address().to_string(), e.port());
}

/// One address.
task<result<any_stream>> connect_to(protocol::endpoint to, tcp_options options,
                                    time_point deadline) {
  auto const executor = co_await this_chain::executor;
  if (auto* const poller = detail::poller::of(executor)) {
    auto polled = co_await detail::polled_connect(*poller, to, options, deadline);
    co_return polled;
  }
  protocol::socket socket{executor};
  error_code code;
  socket.open(to.protocol(), code);
  if (code) co_return failure{code}.with(certainty::not_sent).with_detail(to_text(to));
  auto const connected = co_await timed(socket.async_connect(to, use_task), deadline);
  if (!connected) co_return connected.error().with(certainty::not_sent).with_detail(to_text(to));
  if (int const fd = socket.native_handle(); detail::reached_itself(fd, to.port())) {
    auto const why = detail::refused_by_itself(fd);
    co_return why.with(certainty::not_sent).with_detail(to_text(to));
  }
  co_return any_stream::of(tcp_stream{std::move(socket), options});
}

/// Several addresses: the next one starts when one has failed, but not at once, or when the one
/// before is slow.
class race {
 public:
  race(environment& env, tcp_options options, time_point deadline)
      : scope_(env), clock_(clock::of(env.executor())), options_(options), deadline_(deadline) {}

  task<result<any_stream>> run(endpoints all) {
    // Even the last address gets its share of a short deadline.
    auto const share = (deadline_ - clock_.now()) / static_cast<duration::rep>(all.size() + 1);
    auto const delay = std::clamp<duration>(share, attempt_delay_min, attempt_delay);
    for (std::size_t tried = 0; tried < all.size();) {
      auto const began = clock_.now();
      auto const with_this = ++under_way_;
      scope_.spawn(attempt(all[tried++]));
      while (!winner_ && tried < all.size()) {
        bool const failed = under_way_ < with_this;  // one of them, whichever
        auto const next = began + (failed ? attempt_delay_min : delay);
        auto const woken = co_await ended_.wait(std::min(deadline_, next));
        if (!woken) break;  // the next one's turn, or cancelled
      }
      bool const stop = co_await this_chain::cancelled;
      if (winner_ || stop || clock_.now() >= deadline_) break;
    }
    while (!winner_ && under_way_ != 0) {
      auto const woken = co_await ended_.wait();
      if (!woken) break;
    }
    scope_.cancel();
    co_await scope_.join();
    if (winner_) co_return std::move(*winner_);
    co_return why_;
  }

 private:
  task<> attempt(protocol::endpoint to) {
    auto got = co_await connect_to(to, options_, deadline_);
    --under_way_;
    if (got && !winner_) {
      winner_.emplace(std::move(*got));
    } else if (!got && !winner_) {
      why_ = got.error();
    }
    ended_.set();
  }

  scope scope_;
  clock& clock_;
  tcp_options options_;
  time_point deadline_;
  event ended_;
  std::size_t under_way_ = 0;
  std::optional<any_stream> winner_;
  failure why_{kind::timed_out, certainty::not_sent};
};

class tcp_listener final : public any_listener::model {
 public:
  explicit tcp_listener(protocol::acceptor acceptor) : acceptor_(std::move(acceptor)) {}

  task<result<any_stream>> accept() override {
    auto socket = co_await acceptor_.async_accept(use_task);
    if (!socket) {
      failure why = socket.error();
      if (!acceptor_.is_open()) why = failure{kind::shut_down, certainty::not_sent};
      co_return why.with(certainty::not_sent);
    }
    co_return any_stream::of(tcp_stream{std::move(*socket)});
  }
  void close() noexcept override {
    error_code ignored;
    acceptor_.close(ignored);
  }
  [[nodiscard]] std::string address() const override {
    error_code ignored;
    return to_text(acceptor_.local_endpoint(ignored));
  }
  [[nodiscard]] std::uint16_t port() const override {
    error_code ignored;
    return acceptor_.local_endpoint(ignored).port();
  }

 private:
  protocol::acceptor acceptor_;
};

}  // namespace

task<result<any_stream>> tcp_network::dial(std::string host, std::uint16_t port,
                                           tcp_options options, time_point deadline) {
  auto found = co_await resolve(std::move(host), port, deadline);
  if (!found) co_return found.error();
  if (found->size() == 1) {
    auto one = co_await connect_to(found->front(), options, deadline);
    co_return one;
  }
  environment& env = co_await this_chain::environment;
  race r{env, options, deadline};
  auto best = co_await r.run(std::move(*found));
  co_return best;
}

result<any_listener> tcp_network::listen(environment::executor_type const& executor,
                                         std::string const& host, std::uint16_t port) {
  return listen_at(executor, host, port, false);
}

result<any_listener> tcp_network::listen_sharing(environment::executor_type const& executor,
                                                 std::string const& host, std::uint16_t port) {
  return listen_at(executor, host, port, true);
}

result<any_listener> tcp_network::listen_at(environment::executor_type const& executor,
                                            std::string const& host, std::uint16_t port,
                                            bool shared) {
  auto const wrong = [&](error_code code) {
    return failure{code, kind::resources, certainty::not_sent}.with_detail("listening on " +
                                                                           to_address(host, port));
  };
  host_text const text{host};
  if (!text.address) {
    auto const why = text.trouble.empty() ? host + " is no address to listen on" : text.trouble;
    return failure{kind::invalid, certainty::not_sent}.with_detail(why);
  }
  error_code code;
  protocol::endpoint const at{*text.address, port};
  protocol::acceptor acceptor{executor};
  if (acceptor.open(at.protocol(), code)) return wrong(code);
  if (acceptor.set_option(protocol::acceptor::reuse_address(true), code)) return wrong(code);
  int const on = 1;
  if (shared &&
      ::setsockopt(acceptor.native_handle(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) {
    return wrong(error_code{errno, boost::system::system_category()});
  }
  if (acceptor.bind(at, code)) return wrong(code);
  if (acceptor.listen(asio::socket_base::max_listen_connections, code)) return wrong(code);
  if (auto* const poller = detail::poller::of(executor))
    return any_listener{detail::polled_listen(*poller, std::move(acceptor))};
  return any_listener{std::make_unique<tcp_listener>(std::move(acceptor))};
}

}  // namespace cleat

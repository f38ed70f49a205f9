#include "journal.hpp"
#include "peers/allocations.hpp"
#include "roles.hpp"

#include <cleat/base/spawn.hpp>
#include <cleat/observe/metrics.hpp>
#include <cleat/observe/observe.hpp>
#include <cleat/runtime/run.hpp>
#include <cleat/runtime/server.hpp>
#include <cleat/session/session.hpp>
#include <cleat/transport/network.hpp>
#include <toggle/protocol.hpp>

#include <boost/asio/io_context.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace bench {

namespace {

using cleat::result;
using cleat::task;
using toggle::message;

/// A lamp, and whoever wants to hear of what it is asked.
class lamp {
 public:
  explicit lamp(cleat::event_table const* events) noexcept { options_.events = events; }

  task<> converse(cleat::any_stream stream) {
    cleat::session with{std::move(stream), toggle::protocol{}, options_};
    with.serve = [this](message m) { return answer(std::move(m)); };
    static_cast<void>(co_await with.run());
  }

 private:
  task<result<message>> answer(message request) {
    on_ = request.state.value_or(on_);
    peers::add(peers::answers, 1);
    co_return message::ack(request, on_);
  }

  cleat::session_options options_;
  bool on_ = false;
};

/// An event loop with a server in it.
class shop {
 public:
  explicit shop(cleat::event_table const* events) : lamp_(events) {}

  static result<std::unique_ptr<shop>> open(std::uint16_t port, bool shared,
                                            cleat::event_table const* events) {
    auto made = std::make_unique<shop>(events);
    auto const executor = made->context_.get_executor();
    auto& net = cleat::network::of(executor);
    auto listener = shared ? net.listen_sharing(executor, "127.0.0.1", port)
                           : net.listen(executor, "127.0.0.1", port);
    if (!listener) return listener.error();
    made->server_.emplace(std::move(*listener), [&lamp = made->lamp_](cleat::any_stream s) {
      return lamp.converse(std::move(s));
    });
    cleat::spawn(executor, serve(*made->server_));
    return made;
  }

  [[nodiscard]] std::uint16_t port() const { return server_->port(); }
  void run(std::chrono::nanoseconds spin) { cleat::run(context_, spin); }

 private:
  static task<> serve(cleat::server& s) { static_cast<void>(co_await s.run()); }

  lamp lamp_;
  boost::asio::io_context context_{1};
  std::optional<cleat::server> server_;
};

int refuse(cleat::failure const& why) {
  std::fprintf(stderr, "bench: %s\n", why.message().c_str());
  return 4;
}

}  // namespace

int serve(options const& o) {
  boost::asio::io_context for_time;
  auto sink = open_journal(o, cleat::clock::of(for_time.get_executor()));
  cleat::metrics metrics;
  cleat::log log{**sink, level_of_good_news(o), level_of_good_news(o)};
  cleat::tee events{metrics, log};

  // A loop a thread, each with a lamp and a listener of its own at the same port.
  std::vector<std::unique_ptr<shop>> shops;
  std::uint16_t port = o.port;
  for (unsigned n = 0; n < o.threads; ++n) {
    auto opened = shop::open(port, o.threads > 1, o.layers == stack::all ? &events : nullptr);
    if (!opened) return refuse(opened.error());
    port = (*opened)->port();
    shops.push_back(std::move(*opened));
  }
  peers::tell_allocations_on_sigusr1();
  peers::say_listening(port);
  std::vector<std::jthread> others;
  for (unsigned n = 1; n < o.threads; ++n)
    others.emplace_back([&one = *shops[n], &o] { one.run(o.spin); });
  shops.front()->run(o.spin);
  return 0;
}

}  // namespace bench

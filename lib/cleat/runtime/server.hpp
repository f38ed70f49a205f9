#pragma once

#include <cleat/base/event.hpp>
#include <cleat/base/scope.hpp>
#include <cleat/transport/network.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <utility>

namespace cleat {

/// Accepts connections and runs a task for each, usually a session.
///
/// `run` goes on until it is cancelled or `stop` is called; then it ends the tasks, waits for them
/// and gives the reason (`shut_down` or `cancelled`). At the limit of connections it accepts no
/// more until one ends; a shortage of descriptors is waited out. What escapes a task ends only that
/// task, and leaves through `run` in the end. Used on one executor.
class server {
 public:
  using handler = std::function<task<>(any_stream)>;

  server(any_listener listener, handler serve, std::size_t connections_max = 10'000)
      : listener_(std::move(listener)),
        serve_(std::move(serve)),
        connections_max_(connections_max) {}

  [[nodiscard]] std::string address() const { return listener_.address(); }
  [[nodiscard]] std::uint16_t port() const { return listener_.port(); }
  [[nodiscard]] std::size_t connections() const noexcept { return connections_; }

  task<failure> run() {
    environment& env = co_await this_chain::environment;
    scope beside{env};
    failure why{kind::shut_down, certainty::not_sent};
    while (!stopped_) {
      if (connections_ >= connections_max_) {
        auto const freed = co_await freed_.wait();
        if (!freed) {
          why = freed.error();
          break;
        }
        continue;
      }
      auto stream = co_await listener_.accept();
      if (stream) {
        beside.spawn(one(std::move(*stream)));
        continue;
      }
      failure const trouble = stream.error();
      if (trouble.why() == kind::cancelled || trouble.why() == kind::shut_down) {
        why = trouble;
        break;
      }
      // Out of descriptors, or a connection that was gone before it was accepted: neither ends a
      // server.
      auto& time = clock::of(env.executor());
      auto const slept = co_await sleep_until(
          time.now() + std::chrono::milliseconds{trouble.why() == kind::reset ? 0 : 100});
      if (!slept) {
        why = slept.error();
        break;
      }
    }
    if (stopped_) why = failure{kind::shut_down, certainty::not_sent};
    listener_.close();
    beside.cancel();
    {
      auto const guard = co_await this_chain::shield;
      co_await beside.join();
    }
    co_return why;
  }

  void stop() noexcept {
    stopped_ = true;
    listener_.close();
    freed_.set();
  }

 private:
  task<> one(any_stream stream) {
    ++connections_;
    std::exception_ptr thrown;
    try {
      co_await serve_(std::move(stream));
    } catch (...) {
      thrown = std::current_exception();
    }
    --connections_;
    freed_.set();
    if (thrown) std::rethrow_exception(thrown);
  }

  any_listener listener_;
  handler serve_;
  std::size_t connections_max_;
  std::size_t connections_ = 0;
  event freed_;
  bool stopped_ = false;
};

}  // namespace cleat

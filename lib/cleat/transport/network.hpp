#pragma once

#include <cleat/transport/any_stream.hpp>

#include <boost/asio/execution_context.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace cleat {

/// What a TCP connection is set to.
struct tcp_options {
  bool no_delay = true;    ///< send small frames at once
  bool keep_alive = true;  ///< let the system notice a peer that is gone for hours
};

/// Accepts connections: what `network::listen` gives. The promises are `Listener`'s.
class any_listener {
 public:
  using stream_type = any_stream;

  class model {
   public:
    virtual ~model() = default;
    virtual task<result<any_stream>> accept() = 0;
    virtual void close() noexcept = 0;
    [[nodiscard]] virtual std::string address() const = 0;
    [[nodiscard]] virtual std::uint16_t port() const = 0;
  };

  explicit any_listener(std::unique_ptr<model> listener) noexcept : model_(std::move(listener)) {}

  task<result<any_stream>> accept() { return model_->accept(); }
  void close() noexcept { model_->close(); }
  [[nodiscard]] std::string address() const { return model_->address(); }
  /// The port that the system chose, if 0 was asked for.
  [[nodiscard]] std::uint16_t port() const { return model_->port(); }

 private:
  std::unique_ptr<model> model_;
};

static_assert(Listener<any_listener>);

/// The network as one execution context sees it: the machine's own, or a simulation's.
///
/// Thread safety: `dial` and `listen` may be called from any chain of the context.
class network final : public boost::asio::execution_context::service {
 public:
  using key_type = network;
  static boost::asio::execution_context::id id;

  /// What a network can do; strings are copied into the tasks.
  class model {
   public:
    virtual ~model() = default;
    virtual task<result<any_stream>> dial(std::string host, std::uint16_t port, tcp_options options,
                                          time_point deadline) = 0;
    virtual result<any_listener> listen(environment::executor_type const& executor,
                                        std::string const& host, std::uint16_t port) = 0;
    virtual result<any_listener> listen_sharing(environment::executor_type const& executor,
                                                std::string const& host, std::uint16_t port) {
      return listen(executor, host, port);
    }
  };

  explicit network(boost::asio::execution_context& context);

  [[nodiscard]] static network& of(environment::executor_type const& executor);

  /// A connection to `host` (a name or an address), by the deadline. Errors: see `Dialer`.
  [[nodiscard]] task<result<any_stream>> dial(std::string host, std::uint16_t port,
                                              tcp_options options, time_point deadline) {
    return model_->dial(std::move(host), port, options, deadline);
  }
  /// Listens on a literal address; port 0 lets the system choose. Fails as `invalid` if `host` is
  /// none (see `host_text`), else as `resources` with the address in words.
  [[nodiscard]] result<any_listener> listen(environment::executor_type const& executor,
                                            std::string const& host, std::uint16_t port) {
    return model_->listen(executor, host, port);
  }
  /// The same beside others who listen there in this way: the system shares out the connections
  /// among them (SO_REUSEPORT). For a server with an event loop for each of several threads.
  [[nodiscard]] result<any_listener> listen_sharing(environment::executor_type const& executor,
                                                    std::string const& host, std::uint16_t port) {
    return model_->listen_sharing(executor, host, port);
  }

  /// For simulations. Gives what was there, for those who stand in front of it.
  std::unique_ptr<model> replace(std::unique_ptr<model> with) {
    return std::exchange(model_, std::move(with));
  }

 private:
  void shutdown() override {}
  std::unique_ptr<model> model_;
};

}  // namespace cleat

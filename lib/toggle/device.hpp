#pragma once

#include <cleat/base/clock.hpp>
#include <cleat/base/result.hpp>
#include <cleat/base/task.hpp>
#include <cleat/runtime/server.hpp>
#include <cleat/transport/any_stream.hpp>
#include <toggle/device_ledger.hpp>
#include <toggle/device_mode.hpp>
#include <toggle/message.hpp>
#include <toggle/protocol.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace toggle {

/// What a simulated device tells of itself.
class device_event {
 public:
  enum class type : std::uint8_t {
    connected,   ///< a connection was accepted
    asked,       ///< a request was read
    executed,    ///< and carried out
    repeated,    ///< or not, since its op_id was carried out before
    unrecorded,  ///< or not, since the ledger could not be written
    ended,       ///< the connection is over
  };

  device_event(type t, std::uint64_t number, device_mode m, message const* r = nullptr) noexcept
      : what(t), connection(number), mode(m), request(r) {}

  type what;
  /// Connections are numbered from 1.
  std::uint64_t connection;
  device_mode mode;
  /// Lives as long as the notification; null for `connected` and `ended`.
  message const* request;
};

[[nodiscard]] std::string_view to_string(device_event::type t) noexcept;

/// How a simulated device behaves.
class device_options {
 public:
  device_options() = default;

  /// Its names, each with a state of its own. At least one.
  std::vector<std::string> ids{"DEVICE123"};
  /// The mode of each connection in turn; the last one is that of all further ones. At least one.
  std::vector<device_mode> script{device_mode::ok};
  /// What the mode `delay` waits before it answers.
  cleat::duration delay = std::chrono::seconds{1};
  /// The file that it notes each execution in before it acts (see `device_ledger`); empty: none.
  std::string ledger;
  /// Told of what happens; must not throw. Null: nobody.
  std::function<void(device_event const&)> heard;
};

/// A device that exists only in software: a TCP server that speaks `toggle::protocol`, well or, as
/// its script says, badly.
///
/// - Each of its ids is off at first. A `toggle` sets the state, a `status` only asks. A request
/// for
///   an unknown id is answered by a nack, "unknown device", that is spoiled as any answer.
/// - What the ledger does not take is not carried out, and is answered by a nack.
/// - What has an op_id that was carried out before is not carried out again, and is acknowledged;
///   of each id the last 1,000 are remembered.
/// - `device_mode` says which modes act.
///
/// Thread safety: none; everything on the executor that it was opened for.
class device {
 public:
  /// How many operations of each id it remembers.
  static constexpr std::size_t operations_max = 1000;

  /// Listens on `address` (an IPv4 or IPv6 address) and `port` (0: any free one). Fails as
  /// `resources` if it cannot, or if the ledger cannot be opened.
  [[nodiscard]] static cleat::result<std::unique_ptr<device>> open(
      cleat::environment::executor_type const& executor, std::string const& address,
      std::uint16_t port, device_options options = {});

  device(device const&) = delete;
  device& operator=(device const&) = delete;
  ~device();

  [[nodiscard]] std::uint16_t port() const { return server_.port(); }
  /// As `127.0.0.1:9000`.
  [[nodiscard]] std::string address() const { return server_.address(); }

  /// Serves until it is cancelled or `stop` is called, and gives the reason.
  cleat::task<cleat::failure> run() { return server_.run(); }
  void stop() noexcept { server_.stop(); }

  /// Whether this id is on; nothing if there is no such id.
  [[nodiscard]] std::optional<bool> state(std::string_view id) const;
  /// How many connections were accepted so far.
  [[nodiscard]] std::uint64_t connections() const noexcept { return connections_; }

 private:
  /// One id.
  class lamp {
   public:
    /// Whether this operation was carried out before.
    [[nodiscard]] bool knows(std::string_view op_id) const;
    void remember(std::string_view op_id);

    bool on = false;

   private:
    std::unordered_set<std::string> known_;
    std::deque<std::string> order_;
  };
  class visit;

  device(cleat::environment::executor_type const& executor, cleat::any_listener listener,
         device_options options, device_ledger ledger);

  cleat::task<> serve(cleat::any_stream stream);

  cleat::clock& clock_;
  cleat::environment::executor_type executor_;
  device_options options_;
  device_ledger ledger_;
  std::map<std::string, lamp, std::less<>> lamps_;
  std::uint64_t connections_ = 0;
  cleat::server server_;
};

}  // namespace toggle

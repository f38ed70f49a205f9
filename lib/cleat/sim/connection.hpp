#pragma once

#include <cleat/base/bytes.hpp>
#include <cleat/base/event.hpp>
#include <cleat/sim/network.hpp>
#include <cleat/transport/any_stream.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

namespace cleat::sim::detail {

/// A simulated TCP connection: two ends, and what flies between them. End 0 dialled, end 1 was accepted.
class connection final : public std::enable_shared_from_this<connection> {
 public:
  connection(network& in, environment::executor_type dialler, environment::executor_type listener,
             std::string host);
  connection(connection const&) = delete;
  connection& operator=(connection const&) = delete;
  ~connection();

  /// Gives one of the ends into somebody's hands.
  [[nodiscard]] any_stream end(std::size_t which);

  [[nodiscard]] std::string const& host() const noexcept { return host_; }

  [[nodiscard]] bool is_dead() const noexcept { return vanished_ || crashed_; }

  // What the network does to it.
  void break_off();        ///< both ends are told that it is gone
  void vanish() noexcept;  ///< nothing passes any more
  void crash();            ///< the accepted end is gone without a word
  void boot();             ///< its host is up again, and knows nothing of this connection
  void thaw();             ///< its host is no longer cut off
  void stall(duration by);
  void quicken();  ///< no longer slow

 private:
  class stream;

  enum class what : std::uint8_t { data, fin, rst };
  struct segment {
    segment(time_point when, what kind, byte_buffer payload)
        : due(when), is(kind), bytes(std::move(payload)) {}
    time_point due;
    what is;
    byte_buffer bytes;
  };
  /// One direction, towards one end.
  struct way {
    connection* of = nullptr;
    std::size_t to = 0;
    std::deque<segment> flying;
    byte_buffer arrived;
    std::size_t outstanding = 0;  ///< bytes accepted and not yet read: flying, lost, or arrived
    time_point last_due{};        ///< nothing overtakes
    time_point pause_until{};     ///< of a slow reader
    timer arrival;
    event may_read;
    event may_write;
    bool fin = false;
  };

  [[nodiscard]] result<std::size_t> read(std::size_t end, std::span<std::byte> into);
  [[nodiscard]] result<std::size_t> write(std::size_t end, std::span<bytes_view const> gather);
  void close(std::size_t end) noexcept;
  static task<result<void>> readable(std::shared_ptr<connection> self, std::size_t end);
  static task<result<void>> writable(std::shared_ptr<connection> self, std::size_t end);

  [[nodiscard]] bool ended(std::size_t end) const noexcept {
    return !open_[end] || reset_[end] || ways_[end].fin;
  }
  void send(way& on, what kind, byte_buffer bytes, duration later = {});
  void send_reset(way& on);
  void arm(way& on);
  void arrive(way& on);
  void arrive(way& on, segment s);
  void wake(std::size_t end) noexcept;
  [[nodiscard]] std::string_view name(std::size_t end) const noexcept { return names_[end].view(); }

  network& network_;
  std::array<environment::executor_type, 2> executors_;  ///< of each end
  std::string host_;
  std::uint64_t number_;
  std::array<text<31>, 2> names_;
  std::array<way, 2> ways_;
  std::array<bool, 2> open_{true, true};
  std::array<bool, 2> reset_{};
  bool vanished_ = false;
  bool crashed_ = false;  ///< the accepted end is gone
  bool slow_ = false;
};

/// Where connections to one port wait to be accepted.
class listening final : public any_listener::model {
 public:
  listening(network& in, environment::executor_type executor, std::string host, std::uint16_t port);
  ~listening() override;

  task<result<any_stream>> accept() override;
  void close() noexcept override;
  [[nodiscard]] std::string address() const override;
  [[nodiscard]] std::uint16_t port() const override { return port_; }

  [[nodiscard]] bool is_full() const noexcept { return waiting_.size() >= backlog_max; }
  void push(any_stream s) {
    waiting_.push_back(std::move(s));
    arrived_.set();
  }
  [[nodiscard]] environment::executor_type const& executor() const noexcept { return executor_; }

 private:
  static constexpr std::size_t backlog_max = 128;

  network& network_;
  environment::executor_type executor_;
  std::string host_;
  std::uint16_t port_;
  bool open_ = true;
  std::deque<any_stream> waiting_;
  event arrived_;
};

}  // namespace cleat::sim::detail

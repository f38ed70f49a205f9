#pragma once

#include <cleat/base/bytes.hpp>
#include <cleat/sim/conditions.hpp>
#include <cleat/sim/history.hpp>
#include <cleat/sim/random.hpp>
#include <cleat/transport/network.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace cleat::sim {

namespace detail {
class connection;
class listening;
}  // namespace detail

/// The network of a `world`: hosts by name, connections between them, and what goes wrong with both.
///
/// A host exists from the first time that something listens on it or a fault is given to it; others do not resolve. Whoever dials has no name, so
/// that faults are given by the host that was dialled. Everything that happens is noted in the world's history.
///
/// Thread safety: none.
class network {
 public:
  network(cleat::sim::history& notes, random numbers) : history_(notes), random_(numbers) {}
  network(network const&) = delete;
  network& operator=(network const&) = delete;

  /// How it treats everything from here on.
  void set(conditions const& c) noexcept { conditions_ = c; }
  [[nodiscard]] conditions const& current() const noexcept { return conditions_; }
  /// The faults stop: no more of them by chance, slow connections become quick, hosts that were cut off or down are
  /// back, dials go as they should. What is broken stays broken.
  void calm();

  /// What becomes of the next dials to this host; after those, chance decides.
  void script_dials(std::string const& host, std::deque<dial_fate> fates);
  /// Nothing reaches this host or leaves it, until `heal`; then what was under way arrives.
  void cut(std::string const& host);
  void heal(std::string const& host);
  /// The host goes down: its listeners and the ends of its connections fail, the other ends hear nothing. Stop what runs
  /// on it; its state is yours to lose.
  void crash(std::string const& host);
  /// It is up again: whoever still writes to it is told that the connection is gone.
  void boot(std::string const& host);
  [[nodiscard]] bool is_up(std::string const& host) const;

  /// All connections to this host break, and both ends are told.
  void reset(std::string const& host);
  /// Nothing passes through the connections to this host any more, and nobody is told.
  void vanish(std::string const& host);
  /// What passes through the connections to this host comes so much later.
  void stall(std::string const& host, duration by);

  /// How often this happened.
  [[nodiscard]] std::uint64_t count(fault f) const noexcept {
    return counts_[static_cast<std::size_t>(f)];
  }
  /// Connections made, and ends of them that nobody has destroyed yet.
  [[nodiscard]] std::uint64_t connections() const noexcept { return connections_made_; }
  [[nodiscard]] std::size_t open_ends() const noexcept { return open_ends_; }

  // What `cleat::network` asks of it.
  task<result<any_stream>> dial(std::string host, std::uint16_t port, time_point deadline);
  result<any_listener> listen(environment::executor_type const& executor, std::string const& host,
                              std::uint16_t port);

 private:
  friend class detail::connection;
  friend class detail::listening;
  friend class world;

  struct host_state {
    std::map<std::uint16_t, detail::listening*> listeners;
    std::deque<dial_fate> script;
    std::uint16_t next_port = 49152;
    bool cut = false;
    bool down = false;
  };

  void note(std::string_view what, std::string_view who, std::uint64_t a = 0, std::uint64_t b = 0);
  void happened(fault f, std::string_view who);
  [[nodiscard]] static std::uint64_t digest(bytes_view bytes) noexcept;
  [[nodiscard]] duration latency() {
    return random_.between(conditions_.latency_min, conditions_.latency_max);
  }
  [[nodiscard]] dial_fate fate_of_dial(std::string const& host);
  void each(std::string const& host, std::function<void(detail::connection&)> const& f);
  [[nodiscard]] bool is_cut(std::string const& host) const;

  cleat::sim::history& history_;
  random random_;
  clock* clock_ = nullptr;  ///< set by the world
  time_point began_{};
  conditions conditions_;
  std::map<std::string, host_state, std::less<>> hosts_;
  std::map<std::uint64_t, detail::connection*> alive_;  ///< by number: in the order of their making
  std::array<std::uint64_t, faults.size()> counts_{};
  std::uint64_t connections_made_ = 0;
  std::size_t open_ends_ = 0;
};

}  // namespace cleat::sim

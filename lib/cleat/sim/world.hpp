#pragma once

#include <cleat/base/call.hpp>
#include <cleat/base/chains.hpp>
#include <cleat/base/clock.hpp>
#include <cleat/base/spawn.hpp>
#include <cleat/sim/history.hpp>
#include <cleat/sim/network.hpp>
#include <cleat/sim/random.hpp>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cleat::sim {

/// Everybody waits, and for nothing; or somebody turns on the spot. The text says who.
class stuck : public std::runtime_error {
 public:
  using runtime_error::runtime_error;
};

/// What connections of a world are made of.
enum class medium : std::uint8_t {
  simulated,  ///< `sim::network`: everything follows from the seed
  loopback,  ///< the machine's own sockets; time is virtual all the same, and jumps when they are silent
};

/// An execution context of its own in which time, randomness and the network follow from one number: the same code, and
/// for the same seed the same history.
///
/// Time stands still while anybody has something to do, and then jumps to the next moment at which somebody has.
///
/// ```
/// sim::world world{seed};
/// world.network().set(rough);
/// auto const answer = world.run(ask());       // `ask` dials "lamp", where another chain listens
/// BOOST_TEST(world.leftovers().empty());
/// ```
///
/// Streams, listeners and peers of its network are gone before it is; its chains go with it.
///
/// Thread safety: none; several worlds may be used on several threads.
class world {
 public:
  explicit world(std::uint64_t seed, medium m = medium::simulated);
  world(world const&) = delete;
  world& operator=(world const&) = delete;
  /// Chains that still live are destroyed.
  ~world();

  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }
  [[nodiscard]] environment::executor_type executor() { return context.get_executor(); }
  [[nodiscard]] time_point now() const noexcept { return clock_->now(); }
  /// Virtual time since the beginning.
  [[nodiscard]] duration elapsed() const noexcept { return now() - began_; }
  [[nodiscard]] call new_call() { return call{executor()}; }

  /// The network that `cleat::network` is in this context (unless the medium is `loopback`).
  [[nodiscard]] sim::network& network() noexcept { return network_; }
  /// Numbers for the scenario: what it draws changes nothing of what the network draws.
  [[nodiscard]] sim::random& random() noexcept { return random_; }
  [[nodiscard]] sim::history& history() noexcept { return history_; }
  /// Adds an event of the scenario to the history. `what` is a literal.
  void note(std::string_view what, std::string_view who, std::uint64_t a = 0, std::uint64_t b = 0) {
    history_.note(elapsed(), what, who, a, b);
  }

  /// When so much virtual time has passed since the beginning, whoever still runs is `stuck`; at first a year.
  void limit(duration most) noexcept { elapsed_max_ = most; }

  /// Counts something by name, for the summary of a sweep. `what` is a literal.
  void tally(std::string_view what, std::uint64_t times = 1) { tallies_[what] += times; }
  [[nodiscard]] std::map<std::string_view, std::uint64_t> const& tallies() const noexcept {
    return tallies_;
  }

  /// Does one thing: a piece of work that is ready, or the jump to the next moment at which there is some. False when
  /// nothing is left to do. Throws `stuck` if time does not go on.
  bool step();
  /// Goes on until nothing is left to do at this moment and `by` has passed.
  void run_for(duration by);
  /// Runs a task to its end and gives its value; what it throws is thrown. Throws `stuck` if it never ends.
  template <class T>
  T run(task<T> t);
  void run(task<void> t);
  /// The same for what else a service may return.
  template <class A>
    requires std::derived_from<A, leaf> || std::derived_from<A, in_place>
  auto run(A&& operation) {
    return run(awaited(operation));
  }
  void spawn(task<void> t) { cleat::spawn(executor(), std::move(t)); }

  /// What is still there, in sentences: chains, alarms, ends of connections. None when everything has ended.
  [[nodiscard]] std::vector<std::string> leftovers();

 private:
  class time_source;
  class network_model;

  template <class A>
  static task<await_result_t<A>> awaited(A& operation) {
    auto value = co_await std::move(operation);
    co_return value;
  }

  void drive(bool const& done);
  bool work();
  bool work_counted();
  [[noreturn]] void throw_stuck(std::string why);

  // Connections in the context's chains refer to these.
  std::uint64_t seed_;
  sim::random random_;
  sim::history history_;
  std::map<std::string_view, std::uint64_t> tallies_;
  sim::network network_;

 public:
  boost::asio::io_context context{1};

 private:
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  medium medium_;
  clock* clock_;
  time_source* time_;
  time_point began_;
  duration elapsed_max_ = std::chrono::hours{24 * 365};
  std::uint64_t steps_since_jump_ = 0;
};

template <class T>
T world::run(task<T> t) {
  struct outcome {
    std::optional<T> value;
    std::exception_ptr thrown;
    bool done = false;
  };
  auto const out = std::make_shared<outcome>();  // a task that is stuck outlives this call
  cleat::spawn(executor(), std::move(t), [out](std::exception_ptr error, T v) {
    out->thrown = error;
    out->value.emplace(std::move(v));
    out->done = true;
  });
  drive(out->done);
  if (out->thrown) std::rethrow_exception(out->thrown);
  return *std::move(out->value);
}

}  // namespace cleat::sim

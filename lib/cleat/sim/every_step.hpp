#pragma once

#include <cleat/base/task.hpp>
#include <cleat/sim/failing_network.hpp>
#include <cleat/sim/world.hpp>

#include <boost/asio/cancellation_signal.hpp>

#include <array>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cleat::sim {

class rerun;

/// What is run again and again: a coroutine that sets things up, awaits what is looked at
/// (`rerun::subject`), says what has to hold (`rerun::expect`), and ends everything it began.
using stepped_scenario = std::function<task<>(rerun&)>;

/// Where a scenario runs, and how its operations fail.
class every_step_options {
 public:
  every_step_options() noexcept {}

  medium over = medium::simulated;
  std::uint64_t seed = 1;
  /// How the operation fails that is to fail, and what holds for all others; `nth` is the
  /// harness's.
  io_fault fault;
  /// How much time a subject may still take once it is cancelled.
  duration cancelled_within{};
  /// A scenario that has more steps has no end.
  std::uint64_t runs_max = 10'000;
};

/// What came of it.
class every_step_report {
 public:
  /// In how many runs something was done to the scenario: how many steps it has. One more run was
  /// left untouched.
  std::uint64_t steps = 0;
  /// What did not hold, in sentences that begin with the step. None when all is well.
  std::vector<std::string> broken;

  /// How often an operation of this kind was the one that failed.
  [[nodiscard]] std::uint64_t failed(io o) const noexcept {
    return failed_[static_cast<std::size_t>(o)];
  }

 private:
  friend class rerun;
  std::array<std::uint64_t, ios.size()> failed_{};
};

/// Runs the scenario with its 1st I/O operation failing, in a world of its own; then with its 2nd,
/// its 3rd, …; until it comes through untouched.
///
/// ```
/// task<> one_call(sim::rerun& r) {
///   …                                                // a device, and a client
///   auto asking = client(request, call);
///   auto const answer = co_await r.subject(std::move(asking));
///   r.calm();                                        // nothing fails from here on
///   auto const next = co_await client(request, other_call);
///   r.expect(next.has_value(), "the next call succeeds");
///   …                                                // the device is stopped and joined
/// }
///
/// for (auto const& sentence : sim::fail_at_every_operation(one_call).broken)
///   BOOST_ERROR(sentence);
/// ```
///
/// After each run it is checked that the scenario has ended and that nothing is left over: no
/// chain, no alarm, no end of a connection. What the scenario throws is a sentence too.
[[nodiscard]] every_step_report fail_at_every_operation(stepped_scenario const& of,
                                                        every_step_options const& options = {});

/// Runs the scenario and cancels its subject as soon as it has begun, after its 1st step, its 2nd,
/// its 3rd, …; until the subject ends before its turn comes.
///
/// A step is one handler of the event loop, or one jump of the time. A chain is suspended whenever
/// no handler runs, so that between two handlers is every suspension there is: each one of the
/// subject is met, and also each moment at which what it waits for has happened and it does not
/// know yet. The same checks as above; and, once cancelled, the subject ends without time going on.
[[nodiscard]] every_step_report cancel_at_every_step(stepped_scenario const& of,
                                                     every_step_options const& options = {});

/// Runs the scenario and destroys its world after no step at all, after the 1st, the 2nd, …; until
/// it ends before that. Then everything that waits goes away unresumed, in the order in which the
/// context happens to have it; a sanitizer tells who uses whom too late. Checked is that no stream
/// and no listener is left.
[[nodiscard]] every_step_report destroy_at_every_step(stepped_scenario const& of,
                                                      every_step_options const& options = {});

/// One run of a scenario, as the scenario sees it.
///
/// Thread safety: none.
class rerun {
 public:
  rerun(rerun const&) = delete;
  rerun& operator=(rerun const&) = delete;

  [[nodiscard]] sim::world& world() noexcept { return *world_; }
  [[nodiscard]] medium over() const noexcept { return options_.over; }

  /// Runs a task as a chain of its own and gives what it gives. This chain is what
  /// `cancel_at_every_step` cancels; the scenario, which awaits it, goes on.
  template <class T>
  task<T> subject(task<T> t) {
    std::optional<T> value;
    co_await subject(keep(std::move(t), value));
    co_return *std::move(value);
  }
  task<> subject(task<> t);

  /// From here on no operation fails: for what has to go well after whatever happened before.
  void calm() noexcept { io_->calm(); }

  /// Nothing failed so far, and nothing was cancelled: what this scenario is without a harness.
  [[nodiscard]] bool untouched() const noexcept { return !cancelled_ && !io_->failed(); }
  /// The subject was cancelled.
  [[nodiscard]] bool cancelled() const noexcept { return cancelled_; }

  /// A promise that has to hold here and now. Those that do not are kept as sentences.
  bool expect(bool kept, std::string_view promise, std::string_view detail = {});

 private:
  friend every_step_report fail_at_every_operation(stepped_scenario const&,
                                                   every_step_options const&);
  friend every_step_report cancel_at_every_step(stepped_scenario const&, every_step_options const&);
  friend every_step_report destroy_at_every_step(stepped_scenario const&,
                                                 every_step_options const&);

  template <class T>
  static task<> keep(task<T> t, std::optional<T>& out) {
    T value = co_await std::move(t);
    out.emplace(std::move(value));
  }

  static constexpr std::uint64_t not_at_all = ~std::uint64_t{0};

  explicit rerun(every_step_options const& options, std::uint64_t failing = 0);
  ~rerun();

  void start(stepped_scenario const& of);
  bool step();
  void run(std::uint64_t cancel_at);
  void look_for_delay();
  void look_for_open_streams();
  void report(every_step_report& to, std::string_view what_was_done) const;

  static every_step_report repeat(every_step_options const& options,
                                  bool (*one)(stepped_scenario const&, every_step_options const&,
                                              std::uint64_t, every_step_report&),
                                  stepped_scenario const& of);

  every_step_options options_;
  boost::asio::cancellation_signal signal_;
  std::vector<std::string> broken_;
  std::exception_ptr thrown_;
  bool done_ = false;
  bool alive_ = false;
  bool cancelled_ = false;
  std::uint64_t steps_ = 0;  ///< while the subject was alive
  time_point cancelled_at_{};
  std::optional<failing_network> io_;
  std::unique_ptr<sim::world> world_;  // its chains use all of the above
};

}  // namespace cleat::sim

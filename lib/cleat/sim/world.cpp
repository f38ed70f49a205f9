#include <cleat/sim/world.hpp>

#include <cleat/base/entropy.hpp>
#include <cleat/transport/network.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <sstream>

namespace cleat::sim {

using namespace std::chrono_literals;

namespace {

// Streams of numbers that follow from one seed.
constexpr std::uint64_t of_scenario = 1;
constexpr std::uint64_t of_network = 2;
constexpr std::uint64_t of_library = 3;

constexpr time_point beginning{1000h};
constexpr std::chrono::system_clock::time_point calendar{490'000h};  // November 2025

constexpr std::uint64_t steps_at_one_moment_max = 2'000'000;

}  // namespace

class world::time_source final : public clock::source {
 public:
  [[nodiscard]] time_point now() const noexcept override { return now_; }
  [[nodiscard]] std::chrono::system_clock::time_point wall() const noexcept override {
    return calendar +
           std::chrono::duration_cast<std::chrono::system_clock::duration>(now_ - beginning);
  }
  void arm(time_point) override {}
  void close() noexcept override {}

  /// Never back.
  void go_to(time_point t) noexcept { now_ = std::max(now_, t); }

 private:
  time_point now_ = beginning;
};

class world::network_model final : public cleat::network::model {
 public:
  explicit network_model(sim::network& of) noexcept : of_(of) {}
  task<result<any_stream>> dial(std::string host, std::uint16_t port, tcp_options,
                                time_point deadline) override {
    return of_.dial(std::move(host), port, deadline);
  }
  result<any_listener> listen(environment::executor_type const& executor, std::string const& host,
                              std::uint16_t port) override {
    return of_.listen(executor, host, port);
  }

 private:
  sim::network& of_;
};

world::world(std::uint64_t seed, medium m)
    : seed_(seed),
      random_(seed, of_scenario),
      network_(history_, sim::random{seed, of_network}),
      work_(boost::asio::make_work_guard(context)),
      medium_(m),
      clock_(&clock::of(context.get_executor())),
      began_(beginning) {
  auto source = std::make_unique<time_source>();
  time_ = source.get();
  clock_->replace(std::move(source));
  entropy::of(executor()).seed(sim::random{seed, of_library}.next());
  network_.clock_ = clock_;
  network_.began_ = began_;
  if (m == medium::simulated)
    cleat::network::of(executor()).replace(std::make_unique<network_model>(network_));
}

world::~world() = default;

bool world::work() {
  if (context.poll_one() != 0) return true;
  // What was sent over loopback is there at once, or nearly so.
  return medium_ == medium::loopback && context.run_one_for(1ms) != 0;
}

bool world::work_counted() {
  if (!work()) return false;
  if (++steps_since_jump_ > steps_at_one_moment_max) throw_stuck("somebody turns on the spot");
  return true;
}

bool world::step() {
  if (work_counted()) return true;
  time_point const next = clock_->next_due();
  if (next == never) return false;
  steps_since_jump_ = 0;
  time_->go_to(next);
  if (elapsed() > elapsed_max_) throw_stuck("it is not over");
  clock_->ring_due();
  return true;
}

void world::run_for(duration by) {
  time_point const until = now() + by;
  for (;;) {
    while (work_counted()) {
    }
    if (clock_->next_due() > until) break;
    step();
  }
  time_->go_to(until);
  steps_since_jump_ = 0;
}

void world::run(task<void> t) {
  struct outcome {
    std::exception_ptr thrown;
    bool done = false;
  };
  auto const out = std::make_shared<outcome>();  // a task that is stuck outlives this call
  cleat::spawn(executor(), std::move(t), [out](std::exception_ptr error) {
    out->thrown = error;
    out->done = true;
  });
  drive(out->done);
  if (out->thrown) std::rethrow_exception(out->thrown);
}

/// Also works off what is ready when the task has ended, so that nothing of it is left over.
void world::drive(bool const& done) {
  while (!done) {
    if (!step()) throw_stuck("everybody waits, and for nothing");
  }
  while (work_counted()) {
  }
}

void world::throw_stuck(std::string why) {
  std::ostringstream text;
  text << why << ", " << std::chrono::duration_cast<std::chrono::milliseconds>(elapsed()).count()
       << " ms after the beginning\n";
  dump_chains(context, text);
  throw stuck{text.str()};
}

std::vector<std::string> world::leftovers() {
  std::vector<std::string> found;
  if (auto const n = chain_count(context); n != 0) {
    std::ostringstream chains;
    chains << n << " chains still live:\n";
    dump_chains(context, chains);
    found.push_back(chains.str());
  }
  if (clock_->next_due() != never) found.emplace_back("an alarm is still set");
  if (auto const n = network_.open_ends(); n != 0)
    found.push_back(std::to_string(n) + " ends of connections were not destroyed");
  return found;
}

}  // namespace cleat::sim

#include <cleat/sim/every_step.hpp>

#include <cleat/base/chains.hpp>
#include <cleat/base/event.hpp>
#include <cleat/base/spawn.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>

#include <chrono>
#include <sstream>

namespace cleat::sim {

namespace {

constexpr std::size_t sentences_max = 20;

io_fault failing_at(io_fault fault, std::uint64_t nth) {
  fault.nth = nth;
  return fault;
}

}  // namespace

rerun::rerun(every_step_options const& options, std::uint64_t failing)
    : options_(options), world_(std::make_unique<sim::world>(options.seed, options.over)) {
  io_.emplace(world_->executor(), failing_at(options.fault, failing));
}

rerun::~rerun() = default;

bool rerun::expect(bool kept, std::string_view promise, std::string_view detail) {
  if (kept) return true;
  std::string sentence = "not kept: ";
  sentence += promise;
  if (!detail.empty()) (sentence += ": ") += detail;
  broken_.push_back(std::move(sentence));
  return false;
}

task<> rerun::subject(task<> t) {
  event over;
  std::exception_ptr error;
  auto ended = [&, this](std::exception_ptr thrown) {
    alive_ = false;
    if (cancelled_) look_for_delay();
    error = thrown;
    over.set();
  };
  alive_ = true;
  cleat::spawn(world_->executor(), std::move(t),
               boost::asio::bind_cancellation_slot(signal_.slot(), ended));
  auto const guard = co_await this_chain::shield;
  static_cast<void>(co_await over.wait());
  if (error) std::rethrow_exception(error);
}

void rerun::start(stepped_scenario const& of) {
  cleat::spawn(world_->executor(), of(*this), [this](std::exception_ptr error) {
    thrown_ = error;
    done_ = true;
  });
}

/// False: the scenario has not ended and never will.
bool rerun::step() {
  bool const was_alive = alive_;
  bool more = world_->step();
  // Before we say that everybody waits for nothing, the machine gets the time it needs.
  if (!more && options_.over == medium::loopback)
    more = world_->context.run_one_for(std::chrono::seconds{1}) != 0;
  if (was_alive && alive_) ++steps_;
  return more;
}

void rerun::run(std::uint64_t cancel_at) {
  try {
    while (!done_) {
      if (alive_ && !cancelled_ && steps_ == cancel_at) {
        cancelled_ = true;
        cancelled_at_ = world_->now();
        signal_.emit(boost::asio::cancellation_type::terminal);
      }
      if (!step()) {
        std::ostringstream text;
        text << "everybody waits, and for nothing:\n";
        dump_chains(world_->context, text);
        broken_.push_back(text.str());
        return;
      }
    }
    world_->run_for(duration{});  // what is ready when it has ended
    if (thrown_) std::rethrow_exception(thrown_);
  } catch (std::exception const& e) {
    broken_.push_back(std::string{"thrown: "} + e.what());
  }
  for (std::string const& each : world_->leftovers()) expect(false, "nothing is left over", each);
  look_for_open_streams();
}

void rerun::look_for_delay() {
  duration const took = world_->now() - cancelled_at_;
  auto const ms = std::chrono::duration_cast<std::chrono::milliseconds>(took).count();
  expect(took <= options_.cancelled_within, "a cancelled chain ends in time",
         "it took " + std::to_string(ms) + " ms");
}

void rerun::look_for_open_streams() {
  auto const n = io_->open();
  expect(n == 0, "every stream and every listener is destroyed", std::to_string(n) + " are left");
}

void rerun::report(every_step_report& to, std::string_view what_was_done) const {
  for (std::string const& each : broken_) {
    std::string sentence{what_was_done};
    (sentence += ": ") += each;
    to.broken.push_back(std::move(sentence));
  }
  if (auto const failed = io_->failed()) ++to.failed_[static_cast<std::size_t>(*failed)];
}

/// `one` runs it once and says whether that was a run that nothing was done to.
every_step_report rerun::repeat(every_step_options const& options,
                                bool (*one)(stepped_scenario const&, every_step_options const&,
                                            std::uint64_t, every_step_report&),
                                stepped_scenario const& of) {
  every_step_report to;
  while (to.broken.size() < sentences_max) {
    if (one(of, options, to.steps, to)) return to;
    if (++to.steps >= options.runs_max) {
      to.broken.push_back("after " + std::to_string(to.steps) + " runs there is no end of steps");
      return to;
    }
  }
  return to;
}

every_step_report fail_at_every_operation(stepped_scenario const& of,
                                          every_step_options const& options) {
  auto const one = [](stepped_scenario const& it, every_step_options const& o, std::uint64_t n,
                      every_step_report& to) {
    rerun r{o, n + 1};
    r.start(it);
    r.run(rerun::not_at_all);
    bool const untouched = r.untouched();
    std::string const how = o.fault.afterwards ? ", failing afterwards" : ", failing";
    r.report(to, untouched ? "untouched" : "with " + r.io_->what() + how);
    return untouched;
  };
  return rerun::repeat(options, one, of);
}

every_step_report cancel_at_every_step(stepped_scenario const& of,
                                       every_step_options const& options) {
  auto const one = [](stepped_scenario const& it, every_step_options const& o, std::uint64_t n,
                      every_step_report& to) {
    rerun r{o};
    r.start(it);
    r.run(n);
    bool const untouched = r.untouched();
    r.report(to, untouched ? "untouched" : "cancelled after " + std::to_string(n) + " steps");
    return untouched;
  };
  return rerun::repeat(options, one, of);
}

every_step_report destroy_at_every_step(stepped_scenario const& of,
                                        every_step_options const& options) {
  auto const one = [](stepped_scenario const& it, every_step_options const& o, std::uint64_t n,
                      every_step_report& to) {
    rerun r{o};
    r.start(it);
    try {
      for (std::uint64_t i = 0; i < n && !r.done_; ++i) {
        if (!r.expect(r.step(), "the scenario ends")) break;
      }
    } catch (std::exception const& e) {
      r.broken_.push_back(std::string{"thrown: "} + e.what());
    }
    bool const ended = r.done_;
    r.world_.reset();
    r.look_for_open_streams();
    r.report(to, "destroyed after " + std::to_string(n) + " steps");
    return ended;
  };
  return rerun::repeat(options, one, of);
}

}  // namespace cleat::sim

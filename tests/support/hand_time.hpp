#pragma once

#include <cleat/base/call.hpp>
#include <cleat/base/clock.hpp>

#include <boost/asio/io_context.hpp>

#include <memory>
#include <stdexcept>
#include <utility>

namespace cleat::test {

/// A context whose time moves only by hand, while its sockets are real: deadlines pass when a test
/// says so, and never because the machine is slow.
class hand_time {
 public:
  hand_time() : clock_(clock::of(context.get_executor())) {
    auto own = std::make_unique<source>();
    source_ = own.get();
    clock_.replace(std::move(own));
  }

  [[nodiscard]] call new_call() { return call{context.get_executor()}; }
  [[nodiscard]] time_point now() const noexcept { return source_->now(); }
  [[nodiscard]] cleat::clock& clock() const noexcept { return clock_; }
  /// What the clock wants to be woken for, as it told its source.
  [[nodiscard]] time_point armed_for() const noexcept { return source_->armed_for_; }

  /// Lets time pass, and rings what became due.
  void advance(duration by) {
    source_->now_ += by;
    clock_.ring_due();
  }
  /// Does what can be done now.
  void poll() {
    context.restart();
    while (context.poll() != 0) {
    }
  }
  /// Runs, in real time, until something has happened that needs no more time by hand.
  template <class Condition>
  void run_until(Condition happened) {
    while (!happened()) {
      context.restart();
      if (context.run_one_for(std::chrono::seconds{20}) == 0)
        throw std::runtime_error("it does not happen");
    }
  }

  boost::asio::io_context context{1};

 private:
  class source final : public cleat::clock::source {
   public:
    [[nodiscard]] time_point now() const noexcept override { return now_; }
    [[nodiscard]] std::chrono::system_clock::time_point wall() const noexcept override {
      return std::chrono::system_clock::time_point{std::chrono::hours{490'000}};
    }
    void arm(time_point due) override { armed_for_ = due; }
    void close() noexcept override {}
    time_point now_{std::chrono::hours{1000}};
    time_point armed_for_ = never;
  };

  cleat::clock& clock_;
  source* source_;
};

}  // namespace cleat::test

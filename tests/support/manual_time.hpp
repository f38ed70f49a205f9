#pragma once

#include <cleat/base/call.hpp>
#include <cleat/base/clock.hpp>
#include <cleat/base/spawn.hpp>

#include <boost/asio/io_context.hpp>

#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

namespace cleat::test {

/// A context whose time stands still until everybody waits, and then jumps to the next alarm: tests
/// of waits take no time and always go the same way.
class manual_time {
 public:
  manual_time() : clock_(clock::of(context.get_executor())) {
    auto own = std::make_unique<source>();
    source_ = own.get();
    clock_.replace(std::move(own));
  }

  /// Runs a task to its end.
  template <class T>
  T run(task<T> t) {
    std::optional<T> value;
    std::exception_ptr thrown;
    bool done = false;
    spawn(context.get_executor(), std::move(t), [&](std::exception_ptr error, T v) {
      thrown = error;
      value.emplace(std::move(v));
      done = true;
    });
    drive(done);
    if (thrown) std::rethrow_exception(thrown);
    return *std::move(value);
  }
  void run(task<void> t) {
    std::exception_ptr thrown;
    bool done = false;
    spawn(context.get_executor(), std::move(t), [&](std::exception_ptr error) {
      thrown = error;
      done = true;
    });
    drive(done);
    if (thrown) std::rethrow_exception(thrown);
  }

  [[nodiscard]] call new_call() { return call{context.get_executor()}; }
  [[nodiscard]] time_point now() const noexcept { return source_->now(); }
  /// Time since the beginning.
  [[nodiscard]] duration elapsed() const noexcept { return source_->now() - start; }

  boost::asio::io_context context;

 private:
  static constexpr time_point start{std::chrono::hours{1000}};

  class source final : public clock::source {
   public:
    [[nodiscard]] time_point now() const noexcept override { return now_; }
    [[nodiscard]] std::chrono::system_clock::time_point wall() const noexcept override {
      return std::chrono::system_clock::time_point{std::chrono::hours{490'000}} +
             std::chrono::duration_cast<std::chrono::system_clock::duration>(now_ - start);
    }
    void arm(time_point) override {}
    void close() noexcept override {}
    time_point now_ = start;
  };

  void drive(bool const& done) {
    for (;;) {
      context.restart();
      while (context.poll() != 0) {
      }
      if (done) return;
      time_point const next = clock_.next_due();
      if (next == never) throw std::runtime_error("everybody waits, and for nothing");
      source_->now_ = std::max(source_->now_, next);
      clock_.ring_due();
    }
  }

  clock& clock_;
  source* source_;
};

}  // namespace cleat::test

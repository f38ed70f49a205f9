#pragma once

#include <cleat/base/scope.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/runtime/per_call.hpp>
#include <cleat/sim/every_step.hpp>
#include <cleat/transport/tcp.hpp>
#include <toggle/device.hpp>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace cleat::test {

using answer = result<toggle::response>;

/// What was carried out, by the name that was asked for. Every call of a test has a name of its own.
class deeds {
 public:
  void done(std::string_view name) { ++times_[std::string{name}]; }
  [[nodiscard]] int of(std::string const& name) const {
    auto const found = times_.find(name);
    return found == times_.end() ? 0 : found->second;
  }

 private:
  std::map<std::string, int> times_;
};

/// A call, how it ended, and what has to be true of that.
class asked {
 public:
  asked(sim::rerun& r, std::string to, duration limit, bool repeatable = true)
      : name(std::move(to)), c(r.world().new_call()), run_(r), began_(c.now()), limit_(limit) {
    c.tighten(began_ + limit);
    c.repeatable = repeatable;
  }

  [[nodiscard]] toggle::request request() const { return toggle::request::turn(name, true); }

  /// Right when it has ended.
  void ended(answer const& a) {
    if (!a) why_ = a.error();
    ended_ = true;
    run_.expect(c.now() - began_ <= limit_, "a call ends by its deadline", name);
  }
  [[nodiscard]] bool succeeded() const noexcept { return ended_ && !why_; }

  /// Right when it has ended, as the subject: it succeeds, unless something was done to it.
  void ended_by_itself_or_cancelled(kind its_own_failure) const {
    if (succeeded()) return;
    bool const of_itself = why_->why() == its_own_failure;
    if (run_.cancelled()) {
      run_.expect(why_->why() == kind::cancelled || of_itself,
                  "a call that is cancelled fails as cancelled, if at all", why_->message());
    } else if (run_.untouched()) {
      run_.expect(of_itself || jumped_early(), "a call that nothing was done to ends as it should",
                  why_->message());
    } else {
      run_.expect(why_->why() != kind::cancelled, "nobody cancelled this call", why_->message());
    }
  }

  /// Later, when all that is under way has come to its end.
  void is_true_of(deeds const& what) const {
    int const times = what.of(name);
    std::string const told = why_ ? why_->message() : "done";
    run_.expect(ended_, "every call ends", name);
    if (!why_) run_.expect(times > 0, "what is acknowledged was carried out", name);
    if (why_ && why_->sure() != certainty::maybe_executed)
      run_.expect(times == 0, "what was not sent, or rejected, was not carried out", told);
    if (!c.repeatable)
      run_.expect(times <= 1, "what must not be repeated is carried out once at most", told);
  }

  std::string name;
  call c;

 private:
  /// Over real sockets, time may jump although something is under way.
  [[nodiscard]] bool jumped_early() const noexcept {
    return run_.over() == sim::medium::loopback && why_->why() == kind::timed_out;
  }

  sim::rerun& run_;
  time_point began_;
  duration limit_;
  bool ended_ = false;
  std::optional<failure> why_;
};

/// A device with these modes, a connection each, and what it did.
class house {
 public:
  house(sim::rerun& r, std::vector<toggle::device_mode> script)
      : run_(r), spoilt_(script.size()), device_(open(std::move(script))) {}

  [[nodiscard]] toggle::device& device() noexcept { return *device_; }
  [[nodiscard]] deeds const& did() const noexcept { return did_; }

  /// Asks it by a connection of its own.
  [[nodiscard]] auto line() const {
    return per_call<toggle::protocol>(tcp{"127.0.0.1", device_->port()});
  }

  task<> serve() {
    failure const why = co_await device_->run();
    run_.expect(why.why() == kind::shut_down, "a device serves until it is stopped", why.message());
  }

  /// Over a sound network a call succeeds, once the modes of the script are used up.
  task<bool> answers_the_next_call() {
    auto ask = deadline(std::chrono::seconds{3}) | line();
    bool answered = false;
    for (std::size_t tries = spoilt_ + 3; tries != 0 && !answered; --tries) {
      auto const a = co_await ask(toggle::request::turn("next", true), run_.world().new_call());
      answered = a.has_value();
    }
    co_return answered;
  }

  /// All that is under way has come to its end.
  task<> settle() {
    static_cast<void>(co_await sleep_until(run_.world().now() + std::chrono::minutes{1}));
  }

 private:
  std::unique_ptr<toggle::device> open(std::vector<toggle::device_mode> script) {
    toggle::device_options options;
    options.ids = {"next", "first", "second", "third"};
    options.script = std::move(script);
    options.heard = [this](toggle::device_event const& e) {
      if (e.what == toggle::device_event::type::executed) did_.done(e.request->device_id->view());
    };
    auto const executor = run_.world().executor();
    auto made = toggle::device::open(executor, "127.0.0.1", 0, options);
    if (!made) {
      run_.expect(made.error().why() == kind::resources, "listening fails for want of resources",
                  made.error().message());
      made = toggle::device::open(executor, "127.0.0.1", 0, options);
    }
    return std::move(*made);
  }

  sim::rerun& run_;
  std::size_t spoilt_;
  deeds did_;
  std::unique_ptr<toggle::device> device_;
};

}  // namespace cleat::test

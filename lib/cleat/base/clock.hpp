#pragma once

#include <cleat/base/environment.hpp>
#include <cleat/base/result.hpp>
#include <cleat/base/time.hpp>

#include <boost/asio/execution_context.hpp>
#include <boost/intrusive/set.hpp>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace cleat {

/// Something to be woken at a time. `ring` is called once, without locks, on some thread of the execution context; it
/// hands over to whatever executor it needs. An alarm is unset before it is destroyed.
class alarm : public boost::intrusive::set_base_hook<> {
 public:
  alarm(alarm const&) = delete;
  alarm& operator=(alarm const&) = delete;

  friend bool operator<(alarm const& a, alarm const& b) noexcept { return a.due_ < b.due_; }

 protected:
  alarm() noexcept = default;
  virtual ~alarm() = default;

 private:
  friend class clock;
  virtual void ring() noexcept = 0;

  time_point due_ = never;
};

/// The time of one execution context. Everything in cleat reads time here and waits here, so that a simulation can
/// replace it. One system timer serves all alarms; it is armed when the earliest alarm changes and not otherwise.
///
/// Thread safety: all members may be called from any thread.
class clock final : public boost::asio::execution_context::service {
 public:
  using key_type = clock;
  static boost::asio::execution_context::id id;

  /// Where time comes from and who calls `ring_due` when it has come.
  class source {
   public:
    virtual ~source() = default;
    [[nodiscard]] virtual time_point now() const noexcept = 0;
    [[nodiscard]] virtual std::chrono::system_clock::time_point wall() const noexcept = 0;
    /// Call `ring_due` at `due`; replaces an earlier wish. `never`: no more.
    virtual void arm(time_point due) = 0;
    /// The context goes away: use nothing of it any more.
    virtual void close() noexcept = 0;
  };

  explicit clock(boost::asio::execution_context& context);

  [[nodiscard]] static clock& of(environment::executor_type const& executor);

  [[nodiscard]] time_point now() const noexcept {
    if (moment* const m = moment::current_; m != nullptr && m->of_ == this) return m->now();
    return source_->now();
  }
  /// The time on the wall, for logs and identifiers only.
  [[nodiscard]] std::chrono::system_clock::time_point wall() const noexcept {
    if (moment* const m = moment::current_; m != nullptr && m->of_ == this) return m->wall();
    return source_->wall();
  }

  /// While it lives, the time that this thread reads may be a few microseconds old: who works through
  /// a batch would otherwise ask for it several times a message. Whether it is still good is told by
  /// the processor's counter of ticks, which costs a fraction of a look at the time. Where there is
  /// no such counter, it does nothing.
  class moment {
   public:
    explicit moment(clock const& of) noexcept : of_(&of), outer_(std::exchange(current_, this)) {}
    moment(moment const&) = delete;
    moment& operator=(moment const&) = delete;
    ~moment() { current_ = outer_; }

   private:
    friend class clock;

    /// 10 µs at 3 GHz, and less than a millisecond on anything that runs this.
    static constexpr std::uint64_t good_for_ticks = 30'000;

    [[nodiscard]] static std::uint64_t ticks() noexcept {
#if defined(__x86_64__)
      return __builtin_ia32_rdtsc();
#else
      return 0;
#endif
    }
    void renew_if_old() noexcept {
      std::uint64_t const at = ticks();
      if (at != 0 && at - read_at_ < good_for_ticks) return;
      read_at_ = at;
      now_ = of_->source_->now();
      wall_.reset();
    }
    [[nodiscard]] time_point now() noexcept {
      renew_if_old();
      return now_;
    }
    [[nodiscard]] std::chrono::system_clock::time_point wall() noexcept {
      renew_if_old();
      if (!wall_) wall_ = of_->source_->wall();
      return *wall_;
    }

    static inline constinit thread_local moment* current_ = nullptr;
    clock const* of_;
    std::uint64_t read_at_ = 0;
    time_point now_;
    std::optional<std::chrono::system_clock::time_point> wall_;
    moment* outer_;
  };

  /// Sets `a` to ring at `due`, instead of what it was set to before.
  void set(alarm& a, time_point due);
  /// Whether `a` was still set; if not, it was never set or its `ring` has returned (or is the caller).
  bool unset(alarm& a) noexcept;

  /// Rings all alarms that are due, in the order of their times. For sources.
  void ring_due();
  /// The earliest alarm, or `never`.
  [[nodiscard]] time_point next_due() const noexcept;
  /// Replaces the source, for simulations; only while no alarm is set.
  void replace(std::unique_ptr<source> with);

 private:
  /// A thread that is inside `ring_due`, and the alarm that it rings at the moment. There may be
  /// several.
  struct ringer {
    std::thread::id on;
    ringer* next;
    alarm const* rings = nullptr;
  };

  void shutdown() override;
  void arm_for_first(std::unique_lock<std::mutex>& lock);
  [[nodiscard]] bool rings_on_another_thread(alarm const& a) const noexcept;

  mutable std::mutex mutex_;
  boost::intrusive::multiset<alarm> alarms_;
  std::unique_ptr<source> source_;
  time_point armed_for_ = never;
  ringer* ringers_ = nullptr;
  std::condition_variable rung_;
  bool closed_ = false;
};

/// Waits: `result<void> r = co_await sleep_until(t);` fails only as `cancelled`.
class sleep_until final : public leaf, private alarm {
 public:
  explicit sleep_until(time_point due) noexcept : due_(due) {}
  ~sleep_until() override {
    if (clock_ != nullptr) clock_->unset(*this);
  }
  result<void> await_resume() const noexcept;

 private:
  void begin(bool cancelled) override;
  void cancel() noexcept override;
  void ring() noexcept override;

  time_point due_;
  clock* clock_ = nullptr;
  bool cancelled_ = false;
};

/// Calls a function on an executor at a time, unless it is destroyed before. Used on that executor only.
class timer final : private alarm {
 public:
  using function = void (*)(void* argument);

  timer() noexcept = default;
  ~timer() override { unset(); }

  /// Calls `f(argument)` at `due`; `never` sets nothing.
  void set(environment::executor_type const& executor, time_point due, function f, void* argument);
  void unset() noexcept;

 private:
  void ring() noexcept override;

  clock* clock_ = nullptr;
  environment::executor_type executor_;
  function function_ = nullptr;
  void* argument_ = nullptr;
  /// Made when it rings: what lies in the executor's queue must not outlive us unnoticed.
  std::shared_ptr<timer*> rung_;
};

}  // namespace cleat

#pragma once

#include <cleat/base/clock.hpp>
#include <cleat/base/result.hpp>

#include <boost/asio/error.hpp>

#include <optional>

namespace cleat {

/// Lets one chain wait until another says so. Remembers one `set`; one waiter at a time.
///
/// The waiter goes on through its executor's queue, never inside `set`. Used on one executor. The
/// event outlives its waiter, unless both go away with their execution context.
class event {
 public:
  class waiter;

  event() noexcept = default;
  event(event const&) = delete;
  event& operator=(event const&) = delete;
  ~event();

  /// Wakes the waiter, or the next one.
  void set() noexcept;

  /// Waits for `set`: fails as `timed_out` or `cancelled` (and then a later `set` is remembered), or
  /// as `invalid` if somebody else waits.
  [[nodiscard]] waiter wait(time_point deadline = never) noexcept;

 private:
  waiter* waiter_ = nullptr;
  bool set_ = false;
};

/// What `co_await event.wait()` waits on.
class event::waiter final : public leaf {
 public:
  waiter(event& of, time_point deadline) noexcept : event_(&of), deadline_(deadline) {}
  ~waiter() override { leave(); }

  result<void> await_resume() const noexcept {
    if (why_) return failure{*why_};
    return {};
  }

 private:
  friend class event;

  void begin(bool cancelled) override {
    if (event_->set_ && !cancelled) {
      event_->set_ = false;
      return complete();
    }
    if (cancelled) return end(kind::cancelled);
    if (event_->waiter_ != nullptr) return end(kind::invalid);
    event_->waiter_ = this;
    timeout_.set(
        env().executor(), deadline_,
        [](void* self) { static_cast<waiter*>(self)->end(kind::timed_out); }, this);
  }
  void cancel() noexcept override {
    if (event_ != nullptr && event_->waiter_ == this) end(kind::cancelled);
  }
  void end(kind why) {
    why_ = why;
    leave();
    complete_later();
  }
  void wake() noexcept {
    leave();
    complete_later();
  }
  void leave() noexcept {
    if (event_ != nullptr && event_->waiter_ == this) event_->waiter_ = nullptr;
    timeout_.unset();
  }

  event* event_;
  time_point deadline_;
  timer timeout_;
  std::optional<kind> why_;
};

inline void event::set() noexcept {
  if (waiter_ != nullptr) {
    waiter_->wake();
  } else {
    set_ = true;
  }
}

inline event::~event() {
  if (waiter_ != nullptr) waiter_->event_ = nullptr;
}

inline event::waiter event::wait(time_point deadline) noexcept { return waiter{*this, deadline}; }

}  // namespace cleat

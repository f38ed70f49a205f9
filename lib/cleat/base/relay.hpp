#pragma once

#include <cleat/base/in_place.hpp>

#include <coroutine>
#include <cstddef>
#include <exception>
#include <source_location>

namespace cleat {

/// A coroutine written by hand: waits for one thing after another inside the frame of whoever awaits
/// it, and needs no frame of its own. For what stands on every call and is nearly always done after
/// the first thing; everything else is better a `task`.
///
/// `Derived` has `bool step()`, which is called at the beginning and each time that what was waited
/// for has ended. It says whether all is done; before it says no, it has begun to wait for something:
///
/// ```
/// bool step() {
///   if (!below_) {
///     below_.emplace([&] { return next_(std::move(q_), call_); });
///     if (wait_for(*below_)) return false;  // it has not ended at once
///   }
///   outcome_.emplace(below_->resume());
///   return true;
/// }
/// ```
///
/// It may be kept longer than its call lasts (whoever awaits it may keep it): what it holds for others
/// is given back in `step` or in `await_resume`, and in the destructor only if it never came to an end.
///
/// What `step` throws is thrown by `rethrow`, which its `await_resume` calls first.
///
/// How it works: g++ and clang both begin a coroutine's frame with the addresses of two functions,
/// to resume and to destroy it, and put the promise behind them (Itanium C++ ABI; LLVM's
/// "Coroutines", switched-resume lowering). What is awaited below is given such a frame, made here.
/// See decision 0006.
template <class Derived>
class relay : public in_place {
 public:
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> h) {
    detail::frame& parent = h.promise();
    frame_.promise.env = parent.env;
    frame_.promise.parent = &parent;
    frame_.promise.continuation = h;
    return !stepped();
  }

 protected:
  ~relay() = default;

  /// Starts `what`; false if it has ended at once.
  template <class A>
  [[nodiscard]] bool wait_for(held<A>& what) {
    return what.suspend(std::coroutine_handle<promise>::from_address(&frame_));
  }

  void rethrow() const {
    if (thrown_) [[unlikely]]
      std::rethrow_exception(thrown_);
  }

 private:
  friend Derived;
  relay() noexcept { frame_.self = this; }

  class promise : public detail::frame {};

  /// What a compiler makes of a coroutine, as far as others see it.
  struct handmade_frame {
    void (*resume)(void* frame) = &relay::resumed;
    void (*destroy)(void* frame) = nullptr;  // nobody owns it by its handle
    relay::promise promise;
    relay* self = nullptr;
  };
  static_assert(offsetof(handmade_frame, promise) == 2 * sizeof(void*));

  static void resumed(void* frame) {
    relay* const me = static_cast<handmade_frame*>(frame)->self;
    if (me->stepped()) me->frame_.promise.continuation.resume();
  }

  bool stepped() {
    bool done = true;
    try {
      done = static_cast<Derived*>(this)->step();
    } catch (...) {
      thrown_ = std::current_exception();
    }
    if (done) frame_.promise.env->goes_on_in(*frame_.promise.parent);
    return done;
  }

  handmade_frame frame_;
  std::exception_ptr thrown_;
};

}  // namespace cleat

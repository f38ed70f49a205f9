#pragma once

#include <cleat/base/promise.hpp>
#include <cleat/base/use_task.hpp>

#include <coroutine>
#include <utility>

namespace cleat {

/// A lazily started coroutine that computes a `T`.
///
/// Nothing runs until the task is awaited by another task or given to `spawn`. A parent owns its
/// children, so a chain of tasks has one owner: its root. All of a chain runs on one executor,
/// which must run one thing at a time (a single-threaded `io_context`, or a strand).
///
/// A task may await: other tasks; Asio operations, with `use_task` or `boost::asio::deferred`;
/// `boost::asio::awaitable`; the `this_chain` tags; subclasses of `leaf`. Everything else is a
/// compile error.
///
/// Cancellation goes from the root to the leaf that the chain waits on; operations started
/// afterwards complete as cancelled at once. Failures that a peer or a network can cause are
/// `result` values; an exception that escapes a task is rethrown in its parent. See
/// `docs/decisions/0001-task.md`.
///
/// Thread safety: none; use it on its chain's executor.
template <class T = void>
class [[nodiscard]] task {
 public:
  using promise_type = detail::promise<T>;
  using value_type = T;

  task(task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  task& operator=(task&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~task() {
    if (handle_) handle_.destroy();
  }

  /// Spawns the task on the executor associated with `token`, as any Asio operation: inside an
  /// `asio::awaitable`, write `co_await my_task()(asio::use_awaitable)`. Needs
  /// `cleat/base/spawn.hpp`.
  template <class Token>
  auto operator()(Token&& token) &&;
  /// Not there; see `only_in_a_task`.
  template <class Executor>
  auto operator()(detail::awaitable_frame<Executor>*) {
    return detail::only_in_a_task<Executor>::value;
  }

 private:
  friend promise_type;
  template <class U>
  friend class task_awaiter;
  template <class U, class H>
  friend class root;
  friend class scope;

  explicit task(std::coroutine_handle<promise_type> h) noexcept : handle_(h) {}

  std::coroutine_handle<promise_type> handle_;
};

namespace detail {

template <class T>
task<T> promise<T>::get_return_object() noexcept {
  return task<T>{std::coroutine_handle<promise<T>>::from_promise(*this)};
}

inline task<void> promise<void>::get_return_object() noexcept {
  return task<void>{std::coroutine_handle<promise<void>>::from_promise(*this)};
}

}  // namespace detail

}  // namespace cleat

#pragma once

#include <cleat/base/leaf_or_task.hpp>
#include <cleat/base/use_task.hpp>

#include <concepts>
#include <coroutine>
#include <utility>

namespace cleat {

/// Something awaitable, kept until it is awaited and until its value is taken: what a subclass of
/// `in_place` has inside. Made where it stays, by the function that is given.
///
/// ```
/// held<decltype(next(std::move(q), c))> below{[&] { return next(std::move(q), c); }};
/// ```
///
/// `suspend` starts it and says whether the coroutine stays suspended; `resume` gives its value or
/// throws what it threw.
template <AwaitableInTask A>
class held;

template <class A>
  requires std::derived_from<A, leaf> || std::derived_from<A, in_place>
class held<A> {
 public:
  template <class Make>
  explicit held(Make const& make) : what_(make()) {}
  template <class Promise>
  bool suspend(std::coroutine_handle<Promise> h) {
    return what_.await_suspend(h);
  }
  decltype(auto) resume() { return what_.await_resume(); }

 private:
  A what_;
};

template <class T>
class held<task<T>> {
 public:
  template <class Make>
  explicit held(Make const& make) : child_(make()) {}
  template <class Promise>
  bool suspend(std::coroutine_handle<Promise> h) {
    return child_.await_suspend(h);
  }
  T resume() { return child_.await_resume(); }

 private:
  task_awaiter<T> child_;
};

namespace detail {

template <class A>
task<await_result_t<A>> as_task(A awaitable) {
  auto value = co_await std::move(awaitable);
  co_return value;
}

}  // namespace detail

/// Of Asio, and its awaitables: by a task.
template <AwaitableInTask A>
class held : public held<task<await_result_t<A>>> {
 public:
  template <class Make>
  explicit held(Make const& make)
      : held<task<await_result_t<A>>>([&] { return detail::as_task<A>(make()); }) {}
};

template <class L, class T>
class held<leaf_or_task<L, T>> {
 public:
  template <class Make>
  explicit held(Make const& make) : what_(make()) {}
  template <class Promise>
  bool suspend(std::coroutine_handle<Promise> h) {
    return detail::leaf_or_task_awaiter<L, T>{what_}.await_suspend(h);
  }
  T resume() { return detail::leaf_or_task_awaiter<L, T>{what_}.await_resume(); }

 private:
  leaf_or_task<L, T> what_;
};

}  // namespace cleat

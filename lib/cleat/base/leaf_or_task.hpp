#pragma once

#include <cleat/base/task.hpp>

#include <concepts>
#include <coroutine>
#include <utility>
#include <variant>

namespace cleat {

/// One awaitable for what is a leaf in the common case, without a frame, and a task in all others:
/// what a function behind a virtual call can return. Both give a `T`.
template <std::derived_from<leaf> L, class T>
class [[nodiscard]] leaf_or_task {
 public:
  /// The leaf, made of these arguments, here.
  template <class... A>
    requires std::constructible_from<L, A...>
  explicit leaf_or_task(std::in_place_type_t<L> which, A&&... args)
      : what_(which, std::forward<A>(args)...) {}
  explicit leaf_or_task(task<T>&& t) : what_(std::in_place_type<task_awaiter<T>>, std::move(t)) {}

  /// Not there; see `only_in_a_task`.
  template <class Executor>
  auto operator()(detail::awaitable_frame<Executor>*) {
    return detail::only_in_a_task<Executor>::value;
  }

 private:
  friend class detail::leaf_or_task_awaiter<L, T>;
  std::variant<L, task_awaiter<T>> what_;
};

namespace detail {

template <class L, class T>
class leaf_or_task_awaiter {
 public:
  explicit leaf_or_task_awaiter(leaf_or_task<L, T>& of) noexcept
      : leaf_(std::get_if<L>(&of.what_)), task_(std::get_if<task_awaiter<T>>(&of.what_)) {}

  [[nodiscard]] static constexpr bool await_ready() noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> h) {
    return leaf_ != nullptr ? leaf_->await_suspend(h) : task_->await_suspend(h);
  }
  T await_resume() { return leaf_ != nullptr ? leaf_->await_resume() : task_->await_resume(); }

 private:
  L* leaf_;
  task_awaiter<T>* task_;
};

template <class L, class T>
struct is_leaf_or_task<leaf_or_task<L, T>> : std::true_type {};

template <class L, class T>
struct await_result<leaf_or_task<L, T>> {
  using type = T;
};

}  // namespace detail

}  // namespace cleat

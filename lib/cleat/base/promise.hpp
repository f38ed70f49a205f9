#pragma once

#include <cleat/base/environment.hpp>
#include <cleat/base/frame_memory.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/this_coro.hpp>

#include <concepts>
#include <coroutine>
#include <exception>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>

namespace cleat {

template <class T>
class task;

template <std::derived_from<leaf> L, class T>
class leaf_or_task;

/// An awaitable made of another one, that costs no coroutine: it does something before the other
/// begins and with its value. Stays where it is made: in the frame of the coroutine that awaits it.
///
/// A subclass has `await_suspend(coroutine_handle<Promise>)` and `await_resume()`, which pass both
/// on to what it has inside (see `held`).
class in_place {
 public:
  in_place(in_place const&) = delete;
  in_place& operator=(in_place const&) = delete;

  /// Not there; see `only_in_a_task`.
  template <class Executor>
  auto operator()(detail::awaitable_frame<Executor>*) {
    return detail::only_in_a_task<Executor>::value;
  }

 protected:
  in_place() noexcept = default;
  ~in_place() = default;
};

template <class Signature, class Initiation, class... Args>
class asio_operation;

/// What a coroutine may ask about its own chain: `co_await this_chain::executor`, and so on.
namespace this_chain {
struct executor_t {};
struct cancelled_t {};
struct shield_t {};
struct environment_t {};

inline constexpr executor_t executor{};    ///< the chain's executor
inline constexpr cancelled_t cancelled{};  ///< `bool`: was the chain asked to stop?
inline constexpr shield_t shield{};        ///< a `cleat::shield`: cancellation waits while it lives
inline constexpr environment_t environment{};  ///< `cleat::environment&`, for leaves of one's own
}  // namespace this_chain

/// At the end of a coroutine: hand control back without growing the stack.
struct final_awaiter {
  [[nodiscard]] static constexpr bool await_ready() noexcept { return false; }

  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> h) noexcept {
    detail::frame& f = h.promise();
    if (f.parent == nullptr) {
      f.env->finished_ = true;  // environment::resume, on our stack, completes the chain
      return std::noop_coroutine();
    }
    f.env->innermost_ = f.parent;
    // The parent may still be on our stack: then it sees us done.
    if (f.env->runs_ == f.runs_at_start) return std::noop_coroutine();
    return f.continuation;
  }

  static void await_resume() noexcept {}
};

/// Runs a child inside its parent: what `co_await child()` becomes. Owns the child.
template <class T>
class task_awaiter {
 public:
  explicit task_awaiter(task<T>&& child) noexcept : child_(std::move(child)) {}

  [[nodiscard]] static constexpr bool await_ready() noexcept { return false; }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) {
    auto const h = child_.handle_;
    detail::frame& mine = parent.promise();
    detail::frame& f = h.promise();
    f.env = mine.env;
    f.parent = &mine;
    f.continuation = parent;
    f.runs_at_start = mine.env->runs_;
    mine.env->innermost_ = &f;
    h.resume();  // nested: a child that never waits costs no trip through the executor
    return !h.done();
  }

  T await_resume() { return child_.handle_.promise().take(); }

 private:
  task<T> child_;
};

namespace detail {

template <class T>
struct is_task : std::false_type {};
template <class T>
struct is_task<task<T>> : std::true_type {};

template <class T>
struct is_asio_operation : std::false_type {};
template <class S, class I, class... A>
struct is_asio_operation<asio_operation<S, I, A...>> : std::true_type {};

template <class T>
struct is_awaitable : std::false_type {};
template <class T, class E>
struct is_awaitable<boost::asio::awaitable<T, E>> : std::true_type {};

template <class T>
struct is_leaf_or_task : std::false_type {};

template <class L, class T>
class leaf_or_task_awaiter;

/// Gives a ready value: `co_await this_chain::executor` never suspends.
template <class T>
struct ready_value {
  T value;
  [[nodiscard]] static constexpr bool await_ready() noexcept { return true; }
  static void await_suspend(std::coroutine_handle<>) noexcept {}
  T await_resume() { return std::forward<T>(value); }
};

/// Stands for what stays where it is: g++ 12 copies whatever else `await_transform` returns.
template <class L>
class leaf_awaiter {
 public:
  explicit leaf_awaiter(L& l) noexcept : leaf_(l) {}
  [[nodiscard]] static constexpr bool await_ready() noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> h) {
    return leaf_.await_suspend(h);
  }
  decltype(auto) await_resume() { return leaf_.await_resume(); }

 private:
  L& leaf_;
};

class promise_base : public frame {
 public:
  static std::suspend_always initial_suspend() noexcept { return {}; }
  static final_awaiter final_suspend() noexcept { return {}; }

  static void* operator new(std::size_t bytes) { return frame_memory::allocate(bytes); }
  static void operator delete(void* p, std::size_t bytes) noexcept {
    frame_memory::deallocate(p, bytes);
  }

  // What a task may await: a closed list. See `use_task.hpp` for the Asio part.

  template <class T>
  task_awaiter<T> await_transform(task<T>&& child,
                                  std::source_location where = std::source_location::current()) {
    at = where;
    return task_awaiter<T>{std::move(child)};
  }

  template <class L>
    requires std::derived_from<L, leaf> || std::derived_from<L, in_place>
  leaf_awaiter<L> await_transform(L&& l,
                                  std::source_location where = std::source_location::current()) {
    at = where;
    return leaf_awaiter<L>{l};
  }

  template <class L, class T>
  leaf_or_task_awaiter<L, T> await_transform(
      leaf_or_task<L, T>&& x, std::source_location where = std::source_location::current()) {
    at = where;
    return leaf_or_task_awaiter<L, T>{x};
  }

  ready_value<environment::executor_type> await_transform(this_chain::executor_t) {
    return {env->executor()};
  }
  ready_value<environment::executor_type> await_transform(boost::asio::this_coro::executor_t) {
    return {env->executor()};
  }
  ready_value<bool> await_transform(this_chain::cancelled_t) { return {env->cancel_requested()}; }
  ready_value<environment&> await_transform(this_chain::environment_t) { return {*env}; }
  ready_value<shield> await_transform(this_chain::shield_t) { return {shield{*env}}; }

  template <class X>
    requires(!is_task<std::remove_cvref_t<X>>::value &&
             !std::derived_from<std::remove_cvref_t<X>, leaf> &&
             !std::derived_from<std::remove_cvref_t<X>, in_place>)
  auto await_transform(X&& x, std::source_location where = std::source_location::current());
};

template <class T>
class promise final : public promise_base {
 public:
  task<T> get_return_object() noexcept;
  void unhandled_exception() noexcept { error_ = std::current_exception(); }

  template <class U = T>
    requires std::constructible_from<T, U&&>
  void return_value(U&& value) {
    value_.emplace(std::forward<U>(value));
  }

  [[nodiscard]] std::exception_ptr error() const noexcept { return error_; }
  T take() {
    if (error_) [[unlikely]]
      std::rethrow_exception(error_);
    return *std::move(value_);
  }

 private:
  std::optional<T> value_;
  std::exception_ptr error_;
};

template <>
class promise<void> final : public promise_base {
 public:
  task<void> get_return_object() noexcept;
  void unhandled_exception() noexcept { error_ = std::current_exception(); }
  static void return_void() noexcept {}

  [[nodiscard]] std::exception_ptr error() const noexcept { return error_; }
  void take() const {
    if (error_) [[unlikely]]
      std::rethrow_exception(error_);
  }

 private:
  std::exception_ptr error_;
};

}  // namespace detail

}  // namespace cleat

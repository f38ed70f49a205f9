#pragma once

#include <cleat/base/chains.hpp>
#include <cleat/base/task.hpp>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/system_context.hpp>
#include <boost/asio/system_executor.hpp>

#include <concepts>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

namespace boost::asio::detail {
template <typename T, typename Blocking>
class promise_executor;
}  // namespace boost::asio::detail

namespace cleat {

namespace detail {

/// What a handler gets beside an exception: the signature demands a `T`.
template <class T>
T no_outcome() {
  if constexpr (std::is_constructible_v<T, failure>) {
    return T{failure{kind::cancelled}};
  } else {
    return T{};
  }
}

/// Whether executors of this type stand for the system's threads, any of them: what completion tokens
/// have that name no executor (`use_future`, `detached`, a function).
template <class Executor>
inline constexpr bool is_anybodys = requires(Executor const& e) {
  {
    boost::asio::query(e, boost::asio::execution::context)
  } -> std::same_as<boost::asio::system_context&>;
};
template <class Executor>
inline constexpr bool is_anybodys<boost::asio::strand<Executor>> = false;
template <class T, class Blocking>  // that of `use_future`, which hides its context
inline constexpr bool is_anybodys<boost::asio::detail::promise_executor<T, Blocking>> = true;

}  // namespace detail

/// The owner of a chain: its environment, its outermost task and what to call at its end.
template <class T, class Handler>
class root final : public environment, private detail::chain_link {
  using handler_executor = boost::asio::associated_executor_t<Handler, executor_type>;
  using handler_guard = boost::asio::executor_work_guard<handler_executor>;
  using outcome = std::conditional_t<std::is_void_v<T>, std::monostate, std::optional<T>>;

 public:
  root(executor_type const& executor, task<T>&& outermost, Handler&& handler)
      : environment(executor),
        chain_link(executor, *this),
        task_(std::move(outermost)),
        handler_(std::move(handler)),
        work_(boost::asio::prefer(executor, boost::asio::execution::outstanding_work.tracked)) {
    auto const its = boost::asio::get_associated_executor(handler_, executor);
    if (!is_ours(its)) handler_work_ = std::make_unique<handler_guard>(its);
    auto slot = boost::asio::get_associated_cancellation_slot(handler_);
    if (slot.is_connected()) slot.template emplace<canceller>(*this);
  }

  void run() {
    enter();
    start(task_.handle_, task_.handle_.promise());
  }

 private:
  /// What a signal calls. It tells the root when it goes: a signal may go before the chain does.
  class canceller {
   public:
    explicit canceller(root& r) noexcept : root_(r) { root_.in_slot_ = true; }
    canceller(canceller const&) = delete;
    canceller& operator=(canceller const&) = delete;
    ~canceller() { root_.in_slot_ = false; }
    void operator()(boost::asio::cancellation_type) { root_.cancel(); }

   private:
    root& root_;
  };

  void leave_slot(Handler const& handler) noexcept {
    if (in_slot_) boost::asio::get_associated_cancellation_slot(handler).clear();
  }

  void finish() override {
    outcome value;
    std::exception_ptr const error = task_.handle_.promise().error();
    if constexpr (!std::is_void_v<T>) {
      if (!error) value.emplace(task_.handle_.promise().take());
    }
    // The frames go first: a completion handler may free what they refer to.
    Handler handler{std::move(handler_)};
    auto const handler_work = std::move(handler_work_);
    auto const work = std::move(work_);
    leave_slot(handler);
    delete this;

    auto const executor = boost::asio::get_associated_executor(handler, work);
    auto call = [handler = std::move(handler), error, value = std::move(value)]() mutable {
      static_cast<void>(value);
      if constexpr (std::is_void_v<T>) {
        std::move(handler)(error);
      } else if (value) {
        std::move(handler)(error, *std::move(value));
      } else {
        std::move(handler)(error, detail::no_outcome<T>());
      }
    };
    boost::asio::dispatch(executor, std::move(call));
  }

  void destroy() noexcept override {
    leave_slot(handler_);
    delete this;
  }

  [[nodiscard]] bool is_ours(handler_executor const& e) const noexcept {
    if constexpr (std::is_same_v<handler_executor, executor_type>) {
      return e == executor();
    } else {
      return false;
    }
  }

  task<T> task_;
  Handler handler_;
  executor_type work_;                           ///< keeps the event loop running
  std::unique_ptr<handler_guard> handler_work_;  ///< that of the handler too, if it is another
  bool in_slot_ = false;
};

namespace detail {

template <class T>
struct spawn_signature {
  using type = void(std::exception_ptr, T);
  static_assert(std::is_default_constructible_v<T> || std::is_constructible_v<T, failure>,
                "the outcome of a spawned task must be default constructible, or a result: a "
                "handler that is told of "
                "an exception is given one too");
};
template <>
struct spawn_signature<void> {
  using type = void(std::exception_ptr);
};

template <class T>
class initiate_spawn {
 public:
  using executor_type = environment::executor_type;
  explicit initiate_spawn(executor_type executor) noexcept : executor_(std::move(executor)) {}
  [[nodiscard]] executor_type get_executor() const noexcept { return executor_; }

  template <class Handler>
  void operator()(Handler&& handler, task<T> outermost) const {
    using root_type = root<T, std::decay_t<Handler>>;
    auto owner = std::make_unique<root_type>(executor_, std::move(outermost),
                                             std::decay_t<Handler>(std::move(handler)));
    boost::asio::dispatch(executor_, root_owner<root_type>{std::move(owner)});
  }

 private:
  /// A chain that is never started (its context is going away) is dropped like any other.
  template <class Root>
  class root_owner {
   public:
    explicit root_owner(std::unique_ptr<Root> root) noexcept : root_(std::move(root)) {}
    root_owner(root_owner&&) noexcept = default;
    root_owner& operator=(root_owner&&) = delete;
    ~root_owner() {
      if (root_) root_.release()->drop();
    }
    void operator()() { root_.release()->run(); }

   private:
    std::unique_ptr<Root> root_;
  };

  executor_type executor_;
};

}  // namespace detail

/// Starts `outermost` as a chain of its own on `executor` (which must run one thing at a time), and
/// completes `token` with `(exception_ptr)` or `(exception_ptr, T)` when it ends.
///
/// Starts at once if called on that executor. The token's cancellation slot cancels the chain. The
/// chain's frames are destroyed before the completion handler is called. If the execution context
/// goes away first, the chain is destroyed and the handler is never called, as for any Asio
/// operation.
template <class T, class Token>
auto spawn(environment::executor_type executor, task<T> outermost, Token&& token) {
  return boost::asio::async_initiate<Token, typename detail::spawn_signature<T>::type>(
      detail::initiate_spawn<T>{std::move(executor)}, token, std::move(outermost));
}

/// Not there: the system's executor runs many things at a time.
template <std::same_as<boost::asio::system_executor> Executor, class T, class... Token>
void spawn(Executor, task<T>, Token&&...) {
  static_assert(
      !detail::is_anybodys<Executor>,
      "the system's executor runs a task on any thread: give the executor of an io_context "
      "that one thread runs, or boost::asio::make_strand(executor)");
}

/// The same without a token: an exception that escapes the task leaves through `io_context::run`.
inline void spawn(environment::executor_type executor, task<void> outermost) {
  spawn(executor, std::move(outermost), [executor](std::exception_ptr error) {
    // Through the queue: whoever resumed the chain last has nothing to do with it.
    if (error) boost::asio::post(executor, [error] { std::rethrow_exception(error); });
  });
}

template <class T>
template <class Token>
auto task<T>::operator()(Token&& token) && {
  auto initiation = [](auto handler, task<T> outermost) {
    auto const executor = boost::asio::get_associated_executor(handler);
    static_assert(
        !detail::is_anybodys<std::remove_cv_t<decltype(executor)>>,
        "this completion token names no executor, so that the task would run on any thread: write "
        "cleat::spawn(context.get_executor(), task, token), or bind one to the token: "
        "task(boost::asio::bind_executor(context, token))");
    detail::initiate_spawn<T>{executor}(std::move(handler), std::move(outermost));
  };
  return boost::asio::async_initiate<Token, typename detail::spawn_signature<T>::type>(
      std::move(initiation), token, std::move(*this));
}

}  // namespace cleat

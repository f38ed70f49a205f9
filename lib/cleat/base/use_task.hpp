#pragma once

#include <cleat/base/promise.hpp>
#include <cleat/base/result.hpp>

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/system/system_error.hpp>

#include <exception>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace cleat {

/// The completion token that makes an Asio operation awaitable in a `task`:
/// `result<std::size_t> n = co_await socket.async_read_some(buffer, use_task);`
///
/// | signature                       | `co_await` gives                     |
/// |---------------------------------|--------------------------------------|
/// | `void()`                        | nothing                              |
/// | `void(error_code)`              | `result<void>`                       |
/// | `void(error_code, T)`           | `result<T>`                          |
/// | `void(error_code, T, U...)`     | `result<std::tuple<T, U...>>`        |
/// | `void(exception_ptr, T)`        | `T`, or throws                       |
/// | `void(T)`, `void(T, U...)`      | `T`, `std::tuple<T, U...>`           |
///
/// `as_tuple(use_task)` and `redirect_error(use_task, ec)` work as with any token. The operation
/// starts when it is awaited, completes on the chain's executor, and is cancelled with the chain.
struct use_task_t {
  constexpr use_task_t() = default;
};
inline constexpr use_task_t use_task{};

/// An Asio operation that has its arguments and waits to be awaited.
template <class R, class... Results, class Initiation, class... Args>
class asio_operation<R(Results...), Initiation, Args...> {
 public:
  template <class I, class... A>
  explicit asio_operation(std::in_place_t, I&& initiation, A&&... args)
      : initiation_(std::forward<I>(initiation)), args_(std::forward<A>(args)...) {}

  template <class Handler>
  void start(Handler&& handler) {
    std::apply(
        [&](auto&... args) {
          std::move(initiation_)(std::forward<Handler>(handler), std::move(args)...);
        },
        args_);
  }

 private:
  Initiation initiation_;
  std::tuple<Args...> args_;
};

namespace detail {

/// How the arguments of a completion become one value; see `use_task_t`.
template <class... Results>
struct completion_value {
  using type = std::conditional_t<sizeof...(Results) == 1,
                                  std::tuple_element_t<0, std::tuple<Results..., void>>,
                                  std::tuple<Results...>>;
  static type from(std::tuple<Results...>&& all) {
    if constexpr (sizeof...(Results) == 1) {
      return std::get<0>(std::move(all));
    } else {
      return std::move(all);
    }
  }
};

template <>
struct completion_value<> {
  using type = void;
  static void from(std::tuple<>&&) {}
};

template <class... Results>
struct completion_value<boost::system::error_code, Results...> {
  using rest = completion_value<Results...>;
  using type = result<typename rest::type>;
  static type from(std::tuple<boost::system::error_code, Results...>&& all) {
    if (auto const& code = std::get<0>(all); code.failed()) return failure{code};
    if constexpr (sizeof...(Results) == 0) {
      return {};
    } else {
      return rest::from(
          std::apply([](boost::system::error_code,
                        Results&... r) { return std::tuple<Results...>{std::move(r)...}; },
                     all));
    }
  }
};

template <class... Results>
struct completion_value<std::exception_ptr, Results...> {
  using rest = completion_value<Results...>;
  using type = typename rest::type;
  static type from(std::tuple<std::exception_ptr, Results...>&& all) {
    if (std::get<0>(all)) std::rethrow_exception(std::get<0>(all));
    return rest::from(
        std::apply([](std::exception_ptr const&,
                      Results&... r) { return std::tuple<Results...>{std::move(r)...}; },
                   all));
  }
};

/// What a chain waits on while an Asio operation is under way; `asio_leaf` and `timed_leaf` are
/// made of it.
template <class Operation, class... Results>
class asio_leaf_base : public leaf {
  using value = completion_value<Results...>;

 public:
  explicit asio_leaf_base(Operation&& operation) : operation_(std::move(operation)) {}

  typename value::type await_resume() {
    if (!results_) {  // cancelled before it began, or dropped by its own initiation
      if constexpr (std::is_same_v<std::tuple_element_t<0, std::tuple<Results..., void>>,
                                   boost::system::error_code>) {
        return failure{boost::asio::error::operation_aborted};
      } else if constexpr (is_as_tuple<std::tuple<Results...>>::value) {
        std::tuple<Results...> aborted{};
        std::get<0>(std::get<0>(aborted)) = boost::asio::error::operation_aborted;
        return value::from(std::move(aborted));
      } else {
        throw boost::system::system_error(boost::asio::error::operation_aborted);
      }
    }
    return value::from(*std::move(results_));
  }

 private:
  template <class>
  struct is_as_tuple : std::false_type {};
  template <class... T>
  struct is_as_tuple<std::tuple<std::tuple<boost::system::error_code, T...>>> : std::true_type {};

  class handler {
   public:
    explicit handler(asio_leaf_base& l) noexcept : link_(l) {}

    using executor_type = environment::executor_type;
    [[nodiscard]] executor_type get_executor() const noexcept { return target()->env().executor(); }
    using cancellation_slot_type = boost::asio::cancellation_slot;
    [[nodiscard]] cancellation_slot_type get_cancellation_slot() const noexcept {
      asio_leaf_base* const l = target();
      return l != nullptr ? l->signal_.slot() : cancellation_slot_type{};
    }

    template <class... A>
    void operator()(A&&... all) {
      asio_leaf_base* const l = target();
      if (l == nullptr) return;
      link_.release();
      l->results_.emplace(std::forward<A>(all)...);
      l->complete();
    }

   private:
    [[nodiscard]] asio_leaf_base* target() const noexcept {
      return static_cast<asio_leaf_base*>(link_.get());
    }
    link link_;
  };

 protected:
  ~asio_leaf_base() override = default;

  void begin(bool cancelled) override {
    if (cancelled && !is_plain_dispatch) return complete();
    operation_.start(handler{*this});
  }
  void cancel() noexcept override { signal_.emit(boost::asio::cancellation_type::all); }

 private:
  /// `post`, `dispatch` and `defer` cannot fail and cannot be cancelled: they are done even in a
  /// cancelled chain.
  static constexpr bool is_plain_dispatch = sizeof...(Results) == 0;

  Operation operation_;
  std::optional<std::tuple<Results...>> results_;
  boost::asio::cancellation_signal signal_;
};

template <class Operation, class... Results>
class asio_leaf final : public asio_leaf_base<Operation, Results...> {
 public:
  using asio_leaf_base<Operation, Results...>::asio_leaf_base;
};

template <class R, class... Results, class I, class... A>
auto make_asio_leaf(asio_operation<R(Results...), I, A...>&& operation) {
  return asio_leaf<asio_operation<R(Results...), I, A...>, std::decay_t<Results>...>{
      std::move(operation)};
}

/// Callable with `use_task` to give an operation: what `boost::asio::deferred` makes.
template <class X>
concept DeferredOperation = requires(X x) {
  requires is_asio_operation<std::remove_cvref_t<decltype(std::move(x)(use_task))>>::value;
};

}  // namespace detail

/// May be awaited in a `task`.
template <class X>
concept AwaitableInTask =
    detail::is_task<X>::value || std::derived_from<X, leaf> || std::derived_from<X, in_place> ||
    detail::is_leaf_or_task<X>::value || detail::is_asio_operation<X>::value ||
    detail::is_awaitable<X>::value || detail::DeferredOperation<X>;

namespace detail {

template <class X>
  requires(!is_task<std::remove_cvref_t<X>>::value &&
           !std::derived_from<std::remove_cvref_t<X>, leaf> &&
           !std::derived_from<std::remove_cvref_t<X>, in_place>)
auto promise_base::await_transform(X&& x, std::source_location where) {
  at = where;
  using Operation = std::remove_cvref_t<X>;
  if constexpr (is_asio_operation<Operation>::value) {
    return make_asio_leaf(std::move(x));
  } else if constexpr (is_awaitable<Operation>::value) {
    return make_asio_leaf(boost::asio::co_spawn(env->executor(), std::move(x), use_task));
  } else if constexpr (DeferredOperation<Operation>) {
    return make_asio_leaf(std::move(x)(use_task));
  } else {
    static_assert(always_false<X>,
                  "a cleat::task can await a task, an Asio operation (with use_task or deferred), "
                  "an asio::awaitable, "
                  "a this_chain tag or a cleat::leaf; wrap anything else as an Asio operation");
    return std::suspend_never{};
  }
}

template <class X>
struct await_result {
  using type = decltype(make_asio_leaf(std::declval<X>()(use_task)).await_resume());
};
template <class T>
struct await_result<task<T>> {
  using type = T;
};
template <class L>
  requires std::derived_from<L, leaf> || std::derived_from<L, in_place>
struct await_result<L> {
  using type = decltype(std::declval<L&>().await_resume());
};
template <class S, class I, class... A>
struct await_result<asio_operation<S, I, A...>> {
  using type = decltype(make_asio_leaf(std::declval<asio_operation<S, I, A...>>()).await_resume());
};
template <class T, class E>
struct await_result<boost::asio::awaitable<T, E>> {
  using type = T;
};

}  // namespace detail

/// What `co_await` gives for an `X` in a task.
template <AwaitableInTask X>
using await_result_t = typename detail::await_result<X>::type;

/// `X` can be awaited in a task and gives a `T`.
template <class X, class T>
concept AwaitsTo = AwaitableInTask<X> && std::same_as<await_result_t<X>, T>;

}  // namespace cleat

template <class R, class... Results>
class boost::asio::async_result<cleat::use_task_t, R(Results...)> {
 public:
  template <class Initiation, class... Args>
  static auto initiate(Initiation&& initiation, cleat::use_task_t, Args&&... args) {
    using operation =
        cleat::asio_operation<R(Results...), std::decay_t<Initiation>, std::decay_t<Args>...>;
    return operation{std::in_place, std::forward<Initiation>(initiation),
                     std::forward<Args>(args)...};
  }
};

/// Asio's own version asks the inner token for one `return_type`; ours depends on the operation.
template <class R, class... Results>
class boost::asio::async_result<boost::asio::redirect_error_t<cleat::use_task_t>,
                                R(boost::system::error_code, Results...)> {
 public:
  template <class Initiation, class Token, class... Args>
  static auto initiate(Initiation&& initiation, Token&& token, Args&&... args) {
    auto redirected = [&ec = token.ec_, inner = std::forward<Initiation>(initiation)](
                          auto&& handler, auto&&... rest) mutable {
      using handler_type = std::decay_t<decltype(handler)>;
      std::move(inner)(detail::redirect_error_handler<handler_type>(
                           ec, std::forward<decltype(handler)>(handler)),
                       std::forward<decltype(rest)>(rest)...);
    };
    return async_result<cleat::use_task_t, R(Results...)>::initiate(
        std::move(redirected), cleat::use_task, std::forward<Args>(args)...);
  }
};

#pragma once

#include <cleat/base/clock.hpp>
#include <cleat/base/task.hpp>

namespace cleat {

/// An Asio operation that is cancelled at a deadline: what `timed(operation, deadline)` makes.
template <class Operation, class... Results>
class timed_leaf final : public detail::asio_leaf_base<Operation, Results...> {
  using base = detail::asio_leaf_base<Operation, Results...>;

 public:
  timed_leaf(Operation&& operation, time_point deadline)
      : base(std::move(operation)), deadline_(deadline) {}

  auto await_resume() {
    timeout_.unset();  // we may be kept longer
    auto r = base::await_resume();
    // What completed all the same is not lost to a deadline.
    if (expired_ && !r && r.error().why() == kind::cancelled && !this->env().cancelled()) {
      r = failure{kind::timed_out};
    }
    return r;
  }

 private:
  void begin(bool cancelled) override {
    if (!cancelled) {
      timeout_.set(
          this->env().executor(), deadline_,
          [](void* self) { static_cast<timed_leaf*>(self)->expire(); }, this);
    }
    base::begin(cancelled);
  }
  void expire() {
    expired_ = true;
    base::cancel();
  }

  time_point deadline_;
  timer timeout_;
  bool expired_ = false;
};

namespace detail {

template <class R, class... Results, class I, class... A>
auto make_timed_leaf(asio_operation<R(Results...), I, A...>&& operation, time_point deadline) {
  using op = asio_operation<R(Results...), I, A...>;
  return timed_leaf<op, std::decay_t<Results>...>{std::move(operation), deadline};
}

}  // namespace detail

/// Awaits an Asio operation until a deadline: `co_await timed(socket.async_connect(to, use_task),
/// deadline)`. Fails as `timed_out`; an operation that completed in spite of its cancellation gives
/// its value. For waits off the hot path.
template <class Operation>
auto timed(Operation&& operation, time_point deadline) {
  return detail::make_timed_leaf(std::forward<Operation>(operation), deadline);
}

}  // namespace cleat

#pragma once

#include <cleat/base/events.hpp>
#include <cleat/base/in_place.hpp>
#include <cleat/middleware/middleware.hpp>
#include <cleat/observe/observe.hpp>

#include <coroutine>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace cleat {

namespace detail {

/// A call that somebody hears of, from its beginning to its end. Costs no coroutine.
template <class Request, class Next>
class observed final : public in_place {
  using awaitable = decltype(std::declval<Next&>()(std::declval<Request>(), std::declval<call>()));

 public:
  observed(event_table const* events, Request&& q, call const& c, Next& next)
      : call_(with(c, events)), began_(started()), below_([&] {
          try {
            return next(std::forward<Request>(q), call_);
          } catch (...) {
            ended_by_exception();
            throw;
          }
        }) {}

  [[nodiscard]] static constexpr bool await_ready() noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> h) {
    env_ = h.promise().env;
    try {
      return below_.suspend(h);
    } catch (...) {
      ended_by_exception();
      throw;
    }
  }
  result<response_of<Next>> await_resume() {
    try {
      result<response_of<Next>> r = below_.resume();
      if (r) {
        ended(nullptr);
      } else {
        failure const why = env_->halted() ? as_shut_down(r.error()) : r.error();
        ended(&why);
      }
      return r;
    } catch (...) {
      ended_by_exception();
      throw;
    }
  }

 private:
  static call with(call c, event_table const* events) noexcept {
    c.events = events;
    return c;
  }
  /// Before a layer below does anything.
  [[nodiscard]] time_point started() const {
    notify(call_.events, call_started{call_});
    return listens<call_ended>(call_.events) ? call_.now() : time_point{};
  }
  void ended(failure const* why) {
    if (!listens<call_ended>(call_.events)) return;
    notify(call_.events, call_ended{call_, why, call_.now() - began_});
  }
  void ended_by_exception() {
    auto const why = failure{kind::invalid}.with_detail("an exception left a layer");
    ended(&why);
  }

  call call_;
  time_point began_;
  environment* env_ = nullptr;
  held<awaitable> below_;
};

}  // namespace detail

/// Lets observers hear of every call and of what happens to it below: what `observe(metrics, log)`
/// makes.
template <class... Observers>
class observing : public stage {
 public:
  static constexpr layer is = layer::observe;

  explicit observing(Observers&... observers)
      : table_(std::make_unique<tee<Observers...>>(observers...)) {}

  template <class Request, class Next>
  auto operator()(Request&& q, call const& c, Next& next) {
    return detail::observed<Request, Next>{table_.get(), std::forward<Request>(q), c, next};
  }

  [[nodiscard]] static std::string describe() { return "observe"; }

 private:
  std::unique_ptr<tee<Observers...>> table_;  ///< stays where it is when the pipeline is moved
};

/// Tells `observers`, which outlive the pipeline: a temporary cannot be one. Stands outermost.
template <class... Observers>
  requires(Observer<std::remove_cvref_t<Observers>> && ...)
[[nodiscard]] auto observe(Observers&&... observers) {
  static_assert((std::is_lvalue_reference_v<Observers> && ...),
                "`observe` tells observers that outlive the pipeline, and one of these is a "
                "temporary that ends with this line: give it a name, and pass that");
  return observing<std::remove_reference_t<Observers>...>{observers...};
}

}  // namespace cleat

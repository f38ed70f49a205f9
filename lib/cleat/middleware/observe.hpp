#pragma once

#include <cleat/base/events.hpp>
#include <cleat/middleware/middleware.hpp>
#include <cleat/observe/observe.hpp>

#include <memory>
#include <utility>

namespace cleat {

/// Lets observers hear of every call and of what happens to it below: what `observe(metrics, log)`
/// makes.
template <class... Observers>
class observing : public stage {
 public:
  explicit observing(Observers&... observers)
      : table_(std::make_unique<tee<Observers...>>(observers...)) {}

  template <class Request, class Next>
  task<result<response_of<Next>>> operator()(Request q, call c, Next& next) {
    c.events = table_.get();
    time_point const began = c.now();
    notify(c.events, call_started{c});
    auto r = co_await next(std::move(q), c);
    failure const why = r ? failure{} : r.error();
    notify(c.events, call_ended{c, r ? nullptr : &why, c.now() - began});
    co_return r;
  }

 private:
  std::unique_ptr<tee<Observers...>> table_;  ///< stays where it is when the pipeline is moved
};

/// Tells `observers`, which outlive the pipeline. Stands outermost.
template <Observer... Observers>
[[nodiscard]] observing<Observers...> observe(Observers&... observers) {
  return observing<Observers...>{observers...};
}

}  // namespace cleat

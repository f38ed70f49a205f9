#pragma once

#include <cleat/middleware/middleware.hpp>

#include <string>
#include <utility>

namespace cleat {

/// Gives a call at most so long, from here on, whatever it waits for below. Stands outside `retry`:
/// it is the limit of all attempts together. An earlier deadline stays.
class deadline : public stage {
 public:
  static constexpr layer is = layer::deadline;

  explicit deadline(duration limit) noexcept : limit_(limit) {}

  template <class Request, class Next>
  auto operator()(Request&& q, call c, Next& next) const
      -> decltype(next(std::forward<Request>(q), c)) {
    c.tighten(saturated_add(c.now(), limit_));
    return next(std::forward<Request>(q), c);  // no coroutine of its own
  }

  [[nodiscard]] std::string describe() const { return "deadline(" + to_text(limit_) + ")"; }

 private:
  duration limit_;
};

}  // namespace cleat

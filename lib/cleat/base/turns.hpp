#pragma once

#include <cleat/base/environment.hpp>

#include <boost/intrusive/list.hpp>

namespace cleat {

namespace detail {
class turns;
}

/// Lets everybody else on the executor have a turn: `co_await give_way{};`. For a chain that has
/// much to do and does it in pieces.
///
/// Of all chains of a context that give way, one goes on in each turn of its loop, in the order in
/// which they gave way: timers, and whoever waits for something else, come between. It never fails,
/// and cancellation does not shorten it.
class give_way final : public leaf, public boost::intrusive::list_base_hook<> {
 public:
  give_way() noexcept = default;
  ~give_way() override;
  void await_resume() const noexcept {}

 private:
  friend class detail::turns;

  void begin(bool cancelled) override;
  void cancel() noexcept override {}

  detail::turns* in_ = nullptr;
};

}  // namespace cleat

#pragma once

#include <cleat/base/standard.hpp>

#include <boost/asio/awaitable.hpp>

namespace cleat::detail {

template <class>
inline constexpr bool always_false = false;

/// Says what is wrong when an `asio::awaitable` awaits what only a task can: such things can be called with what Asio
/// tries then, and mention this.
template <class Executor>
struct only_in_a_task {
  static_assert(
      always_false<Executor>,
      "an asio::awaitable cannot await this, only a cleat::task can: of a service, write co_await "
      "cleat::ask(service, request, call)(boost::asio::use_awaitable); of a task, co_await "
      "task(boost::asio::use_awaitable)");
  static constexpr bool value = false;
};

/// What Asio tries.
template <class Executor>
using awaitable_frame = boost::asio::detail::awaitable_frame_base<Executor>;

}  // namespace cleat::detail

#pragma once

#include <cleat/base/spawn.hpp>

#include <boost/asio/io_context.hpp>

#include <exception>
#include <optional>
#include <utility>

namespace cleat {

/// Runs a task to its end on an event loop of its own and gives its value: for programs without an
/// event loop.
///
/// The loop ends with the task. Chains that still run on it are destroyed without being resumed: a
/// `persistent` that lives outside of the task loses its connection and makes a new one at the next
/// call.
template <class T>
T block_on(task<T> t) {
  boost::asio::io_context context{1};
  std::optional<T> value;
  std::exception_ptr thrown;
  spawn(context.get_executor(), std::move(t), [&](std::exception_ptr error, T v) {
    thrown = error;
    value.emplace(std::move(v));
    context.stop();
  });
  context.run();
  if (thrown) std::rethrow_exception(thrown);
  return *std::move(value);
}

inline void block_on(task<void> t) {
  boost::asio::io_context context{1};
  std::exception_ptr thrown;
  spawn(context.get_executor(), std::move(t), [&](std::exception_ptr error) {
    thrown = error;
    context.stop();
  });
  context.run();
  if (thrown) std::rethrow_exception(thrown);
}

}  // namespace cleat

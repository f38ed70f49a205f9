#pragma once

#include <cleat/base/spawn.hpp>

#include <boost/asio/io_context.hpp>

#include <exception>
#include <optional>
#include <utility>

namespace cleat {

/// Runs a task to its end on an event loop of its own and gives its value: for programs without an
/// event loop.
template <class T>
T block_on(task<T> t) {
  boost::asio::io_context context{1};
  std::optional<T> value;
  std::exception_ptr thrown;
  spawn(context.get_executor(), std::move(t), [&](std::exception_ptr error, T v) {
    thrown = error;
    value.emplace(std::move(v));
  });
  context.run();
  if (thrown) std::rethrow_exception(thrown);
  return *std::move(value);
}

inline void block_on(task<void> t) {
  boost::asio::io_context context{1};
  spawn(context.get_executor(), std::move(t));
  context.run();
}

}  // namespace cleat

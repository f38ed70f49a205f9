#pragma once

#include <cleat/base/environment.hpp>

#include <boost/asio/execution_context.hpp>

#include <cstddef>
#include <iosfwd>

namespace cleat {

namespace detail {

class chain_list;

/// Membership of one chain in the list of all chains of its execution context.
class chain_link {
 public:
  chain_link(environment::executor_type const& executor, environment& env);
  chain_link(chain_link const&) = delete;
  chain_link& operator=(chain_link const&) = delete;
  ~chain_link();

  /// The chain starts: from here on it is in the list.
  void enter();

 private:
  friend class chain_list;
  chain_list& list_;
  environment& env_;
  chain_link* before_ = nullptr;
  chain_link* after_ = nullptr;
  bool entered_ = false;
};

}  // namespace detail

namespace detail {

/// Watches over the chains on this executor; null if it is no plain executor of its context but a strand.
[[nodiscard]] one_thread* one_thread_of(environment::executor_type const& executor);

}  // namespace detail

/// How many chains live in this context: zero when everything that was spawned has ended.
[[nodiscard]] std::size_t chain_count(boost::asio::execution_context& context);

/// Writes where every suspended chain of the context stands, innermost coroutine first:
/// ```
/// chain 1 of 1
///   #0 read_frame(...) at session.hpp:120
///   #1 serve(...) at server.hpp:44
/// ```
/// Call it while no other thread runs the context.
void dump_chains(boost::asio::execution_context& context, std::ostream& out);

}  // namespace cleat

#pragma once

#include <cleat/base/borrowed_text.hpp>
#include <cleat/base/clock.hpp>
#include <cleat/base/ids.hpp>

#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace cleat {

class event_table;
class entropy;

/// What a call needs of its execution context, in one look-up.
class context_services final : public boost::asio::execution_context::service {
 public:
  using key_type = context_services;
  static boost::asio::execution_context::id id;

  explicit context_services(boost::asio::execution_context& context);

  cleat::clock& clock;
  cleat::entropy& entropy;

 private:
  void shutdown() override {}
};

/// What travels with each request: how long it may take, whose it is, what joins its attempts.
///
/// A small value, copied and not referenced. `peer` and `events` name things that outlive every
/// call: they belong to the pipeline, or to whoever made the call and waits for it.
class call {
 public:
  /// A call of its own, made on the time and the randomness of `executor`'s context: no deadline, a
  /// fresh operation id and correlation id, attempt 1, repeatable.
  explicit call(environment::executor_type const& executor);
  /// The same for a chain, cheaper.
  explicit call(environment& of);

  /// The latest moment at which it may end. Covers every wait below: lookup, queue, dial, backoff,
  /// write, answer.
  [[nodiscard]] time_point deadline() const noexcept { return deadline_; }
  /// Brings the deadline forward; a later one changes nothing.
  void tighten(time_point to) noexcept { deadline_ = std::min(deadline_, to); }

  [[nodiscard]] time_point now() const noexcept { return clock_->now(); }
  [[nodiscard]] cleat::clock& clock() const noexcept { return *clock_; }

  /// Stable over all attempts: what a device or a cache deduplicates by. (What matches an answer to
  /// its attempt is the codec's own number, another one each time.)
  std::uint64_t operation;
  /// Joins everything that belongs to this call in the logs.
  uuid7 correlation;
  /// Whom it is for, as a label of logs and metrics and as the key of per-peer state. May be empty.
  /// A temporary string cannot be assigned.
  borrowed_text peer;
  /// Who is told of what happens. Null: nobody.
  event_table const* events = nullptr;
  /// 1 for the first.
  std::uint32_t attempt = 1;
  /// Doing it twice is as good as doing it once ("on" is, "toggle" is not). If not, it is not tried
  /// again once it may have been executed.
  bool repeatable = true;

 private:
  explicit call(context_services& from);

  cleat::clock* clock_;
  time_point deadline_ = never;
};

static_assert(std::is_trivially_copyable_v<call>);

}  // namespace cleat

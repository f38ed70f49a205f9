#pragma once

#include <cleat/middleware/retry_budget.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace storming {

/// What one storm is made of. Counts are of requests, times in seconds.
class terms {
 public:
  /// How often each client asks, whatever became of what it asked before.
  static constexpr std::uint64_t requests_per_second = 2;
  /// How long it waits for one of them to succeed, all attempts together.
  static constexpr std::uint64_t seconds_per_request_max = 5;

  std::uint64_t seed = 1;
  std::uint64_t clients = 1000;
  /// What the server gets done in a second.
  std::uint64_t capacity = 3000;
  /// How many attempts a client makes of one request, at most.
  unsigned attempts = 5;
  /// All clients share one retry budget; if not, each has one of its own.
  bool one_budget = true;
  /// All is well, then the server fails everything, then all could be well.
  std::uint64_t calm = 30;
  std::uint64_t outage = 30;
  std::uint64_t after = 120;

  [[nodiscard]] std::uint64_t outage_ends() const noexcept { return calm + outage; }
  [[nodiscard]] std::uint64_t length() const noexcept { return calm + outage + after; }
};

/// One second of a storm.
class second {
 public:
  std::uint64_t requests = 0;   ///< begun in it
  std::uint64_t attempts = 0;   ///< begun in it
  std::uint64_t succeeded = 0;  ///< of the requests that began in it, whenever they ended
  std::uint64_t failed = 0;     ///< the same
  std::uint64_t denied = 0;     ///< retries in it that the budget did not allow
};

/// What became of a storm.
class account {
 public:
  /// From the first to the last in which anything was begun.
  std::vector<second> seconds;
  /// What is still there after the end, in sentences. None if all is well.
  std::vector<std::string> leftovers;
  /// Of all that happened, in order: the same for the same seed.
  std::uint64_t hash = 0;

  /// The sums over the seconds [from, to).
  [[nodiscard]] second sum(std::uint64_t from, std::uint64_t to) const noexcept;
  /// How many seconds after `from` the first of three seconds in a row begins in which at least 99 % of the requests
  /// succeed; nothing if there are none.
  [[nodiscard]] std::optional<std::uint64_t> recovered_after(std::uint64_t from) const noexcept;
};

/// Lets the clients ask one server, in a simulated world, with retry budgets of these settings.
[[nodiscard]] account run(terms const& t, cleat::retry_budget::settings const& budget);

}  // namespace storming

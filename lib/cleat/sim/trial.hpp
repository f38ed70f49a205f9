#pragma once

#include <cleat/sim/world.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace cleat::sim {

/// One run of a scenario in a world of its own, and what it found.
class trial {
 public:
  explicit trial(std::uint64_t seed) : world(seed) {}

  sim::world world;

  /// A promise that has to hold here and now. The first ones that do not are kept as sentences, with the virtual time
  /// and `detail`.
  bool expect(bool kept, std::string_view promise, std::string_view detail = {});
  /// A path that is seldom taken was taken. `what` is a literal; the summary of a sweep counts them.
  void reached(std::string_view what) { world.tally(what); }

  [[nodiscard]] std::uint64_t checks() const noexcept { return checks_; }
  [[nodiscard]] std::vector<std::string> const& broken() const noexcept { return broken_; }

 private:
  static constexpr std::size_t broken_max = 8;

  std::uint64_t checks_ = 0;
  std::vector<std::string> broken_;
};

/// What runs: it sets the world up, runs it, and checks. At its end nothing may be left over; that is checked for it.
using scenario = std::function<void(trial&)>;

}  // namespace cleat::sim

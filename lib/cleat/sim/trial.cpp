#include <cleat/sim/trial.hpp>

#include <chrono>

namespace cleat::sim {

bool trial::expect(bool kept, std::string_view promise, std::string_view detail) {
  ++checks_;
  if (kept) return true;
  world.note("BROKEN", promise);
  if (broken_.size() < broken_max) {
    auto const at = std::chrono::duration_cast<std::chrono::milliseconds>(world.elapsed()).count();
    std::string sentence = "after " + std::to_string(at) + " ms: " + std::string{promise};
    if (!detail.empty()) sentence += " (" + std::string{detail} + ')';
    broken_.push_back(std::move(sentence));
  }
  return false;
}

}  // namespace cleat::sim

#pragma once

#include <cleat/base/clock.hpp>
#include <cleat/base/text.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string_view>
#include <vector>

namespace cleat::sim {

/// What happened in a world: a hash of everything, in order and with its virtual time, and the last of it in words. Two
/// runs with the same history did the same.
///
/// Thread safety: none.
class history {
 public:
  /// How many of the last events are kept in words.
  static constexpr std::size_t kept = 64;
  /// How many events from the beginning are kept for `write_difference`; about 25 MB.
  static constexpr std::size_t compared = std::size_t{1} << 18;

  /// `what` happened to `who`, with two numbers that tell it apart from others of its kind. `what` is a literal: it is
  /// kept by reference. `at` counts from the beginning of the world.
  void note(duration at, std::string_view what, std::string_view who, std::uint64_t a,
            std::uint64_t b);

  /// The same for the same events at the same times, on every compiler.
  [[nodiscard]] std::uint64_t hash() const noexcept { return hash_; }
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

  /// Writes the last events, a line each, oldest first.
  void write_last(std::ostream& out) const;
  /// Writes every event from here on as it happens; null: no more.
  void trace(std::ostream* to) noexcept { trace_ = to; }

  /// Keeps every event from here on, `compared` at most.
  void keep_for_comparison() noexcept { keeps_all_ = true; }
  /// Writes the first event in which two histories that were kept for comparison differ, as it was in this one and in
  /// `second`, below the last ones that they have in common. Writes nothing if they are the same as far as they were
  /// kept.
  void write_difference(history const& second, std::ostream& out) const;

 private:
  struct record {
    duration at{};
    std::string_view what;
    text<31> who;
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    std::uint64_t hash = 0;  ///< of all up to this one
  };
  static void write(record const& r, std::ostream& out);

  std::array<record, kept> last_;
  std::uint64_t size_ = 0;
  std::uint64_t hash_ = 0;
  std::ostream* trace_ = nullptr;
  std::vector<record> all_;
  bool keeps_all_ = false;
};

}  // namespace cleat::sim

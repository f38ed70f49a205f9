#pragma once

#include <cleat/base/clock.hpp>
#include <cleat/base/text.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string_view>

namespace cleat::sim {

/// What happened in a world: a hash of everything, in order and with its virtual time, and the last of it in words. Two
/// runs with the same history did the same.
///
/// Thread safety: none.
class history {
 public:
  /// How many of the last events are kept in words.
  static constexpr std::size_t kept = 64;

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

 private:
  struct record {
    duration at{};
    std::string_view what;
    text<31> who;
    std::uint64_t a = 0;
    std::uint64_t b = 0;
  };
  static void write(record const& r, std::ostream& out);

  std::array<record, kept> last_;
  std::uint64_t size_ = 0;
  std::uint64_t hash_ = 0;
  std::ostream* trace_ = nullptr;
};

}  // namespace cleat::sim

#pragma once

#include <cleat/base/time.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>

namespace cleat {

/// Bounds how many are under way at once, and puts the next few in a line for their place: first
/// come, first served. Bounds also the bytes of all that are under way or wait.
///
/// A pure state machine of constant cost: entering, leaving and being dropped touch the ends of the
/// line only, and the line is made of what its guests bring. (A counting semaphore with a bounded
/// queue: the bulkhead of "Release It!", with CoDel's thought that of those who wait the oldest may
/// be the least useful.)
///
/// Thread safety: none. It outlives all that are under way or wait, and is moved only while there are
/// none.
class waiting_line {
 public:
  /// What becomes of a guest for whom there is neither a place nor room to wait.
  enum class when_full : std::uint8_t {
    reject,       ///< it is turned away
    drop_oldest,  ///< it waits, and the one that has waited longest goes
  };
  enum class answer : std::uint8_t {
    under_way,  ///< it has a place
    waits,      ///< it will be told
    no_place,   ///< too many are under way and wait
    no_bytes,   ///< it and the others together have too many bytes
    too_large,  ///< alone it has too many bytes: it can never enter
  };
  static constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

  struct settings {
    std::size_t under_way_max = 1;  ///< 0 counts as 1
    std::size_t waiting_max = 0;
    std::size_t bytes_max = unlimited;  ///< under way and waiting, together
    when_full full = when_full::reject;
  };

  class place;

  waiting_line() noexcept : waiting_line(settings{}) {}
  explicit waiting_line(settings s) noexcept : settings_(s) {
    if (settings_.under_way_max == 0) settings_.under_way_max = 1;
  }
  waiting_line(waiting_line&& other) noexcept : settings_(other.settings_) {}
  waiting_line& operator=(waiting_line&& other) noexcept {
    settings_ = other.settings_;
    return *this;
  }
  ~waiting_line() = default;

  [[nodiscard]] settings const& with() const noexcept { return settings_; }
  [[nodiscard]] std::size_t under_way() const noexcept { return under_way_; }
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_; }
  [[nodiscard]] bool is_forgettable(time_point /*now*/) const noexcept {
    return under_way_ == 0;  // then nobody waits either
  }
  /// Of all that are under way or wait.
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  answer enter(place& p) noexcept;
  void leave(place& p) noexcept;
  [[nodiscard]] answer refusal(place const& p) const noexcept;
  void drop_oldest() noexcept;
  void append(place& p) noexcept;
  void unlink(place& p) noexcept;

  settings settings_;
  std::size_t under_way_ = 0;
  std::size_t waiting_ = 0;
  std::size_t bytes_ = 0;
  std::size_t bytes_waiting_ = 0;
  // Nobody waits while a place is free.
  place* first_ = nullptr;
  place* last_ = nullptr;
};

/// One guest's place, or its place in the line. Gives it back when it goes, whichever it is.
class waiting_line::place {
 public:
  /// Called once, when a guest that waits gets its place or is dropped; must not call the line.
  using teller = void (*)(void* argument);

  place(waiting_line& in, std::size_t bytes) noexcept : line_(in), bytes_(bytes) {}
  place(place const&) = delete;
  place& operator=(place const&) = delete;
  ~place() { leave(); }

  /// Asks to be let in. Once.
  [[nodiscard]] answer enter() noexcept { return line_.enter(*this); }
  /// Gives up what it has, if anything: the first that waits gets the place.
  void leave() noexcept {
    if (state_ == state::under_way || state_ == state::waits) line_.leave(*this);
    state_ = state::outside;
  }

  /// Whom to tell; null: nobody.
  void tell(teller f, void* argument) noexcept {
    teller_ = f;
    argument_ = argument;
  }

  [[nodiscard]] bool waits() const noexcept { return state_ == state::waits; }
  [[nodiscard]] bool was_dropped() const noexcept { return state_ == state::dropped; }

 private:
  friend class waiting_line;
  enum class state : std::uint8_t { outside, waits, under_way, dropped };

  void become(state s) noexcept {
    state_ = s;
    if (teller_ != nullptr) teller_(argument_);
  }

  waiting_line& line_;
  std::size_t bytes_;
  place* before_ = nullptr;
  place* after_ = nullptr;
  teller teller_ = nullptr;
  void* argument_ = nullptr;
  state state_ = state::outside;
};

inline waiting_line::answer waiting_line::refusal(place const& p) const noexcept {
  if (p.bytes_ > settings_.bytes_max) return answer::too_large;
  bool const drops = settings_.full == when_full::drop_oldest;
  std::size_t const stays = drops ? bytes_ - bytes_waiting_ : bytes_;
  if (p.bytes_ > settings_.bytes_max - stays) return answer::no_bytes;
  if (under_way_ < settings_.under_way_max) return answer::under_way;
  if (waiting_ < settings_.waiting_max) return answer::waits;
  return drops && settings_.waiting_max != 0 ? answer::waits : answer::no_place;
}

inline waiting_line::answer waiting_line::enter(place& p) noexcept {
  answer const it = refusal(p);
  if (it != answer::under_way && it != answer::waits) return it;
  while (p.bytes_ > settings_.bytes_max - bytes_) drop_oldest();
  if (it == answer::waits && waiting_ == settings_.waiting_max) drop_oldest();
  bytes_ += p.bytes_;
  if (it == answer::under_way) {
    ++under_way_;
    p.state_ = place::state::under_way;
  } else {
    append(p);
    p.state_ = place::state::waits;
  }
  return it;
}

inline void waiting_line::leave(place& p) noexcept {
  bytes_ -= p.bytes_;
  if (p.state_ == place::state::waits) return unlink(p);
  --under_way_;
  if (first_ == nullptr) return;
  place& next = *first_;
  unlink(next);
  ++under_way_;
  next.become(place::state::under_way);
}

inline void waiting_line::drop_oldest() noexcept {
  place& oldest = *first_;
  unlink(oldest);
  bytes_ -= oldest.bytes_;
  oldest.become(place::state::dropped);
}

inline void waiting_line::append(place& p) noexcept {
  p.before_ = last_;
  (last_ != nullptr ? last_->after_ : first_) = &p;
  last_ = &p;
  ++waiting_;
  bytes_waiting_ += p.bytes_;
}

inline void waiting_line::unlink(place& p) noexcept {
  (p.before_ != nullptr ? p.before_->after_ : first_) = p.after_;
  (p.after_ != nullptr ? p.after_->before_ : last_) = p.before_;
  --waiting_;
  bytes_waiting_ -= p.bytes_;
}

}  // namespace cleat

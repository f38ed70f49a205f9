#pragma once

#include <cleat/base/clock.hpp>
#include <cleat/base/events.hpp>
#include <cleat/middleware/middleware.hpp>
#include <cleat/middleware/per_peer.hpp>
#include <cleat/middleware/waiting_line.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace cleat {

namespace detail {

/// What a call in a line waits on, until it has its place or will get none.
class turn final : public leaf {
 public:
  turn(waiting_line::place& mine, time_point deadline) noexcept
      : place_(mine), deadline_(deadline) {}
  ~turn() { place_.tell(nullptr, nullptr); }

  /// Why it got no place, or cannot use it any more.
  [[nodiscard]] std::optional<kind> await_resume() const {
    if (why_) return why_;
    if (place_.was_dropped()) return kind::overloaded;
    if (env().cancelled()) return kind::cancelled;  // with a place: whoever awaits gives it on
    if (deadline_ <= env().services().clock.now()) return kind::timed_out;
    return std::nullopt;
  }

 private:
  void begin(bool cancelled) override {
    if (cancelled) return end(kind::cancelled);
    place_.tell([](void* self) { static_cast<turn*>(self)->called(); }, this);
    timeout_.set(
        env().executor(), deadline_,
        [](void* self) { static_cast<turn*>(self)->end(kind::timed_out); }, this);
  }
  void cancel() noexcept override {
    if (place_.waits()) end(kind::cancelled);
  }
  void called() noexcept {
    timeout_.unset();
    complete_later();
  }
  void end(kind why) {
    why_ = why;
    place_.leave();
    timeout_.unset();
    complete_later();
  }

  waiting_line::place& place_;
  time_point deadline_;
  timer timeout_;
  std::optional<kind> why_;
};

class weightless {
 public:
  template <class Request>
  std::size_t operator()(Request const&) const noexcept {
    return 0;
  }
};

}  // namespace detail

/// At most so many calls at once to each peer: `limit(64)`, `limit(64).queue(16)`.
///
/// A call for which there is no place waits for one, if a queue was asked for and has room, until
/// its deadline, and is then handed on in the order in which it came. Any other is refused at once:
/// a bound that makes everybody wait only moves the trouble.
///
/// Failures, all `not_sent`, `next` was not asked:
/// - `overloaded`: no place and no room to wait; or too many bytes; or dropped from the queue. The
///   detail says which bound. `retry` does not try it again.
/// - `invalid`: the request alone has more bytes than the bound.
/// - `timed_out`, `cancelled` while waiting.
///
/// A place is free again when `next` has ended. Events: `limit_queued`, `limit_rejected`,
/// `limit_dropped` (with how long it had waited).
template <class SizeOf = detail::weightless>
class limit : public stage {
 public:
  static constexpr layer is = layer::limit;

  /// So many at once; 0 counts as 1.
  explicit limit(std::size_t most) : limit(settings_of(most), SizeOf{}) {}

  /// So many may wait; at first 0.
  [[nodiscard]] limit queue(std::size_t places) && {
    settings_.waiting_max = places;
    return std::move(*this).again();
  }
  /// When the queue is full, the call that has waited longest fails in favour of the new one. (For
  /// callers who give up soon: the oldest is the one most likely to be of no more use.)
  [[nodiscard]] limit drop_oldest() && {
    settings_.full = waiting_line::when_full::drop_oldest;
    return std::move(*this).again();
  }
  /// The requests under way and waiting have at most so many bytes together, where
  /// `size_of(request const&)` is how many one has.
  template <class F>
  [[nodiscard]] limit<F> bytes(std::size_t most, F size_of) && {
    settings_.bytes_max = most;
    limit<F> sized{settings_, std::move(size_of)};
    if (shared_) return std::move(sized).shared();
    return sized;
  }
  /// One bound over all peers.
  [[nodiscard]] limit shared() && {
    shared_ = std::make_shared<waiting_line>(settings_);
    return std::move(*this);
  }
  /// One bound over all peers and over whatever else shares it on this executor: its own settings
  /// hold, and none of those above. Say it last.
  [[nodiscard]] limit shared(std::shared_ptr<waiting_line> line) && {
    settings_ = line->with();
    shared_ = std::move(line);
    return std::move(*this);
  }

  template <class Request, class Next>
  task<result<response_of<Next>>> operator()(Request q, call c, Next& next) {
    waiting_line& line = shared_ ? *shared_ : lines_.of(c.peer);
    waiting_line::place mine{line, static_cast<std::size_t>(std::invoke(size_of_, q))};
    auto const answer = mine.enter();
    if (answer == waiting_line::answer::waits) {
      notify(c.events, layer_acted{c, action::limit_queued});
      time_point const since = c.now();
      auto const in_vain = co_await detail::turn(mine, c.deadline());
      if (in_vain) co_return ended(c, *in_vain, since);
    } else if (answer != waiting_line::answer::under_way) {
      co_return refused(c, answer);
    }
    auto r = co_await next(std::move(q), c);
    co_return r;
  }

  [[nodiscard]] std::string describe() const {
    std::string says = "limit(" + std::to_string(settings_.under_way_max);
    if (settings_.waiting_max != 0) says += ", queue " + std::to_string(settings_.waiting_max);
    if (drops()) says += " dropping the oldest";
    if (settings_.bytes_max != waiting_line::unlimited)
      says += ", " + std::to_string(settings_.bytes_max) + " bytes";
    if (shared_) says += ", shared";
    return says + ")";
  }

 private:
  template <class F>
  friend class limit;

  static waiting_line::settings settings_of(std::size_t most) noexcept {
    waiting_line::settings s;
    s.under_way_max = most == 0 ? 1 : most;
    return s;
  }
  limit(waiting_line::settings s, SizeOf size_of)
      : settings_(s), size_of_(std::move(size_of)), lines_(s) {}

  [[nodiscard]] limit again() && {
    lines_ = per_peer<waiting_line>{settings_};
    if (shared_) return std::move(*this).shared();
    return std::move(*this);
  }
  [[nodiscard]] bool drops() const noexcept {
    return settings_.full == waiting_line::when_full::drop_oldest && settings_.waiting_max != 0;
  }

  [[nodiscard]] failure refused(call const& c, waiting_line::answer answer) const {
    bool const by_bytes = answer != waiting_line::answer::no_place;
    bool const never_fits = answer == waiting_line::answer::too_large;
    auto const why =
        failure{never_fits ? kind::invalid : kind::overloaded, certainty::not_sent}.with_detail(
            by_bytes ? bytes_bound() : places_bound());
    notify(c.events, layer_acted{c, action::limit_rejected, &why});
    return why;
  }
  [[nodiscard]] failure ended(call const& c, kind in_vain, time_point since) const {
    auto const why = failure{in_vain, certainty::not_sent};
    if (in_vain != kind::overloaded) return why.with_detail("waiting for a place");
    auto const dropped = why.with_detail("dropped from the queue for a younger call");
    notify(c.events, layer_acted{c, action::limit_dropped, &dropped, c.now() - since});
    return dropped;
  }
  [[nodiscard]] std::string bytes_bound() const {
    return "limit of " + std::to_string(settings_.bytes_max) + " bytes";
  }
  [[nodiscard]] std::string places_bound() const {
    std::string says = "limit of " + std::to_string(settings_.under_way_max) + " calls";
    if (settings_.waiting_max != 0)
      says += ", and " + std::to_string(settings_.waiting_max) + " that wait";
    return says;
  }

  waiting_line::settings settings_;
  [[no_unique_address]] SizeOf size_of_;
  per_peer<waiting_line> lines_;
  std::shared_ptr<waiting_line> shared_;
};

limit(std::size_t) -> limit<>;

}  // namespace cleat

#pragma once

#include <cleat/base/clock.hpp>
#include <cleat/base/events.hpp>
#include <cleat/base/relay.hpp>
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
class place_wait final : public leaf {
 public:
  place_wait(waiting_line::place& mine, time_point deadline) noexcept
      : place_(mine), deadline_(deadline) {}
  ~place_wait() override { place_.tell(nullptr, nullptr); }

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
    place_.tell([](void* self) { static_cast<place_wait*>(self)->called(); }, this);
    timeout_.set(
        env().executor(), deadline_,
        [](void* self) { static_cast<place_wait*>(self)->end(kind::timed_out); }, this);
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

/// What a call is told that is not let in.
[[nodiscard]] inline failure not_let_in(waiting_line::settings const& s, waiting_line::answer why) {
  if (why != waiting_line::answer::no_place) {
    bool const never_fits = why == waiting_line::answer::too_large;
    return failure{never_fits ? kind::invalid : kind::overloaded, certainty::not_sent}.with_detail(
        "limit of " + std::to_string(s.bytes_max) + " bytes");
  }
  std::string bound = "limit of " + std::to_string(s.under_way_max) + " calls";
  if (s.waiting_max != 0) bound += ", and " + std::to_string(s.waiting_max) + " that wait";
  return failure{kind::overloaded, certainty::not_sent}.with_detail(bound);
}

/// A call under a limit. Costs no coroutine.
template <class Request, class Next>
class limited final : public relay<limited<Request, Next>> {
  using awaitable = decltype(std::declval<Next&>()(std::declval<Request>(), std::declval<call>()));

 public:
  limited(waiting_line* shared, per_peer<waiting_line>& lines, std::size_t bytes, Request&& q,
          call const& c, Next& next)
      : shared_(shared),
        lines_(lines),
        next_(next),
        request_(std::move(q)),
        call_(c),
        bytes_(bytes) {}

  bool step() {
    if (below_) return true;
    if (!turn_) {
      waiting_line* const line = shared_ != nullptr ? shared_ : lines_.of(call_.peer, call_.now());
      if (line == nullptr) return refused(lines_.refusal());
      place_.emplace(*line, bytes_);
      auto const answer = place_->enter();
      if (answer == waiting_line::answer::waits) {
        notify(call_.events, layer_acted{call_, action::limit_queued});
        since_ = call_.now();
        turn_.emplace([&] { return place_wait(*place_, call_.deadline()); });
        if (this->wait_for(*turn_)) return false;
      } else if (answer != waiting_line::answer::under_way) {
        return refused(not_let_in(line->with(), answer));
      }
    }
    if (turn_ && !has_its_place()) return true;
    below_.emplace([&] { return next_(std::move(request_), call_); });
    return !this->wait_for(*below_);
  }

  result<response_of<Next>> await_resume() {
    if (place_) place_->leave();  // whoever awaits may keep us longer
    this->rethrow();
    if (failed_) return *failed_;
    return below_->resume();
  }

 private:
  bool refused(failure const& why) {
    failed_ = why;
    notify(call_.events, layer_acted{call_, action::limit_rejected, &*failed_});
    return true;
  }
  bool has_its_place() {
    auto const in_vain = turn_->resume();
    if (!in_vain) return true;
    bool const dropped = in_vain == kind::overloaded;
    failed_ = failure{*in_vain, certainty::not_sent}.with_detail(
        dropped ? "dropped from the queue for a younger call" : "waiting for a place");
    if (dropped) {
      notify(call_.events,
             layer_acted{call_, action::limit_dropped, &*failed_, call_.now() - since_});
    }
    return false;
  }

  waiting_line* shared_;
  per_peer<waiting_line>& lines_;
  Next& next_;
  Request request_;
  call call_;
  std::size_t bytes_;
  std::optional<waiting_line::place> place_;
  time_point since_{};
  std::optional<held<place_wait>> turn_;
  std::optional<failure> failed_;
  std::optional<held<awaitable>> below_;
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
/// - `overloaded`: no place and no room to wait; or too many bytes; or dropped from the queue; or a
///   new peer while `peers_max` others have calls under way. The detail says which bound. `retry`
///   does not try it again.
/// - `invalid`: the request alone has more bytes than the bound.
/// - `timed_out`, `cancelled` while waiting.
///
/// A place is free again when `next` has ended. Allocates nothing for a call that finds one.
/// Events: `limit_queued`, `limit_rejected`, `limit_dropped` (with how long it had waited).
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
  /// So many peers have a bound of their own; see `per_peer`.
  [[nodiscard]] limit peers_max(std::size_t n) && {
    peers_max_ = n;
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
    limit<F> sized{settings_, std::move(size_of), peers_max_};
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
  auto operator()(Request q, call const& c, Next& next) {
    auto const bytes = static_cast<std::size_t>(std::invoke(size_of_, std::as_const(q)));
    return detail::limited<Request, Next>{shared_.get(), lines_, bytes, std::move(q), c, next};
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
  limit(waiting_line::settings s, SizeOf size_of,
        std::size_t peers_max = per_peer<waiting_line>::peers_max_default)
      : settings_(s), peers_max_(peers_max), size_of_(std::move(size_of)), lines_(s, peers_max) {}

  [[nodiscard]] limit again() && {
    lines_ = per_peer<waiting_line>{settings_, peers_max_};
    if (shared_) return std::move(*this).shared();
    return std::move(*this);
  }
  [[nodiscard]] bool drops() const noexcept {
    return settings_.full == waiting_line::when_full::drop_oldest && settings_.waiting_max != 0;
  }

  waiting_line::settings settings_;
  std::size_t peers_max_;
  [[no_unique_address]] SizeOf size_of_;
  per_peer<waiting_line> lines_;
  std::shared_ptr<waiting_line> shared_;
};

limit(std::size_t) -> limit<>;

}  // namespace cleat

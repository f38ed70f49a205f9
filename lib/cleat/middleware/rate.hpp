#pragma once

#include <cleat/base/clock.hpp>
#include <cleat/base/events.hpp>
#include <cleat/base/relay.hpp>
#include <cleat/middleware/middleware.hpp>
#include <cleat/middleware/per_peer.hpp>
#include <cleat/middleware/token_bucket.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace cleat {

namespace detail {

/// Waits until a token is there. Times come in their order, even those that are past: who finds a
/// late timer does not overtake those who wait for it.
class token_wait final : public leaf {
 public:
  explicit token_wait(time_point at) noexcept : at_(at) {}

  /// Whether the time has come.
  [[nodiscard]] bool await_resume() const noexcept { return !cancelled_; }

 private:
  void begin(bool cancelled) override {
    cancelled_ = cancelled;
    if (cancelled) return complete();
    timer_.set(
        env().executor(), at_, [](void* self) { static_cast<token_wait*>(self)->complete(); },
        this);
  }
  void cancel() noexcept override {
    cancelled_ = true;
    timer_.unset();
    complete_later();
  }

  time_point at_;
  timer timer_;
  bool cancelled_ = false;
};

/// "100/s", "6 in 60 s".
[[nodiscard]] inline std::string rate_of(token_bucket::settings const& s) {
  bool const a_second = s.per == std::chrono::seconds{1};
  return std::to_string(s.tokens) + (a_second ? "/s" : " in " + to_text(s.per));
}

/// What a call is told that gets no token, and will not wait for so long.
[[nodiscard]] inline failure no_token(token_bucket const& bucket, bool waits, duration wait) {
  auto const& s = bucket.with();
  bool const too_many = waits && !bucket.may_wait();
  return failure{kind::overloaded, certainty::not_sent}
      .with_detail(too_many ? std::to_string(s.waiting_max) + " wait for a token"
                            : "rate of " + rate_of(s))
      .with_retry_after(std::chrono::ceil<failure::duration>(wait));
}

/// A call under a rate. Costs no coroutine.
template <class Request, class Next>
class rated final : public relay<rated<Request, Next>> {
  using awaitable = decltype(std::declval<Next&>()(std::declval<Request>(), std::declval<call>()));

 public:
  rated(token_bucket* shared, per_peer<token_bucket>& buckets, bool waits, Request&& q,
        call const& c, Next& next)
      : shared_(shared),
        buckets_(buckets),
        next_(next),
        request_(std::move(q)),
        call_(c),
        waits_(waits) {}

  bool step() {
    if (below_) return true;
    if (!token_) {
      time_point const now = call_.now();
      token_bucket* const bucket = shared_ != nullptr ? shared_ : buckets_.of(call_.peer, now);
      if (bucket == nullptr) return refused(buckets_.refusal(), {});
      time_point const at = bucket->next(now);
      bool const must_wait = at > now || bucket->waiting() != 0;
      if (must_wait && (!waits_ || !bucket->may_wait() || at >= call_.deadline())) {
        return refused(no_token(*bucket, waits_, at - now), at - now);
      }
      token_.emplace(*bucket, now);
      if (token_->waits()) {
        notify(call_.events, layer_acted{call_, action::rate_delayed, nullptr, at - now});
        wait_.emplace([&] { return token_wait(at); });
        if (this->wait_for(*wait_)) return false;
      }
    }
    if (wait_ && !wait_->resume()) {
      token_.reset();  // given back
      failed_ = failure{kind::cancelled, certainty::not_sent}.with_detail("waiting for a token");
      return true;
    }
    token_->use();
    below_.emplace([&] { return next_(std::move(request_), call_); });
    return !this->wait_for(*below_);
  }

  result<response_of<Next>> await_resume() {
    this->rethrow();
    if (failed_) return *failed_;
    return below_->resume();
  }

 private:
  bool refused(failure const& why, duration wait) {
    failed_ = why;
    notify(call_.events, layer_acted{call_, action::rate_rejected, &*failed_, wait});
    return true;
  }

  token_bucket* shared_;
  per_peer<token_bucket>& buckets_;
  Next& next_;
  Request request_;
  call call_;
  bool waits_;
  std::optional<token_bucket::token> token_;
  std::optional<held<token_wait>> wait_;
  std::optional<failure> failed_;
  std::optional<held<awaitable>> below_;
};

}  // namespace detail

/// At most so many calls a second to each peer: `rate(100)`, `rate(6, 1min)`.
///
/// A token bucket. A call for which there is a token is handed on at once. Any other takes the next
/// token that is still to come, and waits for it, in the order in which calls came, if it comes
/// before the deadline; if not, the call fails at once and takes none.
///
/// Failures, all `not_sent`, `next` was not asked:
/// - `overloaded`: no token before the deadline; or too many wait already; or it must not wait; or
///   it is for a new peer, while `peers_max` others have used up their bursts. It
///   says after which time there would be a token, so that `retry` outside waits as long, if the
///   deadline allows it.
/// - `cancelled` while waiting. The token is given back if no call took one after it; otherwise it
///   is lost, and the later ones keep their times.
///
/// If the event loop stalls, those whose tokens came meanwhile go on one right after the other.
///
/// Events: `rate_delayed` (with the wait), `rate_rejected` (with the wait that it would have been).
/// Allocates nothing for a call that finds its token.
class rate : public stage {
 public:
  static constexpr layer is = layer::rate;

  /// So many in each time, at least 1.
  explicit rate(std::uint32_t calls, duration per = std::chrono::seconds{1})
      : settings_(settings_of(calls, per)), buckets_(settings_) {}

  /// So many may go at once after a quiet time. At first as many as a tenth of a second gives, and
  /// at least 1: calls come unevenly, and need not wait for that alone.
  [[nodiscard]] rate burst(std::uint32_t calls) && {
    settings_.burst = std::max(calls, 1U);
    return std::move(*this).again();
  }
  /// So many may wait at the same time; at first 1000.
  [[nodiscard]] rate waiting_max(std::size_t calls) && {
    settings_.waiting_max = calls;
    return std::move(*this).again();
  }
  /// So many peers have a rate of their own; see `per_peer`.
  [[nodiscard]] rate peers_max(std::size_t n) && {
    peers_max_ = n;
    return std::move(*this).again();
  }
  /// Nobody waits: without a token a call fails at once.
  [[nodiscard]] rate reject() && {
    waits_ = false;
    return std::move(*this);
  }
  /// One rate over all peers.
  [[nodiscard]] rate shared() && {
    shared_ = std::make_shared<token_bucket>(settings_);
    return std::move(*this);
  }
  /// One rate over all peers and over whatever else shares it on this executor: its own settings
  /// hold, and none of those above. Say it last.
  [[nodiscard]] rate shared(std::shared_ptr<token_bucket> bucket) && {
    settings_ = bucket->with();
    shared_ = std::move(bucket);
    return std::move(*this);
  }

  template <class Request, class Next>
  auto operator()(Request q, call const& c, Next& next) {
    return detail::rated<Request, Next>{shared_.get(), buckets_, waits_, std::move(q), c, next};
  }

  [[nodiscard]] std::string describe() const {
    std::string says =
        "rate(" + detail::rate_of(settings_) + ", burst " + std::to_string(settings_.burst);
    if (!waits_) says += ", nobody waits";
    if (shared_) says += ", shared";
    return says + ")";
  }

 private:
  static token_bucket::settings settings_of(std::uint32_t calls, duration per) noexcept {
    token_bucket::settings s;
    s.tokens = calls;
    s.per = per;
    s = token_bucket{s}.with();
    auto const in_a_tenth = s.tokens * std::uint64_t{100'000'000} /
                            static_cast<std::uint64_t>(std::chrono::nanoseconds{s.per}.count());
    s.burst = static_cast<std::uint32_t>(std::max<std::uint64_t>(in_a_tenth, 1));
    return s;
  }
  [[nodiscard]] rate again() && {
    buckets_ = per_peer<token_bucket>{settings_, peers_max_};
    if (shared_) return std::move(*this).shared();
    return std::move(*this);
  }

  token_bucket::settings settings_;
  std::size_t peers_max_ = per_peer<token_bucket>::peers_max_default;
  per_peer<token_bucket> buckets_;
  std::shared_ptr<token_bucket> shared_;
  bool waits_ = true;
};

}  // namespace cleat

#pragma once

#include <cleat/base/event.hpp>
#include <cleat/base/events.hpp>
#include <cleat/middleware/middleware.hpp>
#include <cleat/middleware/per_peer.hpp>
#include <cleat/middleware/token_bucket.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace cleat {

/// At most so many calls a second to each peer: `rate(100)`, `rate(6, 1min)`.
///
/// A token bucket. A call for which there is a token is handed on at once. Any other takes the next
/// token that is still to come, and waits for it, in the order in which calls came, if it comes
/// before the deadline; if not, the call fails at once and takes none.
///
/// Failures, all `not_sent`, `next` was not asked:
/// - `overloaded`: no token before the deadline; or too many wait already; or it must not wait. It
///   says after which time there would be a token, so that `retry` outside waits as long, if the
///   deadline allows it.
/// - `cancelled` while waiting. The token is given back if no call took one after it; otherwise it
///   is lost, and the later ones keep their times.
///
/// If the event loop stalls, those whose tokens came meanwhile go on one right after the other.
///
/// Events: `rate_delayed` (with the wait), `rate_rejected` (with the wait that it would have been).
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
  task<result<response_of<Next>>> operator()(Request q, call c, Next& next) {
    token_bucket& bucket = shared_ ? *shared_ : buckets_.of(c.peer);
    time_point const now = c.now();
    time_point const at = bucket.next(now);
    if (at > now && (!waits_ || !bucket.may_wait() || at >= c.deadline()))
      co_return refused(c, bucket, at - now);
    token_bucket::token mine{bucket, now};
    if (mine.waits()) {
      notify(c.events, layer_acted{c, action::rate_delayed, nullptr, at - now});
      // Nobody sets it. Its times come in their order, even those that are past: who finds a late
      // timer does not overtake those who wait for it.
      event nothing;
      auto const waited = co_await nothing.wait(at);
      environment const& env = co_await this_chain::environment;
      if (waited.error().why() != kind::timed_out || env.cancelled()) {
        co_return failure{kind::cancelled, certainty::not_sent}.with_detail("waiting for a token");
      }
    }
    mine.use();
    auto r = co_await next(std::move(q), c);
    co_return r;
  }

  [[nodiscard]] std::string describe() const {
    std::string says = "rate(" + how_many() + ", burst " + std::to_string(settings_.burst);
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
    buckets_ = per_peer<token_bucket>{settings_};
    if (shared_) return std::move(*this).shared();
    return std::move(*this);
  }

  [[nodiscard]] failure refused(call const& c, token_bucket const& bucket, duration wait) const {
    bool const too_many = waits_ && !bucket.may_wait();
    auto const why =
        failure{kind::overloaded, certainty::not_sent}
            .with_detail(too_many ? std::to_string(settings_.waiting_max) + " wait for a token"
                                  : "rate of " + how_many())
            .with_retry_after(std::chrono::ceil<failure::duration>(wait));
    notify(c.events, layer_acted{c, action::rate_rejected, &why, wait});
    return why;
  }
  [[nodiscard]] std::string how_many() const {
    bool const a_second = settings_.per == std::chrono::seconds{1};
    return std::to_string(settings_.tokens) + (a_second ? "/s" : " in " + to_text(settings_.per));
  }

  token_bucket::settings settings_;
  per_peer<token_bucket> buckets_;
  std::shared_ptr<token_bucket> shared_;
  bool waits_ = true;
};

}  // namespace cleat

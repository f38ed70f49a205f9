#pragma once

#include <cleat/base/event.hpp>
#include <cleat/base/events.hpp>
#include <cleat/base/spawn.hpp>
#include <cleat/middleware/order.hpp>
#include <cleat/service/description.hpp>
#include <cleat/service/entry.hpp>

#include <boost/asio/post.hpp>

#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace cleat {

/// The mirrored calls of one shadow that are under way. They belong to it, and not to the calls that
/// they were copied from. Used on their executor only.
class mirrored_calls {
 public:
  mirrored_calls() = default;
  mirrored_calls(mirrored_calls const&) = delete;
  mirrored_calls& operator=(mirrored_calls const&) = delete;

  [[nodiscard]] std::size_t under_way() const noexcept { return under_way_; }

  /// From here on nothing is mirrored and no event is sent; what is under way is cancelled, and
  /// waited for. Cannot be cancelled itself.
  static task<> close(std::shared_ptr<mirrored_calls> of) {
    of->abandon();
    auto const guard = co_await this_chain::shield;
    event ended;
    waiting const place{*of, ended};
    while (of->under_way_ != 0) static_cast<void>(co_await ended.wait());
  }

 private:
  template <Service P, Service M, class Compare, class When>
  friend class shadow_service;

  /// A mirrored call as long as its chain lives.
  class place {
   public:
    place(mirrored_calls& in, environment& env) noexcept : in_(in), env_(env), after_(in.first_) {
      if (after_ != nullptr) after_->before_ = this;
      in.first_ = this;
      ++in.under_way_;
    }
    place(place const&) = delete;
    place& operator=(place const&) = delete;
    ~place() {
      (before_ != nullptr ? before_->after_ : in_.first_) = after_;
      if (after_ != nullptr) after_->before_ = before_;
      --in_.under_way_;
      if (in_.under_way_ != 0 || env_.dropping()) return;
      for (event* const e : in_.closers_) e->set();
    }

   private:
    friend class mirrored_calls;
    mirrored_calls& in_;
    environment& env_;
    place* before_ = nullptr;
    place* after_;
  };

  class waiting {
   public:
    waiting(mirrored_calls& in, event& e) : in_(in), event_(e) { in.closers_.push_back(&e); }
    waiting(waiting const&) = delete;
    waiting& operator=(waiting const&) = delete;
    ~waiting() { std::erase(in_.closers_, &event_); }

   private:
    mirrored_calls& in_;
    event& event_;
  };

  void abandon() noexcept {
    closed_ = true;
    for (place* p = first_; p != nullptr; p = p->after_) p->env_.cancel();
  }
  /// What happened to a mirrored call, to those who listened to the call itself. They may be gone
  /// after the close.
  void tell(call const& of, action what, failure const* why, duration elapsed) const noexcept {
    if (!closed_) notify(of.events, layer_acted{of, what, why, elapsed});
  }

  place* first_ = nullptr;
  std::size_t under_way_ = 0;
  std::size_t at_once_max_ = 64;
  bool closed_ = false;
  event_table const* mirror_events_ = nullptr;
  std::vector<event*> closers_;
};

/// Whether primary and mirror agree: both failed, or both succeeded with equal answers.
class same_answer {
 public:
  template <class Response>
  bool operator()(result<Response> const& primary, result<Response> const& mirror) const {
    static_assert(std::equality_comparable<Response>,
                  "a shadow without a comparison of its own needs answers that can be compared "
                  "with ==: write shadow(primary, mirror, compare)");
    if (primary.has_value() != mirror.has_value()) return false;
    return !primary.has_value() || *primary == *mirror;
  }
};

/// Mirrors what may be done twice.
class if_repeatable {
 public:
  template <class Request>
  bool operator()(Request const&, call const& c) const noexcept {
    return c.repeatable;
  }
};

namespace detail {

/// What mirrored calls need. Lives until the last of them has ended.
template <class Mirror, class Compare>
class mirror_beside : public mirrored_calls {
 public:
  mirror_beside(Mirror m, Compare c) : mirror(std::move(m)), compare(std::move(c)) {}
  Mirror mirror;
  [[no_unique_address]] Compare compare;
};

}  // namespace detail

/// A service that asks another one beside: what `shadow` makes.
template <Service Primary, Service Mirror, class Compare = same_answer, class When = if_repeatable>
class shadow_service : public service_entry<shadow_service<Primary, Mirror, Compare, When>,
                                            request_of<Primary>, response_of<Primary>> {
 public:
  using request = request_of<Primary>;
  using response = response_of<Primary>;
  static constexpr layer_set layers = layers_of<Primary>.with(layer::shadow);

  static_assert(std::same_as<request, request_of<Mirror>> &&
                    std::same_as<response, response_of<Mirror>>,
                "the primary and the mirror of a shadow must have the same request and the same "
                "response");
  static_assert(std::copy_constructible<request> && std::copy_constructible<response>,
                "a shadow copies the request for the mirror and the answer for the comparison");
  static_assert(std::predicate<Compare&, result<response> const&, result<response> const&>,
                "the comparison of a shadow must be callable as (result<response> const& primary, "
                "result<response> const& mirror) -> bool");

  shadow_service(Primary primary, Mirror mirror, Compare compare, When when = {})
      : primary_(std::move(primary)),
        beside_(std::make_shared<beside>(std::move(mirror), std::move(compare))),
        when_(std::move(when)) {}
  shadow_service(shadow_service&&) noexcept = default;
  shadow_service& operator=(shadow_service&&) = delete;
  /// Cancels the mirrored calls, which keep the mirror until they have ended.
  ~shadow_service() {
    if (beside_) beside_->abandon();
  }

  /// Mirrors a call if `predicate(request const&, call const&)` says so, instead of if it is
  /// repeatable.
  template <std::predicate<request const&, call const&> Predicate>
  [[nodiscard]] shadow_service<Primary, Mirror, Compare, Predicate> when(Predicate predicate) && {
    return {std::move(primary_), std::move(beside_), std::move(predicate)};
  }
  /// At most so many mirrored calls at once; more are not mirrored.
  [[nodiscard]] shadow_service at_once_max(std::size_t n) && {
    beside_->at_once_max_ = n;
    return std::move(*this);
  }
  /// Who hears what the mirror does with its calls, as of any other call. Lives until the close.
  /// Nobody if nothing is said.
  [[nodiscard]] shadow_service mirror_events(event_table const& table) && {
    beside_->mirror_events_ = &table;
    return std::move(*this);
  }

  /// Ends the mirroring (see `mirrored_calls::close`). The primary is asked on.
  [[nodiscard]] task<> close() { return mirrored_calls::close(beside_); }
  /// For closing it when it is part of a pipeline.
  [[nodiscard]] std::shared_ptr<mirrored_calls> mirrored() const noexcept { return beside_; }

  /// Calls it from a layer (see `service_entry`).
  task<result<response>> start(request q, call c) {
    std::shared_ptr<pair> mine;
    if (!beside_->closed_ && is_wanted(q, c)) {
      environment& env = co_await this_chain::environment;
      mine = mirror(env, q, c);
    }
    try {
      auto r = co_await detail::start(primary_, std::move(q), c);
      if (mine) mine->primary_ended(&r);
      co_return r;
    } catch (...) {
      if (mine) mine->primary_ended(nullptr);
      throw;
    }
  }

  [[nodiscard]] description describe() const {
    return description{"shadow(" + std::to_string(beside_->at_once_max_) + " at once)"}
        .over(cleat::describe(primary_), "primary")
        .over(cleat::describe(beside_->mirror), "mirror");
  }

 private:
  template <Service P, Service M, class C, class W>
  friend class shadow_service;

  using beside = detail::mirror_beside<Mirror, Compare>;

  /// What a call and its mirrored copy share.
  class pair {
   public:
    explicit pair(call const& c) : peer(c.peer), of(c) { of.peer = peer; }
    pair(pair const&) = delete;
    pair& operator=(pair const&) = delete;

    /// Null: by an exception.
    void primary_ended(result<response> const* r) noexcept {
      try {
        if (r != nullptr) primary.emplace(*r);
      } catch (...) {
        primary.reset();  // nothing to compare with
      }
      ended.set();
    }

    std::string peer;
    call of;
    std::optional<result<response>> primary;
    event ended;
  };

  shadow_service(Primary primary, std::shared_ptr<beside> b, When when)
      : primary_(std::move(primary)), beside_(std::move(b)), when_(std::move(when)) {}

  /// Whether to mirror this call. A predicate that throws is no reason to fail it.
  [[nodiscard]] bool is_wanted(request const& q, call const& c) noexcept {
    try {
      return std::invoke(when_, q, c);
    } catch (...) {
      auto const why = failure{kind::invalid, certainty::not_sent}.with_detail("the choice threw");
      beside_->tell(c, action::shadow_failed, &why, {});
      return false;
    }
  }

  /// Sends the copy on its way, if there is a place for it.
  std::shared_ptr<pair> mirror(environment& env, request const& q, call const& c) noexcept {
    if (beside_->under_way_ >= beside_->at_once_max_) {
      beside_->tell(c, action::shadow_skipped, nullptr, {});
      return nullptr;
    }
    try {
      auto mine = std::make_shared<pair>(c);
      auto copy = reflect(beside_, mine, q);
      beside_->tell(c, action::shadow_sent, nullptr, {});
      spawn(env.executor(), std::move(copy));
      return mine;
    } catch (...) {
      auto const why = failure{kind::resources, certainty::not_sent};
      beside_->tell(c, action::shadow_failed, &why, {});
      return nullptr;
    }
  }

  /// The chain of a mirrored call: nothing that happens in it concerns anybody.
  static task<> reflect(std::shared_ptr<beside> b, std::shared_ptr<pair> p, request q) {
    environment& env = co_await this_chain::environment;
    mirrored_calls::place const here{*b, env};
    time_point const began = p->of.now();
    failure why = failure{kind::invalid}.with_detail("the mirror threw");
    try {
      // The primary first.
      co_await boost::asio::post(env.executor(), use_task);
      if (b->closed_) co_return;
      call c = p->of;
      c.events = b->mirror_events_;
      c.attempt = 1;
      result<response> const its = co_await detail::start(b->mirror, std::move(q), c);
      duration const took = c.now() - began;
      static_cast<void>(co_await p->ended.wait());
      if (b->closed_ || !p->primary) co_return;
      result<response> const& primary = *p->primary;
      if (!primary && primary.error().why() == kind::cancelled) co_return;
      if (primary && !its) {
        why = its.error();
        b->tell(p->of, action::shadow_failed, &why, took);
        co_return;
      }
      why = why.with_detail("the comparison threw");
      if (!std::invoke(b->compare, primary, its)) {
        b->tell(p->of, action::shadow_differed, nullptr, took);
      }
    } catch (...) {
      b->tell(p->of, action::shadow_failed, &why, p->of.now() - began);
    }
  }

  Primary primary_;
  std::shared_ptr<beside> beside_;
  [[no_unique_address]] When when_;
};

/// Asks `mirror` the same beside `primary`, and tells where they differ. The caller gets the
/// primary's answer, and neither waits for the mirror nor hears of its failures:
///
/// ```
/// auto service = observe(metrics) | shadow(retry(2) | old_way, new_way);
/// ```
///
/// - Mirrored are calls that may be repeated; `when` chooses others. To be repeatable is not to be
/// without effect: a mirror that reaches real devices wants a `when` that lets reading only through.
/// - A mirrored call is a chain of its own on the caller's executor. It has a copy of the request
/// and of the call: the same operation and deadline, the attempt number 1, its own events
/// (`mirror_events`). The primary is asked first. At most 64 at once; beyond, `shadow_skipped`.
/// - `compare(result<response> const& primary, result<response> const& mirror)` says whether they
/// agree. It is asked when both have ended, unless the mirror alone failed (`shadow_failed`), the
/// call was cancelled or something threw. The default: both failed, or both are equal.
/// - Mirrored calls belong to the shadow. They may outlive the calls they were copied from, until
/// `close`, which cancels them and waits for their end; a call without a deadline may take its place
/// for ever. Destroying the shadow cancels them and waits for nothing: they keep the mirror until
/// they have ended, so close first if the mirror uses something that goes.
/// - `shadow_sent` and the others go to the call's events, also after its end: the table lives as
/// long as the shadow, or until `close`. In a pipeline whose `observe` stands outside it does.
///
/// Thread safety: none; all calls on one executor.
template <Service Primary, Service Mirror, class Compare = same_answer>
[[nodiscard]] shadow_service<Primary, Mirror, Compare> shadow(Primary primary, Mirror mirror,
                                                              Compare compare = {}) {
  return {std::move(primary), std::move(mirror), std::move(compare)};
}

}  // namespace cleat

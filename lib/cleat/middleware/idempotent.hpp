#pragma once

#include <cleat/base/event.hpp>
#include <cleat/base/events.hpp>
#include <cleat/middleware/answer_window.hpp>
#include <cleat/middleware/middleware.hpp>
#include <cleat/middleware/per_peer.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cleat {

namespace detail {

class operations_base {
 public:
  operations_base() = default;
  operations_base(operations_base const&) = delete;
  operations_base& operator=(operations_base const&) = delete;
  virtual ~operations_base() = default;
};

/// The operations with one type of response: those under way, and how others were answered.
template <class Response>
class operations final : public operations_base {
 public:
  operations(answer_bounds b, bool one_window, std::size_t flights_max, std::size_t peers_max)
      : answers_(b, peers_max), one_window_(one_window), flights_max_(flights_max) {}

  class seat;

  using window = answer_window<result<Response>>;

  /// The answers of this peer; null if it is a new one and there is no room.
  [[nodiscard]] window* answers_of(std::string_view peer, time_point now) {
    return answers_.of(one_window_ ? std::string_view{} : peer, now);
  }
  [[nodiscard]] failure refusal() const { return answers_.refusal(); }

 private:
  /// An operation under way: one call asks, others wait for what it hears.
  struct flight {
    explicit flight(window& w) noexcept : answers(w) { answers.expect(); }
    flight(flight const&) = delete;
    flight& operator=(flight const&) = delete;
    ~flight() { answers.is_recorded(); }

    window& answers;       ///< which is not forgotten meanwhile
    seat* asks = nullptr;  ///< null: whoever asked is gone with its execution context
    seat* first = nullptr;
    seat* last = nullptr;
    certainty worst = certainty::not_sent;  ///< of all that asked
    bool repeatable = true;                 ///< all that asked said so
    std::size_t only_once = 0;              ///< of those that wait, how many are not repeatable
  };
  using table =
      std::unordered_map<operation_key, flight, operation_key::hash, operation_key::equal>;

  per_peer<answer_window<result<Response>>> answers_;
  bool one_window_;
  table flights_;
  std::size_t flights_max_;
};

/// A call's part in an operation under way. It lives in the call's frame.
template <class Response>
class operations<Response>::seat {
 public:
  /// Asks itself, waits for another one that asks, or has no place. `answers` are those of its peer.
  seat(operations& in, window& answers, call const& c)
      : in_(in), deadline_(c.deadline()), repeatable_(c.repeatable) {
    auto found = in.flights_.find(operation_key::view{c.peer, c.operation});
    if (found == in.flights_.end()) {
      if (in.flights_.size() >= in.flights_max_) {
        refusal_ = "too many operations under way; see under_way_max";
        return;
      }
      // An answer of another peer would be pushed out.
      if (in.one_window_ && answers.is_full()) {
        refusal_ = "the one window is full of answers that are kept; see answers_max";
        return;
      }
      found =
          in.flights_.try_emplace(operation_key{std::string{c.peer}, c.operation}, answers).first;
    }
    key_ = &found->first;
    flight_ = &found->second;
    if (flight_->asks == nullptr) {
      take_over();
    } else {
      push_back();
    }
  }
  seat(seat const&) = delete;
  seat& operator=(seat const&) = delete;
  /// Without an end only when the chain goes with its execution context: then it wakes nobody.
  ~seat() {
    if (flight_ == nullptr) return;
    if (asks()) {
      flight_->asks = nullptr;
    } else {
      remove();
    }
    if (flight_->asks == nullptr && flight_->first == nullptr) in_.flights_.erase(position());
  }

  /// Right after it was made: why there was no place; null if there was one.
  [[nodiscard]] char const* refusal() const noexcept { return refusal_; }
  [[nodiscard]] bool asks() const noexcept { return flight_ != nullptr && flight_->asks == this; }

  /// Until there is an outcome, or it has to ask itself.
  [[nodiscard]] event::waiter wait() noexcept { return woken_.wait(deadline_); }
  /// What the one that asked has heard.
  [[nodiscard]] std::optional<result<Response>>& outcome() noexcept { return got_; }

  /// What it heard when it asked; gives what its own caller hears.
  result<Response> end(result<Response> r, time_point now) {
    if (flight_ == nullptr) return r;
    if (r) {
      give_all(r);
      auto node = in_.flights_.extract(position());
      flight_ = nullptr;
      node.mapped().answers.record(std::move(node.key()), r, now);
      return r;
    }
    failure const heard = r.error();
    flight_->worst = worse(flight_->worst, heard.sure());
    failure const why = heard.with(flight_->worst);
    bool const of_its_caller =
        why.why() == kind::cancelled || (why.why() == kind::timed_out && now >= deadline_);
    // Whether it was carried out nobody knows, and it must not be tried.
    if (why.sure() == certainty::maybe_executed && !flight_->repeatable) {
      try {
        flight_->answers.record(operation_key{*key_}, for_others(why), now);
      } catch (...) {  // NOLINT(bugprone-empty-catch): no memory, so it is forgotten
      }
    }
    flight_->asks = nullptr;
    if (of_its_caller) {
      hand_over(why);
    } else {
      give_all(why);
    }
    if (flight_->asks == nullptr) in_.flights_.erase(position());
    flight_ = nullptr;
    return why;
  }

 private:
  auto position() noexcept { return in_.flights_.find(*key_); }

  void take_over() noexcept {
    flight_->asks = this;
    flight_->repeatable = flight_->repeatable && repeatable_;
  }
  void push_back() noexcept {
    before_ = flight_->last;
    (before_ != nullptr ? before_->after_ : flight_->first) = this;
    flight_->last = this;
    if (!repeatable_) ++flight_->only_once;
  }
  void remove() noexcept {
    (before_ != nullptr ? before_->after_ : flight_->first) = after_;
    (after_ != nullptr ? after_->before_ : flight_->last) = before_;
    if (!repeatable_) --flight_->only_once;
  }

  static void give(seat& to, result<Response> const& r) {
    to.remove();
    to.flight_ = nullptr;
    try {
      to.got_.emplace(r);
    } catch (...) {
      to.got_.emplace(failure{kind::resources}.with_detail("the answer could not be copied"));
    }
    to.woken_.set();
  }
  void give_all(result<Response> const& r) {
    while (flight_->first != nullptr) give(*flight_->first, r);
  }
  /// They were not cancelled themselves.
  static failure for_others(failure const& why) noexcept {
    if (why.why() != kind::cancelled) return why;
    return failure{kind::shut_down, why.sure()}.with_detail("the call that asked was cancelled");
  }
  /// The first that may asks itself. Those that may not hear that it failed.
  void hand_over(failure const& why) {
    failure const given_up = for_others(why);
    seat* next = nullptr;
    bool const all_may = why.sure() != certainty::maybe_executed;
    for (seat* s = flight_->first; s != nullptr; s = next) {
      if (flight_->asks != nullptr && (all_may || flight_->only_once == 0)) {
        break;  // nobody is left who may not
      }
      next = s->after_;
      bool const may =
          why.sure() != certainty::maybe_executed || (flight_->repeatable && s->repeatable_);
      if (!may) {
        give(*s, given_up);
      } else if (flight_->asks == nullptr) {
        s->remove();
        s->take_over();
        s->woken_.set();
      }
    }
  }

  operations& in_;
  operation_key const* key_ = nullptr;
  flight* flight_ = nullptr;
  seat* before_ = nullptr;
  seat* after_ = nullptr;
  time_point deadline_;
  bool repeatable_;
  char const* refusal_ = nullptr;
  event woken_;
  std::optional<result<Response>> got_;
};

template <class Response>
inline constexpr char tag_of = 0;

}  // namespace detail

/// Carries out an operation once, however often it is asked for: `idempotent() | service`.
///
/// What names an operation is `call::peer` and `call::operation` together; whoever repeats a call
/// gives it the same number. Requests are not compared.
///
/// - A call for an operation that succeeded a while ago gets the recorded answer: 1,000 answers of
/// each peer are kept, each for 300 s from when it was recorded. Of failures only those are recorded
/// after which it must not be tried again: it may have been executed, and is not repeatable.
/// - A call for one that is under way joins it: it waits, by its own deadline and its own
/// cancellation, and gets the same answer or the same failure. If it gives up before, it fails as
/// `maybe_executed`.
/// - When the call that asks is cancelled, or its deadline passes, the first of those that joined
/// asks instead, unless the operation may have been executed and one of the two must not be
/// repeated. Those that may not ask fail as `shut_down` or `timed_out`, `maybe_executed`.
/// - Beyond 10,000 operations under way, for a new peer while `peers_max` others have answers that are
/// kept, and while one window for all is full of them, calls fail as `overloaded`, `not_sent`: to let
/// them through, or to forget an answer of somebody else, would be to break the promise unseen.
///
/// A response must be copyable. It remembers as long as it lives, and not over a restart. (Answers
/// as for the `Idempotency-Key` of HTTP interfaces, joining as in Go's `singleflight`.)
///
/// Thread safety: none; used on one executor.
class idempotent : public stage {
 public:
  static constexpr layer is = layer::idempotent;

  idempotent() = default;

  /// At most so many answers of each peer; at most 1,000,000. 0: only joins.
  [[nodiscard]] idempotent answers_max(std::size_t n) && {
    bounds_.answers_max = std::min(n, answer_bounds::answers_limit);
    return std::move(*this);
  }
  /// How long each is kept from when it was recorded, however often it is asked for; at most 24 h.
  [[nodiscard]] idempotent keeps(duration d) && {
    bounds_.keeps = std::clamp(d, duration::zero(), answer_bounds::keeps_limit);
    return std::move(*this);
  }
  /// So many peers have a window of their own; see `per_peer`.
  [[nodiscard]] idempotent peers_max(std::size_t n) && {
    peers_max_ = n;
    return std::move(*this);
  }
  /// One window for all peers: `answers_max` is then a bound of all answers together. While it is full
  /// of answers that are kept, there is no place for another operation.
  [[nodiscard]] idempotent one_window() && {
    one_window_ = true;
    return std::move(*this);
  }
  /// At most so many operations under way at once, of all peers together.
  [[nodiscard]] idempotent under_way_max(std::size_t n) && {
    flights_max_ = n;
    return std::move(*this);
  }

  /// What it needs of the service below.
  template <class S>
  struct needs {
    static_assert(std::copy_constructible<response_of<S>>,
                  "idempotent gives one answer to several callers: the response must be copyable");
  };

  template <class Request, class Next>
  task<result<response_of<Next>>> operator()(Request q, call c, Next& next) {
    using response = response_of<Next>;
    auto& known = of<response>();
    auto* const answers = known.answers_of(c.peer, c.now());
    if (answers == nullptr) {
      auto const why = known.refusal();
      notify(c.events, layer_acted{c, action::idempotent_rejected, &why});
      co_return why;
    }
    if (auto const before = answers->find({c.peer, c.operation}, c.now())) {
      result<response> again = before->answer;
      notify(c.events, layer_acted{c, action::idempotent_replayed, nullptr, before->age});
      co_return again;
    }
    typename detail::operations<response>::seat mine{known, *answers, c};
    if (mine.refusal() != nullptr) {
      auto const why = failure{kind::overloaded, certainty::not_sent}.with_detail(mine.refusal());
      notify(c.events, layer_acted{c, action::idempotent_rejected, &why});
      co_return why;
    }
    if (!mine.asks()) {
      notify(c.events, layer_acted{c, action::idempotent_joined});
      auto const woken = co_await mine.wait();
      if (auto& outcome = mine.outcome()) co_return *std::move(outcome);
      if (!woken && mine.asks()) {  // its turn, and it has given up
        co_return mine.end(woken.error().with(certainty::not_sent), c.now());
      }
      if (!woken) co_return woken.error().with(certainty::maybe_executed);
    }
    try {
      auto r = co_await next(std::move(q), c);
      co_return mine.end(std::move(r), c.now());
    } catch (...) {
      static_cast<void>(
          mine.end(failure{kind::invalid}.with_detail("an exception left a layer"), c.now()));
      throw;
    }
  }

  [[nodiscard]] std::string describe() const {
    return "idempotent(" + std::to_string(bounds_.answers_max) + " answers, " +
           to_text(bounds_.keeps) + (one_window_ ? ", one window)" : ")");
  }

 private:
  struct of_a_type {
    void const* response;
    std::unique_ptr<detail::operations_base> operations;
  };

  /// One for each type of response; it is usually one.
  template <class Response>
  detail::operations<Response>& of() {
    using operations = detail::operations<Response>;
    void const* const tag = &detail::tag_of<Response>;
    auto it = std::find_if(known_.begin(), known_.end(),
                           [&](of_a_type const& each) { return each.response == tag; });
    if (it == known_.end()) {
      it = known_.insert(it, of_a_type{tag, std::make_unique<operations>(
                                                bounds_, one_window_, flights_max_, peers_max_)});
    }
    return static_cast<operations&>(*it->operations);
  }

  answer_bounds bounds_;
  bool one_window_ = false;
  std::size_t flights_max_ = 10'000;
  std::size_t peers_max_ = 10'000;
  std::vector<of_a_type> known_;
};

}  // namespace cleat

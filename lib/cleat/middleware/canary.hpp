#pragma once

#include <cleat/base/events.hpp>
#include <cleat/middleware/order.hpp>
#include <cleat/middleware/share.hpp>
#include <cleat/service/description.hpp>
#include <cleat/service/entry.hpp>

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace cleat {

/// The key of a call: whom it is for.
class by_peer {
 public:
  template <class Request>
  std::string_view operator()(Request const&, call const& c) const noexcept {
    return c.peer;
  }
};

/// Two services as one: what `canary` makes.
template <Service Stable, Service Candidate, class Key>
class canary_service : public service_entry<canary_service<Stable, Candidate, Key>,
                                            request_of<Stable>, response_of<Stable>> {
 public:
  using request = request_of<Stable>;
  using response = response_of<Stable>;
  static constexpr layer_set layers =
      layers_of<Stable>.with(layers_of<Candidate>).with(layer::canary);

  static_assert(std::same_as<request, request_of<Candidate>> &&
                    std::same_as<response, response_of<Candidate>>,
                "the stable service and the candidate of a canary must have the same request and "
                "the same response");
  static_assert(std::invocable<Key&, request const&, call const&>,
                "the key of a canary must be callable as (request const&, call const&)");

  canary_service(Stable stable, Candidate candidate, std::shared_ptr<share> part, Key key)
      : stable_(std::move(stable)),
        candidate_(std::move(candidate)),
        part_(std::move(part)),
        key_(std::move(key)) {}

  /// Calls it from a layer (see `service_entry`).
  auto start(request&& q, call const& c) { return pass(std::move(q), c); }
  auto start(request const& q, call const& c) { return pass(q, c); }

  [[nodiscard]] description describe() const {
    std::uint32_t const parts = part_->parts();
    std::string says = std::to_string(parts / 100);
    if (std::uint32_t const rest = parts % 100; rest != 0) {
      says += rest < 10 ? ".0" : ".";
      says += std::to_string(rest % 10 == 0 ? rest / 10 : rest);
    }
    return description{"canary(" + says + " %)"}
        .over(cleat::describe(stable_), "stable")
        .over(cleat::describe(candidate_), "candidate");
  }

 private:
  [[nodiscard]] bool takes(request const& q, call const& c) {
    decltype(auto) key = std::invoke(key_, q, c);
    using type = std::remove_cvref_t<decltype(key)>;
    static_assert(
        std::convertible_to<type const&, std::string_view> || std::unsigned_integral<type>,
        "the key of a canary must be text or an unsigned number");
    if constexpr (std::unsigned_integral<type>) {
      return part_->holds(std::uint64_t{key});
    } else {
      return part_->holds(std::string_view{key});
    }
  }

  template <class Q>
  auto pass(Q&& q, call const& c) {
    bool const taken = takes(q, c);
    if (taken) notify(c.events, layer_acted{c, action::canary_taken});
    using of_stable = decltype(to(stable_, std::forward<Q>(q), c));
    using of_candidate = decltype(to(candidate_, std::forward<Q>(q), c));
    if constexpr (std::same_as<of_stable, of_candidate>) {
      if (taken) return to(candidate_, std::forward<Q>(q), c);
      return to(stable_, std::forward<Q>(q), c);
    } else {
      return one_of_them(taken, std::forward<Q>(q), c);
    }
  }
  template <class S>
  static auto to(S& s, request&& q, call const& c) {
    return detail::start(s, std::move(q), c);
  }
  template <class S>
  static auto to(S& s, request const& q, call const& c) {
    return ask_with_copy(s, q, c);
  }

  task<result<response>> one_of_them(bool taken, request q, call c) {
    if (taken) {
      auto r = co_await detail::start(candidate_, std::move(q), c);
      co_return r;
    }
    auto r = co_await detail::start(stable_, std::move(q), c);
    co_return r;
  }

  Stable stable_;
  Candidate candidate_;
  std::shared_ptr<share> part_;
  [[no_unique_address]] Key key_;
};

/// Sends a share of the calls to `candidate` and all others to `stable`:
///
/// ```
/// auto part = std::make_shared<share>(500);  // 5 %
/// auto service = observe(metrics) | canary(old_way, new_way, part);
/// part->set(2'500);  // while calls are under way; part->set(0) takes it back
/// ```
///
/// `key(request const&, call const&)` says what is assigned: text or an unsigned number; the peer if
/// nothing is said. All calls with one key go the same way, and a key that the candidate has got
/// stays there while the share grows (see `share`). Failures are those of the service that was
/// asked: a failing candidate is not covered by the stable service. The two say the same types, and
/// cost no coroutine if they give the same kind of awaitable.
///
/// Thread safety: that of its services; the share may be set from any thread.
template <Service Stable, Service Candidate, class Key = by_peer>
[[nodiscard]] canary_service<Stable, Candidate, Key> canary(Stable stable, Candidate candidate,
                                                            std::shared_ptr<share> part,
                                                            Key key = {}) {
  return {std::move(stable), std::move(candidate), std::move(part), std::move(key)};
}

}  // namespace cleat

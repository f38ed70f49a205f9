#pragma once

#include <cleat/base/events.hpp>

#include <concepts>
#include <tuple>
#include <type_traits>

namespace cleat {

/// The events that an observer wants; see `Observer`.
template <class... Events>
struct event_list {};

namespace detail {

template <class E, class List>
inline constexpr bool contains = false;
template <class E, class... Events>
inline constexpr bool contains<E, event_list<Events...>> = (std::same_as<E, Events> || ...);

template <class>
struct events_of;
template <class... Events>
struct events_of<event_hooks<Events...>> {
  using type = event_list<Events...>;
};

template <class O, class E>
concept Hears = requires(O& o, E const& e) { o.on(e); };

template <class O, class E>
concept HearsWell = requires(O& o, E const& e) {
  { o.on(e) } noexcept -> std::same_as<void>;
};

}  // namespace detail

/// The events of the framework, all of them.
using all_events = detail::events_of<detail::all_event_hooks>::type;

namespace detail {

template <class List>
inline constexpr bool all_known = false;
template <class... Events>
inline constexpr bool all_known<event_list<Events...>> = (contains<Events, all_events> && ...);

template <class O, class List>
inline constexpr bool hears_all = false;
template <class O, class... Events>
inline constexpr bool hears_all<O, event_list<Events...>> = (Hears<O, Events> && ...);

template <class O, class List>
inline constexpr bool hears_all_well = false;
template <class O, class... Events>
inline constexpr bool hears_all_well<O, event_list<Events...>> = (HearsWell<O, Events> && ...);

template <class O, class List, class Events>
inline constexpr bool forgot_none = false;
template <class O, class List, class... Events>
inline constexpr bool forgot_none<O, List, event_list<Events...>> =
    ((contains<Events, List> || !Hears<O, Events>) && ...);

template <class O>
concept HasList = requires { typename O::listens_to; };

}  // namespace detail

/// Something that is told what happens in the framework, for logs, metrics and traces.
///
/// An observer names the events that it wants and has a function for each:
///
/// ```cpp
/// struct count_calls {
///   using listens_to = cleat::event_list<cleat::call_ended>;
///   void on(cleat::call_ended const&) noexcept { ++calls; }
///   std::atomic<int> calls = 0;
/// };
///
/// count_calls counter;
/// cleat::tee events{counter};   // an event_table: the address of it goes into `call::events`
/// ```
///
/// - `listens_to` lists events of the framework (`all_events` is all of them) and there is an `on`
///   for each; an `on` for an event that is not in the list is refused too. So a misspelt or
///   forgotten hook is a compile error.
/// - `on` is called where the event happens, on any thread and on several at once. It returns
///   `void`, is `noexcept`, and neither waits nor takes long. An event refers to things that live
///   only until `on` returns.
/// - The observer outlives the calls whose events it is told.
template <class O>
concept Observer = detail::HasList<O> && detail::all_known<typename O::listens_to> &&
                   detail::hears_all_well<O, typename O::listens_to> &&
                   detail::forgot_none<O, typename O::listens_to, all_events>;

namespace detail {

/// Says in a sentence what `O` lacks.
template <class O>
consteval bool check_observer() {
  static_assert(
      HasList<O>,
      "An observer says which events it wants: `using listens_to = cleat::event_list<...>;`");
  if constexpr (HasList<O>) {
    using list = typename O::listens_to;
    static_assert(all_known<list>,
                  "`listens_to` is a cleat::event_list and names only events of base/events.hpp");
    static_assert(
        hears_all<O, list>,
        "The observer lists an event that it has no `void on(Event const&) noexcept` for; "
        "is the function misspelt?");
    static_assert(!hears_all<O, list> || hears_all_well<O, list>,
                  "Each `on` of an observer returns void and is noexcept: "
                  "an observer never throws into the data path");
    static_assert(forgot_none<O, list, all_events>,
                  "The observer has an `on` for an event that is missing in its `listens_to`, "
                  "so it would never be called");
  }
  return Observer<O>;
}

}  // namespace detail

/// Tells several observers, in the order given. The event table to give to a pipeline, also for a
/// single observer. An event that none of them wants stays null in the table and costs its sender a
/// branch.
///
/// The observers are referred to and outlive it; it outlives the calls that it is given to. It
/// keeps its address.
///
/// Thread safety: that of the observers.
template <class... Observers>
class tee final : public event_table {
  static_assert((detail::check_observer<Observers>() && ...));

 public:
  explicit tee(Observers&... observers) noexcept : observers_(observers...) {
    set_self(this);
    listen_to(all_events{});
  }
  tee(tee const&) = delete;
  tee& operator=(tee const&) = delete;

 private:
  template <class... Events>
  void listen_to(event_list<Events...>) noexcept {
    (listen_to_one<Events>(), ...);
  }

  template <class E>
  void listen_to_one() noexcept {
    if constexpr ((detail::contains<E, typename Observers::listens_to> || ...)) {
      set<E>([](void const* self, E const& event) noexcept {
        std::apply([&](auto&... each) { (tell(each, event), ...); },
                   static_cast<tee const*>(self)->observers_);
      });
    }
  }

  template <class O, class E>
  static void tell(O& observer, E const& event) noexcept {
    if constexpr (detail::contains<E, typename O::listens_to>) observer.on(event);
  }

  std::tuple<Observers&...> observers_;
};

template <class... Observers>
tee(Observers&...) -> tee<Observers...>;

}  // namespace cleat

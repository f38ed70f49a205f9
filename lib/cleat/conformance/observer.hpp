#pragma once

#include <cleat/base/call.hpp>
#include <cleat/base/events.hpp>
#include <cleat/observe/observe.hpp>
#include <cleat/sim/world.hpp>

#include <boost/system/errc.hpp>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <latch>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace cleat {

/// How an observer is checked.
class observer_check {
 public:
  observer_check() = default;

  /// How many threads tell it at once.
  std::size_t threads = 4;
  /// How long, on the clock on the wall, one `on` may take until it is said to wait. Only a broken
  /// observer is waited for.
  std::chrono::milliseconds patience = std::chrono::seconds{30};
};

namespace detail {

constexpr std::string_view name_of(call_started const*) { return "call_started"; }
constexpr std::string_view name_of(call_ended const*) { return "call_ended"; }
constexpr std::string_view name_of(attempt_started const*) { return "attempt_started"; }
constexpr std::string_view name_of(attempt_ended const*) { return "attempt_ended"; }
constexpr std::string_view name_of(retry_scheduled const*) { return "retry_scheduled"; }
constexpr std::string_view name_of(retry_budget_empty const*) { return "retry_budget_empty"; }
constexpr std::string_view name_of(layer_acted const*) { return "layer_acted"; }
constexpr std::string_view name_of(connect_ended const*) { return "connect_ended"; }
constexpr std::string_view name_of(frame_sent const*) { return "frame_sent"; }
constexpr std::string_view name_of(frame_received const*) { return "frame_received"; }
constexpr std::string_view name_of(answer_missing const*) { return "answer_missing"; }
constexpr std::string_view name_of(decode_failed const*) { return "decode_failed"; }
constexpr std::string_view name_of(push_dropped const*) { return "push_dropped"; }
constexpr std::string_view name_of(frames_passed_over const*) { return "frames_passed_over"; }
constexpr std::string_view name_of(session_ended const*) { return "session_ended"; }

template <class E>
inline constexpr std::string_view event_name = name_of(static_cast<E const*>(nullptr));

template <class O, class E>
inline constexpr bool listens_to_event = false;
template <HasList O, class E>
inline constexpr bool listens_to_event<O, E> = contains<E, typename O::listens_to>;

/// What an event tells of. Each event is made of its own copy, in memory of just its size, and that
/// is freed when the observer has been told.
class event_matter {
 public:
  explicit event_matter(cleat::call const& c) : of(c) {}

  cleat::call of;
  bool has_call = true;
  std::string peer = "DEVICE123";
  action what = action::limit_queued;
  std::string text = "0123456789abcdef";
  std::string note;
  std::vector<std::byte> bytes = std::vector<std::byte>(21, std::byte{0x7B});
  std::optional<failure> error;
  cleat::duration elapsed = std::chrono::milliseconds{1};
  verdict as = verdict::answer;
  bool lost = false;
};

/// Ordinary ones first, then one extreme at a time, then all at once.
[[nodiscard]] inline std::vector<event_matter> event_matters(call const& c) {
  std::vector<event_matter> all;
  event_matter const usual{c};
  auto const vary = [&](auto const& change) {
    all.push_back(usual);
    change(all.back());
  };
  vary([](event_matter&) {});
  for (std::size_t k = 0; k < kind_count; ++k) {
    for (certainty const sure :
         {certainty::not_sent, certainty::rejected, certainty::maybe_executed})
      vary([&](event_matter& m) { m.error = failure{kind{static_cast<std::uint8_t>(k)}, sure}; });
  }
  for (verdict const v :
       {verdict::request, verdict::progress, verdict::push, verdict::late, verdict::unmatched})
    vary([&](event_matter& m) { m.as = v; });

  std::string const not_text{"\xFF\xC3\0\n\"\\\x1B[31m\xED\xA0\x80", 14};
  auto const with_text = [](event_matter& m, std::string const& t) {
    m.peer = m.text = m.note = t;
    m.error = failure{make_error_code(boost::system::errc::protocol_error), kind::malformed,
                      certainty::maybe_executed}
                  .with_detail(t);
  };
  for (std::string const& t : {std::string{}, std::string(65'536, 'x'), not_text})
    vary([&](event_matter& m) { with_text(m, t); });
  auto const long_lived = [](event_matter& m) {
    m.elapsed = cleat::duration::max();
    m.of.attempt = std::numeric_limits<std::uint32_t>::max();
    m.of.operation = std::numeric_limits<std::uint64_t>::max();
  };
  vary(long_lived);
  vary([](event_matter& m) { m.elapsed = cleat::duration::zero(); });
  vary([](event_matter& m) { m.bytes.clear(); });
  auto const large = [](event_matter& m) {
    m.bytes.assign(std::size_t{1} << 20U, std::byte{0xFF});
  };
  vary(large);
  vary([](event_matter& m) { m.lost = true; });
  vary([](event_matter& m) { m.has_call = false; });
  vary([&](event_matter& m) {
    m.has_call = false;
    m.lost = true;
    long_lived(m);
    large(m);
    with_text(m, not_text);
    m.error = m.error->with_offset(std::numeric_limits<std::size_t>::max() - 1)
                  .with_retry_after(failure::duration::max())
                  .with_attempts(std::numeric_limits<unsigned>::max());
  });
  return all;
}

/// Lends what `m` says, and takes it back.
class lent_matter {
 public:
  explicit lent_matter(event_matter const& m)
      : m_(m),
        call_(std::make_unique<call>(m.of)),
        peer_(m.peer.begin(), m.peer.end()),
        text_(m.text.begin(), m.text.end()),
        note_(m.note.begin(), m.note.end()),
        bytes_(m.bytes),
        why_(std::make_unique<failure>(m.error.value_or(failure{kind::closed}))) {
    call_->peer = view(peer_);
  }

  /// An event of this type, told to `f`.
  template <class E, class F>
  void tell(F const& f) const {
    call const& c = *call_;
    call const* const maybe = m_.has_call ? call_.get() : nullptr;
    failure const* const error = m_.error ? why_.get() : nullptr;
    if constexpr (std::same_as<E, call_started> || std::same_as<E, attempt_started>) {
      f(E{c});
    } else if constexpr (std::same_as<E, call_ended> || std::same_as<E, attempt_ended>) {
      f(E{c, error, m_.elapsed});
    } else if constexpr (std::same_as<E, retry_scheduled>) {
      f(E{c, *why_, m_.elapsed});
    } else if constexpr (std::same_as<E, retry_budget_empty>) {
      f(E{c, *why_});
    } else if constexpr (std::same_as<E, layer_acted>) {
      f(E{c, m_.what, error, m_.elapsed});
    } else if constexpr (std::same_as<E, connect_ended>) {
      f(E{c, view(text_), error, m_.elapsed});
    } else if constexpr (std::same_as<E, frame_sent>) {
      f(E{maybe, view(text_), bytes_, error, m_.elapsed});
    } else if constexpr (std::same_as<E, frame_received>) {
      f(E{maybe, view(text_), bytes_, m_.as, view(note_), error, m_.elapsed});
    } else if constexpr (std::same_as<E, answer_missing>) {
      f(E{c, view(text_), *why_, m_.elapsed});
    } else if constexpr (std::same_as<E, decode_failed>) {
      f(E{maybe, bytes_, *why_, m_.lost, maybe ? view(text_) : std::string_view{},
          maybe ? m_.elapsed : cleat::duration{}});
    } else if constexpr (std::same_as<E, push_dropped>) {
      f(E{view(peer_)});
    } else if constexpr (std::same_as<E, frames_passed_over>) {
      f(E{maybe, view(peer_), m_.bytes.size(), m_.elapsed});
    } else {
      static_assert(std::same_as<E, session_ended>, "an event that the kit does not know");
      f(E{view(peer_), *why_});
    }
  }

 private:
  /// In a vector, since a short string would lie in the object.
  static std::string_view view(std::vector<char> const& v) { return {v.data(), v.size()}; }

  event_matter const& m_;
  std::unique_ptr<call> call_;
  std::vector<char> peer_;
  std::vector<char> text_;
  std::vector<char> note_;
  std::vector<std::byte> bytes_;
  std::unique_ptr<failure> why_;
};

template <class O>
class observer_checker {
 public:
  [[nodiscard]] static std::vector<std::string> run(O& observer, observer_check const& how) {
    auto const shared = std::make_shared<common>(observer, how.threads);
    judge_type(shared->broken, all_events{});
    if (!tell_from(shared, 1, how.patience)) return shared->take();
    static_cast<void>(tell_from(shared, how.threads, how.patience));
    return shared->take();
  }

 private:
  /// What the telling threads use, also those that are given up.
  class common {
   public:
    common(O& o, std::size_t most) : observer(o), told(std::max<std::size_t>(most, 1)) {}

    void add(std::string sentence) {
      std::lock_guard const lock{mutex};
      add_locked(std::move(sentence));
    }
    void add_locked(std::string sentence) {
      if (std::find(broken.begin(), broken.end(), sentence) == broken.end())
        broken.push_back(std::move(sentence));
    }
    std::vector<std::string> take() {
      std::lock_guard const lock{mutex};
      return broken;
    }

    O& observer;
    sim::world world{1};  ///< the time of the calls
    std::vector<event_matter> const matters = event_matters(world.new_call());

    std::mutex mutex;
    std::condition_variable changed;
    std::vector<std::string> broken;
    std::vector<std::string_view> told;  ///< by thread: what it tells now
    std::size_t events = 0;              ///< that were told
    std::size_t under_way = 0;           ///< threads
    bool given_up = false;
  };

  template <class... Events>
  static void judge_type(std::vector<std::string>& broken, event_list<Events...>) {
    if constexpr (!HasList<O>) {
      broken.emplace_back(
          "it does not say which events it wants: `using listens_to = cleat::event_list<…>;`");
    } else if constexpr (!all_known<typename O::listens_to>) {
      broken.emplace_back("its `listens_to` is no cleat::event_list of events of cleat");
    }
    (judge_hook<Events>(broken), ...);
  }
  template <class E>
  static void judge_hook(std::vector<std::string>& broken) {
    std::string const on = std::string{"on("}.append(event_name<E>).append(" const&)");
    constexpr bool listed = listens_to_event<O, E>;
    if constexpr (!Hears<O, E>) {
      if (listed) broken.push_back("it listens to an event for which it has no " + on);
    } else {
      if (HasList<O> && !listed) broken.push_back(on + " is for an event missing in `listens_to`");
      if constexpr (!noexcept(std::declval<O&>().on(std::declval<E const&>())))
        broken.push_back(on + " is not noexcept");
      if constexpr (!std::is_void_v<decltype(std::declval<O&>().on(std::declval<E const&>()))>)
        broken.push_back(on + " returns something");
    }
  }

  /// Tells everything from so many threads at once. False if the observer blocks.
  static bool tell_from(std::shared_ptr<common> const& shared, std::size_t threads,
                        std::chrono::milliseconds patience) {
    auto const ready = std::make_shared<std::latch>(static_cast<std::ptrdiff_t>(threads));
    shared->under_way = threads;
    std::vector<std::thread> all;
    for (std::size_t i = 0; i < threads; ++i) {
      all.emplace_back([shared, ready, i] {
        ready->arrive_and_wait();
        tell_all(*shared, i, all_events{});
        std::lock_guard const lock{shared->mutex};
        --shared->under_way;
        shared->changed.notify_all();
      });
    }
    bool const returned = wait(*shared, patience);
    for (std::thread& t : all) returned ? t.join() : t.detach();
    return returned;
  }
  static bool wait(common& shared, std::chrono::milliseconds patience) {
    std::unique_lock lock{shared.mutex};
    while (shared.under_way != 0) {
      std::size_t const before = shared.events;
      bool const moved = shared.changed.wait_for(
          lock, patience, [&] { return shared.events != before || shared.under_way == 0; });
      bool const inside = std::any_of(shared.told.begin(), shared.told.end(),
                                      [](std::string_view event) { return !event.empty(); });
      if (moved || !inside) continue;
      shared.given_up = true;
      for (std::string_view const event : shared.told) {
        if (!event.empty()) shared.add_locked(std::string{"it waits at "}.append(event));
      }
      return false;
    }
    return true;
  }

  /// In their order and against it, so that what ends may come before what begins.
  template <class... Events>
  static void tell_all(common& shared, std::size_t thread, event_list<Events...>) {
    using teller = bool (*)(common&, std::size_t, event_matter const&);
    std::vector<teller> tellers = {&tell<Events>...};
    for (bool const backwards : {false, true}) {
      if (backwards) std::reverse(tellers.begin(), tellers.end());
      for (event_matter const& m : shared.matters) {
        for (teller const t : tellers) {
          if (!t(shared, thread, m)) return;
        }
      }
    }
  }

  /// False when nobody is interested any more.
  template <class E>
  static bool tell(common& shared, std::size_t thread, event_matter const& m) {
    if constexpr (Hears<O, E>) {
      {
        std::lock_guard const lock{shared.mutex};
        if (shared.given_up) return false;
        shared.told[thread] = event_name<E>;
      }
      try {
        lent_matter{m}.template tell<E>(
            [&](E const& event) { static_cast<void>(shared.observer.on(event)); });
      } catch (std::exception const& e) {
        shared.add(threw<E>() + ": " + e.what());
      } catch (...) {
        shared.add(threw<E>());
      }
      std::lock_guard const lock{shared.mutex};
      shared.told[thread] = {};
      ++shared.events;
      shared.changed.notify_all();
    }
    return true;
  }
  template <class E>
  static std::string threw() {
    return std::string{"it threw at "}.append(event_name<E>);
  }
};

}  // namespace detail

/// The kit for observers: whether a model keeps the promises of `Observer`.
///
/// The author of an observer adds one test file:
///
/// ```
/// my_observer o;
/// for (auto const& broken : check_observer(o)) BOOST_ERROR(broken);
/// ```
///
/// `o` need not model `Observer`: then the kit says in sentences what it lacks. It is told every
/// event that it has an `on` for, with ordinary and extreme contents, in orders that nobody expects,
/// from one thread and from several at once. What an event refers to is freed when `on` has returned:
/// run the test under ASan and TSan. The check gives a sentence for each promise that was broken, and
/// none if all were kept. If an `on` does not return, the check gives up and leaves a thread behind,
/// which uses `o` until that `on` returns, and never again.
template <class O>
[[nodiscard]] std::vector<std::string> check_observer(O& o, observer_check const& how = {}) {
  return detail::observer_checker<O>::run(o, how);
}

}  // namespace cleat

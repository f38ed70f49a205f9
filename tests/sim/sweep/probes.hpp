#pragma once

#include <cleat/base/events.hpp>
#include <cleat/base/in_place.hpp>
#include <cleat/base/result.hpp>
#include <cleat/middleware/suits.hpp>
#include <cleat/observe/observe.hpp>
#include <cleat/sim/trial.hpp>
#include <toggle/device.hpp>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sweeping {

/// Stands above and below one layer, knows what that layer promises and with which settings it was made, and judges what it
/// lets through. It knows nothing of how the layer works.
///
/// A promise counts as armed each time that it could have been broken: a sweep in which that never happens has not tested
/// it (see `named_scenario::promises`).
class probe {
 public:
  using outcome = cleat::result<toggle::response>;
  enum class place : std::uint8_t {
    above,   ///< of the layer
    below,   ///< what the layer asks
    beside,  ///< what it asks instead: a candidate
    mirror,  ///< what it asks too, for nobody
  };

  probe(cleat::sim::trial& in, std::string_view layer) : trial_(in), layer_(layer) {}
  probe(probe const&) = delete;
  probe& operator=(probe const&) = delete;
  virtual ~probe() = default;

  /// A call passes this place on its way down; it may be changed. Gives the number by which it comes back.
  std::uint64_t down(place at, cleat::call& c);
  /// … and up again. `cancelled`: by whoever waits for it.
  void up(place at, std::uint64_t number, outcome const& r, bool cancelled);

  /// Nothing happens any more: what has to hold of the whole run.
  virtual void close() {}

  /// All that can be armed, of all layers.
  [[nodiscard]] static std::vector<std::string> promises();

 protected:
  /// A call as it came to the layer.
  struct upper {
    std::uint64_t number;
    cleat::call of;
    cleat::time_point began;
    unsigned asked = 0;                          ///< below, for it
    unsigned under_way = 0;                      ///< of these
    std::optional<outcome> last = std::nullopt;  ///< of what was asked
    cleat::time_point last_ended{};
    bool cancelled = false;
    bool noted = false;  ///< what the probe of the layer wants to know later
    cleat::time_point noted_at{};
    cleat::certainty worst = cleat::certainty::not_sent;
  };
  /// What the layer asks for it.
  struct lower {
    std::uint64_t number;
    std::uint64_t above;  ///< the number of the upper; 0: none
    place at;
    cleat::call of;
    cleat::time_point began;
    std::uint64_t generation = 0;  ///< for the breaker's
  };

  // What the layer's own probe looks at. Whatever is given stands in the lists below.
  virtual void entered(upper&) {}
  virtual void begins(upper&, lower&, cleat::call& /*handed_on*/) {}
  virtual void ended(upper&, lower&, outcome const&) {}
  virtual void left(upper&, outcome const&) {}
  // What is asked for nobody.
  virtual void mirror_begins(lower&) {}

  bool expect(bool kept, std::string_view promise) { return trial_.expect(kept, promise, layer_); }
  void armed(std::string_view promise) { trial_.reached(promise); }
  void armed_if(bool could_break, std::string_view promise) {
    if (could_break) armed(promise);
  }
  [[nodiscard]] cleat::time_point now() const { return trial_.world.now(); }
  /// The call above that this one, seen below, belongs to.
  [[nodiscard]] upper* whose(cleat::call const& c);
  [[nodiscard]] std::size_t under_way(place at) const;

  std::vector<upper> uppers_;
  std::vector<lower> lowers_;
  unsigned asks_max_ = 1;  ///< for each call
  std::string_view asks_no_more_ = "a layer asks once";
  bool hands_the_answer_on_ = true;  ///< as it is

 private:
  [[nodiscard]] std::uint64_t enter(cleat::call const& c);
  void leave(std::uint64_t number, outcome const& r, bool cancelled);

  cleat::sim::trial& trial_;
  std::string_view layer_;
  std::uint64_t numbers_ = 0;
};

/// What `probe` sees a call by: costs no coroutine.
template <class Request, class Next>
class watched final : public cleat::in_place {
  using awaitable =
      decltype(std::declval<Next&>()(std::declval<Request>(), std::declval<cleat::call const&>()));

 public:
  watched(probe& by, probe::place at, Request&& q, cleat::call const& c, Next& next)
      : by_(by), at_(at), next_(next), request_(std::move(q)), call_(c) {}

  [[nodiscard]] static constexpr bool await_ready() noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> h) {
    env_ = h.promise().env;
    number_ = by_.down(at_, call_);
    below_.emplace([&] { return next_(std::move(request_), call_); });
    return below_->suspend(h);
  }
  probe::outcome await_resume() {
    probe::outcome r = below_->resume();
    by_.up(at_, number_, r, env_->cancelled());
    return r;
  }

 private:
  probe& by_;
  probe::place at_;
  Next& next_;
  Request request_;
  cleat::call call_;
  cleat::environment* env_ = nullptr;
  std::uint64_t number_ = 0;
  std::optional<cleat::held<awaitable>> below_;
};

/// One of the places of a probe in a pipeline.
class watch : public cleat::stage {
 public:
  watch(probe& by, probe::place at) noexcept : by_(&by), at_(at) {}

  template <class Request, class Next>
  auto operator()(Request q, cleat::call const& c, Next& next) {
    return watched<Request, Next>{*by_, at_, std::move(q), c, next};
  }

  [[nodiscard]] static std::string describe() { return "probe"; }

 private:
  probe* by_;
  probe::place at_;
};

class limit_probe final : public probe {
 public:
  limit_probe(cleat::sim::trial& in, std::size_t at_once) : probe(in, "limit"), at_once_(at_once) {}

 private:
  void entered(upper& u) override;
  void begins(upper& u, lower& l, cleat::call& handed_on) override;
  void left(upper& u, outcome const& r) override;

  std::size_t at_once_;
  bool was_full_ = false;
};

class rate_probe final : public probe {
 public:
  rate_probe(cleat::sim::trial& in, std::uint32_t a_second, std::uint32_t burst)
      : probe(in, "rate"), a_second_(a_second), full_(burst * token), level_(full_) {}

 private:
  /// As it grows by 1 for each nanosecond and each token a second.
  static constexpr std::int64_t token = 1'000'000'000;

  void begins(upper& u, lower& l, cleat::call& handed_on) override;
  void left(upper& u, outcome const& r) override;

  std::int64_t a_second_;
  std::int64_t full_;
  std::int64_t level_;
  cleat::time_point at_{};
};

class breaker_probe final : public probe {
 public:
  breaker_probe(cleat::sim::trial& in, unsigned failures, cleat::duration first,
                cleat::duration longest, unsigned trials)
      : probe(in, "breaker"),
        failures_(failures),
        first_(first),
        longest_(longest),
        trials_(trials) {}

 private:
  enum class state : std::uint8_t { closed, open, half_open };

  void entered(upper& u) override;
  void begins(upper& u, lower& l, cleat::call& handed_on) override;
  void ended(upper& u, lower& l, outcome const& r) override;
  void left(upper& u, outcome const& r) override;
  void become(state s);
  void open_for(cleat::duration time);
  [[nodiscard]] unsigned trials_under_way() const;

  unsigned failures_;
  cleat::duration first_;
  cleat::duration longest_;
  unsigned trials_;
  state state_ = state::closed;
  std::uint64_t generation_ = 1;  ///< of the state; those of half open times are in `trying_`
  std::vector<std::uint64_t> trying_;
  unsigned in_a_row_ = 0;
  unsigned successes_ = 0;
  bool began_anew_ = false;  ///< the count of failures
  cleat::duration time_{};
  cleat::time_point until_{};
};

class hedge_probe final : public probe {
 public:
  /// `always`: the delay does not follow from what was learnt.
  hedge_probe(cleat::sim::trial& in, cleat::duration delay, bool always);

 private:
  void begins(upper& u, lower& l, cleat::call& handed_on) override;
  void ended(upper& u, lower& l, outcome const& r) override;
  void left(upper& u, outcome const& r) override;

  /// From so many latencies on it knows better than its first delay.
  static constexpr unsigned learnt = 100;

  cleat::duration delay_;
  bool always_;
  unsigned latencies_ = 0;
};

class retry_probe final : public probe {
 public:
  retry_probe(cleat::sim::trial& in, unsigned attempts, cleat::duration per_attempt);

 private:
  void begins(upper& u, lower& l, cleat::call& handed_on) override;
  void ended(upper& u, lower& l, outcome const& r) override;
  void left(upper& u, outcome const& r) override;

  cleat::duration per_attempt_;
};

class shadow_probe final : public probe {
 public:
  shadow_probe(cleat::sim::trial& in, std::size_t at_once)
      : probe(in, "shadow"), at_once_(at_once) {}
  void close() override;

 private:
  void entered(upper& u) override;
  void begins(upper& u, lower& l, cleat::call& handed_on) override;
  void mirror_begins(lower& l) override;
  void left(upper& u, outcome const& r) override;

  std::size_t at_once_;
  std::vector<cleat::uuid7> primary_asked_;
};

class idempotent_probe final : public probe {
 public:
  idempotent_probe(cleat::sim::trial& in, cleat::duration keeps)
      : probe(in, "idempotent"), keeps_(keeps) {
    hands_the_answer_on_ = false;
  }

 private:
  struct operation {
    bool under_way = false;
    bool given_up = false;  ///< by the last that asked
    std::optional<outcome> answer;
    cleat::time_point answered{};
  };

  void entered(upper& u) override;
  void begins(upper& u, lower& l, cleat::call& handed_on) override;
  void ended(upper& u, lower& l, outcome const& r) override;
  void left(upper& u, outcome const& r) override;
  [[nodiscard]] bool remembered(operation const& o) const;

  cleat::duration keeps_;
  std::map<std::uint64_t, operation> operations_;
};

class canary_probe final : public probe {
 public:
  canary_probe(cleat::sim::trial& in, std::uint32_t parts) : probe(in, "canary"), parts_(parts) {}
  void close() override;

 private:
  static constexpr std::int64_t whole = 10'000;

  void begins(upper& u, lower& l, cleat::call& handed_on) override;

  std::int64_t parts_;
  std::map<std::uint64_t, place> sides_;  ///< by operation
};

class deadline_probe final : public probe {
 public:
  deadline_probe(cleat::sim::trial& in, cleat::duration limit)
      : probe(in, "deadline"), limit_(limit) {}

 private:
  void begins(upper& u, lower& l, cleat::call& handed_on) override;
  void left(upper& u, outcome const& r) override;

  cleat::duration limit_;
};

class timeout_probe final : public probe {
 public:
  /// `foreign`: what is below does not know the deadline.
  timeout_probe(cleat::sim::trial& in, cleat::duration limit, bool foreign)
      : probe(in, "timeout"), limit_(limit), foreign_(foreign) {
    hands_the_answer_on_ = false;
  }

 private:
  void entered(upper& u) override;
  void begins(upper& u, lower& l, cleat::call& handed_on) override;
  void left(upper& u, outcome const& r) override;

  cleat::duration limit_;
  bool foreign_;
};

/// Its stopgap says "stopgap" as the outcome.
class fallback_probe final : public probe {
 public:
  explicit fallback_probe(cleat::sim::trial& in) : probe(in, "fallback") {
    hands_the_answer_on_ = false;
  }

 private:
  void left(upper& u, outcome const& r) override;
};

/// Is one of those that the layer tells.
class observe_probe final : public probe {
 public:
  explicit observe_probe(cleat::sim::trial& in) : probe(in, "observe") {}

  using listens_to = cleat::event_list<cleat::call_started, cleat::call_ended>;
  void on(cleat::call_started const& e) noexcept;
  void on(cleat::call_ended const& e) noexcept;

 private:
  struct told {
    std::uint64_t of;  ///< the number of the upper
    unsigned started = 0;
    unsigned ended = 0;
    bool failed = false;
  };

  void begins(upper& u, lower& l, cleat::call& handed_on) override;
  void left(upper& u, outcome const& r) override;
  [[nodiscard]] told& told_of(std::uint64_t number);

  std::vector<told> told_;
};

}  // namespace sweeping

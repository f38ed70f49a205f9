// The middlewares of docs/tutorial/from-scratch.md, from three lines to a retry, each of them checked.
#include <cleat/base/mix.hpp>
#include <cleat/conformance/middleware.hpp>
#include <cleat/middleware/backoff.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/middleware.hpp>
#include <cleat/middleware/per_peer.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/sim/world.hpp>

#include <algorithm>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using cleat::call;
using cleat::certainty;
using cleat::duration;
using cleat::failure;
using cleat::kind;
using cleat::response_of;
using cleat::result;
using cleat::task;
using cleat::time_point;
namespace sim = cleat::sim;

namespace {

// [passes_on]
auto const passes_on = [](auto q, call c, auto& next) -> task<result<response_of<decltype(next)>>> {
  auto r = co_await next(std::move(q), c);
  co_return r;
};
// [passes_on]

// [stopwatch]
class stopwatch : public cleat::stage {
 public:
  stopwatch(duration limit, std::ostream& out) : limit_(limit), out_(&out) {}

  template <class Request, class Next>
  task<result<response_of<Next>>> operator()(Request q, call c, Next& next) {
    time_point const began = c.now();
    auto r = co_await next(std::move(q), c);
    duration const took = c.now() - began;
    if (took > limit_) *out_ << c.peer << " took " << cleat::to_text(took) << '\n';
    co_return r;
  }

 private:
  duration limit_;
  std::ostream* out_;
};
// [stopwatch]

// [mood]
/// Whether a peer wants a rest. Knows no clock: it is told the time.
class mood {
 public:
  struct settings {
    unsigned failures_max = 3;  ///< in a row
    duration rest = std::chrono::seconds{2};
  };

  explicit mood(settings s) : s_(s) {}

  [[nodiscard]] duration rests_for(time_point now) const {
    return std::max(until_ - now, duration::zero());
  }
  void ended(bool well, time_point now) {
    failures_ = well ? 0 : failures_ + 1;
    if (failures_ < s_.failures_max) return;
    failures_ = 0;
    until_ = now + s_.rest;
  }
  [[nodiscard]] bool is_forgettable(time_point now) const {
    return failures_ == 0 && until_ <= now;
  }

 private:
  settings s_;
  unsigned failures_ = 0;
  time_point until_{};
};
// [mood]

// [spares]
class spares : public cleat::stage {
 public:
  explicit spares(mood::settings s = {}) : moods_(s) {}

  template <class Request, class Next>
  task<result<response_of<Next>>> operator()(Request q, call c, Next& next) {
    mood* of_peer = moods_.of(c.peer, c.now());
    if (of_peer == nullptr) co_return moods_.refusal();
    if (duration const left = of_peer->rests_for(c.now()); left > 0s) co_return refusal(left);

    auto r = co_await next(std::move(q), c);
    of_peer = moods_.of(c.peer, c.now());  // again: it may have been forgotten meanwhile
    if (of_peer != nullptr) of_peer->ended(r.has_value() || !is_to_blame(r.error()), c.now());
    co_return r;
  }

 private:
  static failure refusal(duration left) {
    auto const ms = std::chrono::ceil<std::chrono::milliseconds>(left);
    return failure{kind::overloaded, certainty::not_sent}
        .with_detail("it rests")
        .with_retry_after(ms);
  }
  static bool is_to_blame(failure const& f) {
    return f.why() != kind::cancelled && f.why() != kind::invalid && f.why() != kind::shut_down;
  }

  cleat::per_peer<mood> moods_;
};
// [spares]

// [hasty]
class hasty : public cleat::stage {
 public:
  template <class Request, class Next>
  task<result<response_of<Next>>> operator()(Request q, call c, Next& next) {
    auto first = co_await cleat::ask_with_copy(next, q, c);
    if (first) co_return first;
    auto second = co_await next(std::move(q), c);
    co_return second;
  }
};
// [hasty]

// [careful]
class careful : public cleat::stage {
 public:
  template <class Request, class Next>
  task<result<response_of<Next>>> operator()(Request q, call c, Next& next) {
    auto first = co_await cleat::ask_with_copy(next, q, c);
    bool const cancelled = co_await cleat::this_chain::cancelled;
    if (first || cancelled || c.now() >= c.deadline()) co_return first;
    failure const why = first.error();
    if (!cleat::worth_retrying(why.why(), why.sure(), false, c.repeatable)) co_return first;

    ++c.attempt;
    auto second = co_await next(std::move(q), c);
    if (second) co_return second;
    failure const last = second.error();
    co_return last.with(cleat::worse(why.sure(), last.sure())).with_attempts(2);
  }
};
// [careful]

// [patient]
class patient : public cleat::stage {
 public:
  static constexpr cleat::layer is = cleat::layer::retry;

  explicit patient(unsigned attempts_max) : attempts_max_(attempts_max) {}

  template <class Request, class Next>
  task<result<response_of<Next>>> operator()(Request q, call c, Next& next) {
    if (auto* const budget = budgets_.of(c.peer, c.now())) budget->deposit();
    certainty worst = certainty::not_sent;
    for (unsigned made = 1;; ++made) {
      auto r = co_await cleat::ask_with_copy(next, q, c);
      if (r) co_return r;
      failure const why = r.error();
      worst = cleat::worse(worst, why.sure());
      failure const total = why.with(worst).with_attempts(made);

      bool const asked_to_wait = why.retry_after().has_value();
      if (made >= attempts_max_) co_return total;
      if (!cleat::worth_retrying(why.why(), why.sure(), asked_to_wait, c.repeatable))
        co_return total;
      duration wait = backoff_.wait(made, random_bits(c));
      if (asked_to_wait && *why.retry_after() > 1h) co_return total;
      if (asked_to_wait) wait = std::max<duration>(wait, *why.retry_after());
      time_point const at = cleat::saturated_add(c.now(), wait);
      if (at >= c.deadline()) co_return total;
      auto* const budget = budgets_.of(c.peer, c.now());
      if (budget == nullptr || !budget->withdraw(c.now())) {
        notify(c.events, cleat::retry_budget_empty{c, why});
        co_return total;
      }

      notify(c.events, cleat::retry_scheduled{c, why, wait});
      auto const slept = co_await cleat::sleep_until(at);
      if (!slept) co_return slept.error().with(worst).with_attempts(made);
      ++c.attempt;
    }
  }

  [[nodiscard]] std::string describe() const {
    return "patient(" + std::to_string(attempts_max_) + ")";
  }

 private:
  static std::uint64_t random_bits(call const& c) {
    return cleat::mix64(cleat::mix64(cleat::fnv1a(c.peer) ^ c.operation) + c.attempt);
  }

  unsigned attempts_max_;
  cleat::backoff backoff_ = cleat::backoff::full_jitter(100ms, 5s);
  cleat::per_peer<cleat::retry_budget> budgets_{{}};
};
// [patient]

// [shaky]
/// Refuses as many requests, and writes down when it was asked.
class shaky {
 public:
  using request = std::string;
  using response = std::string;

  shaky(std::size_t refusals, std::vector<time_point>& asked)
      : refusals_(refusals), asked_(&asked) {}

  task<result<std::string>> operator()(std::string q, call c) {
    asked_->push_back(c.now());
    if (asked_->size() <= refusals_) co_return failure{kind::refused, certainty::not_sent};
    co_return q + ", of course";
  }

 private:
  std::size_t refusals_;
  std::vector<time_point>* asked_;
};
// [shaky]

bool all_well = true;
void expect(bool holds, std::string_view what) {
  if (holds) return;
  std::cerr << "not so: " << what << '\n';
  all_well = false;
}

template <class Make>
std::vector<std::string> check(Make make) {
  return cleat::check_middleware(make, std::string{"a request"}, std::string{"an answer"});
}

void waits_longer_each_time() {
  // [timed]
  sim::world w{1};
  std::vector<time_point> asked;
  auto service = cleat::deadline(5s) | patient{3} | shaky{2, asked};
  auto const r = w.run(service("tea", w.new_call()));

  expect(r && *r == "tea, of course", "the third attempt succeeds");
  expect(asked.size() == 3, "it asks three times");
  expect(asked[1] - asked[0] < 100ms && asked[2] - asked[1] < 200ms, "it waits, but not for long");
  // [timed]
}

void keeps_its_word() {
  // [conforms]
  for (auto const& broken : check([] { return patient{3}; })) expect(false, broken);
  // [conforms]
  for (auto const& broken : check([] { return passes_on; })) expect(false, broken);
  for (auto const& broken : check([] { return stopwatch{1h, std::clog}; })) expect(false, broken);
  for (auto const& broken : check([] { return spares{}; })) expect(false, broken);
  for (auto const& broken : check([] { return careful{}; })) expect(false, broken);
}

void hurries() {
  auto const broken = check([] { return hasty{}; });
  for (auto const& each : broken) std::cout << "hasty: " << each << '\n';
  auto const says = [&](std::string_view promise) {
    return std::ranges::any_of(broken, [&](auto const& b) { return b.starts_with(promise); });
  };
  expect(says("what must not be repeated is not tried again"), "the kit sees repetitions");
}

void rests() {
  sim::world w{1};
  std::vector<time_point> asked;
  auto service = spares{} | shaky{3, asked};
  for (int n = 0; n < 4; ++n) static_cast<void>(w.run(service("tea", w.new_call())).has_value());
  expect(asked.size() == 3, "the fourth is not sent");
  w.run_for(2s);
  expect(w.run(service("tea", w.new_call())).has_value(), "after its rest it answers");
}

}  // namespace

int main() {
  waits_longer_each_time();
  keeps_its_word();
  hurries();
  rests();
  return all_well ? 0 : 1;
}

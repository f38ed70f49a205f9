#define BOOST_TEST_MODULE middleware_kit
// The kit for middleware, on all that cleat has, and on such as break their promises.
#include <cleat/base/scope.hpp>
#include <cleat/conformance/middleware.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/retry.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <atomic>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using cleat::call;
using cleat::certainty;
using cleat::check_middleware;
using cleat::failure;
using cleat::kind;
using cleat::middleware_check;
using cleat::response_of;
using cleat::result;
using cleat::retry;
using cleat::task;
using cleat::sim::world;
using namespace std::chrono_literals;

namespace {

template <class Make>
std::vector<std::string> check(Make make, middleware_check const& how = {}) {
  return check_middleware(make, std::string{"a request"}, std::string{"an answer"}, how);
}

void report(std::vector<std::string> const& broken) {
  for (std::string const& b : broken) BOOST_ERROR(b);
  BOOST_TEST(broken.empty());
}

class counts_calls {
 public:
  using listens_to = cleat::event_list<cleat::call_ended>;
  void on(cleat::call_ended const&) noexcept { ++calls; }
  std::atomic<int> calls = 0;
};

}  // namespace

BOOST_AUTO_TEST_CASE(deadline_conforms) {
  report(check([] { return cleat::deadline(5s); }));
  report(check([] { return cleat::deadline(1h); }));
}

BOOST_AUTO_TEST_CASE(retry_conforms) {
  report(check([] { return retry(1); }));
  report(check([] { return retry(4); }));
  report(check([] { return retry(100).wait(cleat::backoff::additive(100ms, 0ms)); }));
}

BOOST_AUTO_TEST_CASE(retry_with_a_limit_for_each_attempt_conforms) {
  report(check([] { return retry(3).per_attempt(1500ms); }));
  report(check([] { return retry(10).per_attempt(20s); }));
}

BOOST_AUTO_TEST_CASE(observe_conforms) {
  counts_calls counter;
  report(check([&] { return cleat::observe(counter); }));
  BOOST_TEST(counter.calls > 0);
}

BOOST_AUTO_TEST_CASE(a_lambda_conforms) {
  auto shout = [](std::string q, call c, auto& next) -> task<result<std::string>> {
    auto r = co_await next(std::move(q), c);
    if (!r) co_return r;
    co_return *r + "!";
  };
  report(check([&] { return shout; }));
}

BOOST_AUTO_TEST_CASE(a_stack_conforms) {
  counts_calls counter;
  report(check([&] {
    return cleat::observe(counter) | cleat::deadline(5s) | retry(3).per_attempt(1500ms);
  }));
}

namespace {

// ---- what only conforms if it says so

/// Fails with an answer of its own.
class fallback : public cleat::stage {
 public:
  template <class Next>
  task<result<response_of<Next>>> operator()(std::string q, call c, Next& next) {
    auto r = co_await next(std::move(q), c);
    if (!r && r.error().why() != kind::cancelled && r.error().why() != kind::timed_out)
      co_return std::string{"what it was yesterday"};
    co_return r;
  }
};

/// Asks twice at once, if that may be, and takes the first answer.
class hedging : public cleat::stage {
 public:
  explicit hedging(bool careful) : careful_(careful) {}

  template <class Next>
  task<result<response_of<Next>>> operator()(std::string q, call c, Next& next) {
    cleat::environment& env = co_await cleat::this_chain::environment;
    both<response_of<Next>> tried;
    cleat::scope beside{env};
    beside.spawn(one(q, c, next, tried, beside));
    ++c.attempt;
    if (c.repeatable || !careful_) beside.spawn(one(q, c, next, tried, beside));
    co_await beside.join();
    if (tried.good) co_return *tried.good;
    co_return *tried.bad;
  }

 private:
  template <class R>
  class both {
   public:
    std::optional<R> good;
    std::optional<failure> bad;
  };

  template <class Next>
  static task<> one(std::string q, call c, Next& next, both<response_of<Next>>& tried,
                    cleat::scope& beside) {
    auto r = co_await next(std::move(q), c);
    if (r) {
      if (!tried.good) tried.good = *r;
      beside.cancel();
      co_return;
    }
    failure const why = r.error();
    tried.bad = tried.bad ? why.with(worse(why.sure(), tried.bad->sure())) : why;
  }

  bool careful_;
};

// ---- middleware that must not

enum class flaw {
  none,
  repeats_what_it_must_not,
  says_it_may_be_repeated,
  has_a_later_deadline,
  is_too_sure,
  takes_another_operation,
  takes_another_correlation,
  does_not_count,
  ignores_cancellation,
  goes_on_when_cancelled,
  hides_failures,
  hides_exceptions,
  throws,
  makes_failures,
  leaves_a_task,
  calls_after_the_deadline,
  ignores_the_deadline,
  repeats_without_end,
  keeps_references,
  takes_one_at_a_time,
  mixes_up_calls,
};

/// Tries three times; wrong in one way.
class flawed : public cleat::stage {
 public:
  explicit flawed(flaw which) : which_(which) {}

  /// Not a coroutine: only one flaw keeps what it was called with. Constrained, so that no look at
  /// the signature finds it, and only running it does.
  template <class Next>
    requires cleat::detail::is_task<
        decltype(std::declval<Next&>()(std::string{}, std::declval<call const&>()))>::value
  task<result<std::string>> operator()(std::string&& q, call const& c, Next& next) {
    if (is(flaw::keeps_references)) return careless(q, c, next);
    return run(std::move(q), c, next);
  }

 private:
  [[nodiscard]] bool is(flaw f) const { return which_ == f; }

  template <class Next>
  task<result<std::string>> careless(std::string const&, call const& c, Next& next) {
    auto r = co_await run("", c, next);
    co_return r;
  }

  template <class Next>
  static task<> linger(Next& next, call c) {
    static_cast<void>(co_await next("for later", c));
  }

  template <class Next>
  task<result<std::string>> guarded(std::string q, call c, Next& next) {
    if (is(flaw::ignores_cancellation)) {
      auto const guard = co_await cleat::this_chain::shield;
      auto r = co_await next(std::move(q), c);
      co_return r;
    }
    if (is(flaw::hides_exceptions)) {
      try {
        auto r = co_await next(std::move(q), c);
        co_return r;
      } catch (std::exception const&) {
        co_return failure{kind::resources, certainty::not_sent};
      }
    }
    auto r = co_await next(std::move(q), c);
    co_return r;
  }

  [[nodiscard]] bool may_repeat(failure const& f, call const& c) const {
    if (is(flaw::repeats_without_end)) return true;
    if (f.why() == kind::cancelled) return is(flaw::goes_on_when_cancelled);
    if (c.now() >= c.deadline()) return is(flaw::calls_after_the_deadline);
    return c.repeatable || f.sure() != certainty::maybe_executed ||
           is(flaw::repeats_what_it_must_not);
  }

  template <class Next>
  task<result<std::string>> run(std::string q, call c, Next& next) {
    auto const executor = co_await cleat::this_chain::executor;
    call const mine = c;
    if (is(flaw::throws)) throw std::runtime_error{"no"};
    if (is(flaw::takes_one_at_a_time)) {
      while (busy_) {
        auto const slept = co_await cleat::sleep_until(c.now() + 1s);
        if (!slept) co_return slept.error().with(certainty::not_sent);
      }
      busy_ = true;
    }
    if (is(flaw::has_a_later_deadline) || is(flaw::ignores_the_deadline)) {
      call later{executor};
      later.operation = c.operation;
      later.correlation = c.correlation;
      later.repeatable = c.repeatable;
      c = later;
    }
    if (is(flaw::has_a_later_deadline)) c.tighten(mine.deadline() + 1s);
    if (is(flaw::says_it_may_be_repeated)) c.repeatable = true;
    if (is(flaw::leaves_a_task)) cleat::spawn(executor, linger(next, c));
    if (is(flaw::mixes_up_calls)) {
      std::swap(c.operation, last_);
      if (c.operation == 0) c.operation = mine.operation;
    }
    certainty worst = certainty::not_sent;
    for (int made = 1;; ++made) {
      auto r = co_await guarded(q, c, next);
      busy_ = false;
      if (r && is(flaw::makes_failures)) co_return failure{kind::invalid};
      if (r) co_return r;
      worst = worse(worst, r.error().sure());
      failure const total = r.error().with(worst);
      bool const last = made == 3 && !is(flaw::repeats_without_end);
      if (last || !may_repeat(r.error(), c)) {
        if (is(flaw::hides_failures)) co_return std::string{};
        if (is(flaw::is_too_sure)) co_return r.error();
        co_return total;
      }
      if (!is(flaw::does_not_count)) ++c.attempt;
      if (is(flaw::takes_another_operation)) ++c.operation;
      if (is(flaw::takes_another_correlation)) c.correlation = call{executor}.correlation;
    }
  }

  flaw which_;
  bool busy_ = false;
  std::uint64_t last_ = 0;
};

std::vector<std::string> check_flawed(flaw which) {
  return check([which] { return flawed{which}; });
}

bool says(std::vector<std::string> const& broken, std::string_view promise) {
  return std::any_of(broken.begin(), broken.end(),
                     [&](auto const& b) { return b.starts_with(promise); });
}

void rejects(flaw which, std::string_view promise) {
  auto const broken = check_flawed(which);
  bool const said = says(broken, promise);
  BOOST_TEST(said, "flaw " << static_cast<int>(which) << " was not rejected: " << promise);
  for (auto const& b : broken) BOOST_TEST_MESSAGE(static_cast<int>(which) << ": " << b);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_fallback_conforms_if_it_says_so) {
  BOOST_TEST(says(check([] { return fallback{}; }), "a failure of next is never made a success"));
  middleware_check how;
  how.answers_itself = true;
  report(check([] { return fallback{}; }, how));
}

BOOST_AUTO_TEST_CASE(hedging_conforms_if_it_says_so_and_asks_twice_only_what_may_be_repeated) {
  auto const made = [](bool careful) { return [careful] { return hedging{careful}; }; };
  BOOST_TEST(says(check(made(true)), "next is not called again before it has ended"));
  middleware_check how;
  how.hedges = true;
  report(check(made(true), how));
  BOOST_TEST(says(check(made(false), how), "what must not be repeated is not tried again"));
}

BOOST_AUTO_TEST_CASE(a_middleware_without_flaw_conforms) { report(check_flawed(flaw::none)); }

BOOST_AUTO_TEST_CASE(what_repeats_too_much_is_rejected) {
  rejects(flaw::repeats_what_it_must_not,
          "what must not be repeated is not tried again once it may have been executed");
  rejects(flaw::says_it_may_be_repeated, "a call that must not be repeated is handed on as such");
  rejects(flaw::calls_after_the_deadline, "next is not called again after the deadline");
  rejects(flaw::repeats_without_end, "next is not called without end");
}

BOOST_AUTO_TEST_CASE(what_prolongs_the_deadline_is_rejected) {
  rejects(flaw::has_a_later_deadline, "the deadline is only brought forward");
  rejects(flaw::ignores_the_deadline, "a call ends by its deadline");
}

BOOST_AUTO_TEST_CASE(what_makes_failures_look_better_is_rejected) {
  rejects(flaw::is_too_sure, "a failure is never surer that nothing was done than next was");
  rejects(flaw::hides_exceptions, "a failure is never surer that nothing was done than next was");
  rejects(flaw::hides_failures, "a failure of next is never made a success");
  rejects(flaw::makes_failures, "a success of next is passed on");
  rejects(flaw::throws, "a failure is a value and never an exception");
}

BOOST_AUTO_TEST_CASE(what_gives_its_attempts_other_names_is_rejected) {
  rejects(flaw::takes_another_operation, "operation id and correlation stay the same");
  rejects(flaw::takes_another_correlation, "operation id and correlation stay the same");
  rejects(flaw::does_not_count, "attempt numbers rise");
  rejects(flaw::mixes_up_calls, "operation id and correlation stay the same");
}

BOOST_AUTO_TEST_CASE(what_ignores_cancellation_is_rejected) {
  rejects(flaw::ignores_cancellation, "cancellation reaches next");
  rejects(flaw::ignores_cancellation, "a cancelled call ends soon");
  rejects(flaw::goes_on_when_cancelled, "next is not called again after the call was cancelled");
}

BOOST_AUTO_TEST_CASE(what_leaves_a_task_running_is_rejected) {
  rejects(flaw::leaves_a_task, "nothing that a call started outlives it");
  rejects(flaw::leaves_a_task, "next has ended when the call ends");
}

BOOST_AUTO_TEST_CASE(what_keeps_references_is_rejected) {
  rejects(flaw::keeps_references, "request and call are taken by value");
}

namespace {

/// Coroutines that keep a reference: `|` refuses them, and the kit says so.
struct keeps_the_request : cleat::stage {
  template <class Request, class Next>
  task<result<response_of<Next>>> operator()(Request const& q, call c, Next& next) {
    auto r = co_await next(Request{q}, c);
    co_return r;
  }
};
struct keeps_the_call : cleat::stage {
  template <class Request, class Next>
  task<result<response_of<Next>>> operator()(Request q, call const& c, Next& next) {
    auto r = co_await next(std::move(q), c);
    co_return r;
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(what_shows_that_it_keeps_references_is_rejected_unrun) {
  std::vector<std::string> const sentence{
      "request and call are taken by value (a layer that returns a task takes a reference to one "
      "of "
      "them)"};
  BOOST_TEST((check([] { return keeps_the_request{}; }) == sentence));
  BOOST_TEST((check([] { return keeps_the_call{}; }) == sentence));
  BOOST_TEST((check([] { return cleat::deadline(5s) | keeps_the_call{}; }) == sentence));
  BOOST_TEST((check([] {
                return [](std::string const& q, call c, auto& next) -> task<result<std::string>> {
                  auto r = co_await next(std::string{q}, c);
                  co_return r;
                };
              }) == sentence));
}

BOOST_AUTO_TEST_CASE(what_holds_up_other_calls_is_rejected) {
  rejects(flaw::takes_one_at_a_time, "a call that hangs does not hold up another");
}

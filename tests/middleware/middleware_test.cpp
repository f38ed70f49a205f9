#define BOOST_TEST_MODULE middleware
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/middleware.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/service/any_service.hpp>
#include <cleat/sim/world.hpp>

#include <boost/test/unit_test.hpp>

#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

using cleat::any_service;
using cleat::call;
using cleat::deadline;
using cleat::Middleware;
using cleat::response_of;
using cleat::result;
using cleat::Service;
using cleat::task;
using cleat::sim::world;
using namespace std::chrono_literals;

namespace {

auto const echo = [](std::string q, call) -> task<result<std::string>> { co_return q; };

/// A middleware as a stranger would write it, in ten lines.
class slow_log {
 public:
  explicit slow_log(std::ostream& out) : out_(out) {}
  template <class Next>
  task<result<response_of<Next>>> operator()(std::string q, call c, Next& next) {
    auto const began = c.now();
    auto r = co_await next(std::move(q), c);
    if (c.now() - began > 100ms) out_ << "slow: " << c.peer << '\n';
    co_return r;
  }

 private:
  std::ostream& out_;
};

/// Adds a letter on the way in and on the way out.
auto letter(char l) {
  return cleat::middleware([l](std::string q, call c, auto& next) -> task<result<std::string>> {
    auto r = co_await next(q + l, c);
    if (!r) co_return r;
    co_return *r + l;
  });
}

}  // namespace

BOOST_AUTO_TEST_CASE(composes_from_the_outside_in) {
  world time{1};
  auto service = letter('a') | letter('b') | letter('c') | echo;
  auto const r = time.run(service("-", time.new_call()));
  BOOST_TEST(r.value() == "-abccba");
}

BOOST_AUTO_TEST_CASE(takes_lambdas_beside_its_own) {
  world time{1};
  auto shout = [](std::string q, call c, auto& next) -> task<result<std::string>> {
    auto r = co_await next(std::move(q), c);
    if (!r) co_return r;
    co_return *r + "!";
  };
  auto service = shout | deadline(1s) | shout | echo;
  auto const r = time.run(service("hey", time.new_call()));
  BOOST_TEST(r.value() == "hey!!");
}

BOOST_AUTO_TEST_CASE(makes_a_call_of_its_own_when_none_is_given) {
  world time{1};
  std::uint64_t operation = 0;
  auto noting = [&](std::string q, call c) -> task<result<std::string>> {
    operation = c.operation;
    co_return q;
  };
  auto service = deadline(1s) | noting;
  BOOST_TEST(time.run(service("x")).value() == "x");
  BOOST_TEST(operation != 0U);
}

BOOST_AUTO_TEST_CASE(a_deadline_only_ever_comes_nearer) {
  world time{1};
  std::vector<cleat::duration> left;
  auto noting = [&](std::string q, call c) -> task<result<std::string>> {
    left.push_back(c.deadline() - c.now());
    co_return q;
  };
  auto nearer = deadline(5s) | deadline(1s) | noting;
  auto farther = deadline(1s) | deadline(5s) | noting;
  BOOST_TEST(time.run(nearer("x", time.new_call())).has_value());
  BOOST_TEST(time.run(farther("x", time.new_call())).has_value());
  BOOST_TEST((left == std::vector<cleat::duration>{1s, 1s}));
}

BOOST_AUTO_TEST_CASE(ten_lines_make_a_middleware) {
  world time{1};
  auto slow = [](std::string q, call c) -> task<result<std::string>> {
    auto const slept = co_await cleat::sleep_until(c.now() + (q == "slow" ? 1s : 1ms));
    if (!slept) co_return slept.error();
    co_return q;
  };
  std::ostringstream out;
  auto service = slow_log{out} | deadline(5s) | slow;
  for (char const* q : {"slow", "quick"}) {
    call c = time.new_call();
    c.peer = q;
    BOOST_TEST(time.run(service(q, c)).has_value());
  }
  BOOST_TEST(out.str() == "slow: slow\n");
}

BOOST_AUTO_TEST_CASE(any_service_holds_any_of_them) {
  world time{1};
  std::vector<any_service<std::string, std::string>> all;
  all.emplace_back(echo);
  all.emplace_back(letter('a') | echo);
  all.emplace_back(deadline(1s) | cleat::retry(2) | echo);
  std::string got;
  for (auto& s : all) got += time.run(s("q", time.new_call())).value() + " ";
  BOOST_TEST(got == "q qaa q ");
}

BOOST_AUTO_TEST_CASE(several_pipelines_may_share_a_middleware_that_outlives_them) {
  world time{1};
  int calls = 0;
  auto counting = [&calls](std::string q, call c, auto& next) -> task<result<std::string>> {
    ++calls;
    auto r = co_await next(std::move(q), c);
    co_return r;
  };
  auto one = cleat::shared(counting) | letter('a') | echo;
  auto two = letter('b') | cleat::shared(counting) | deadline(1s) | echo;
  std::string got;
  got += time.run(one("-", time.new_call())).value() + " ";
  got += time.run(two("-", time.new_call())).value() + " ";
  got += time.run(one("-")).value();
  BOOST_TEST(got == "-aa -bb -aa");
  BOOST_TEST(calls == 3);
}

BOOST_AUTO_TEST_CASE(what_is_shared_has_one_state_for_all) {
  world time{1};
  auto refusing = [](std::string, call) -> task<result<std::string>> {
    co_return cleat::failure{cleat::kind::refused, cleat::certainty::not_sent};
  };
  // Two retries at once, and none are saved up.
  cleat::retry_budget::settings small;
  small.deposit = 0;
  small.floor = 2;
  auto policy = cleat::retry(5).wait(cleat::backoff::additive(0s, 0s)).budget(small);
  auto one = cleat::shared(policy) | refusing;
  auto two = cleat::shared(policy) | refusing;
  auto alone = cleat::retry(5).wait(cleat::backoff::additive(0s, 0s)).budget(small) | refusing;
  BOOST_TEST(time.run(one("x", time.new_call())).error().attempts() == 3U);
  BOOST_TEST(time.run(two("x", time.new_call())).error().attempts() == 1U);
  BOOST_TEST(time.run(alone("x", time.new_call())).error().attempts() == 3U);
}

namespace {

/// Has no constructor, and owns something: g++ 12 destroys its braced temporaries twice.
struct aggregate {
  std::string key;
  std::string value;
};

/// A coroutine that hands on what it got.
class hands_on : public cleat::stage {
 public:
  template <class Request, class Next>
  task<result<response_of<Next>>> operator()(Request q, call c, Next& next) {
    auto r = co_await next(std::move(q), c);
    co_return r;
  }
};

auto const join = [](aggregate q, call) -> task<result<std::string>> { co_return q.key + q.value; };

template <class S>
task<std::string> asked_in_every_way(S& service) {
  aggregate const q{"a key that is too long to stand in place", "; a value that is, too"};
  aggregate mine = q;
  cleat::environment& env = co_await cleat::this_chain::environment;
  call const c{env};
  auto const fresh = co_await service(mine);
  auto const with = co_await service(mine, c);
  auto const of_a_constant = co_await service(q, c);
  auto const as_a_task = co_await cleat::ask(service, mine, c);
  bool const same = *fresh == *with && *with == *of_a_constant && *of_a_constant == *as_a_task;
  co_return same&& mine.key == q.key ? *fresh : "they differ";
}

}  // namespace

BOOST_AUTO_TEST_CASE(an_aggregate_that_has_a_name_goes_through_every_layer) {
  world time{1};
  auto made = [] { return deadline(1s) | hands_on{} | cleat::retry(2) | hands_on{} | join; };
  auto pipeline = made();
  auto outer = deadline(1s) | hands_on{} | made();
  any_service<aggregate, std::string> box = made();
  auto around = hands_on{} | any_service<aggregate, std::string>{join};
  std::string const joined = "a key that is too long to stand in place; a value that is, too";
  BOOST_TEST(time.run(asked_in_every_way(pipeline)) == joined);
  BOOST_TEST(time.run(asked_in_every_way(outer)) == joined);
  BOOST_TEST(time.run(asked_in_every_way(box)) == joined);
  BOOST_TEST(time.run(asked_in_every_way(around)) == joined);
}

BOOST_AUTO_TEST_CASE(a_box_makes_a_call_of_its_own_as_a_pipeline_does) {
  world time{1};
  any_service<std::string, std::string> box = echo;
  BOOST_TEST(time.run(box("x")).value() == "x");
  std::string const named = "y";
  BOOST_TEST(time.run(box(named)).value() == "y");
}

BOOST_AUTO_TEST_CASE(an_answer_may_be_without_a_value) {
  world time{1};
  int asked = 0;
  auto acts = [&asked](std::string, call) -> task<result<void>> {
    if (++asked == 1) co_return cleat::failure{cleat::kind::refused, cleat::certainty::not_sent};
    co_return result<void>{};
  };
  auto service = deadline(5s) | hands_on{} | cleat::retry(2) | acts;
  BOOST_TEST(time.run(service("x")).has_value());
  BOOST_TEST(asked == 2);
}

namespace {

/// Throws where an awaitable can: while it is made, when it is awaited, or at its end.
class thrower final : public cleat::leaf {
 public:
  explicit thrower(int where) : where_(where) { may_throw(0); }
  result<std::string> await_resume() const {
    may_throw(2);
    return std::string{"did not throw"};
  }

 private:
  void begin(bool) override {
    may_throw(1);
    complete();
  }
  void cancel() noexcept override {}
  void may_throw(int here) const {
    if (where_ == here) throw std::runtime_error{"no"};
  }

  int where_;
};

class throwing {
 public:
  using request = std::string;
  using response = std::string;
  explicit throwing(int where) : where_(where) {}
  thrower operator()(std::string const&, call const&) const { return thrower{where_}; }

 private:
  int where_;
};

/// The reasons with which calls ended.
class ends {
 public:
  using listens_to = cleat::event_list<cleat::call_started, cleat::call_ended>;
  void on(cleat::call_started const&) noexcept { ++begun; }
  void on(cleat::call_ended const& e) noexcept {
    why.emplace_back(e.error != nullptr ? e.error->message() : "success");
  }
  int begun = 0;
  std::vector<std::string> why;
};

}  // namespace

BOOST_AUTO_TEST_CASE(observers_hear_once_of_a_call_that_ends_by_an_exception) {
  for (int where = 0; where <= 3; ++where) {
    BOOST_TEST_CONTEXT("where " << where) {
      world time{1};
      ends told;
      auto service = cleat::observe(told) | throwing{where};
      auto const ask = [&] {
        return time.run(cleat::ask(service, std::string{"x"}, time.new_call()));
      };
      if (where < 3) {
        BOOST_CHECK_THROW(static_cast<void>(ask()), std::runtime_error);
      } else {
        BOOST_TEST(ask().value() == "did not throw");
      }
      BOOST_TEST(told.begun == 1);
      BOOST_REQUIRE(told.why.size() == 1U);
      BOOST_TEST(told.why.front().find(where < 3 ? "an exception left a layer" : "success") !=
                 std::string::npos);
    }
  }
}

// What is a service, and what is not.
static_assert(Service<decltype(echo)>);
static_assert(Service<any_service<std::string, std::string>>);
static_assert(Service<decltype(deadline(1s) | echo)>);
static_assert(!Service<int>);
static_assert(!Service<decltype([](std::string) -> task<result<std::string>> { co_return ""; })>);
static_assert(!Service<decltype([](std::string, call) -> task<std::string> { co_return ""; })>);
static_assert(
    !Service<decltype([](std::string, call) -> result<std::string> { return std::string{}; })>);
static_assert(Middleware<deadline, std::remove_const_t<decltype(echo)>>);
static_assert(Middleware<slow_log, std::remove_const_t<decltype(echo)>>);
static_assert(
    !Middleware<decltype([](std::string, call) -> task<result<std::string>> { co_return ""; }),
                std::remove_const_t<decltype(echo)>>);
static_assert(!Middleware<int, std::remove_const_t<decltype(echo)>>);
static_assert(Middleware<cleat::shared_stage<deadline>, std::remove_const_t<decltype(echo)>>);
static_assert(Middleware<cleat::shared_stage<slow_log>, std::remove_const_t<decltype(echo)>>);
static_assert(!Middleware<cleat::shared_stage<int>, std::remove_const_t<decltype(echo)>>);

#define BOOST_TEST_MODULE under_way
#include <cleat/base/spawn.hpp>
#include <cleat/middleware/breaker.hpp>
#include <cleat/middleware/canary.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/fallback.hpp>
#include <cleat/middleware/hedge.hpp>
#include <cleat/middleware/idempotent.hpp>
#include <cleat/middleware/limit.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/rate.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/middleware/shadow.hpp>
#include <cleat/middleware/timeout.hpp>
#include <cleat/service/any_service.hpp>
#include <cleat/sim/world.hpp>

#include <boost/test/unit_test.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using cleat::call;
using cleat::certainty;
using cleat::duration;
using cleat::failure;
using cleat::kind;
using cleat::result;
using cleat::task;
using cleat::sim::world;
using namespace std::chrono_literals;

namespace {

using answer = result<std::string>;
using box = cleat::any_service<std::string, std::string>;

/// Sleeps for an hour; "fails" fails at once; "quick" answers at once.
auto slow() {
  return [](std::string q, call c) -> task<answer> {
    if (q == "fails") co_return failure{kind::refused, certainty::not_sent};
    if (q == "quick") co_return q;
    auto const slept = co_await cleat::sleep_until(c.now() + 1h);
    if (!slept) co_return slept.error();
    co_return q;
  };
}

/// Hears how calls ended.
struct listener {
  using listens_to = cleat::event_list<cleat::call_ended>;
  void on(cleat::call_ended const& e) noexcept {
    why = e.error == nullptr ? kind{} : e.error->why();
  }
  std::optional<kind> why;
};

struct deaf {
  using listens_to = cleat::event_list<cleat::call_ended>;
  void on(cleat::call_ended const& /*not counted*/) noexcept {}
};

/// A stranger's layer, which uses `next` again after a failure.
auto again() {
  return [](auto q, call c, auto& next) -> task<answer> {
    auto copy = q;
    auto r = co_await next(std::move(q), c);
    if (r || r.error().why() == kind::cancelled) co_return r;
    auto second = co_await next(std::move(copy), c);
    co_return second;
  };
}

/// A call that runs beside the test.
class asked {
 public:
  template <class Service>
  asked(world& w, Service& s, std::string q, std::uint64_t operation = 0) {
    call c = w.new_call();
    if (operation != 0) c.operation = operation;
    cleat::spawn(w.executor(), cleat::ask(s, std::move(q), c),
                 [this, &w](std::exception_ptr, answer r) {
                   ended_at = w.elapsed();
                   got = std::move(r);
                   if (then) then();
                 });
  }
  asked(asked const&) = delete;
  [[nodiscard]] bool is_shut_down() const {
    return got && !got->has_value() && got->error().why() == kind::shut_down;
  }

  duration ended_at{};
  std::optional<answer> got;
  std::function<void()> then;
};

/// Destroys a pipeline under three calls: all end at that moment as `shut_down`.
template <class Make>
void ends_its_calls(char const* what, Make const& make, std::string const& q = "slow") {
  BOOST_TEST_CONTEXT(what) {
    world w{1};
    auto service = std::make_unique<decltype(make())>(make());
    std::vector<std::unique_ptr<asked>> calls;
    for (int i = 0; i < 3; ++i) calls.push_back(std::make_unique<asked>(w, *service, q, 7));
    w.run_for(30ms);
    for (auto const& c : calls) BOOST_TEST(!c->got.has_value());
    service.reset();
    w.run_for(0ms);
    for (auto const& c : calls) {
      BOOST_TEST(c->is_shut_down());
      BOOST_TEST((c->ended_at == 30ms));
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_pipeline_that_goes_ends_its_calls_as_shut_down_whatever_layers_it_has) {
  auto const wait = cleat::backoff::full_jitter(1h, 1h);
  deaf nobody;
  auto outer = cleat::retry(2).wait(wait);
  ends_its_calls("deadline", [] { return cleat::deadline(2h) | slow(); });
  ends_its_calls("observe", [&] { return cleat::observe(nobody) | slow(); });
  ends_its_calls("retry, first", [&] { return cleat::retry(2).wait(wait) | slow(); });
  ends_its_calls(
      "retry, in its wait", [&] { return cleat::retry(2).wait(wait) | slow(); }, "fails");
  ends_its_calls("limit, a queue", [] { return cleat::limit(1).queue(5) | slow(); });
  ends_its_calls("rate, for a token", [] { return cleat::rate(1, 10h).burst(1) | slow(); });
  ends_its_calls("breaker", [] { return cleat::breaker() | slow(); });
  ends_its_calls("timeout", [] { return cleat::timeout(2h) | slow(); });
  ends_its_calls("hedge", [] { return cleat::hedge().after(10ms) | slow(); });
  ends_its_calls("idempotent", [] { return cleat::idempotent() | slow(); });
  ends_its_calls("shadow", [] { return cleat::deadline(2h) | cleat::shadow(slow(), slow()); });
  ends_its_calls("a stranger's", [] { return cleat::middleware(again()) | slow(); });
  ends_its_calls("any_service", [] { return box{cleat::deadline(2h) | slow()}; });
  ends_its_calls("any_service alone", [] { return box{slow()}; });
  ends_its_calls("a pipeline inside", [&] {
    auto inner = cleat::retry(2).wait(wait) | slow();
    return cleat::deadline(2h) | std::move(inner);
  });
  ends_its_calls("a shared layer", [&] { return cleat::shared(outer) | slow(); });
  ends_its_calls("many", [&] {
    return cleat::observe(nobody) | cleat::deadline(2h) | cleat::idempotent() |
           cleat::retry(3).wait(wait) | cleat::limit(2).queue(5) | cleat::breaker() | slow();
  });
}

BOOST_AUTO_TEST_CASE(whoever_asked_goes_on_and_may_ask_somebody_else) {
  world w{1};
  auto gone =
      std::make_unique<decltype(cleat::deadline(2h) | slow())>(cleat::deadline(2h) | slow());
  auto other = cleat::deadline(2h) | slow();
  std::string heard;
  auto body = [&]() -> task<> {
    call const c{co_await cleat::this_chain::executor};
    std::string q = "slow";
    auto const first = co_await (*gone)(std::move(q), c);
    heard += first ? "answer" : std::string{to_string(first.error().why())};
    auto const slept = co_await cleat::sleep_until(c.now() + 10ms);
    heard += slept ? ", slept" : ", did not sleep";
    std::string again = "quick";
    auto const second = co_await other(std::move(again), c);
    heard += second ? ", answer" : ", " + std::string{to_string(second.error().why())};
  };
  w.spawn(body());
  w.run_for(10ms);
  gone.reset();
  w.run_for(1s);
  BOOST_TEST(heard == "shut_down, slept, answer");
}

BOOST_AUTO_TEST_CASE(closing_twice_is_closing_once) {
  world w{1};
  auto service =
      std::make_unique<decltype(cleat::deadline(2h) | slow())>(cleat::deadline(2h) | slow());
  bool slept_well = false;
  auto body = [&]() -> task<> {
    call const c{co_await cleat::this_chain::executor};
    std::string q = "slow";
    static_cast<void>(co_await (*service)(std::move(q), c));
    auto const slept = co_await cleat::sleep_until(c.now() + 10ms);
    slept_well = slept.has_value();
  };
  w.spawn(body());
  w.run_for(10ms);
  service->close();
  service.reset();
  w.run_for(1s);
  BOOST_TEST(slept_well);
}

BOOST_AUTO_TEST_CASE(no_stopgap_is_answered_for_a_pipeline_that_went) {
  ends_its_calls("fallback over a pipeline", [] {
    auto inner = cleat::deadline(2h) | slow();
    return cleat::fallback(std::string{"stopgap"}) | std::move(inner);
  });
}

BOOST_AUTO_TEST_CASE(a_call_whose_pipeline_went_is_cancelled_for_those_who_ask) {
  world w{1};
  bool told = false;
  auto asks = [&told](std::string q, call c) -> task<answer> {
    static_cast<void>(co_await cleat::sleep_until(c.now() + 1h));
    told = co_await cleat::this_chain::cancelled;
    co_return q;
  };
  auto service = std::make_unique<decltype(cleat::deadline(2h) | asks)>(cleat::deadline(2h) | asks);
  asked one{w, *service, "it"};
  w.run_for(10ms);
  service.reset();
  w.run_for(1s);
  BOOST_TEST(told);
}

BOOST_AUTO_TEST_CASE(it_may_go_while_one_of_its_callers_is_resumed) {
  world w{1};
  auto make = [] { return cleat::deadline(2h) | cleat::limit(1).queue(5) | slow(); };
  auto service = std::make_unique<decltype(make())>(make());
  asked blocked{w, *service, "slow"};
  asked waits{w, *service, "slow"};
  asked another{w, *service, "slow"};
  blocked.then = [&] { service.reset(); };
  w.run_for(1h);
  w.run_for(1s);
  BOOST_TEST(blocked.got->has_value());
  BOOST_TEST(waits.is_shut_down());
  BOOST_TEST(another.is_shut_down());
}

BOOST_AUTO_TEST_CASE(what_was_made_before_and_is_awaited_behind_its_end_is_not_sent) {
  world w{1};
  auto service =
      std::make_unique<decltype(cleat::deadline(2h) | slow())>(cleat::deadline(2h) | slow());
  auto body = [&]() -> task<answer> {
    call const c{co_await cleat::this_chain::executor};
    std::string q = "quick";
    auto late = (*service)(std::move(q), c);
    service.reset();
    auto r = co_await std::move(late);
    co_return r;
  };
  auto const r = w.run(body());
  BOOST_TEST((!r && r.error().why() == kind::shut_down && r.error().sure() == certainty::not_sent));
}

BOOST_AUTO_TEST_CASE(a_task_of_a_call_that_begins_behind_the_end_is_not_sent) {
  auto const is_not_sent = [](world& w, task<answer> late) {
    auto const r = w.run(std::move(late));
    return !r && r.error().why() == kind::shut_down && r.error().sure() == certainty::not_sent;
  };
  auto const each_way = [&](auto make) {
    using service = decltype(make());
    world w{1};
    call const c = w.new_call();
    {
      auto s = std::make_unique<service>(make());
      auto late = cleat::ask(*s, std::string{"quick"}, c);
      s.reset();
      BOOST_TEST(is_not_sent(w, std::move(late)));
    }
    {
      auto s = std::make_unique<service>(make());
      auto late = (*s)(std::string{"quick"});
      s.reset();
      BOOST_TEST(is_not_sent(w, std::move(late)));
    }
    {
      auto s = std::make_unique<service>(make());
      auto late = cleat::ask(*s, std::string{"quick"}, c);
      auto const moved = std::move(*s);
      s.reset();
      BOOST_TEST(w.run(std::move(late)).has_value());
    }
  };
  each_way([] { return cleat::deadline(2h) | slow(); });
  each_way([] { return box{slow()}; });
}

BOOST_AUTO_TEST_CASE(observers_hear_what_the_caller_gets) {
  world w{1};
  listener ears;
  auto make = [&] { return cleat::observe(ears) | cleat::deadline(2h) | slow(); };
  auto service = std::make_unique<decltype(make())>(make());
  asked const one{w, *service, "slow"};
  w.run_for(10ms);
  service.reset();
  w.run_for(0ms);
  BOOST_TEST(one.is_shut_down());
  BOOST_TEST((ears.why == kind::shut_down));
}

BOOST_AUTO_TEST_CASE(a_pipeline_that_is_replaced_ends_its_calls) {
  world w{1};
  auto make = [] { return cleat::deadline(2h) | slow(); };
  auto service = make();
  asked const old{w, service, "slow"};
  w.run_for(10ms);
  service = make();
  asked const young{w, service, "quick"};
  w.run_for(0ms);
  BOOST_TEST(old.is_shut_down());
  BOOST_TEST((young.got && young.got->has_value()));
}

BOOST_AUTO_TEST_CASE(a_pipeline_that_is_moved_keeps_its_calls) {
  world w{1};
  auto service = cleat::deadline(2h) | cleat::limit(1).queue(5) | slow();
  asked first{w, service, "slow"};
  asked second{w, service, "slow"};
  w.run_for(10ms);
  auto moved = std::move(service);
  w.run_for(3h);
  BOOST_TEST(first.got->has_value());
  BOOST_TEST(second.got->has_value());
}

BOOST_AUTO_TEST_CASE(a_place_is_free_when_the_call_has_ended_though_its_awaitable_lives_on) {
  world w{1};
  auto limited = cleat::limit(1) | slow();
  auto trial = cleat::breaker().failures(1).open_for(1ms, 1ms) | slow();
  auto body = [](auto& service, std::string q) -> task<bool> {
    call const c{co_await cleat::this_chain::executor};
    auto first = service(std::move(q), c);
    auto const a = co_await std::move(first);
    auto const slept = co_await cleat::sleep_until(c.now() + 2ms);
    std::string more = "quick";
    auto second = service(std::move(more), c);
    auto const b = co_await std::move(second);
    std::string last = "quick";
    auto third = service(std::move(last), c);
    auto const d = co_await std::move(third);
    static_cast<void>(a);
    co_return slept.has_value() && b.has_value() && d.has_value();
  };
  BOOST_TEST(w.run(body(limited, "quick")));
  BOOST_TEST(w.run(body(trial, "fails")));
}

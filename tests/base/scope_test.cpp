#define BOOST_TEST_MODULE scope
#include "../support/child.hpp"

#include <cleat/base/clock.hpp>
#include <cleat/base/event.hpp>
#include <cleat/base/scope.hpp>
#include <cleat/base/spawn.hpp>
#include <cleat/base/timed.hpp>
#include <cleat/base/use_task.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <csignal>
#include <stdexcept>
#include <string>
#include <vector>

namespace asio = boost::asio;
using cleat::environment;
using cleat::event;
using cleat::kind;
using cleat::scope;
using cleat::task;
using cleat::use_task;
using cleat::test::child;
using namespace std::chrono_literals;

namespace {

template <class T>
T run(task<T> t) {
  asio::io_context context;
  auto future = cleat::spawn(context.get_executor(), std::move(t), asio::use_future);
  context.run();
  BOOST_TEST(cleat::chain_count(context) == 0U);
  return future.get();
}

task<> hop() { co_await asio::post(co_await cleat::this_chain::executor, use_task); }

task<int> value_after_hops(int value, int hops) {
  for (int i = 0; i < hops; ++i) co_await hop();
  co_return value;
}

}  // namespace

BOOST_AUTO_TEST_CASE(when_all_gives_all_values_in_their_order) {
  auto body = []() -> task<std::string> {
    auto [a, b, c] = co_await cleat::when_all(value_after_hops(1, 5), value_after_hops(2, 0),
                                              value_after_hops(3, 1));
    co_return std::to_string(a) + std::to_string(b) + std::to_string(c);
  };
  BOOST_TEST(run(body()) == "123");
}

BOOST_AUTO_TEST_CASE(runs_its_chains_beside_each_other) {
  auto body = []() -> task<std::string> {
    std::string order;
    environment& env = co_await cleat::this_chain::environment;
    auto steps = [&](char name) -> task<> {
      for (int i = 0; i < 3; ++i) {
        order += name;
        co_await hop();
      }
    };
    scope beside{env};
    beside.spawn(steps('a'));
    beside.spawn(steps('b'));
    co_await beside.join();
    co_return order;
  };
  BOOST_TEST(run(body()) == "ababab");
}

BOOST_AUTO_TEST_CASE(rethrows_what_escaped_a_chain_after_all_have_ended) {
  bool other_ended = false;
  auto body = [&]() -> task<bool> {
    environment& env = co_await cleat::this_chain::environment;
    auto bad = []() -> task<> {
      co_await hop();
      throw std::runtime_error("bad");
    };
    auto slow = [&]() -> task<> {
      for (int i = 0; i < 10; ++i) co_await hop();
      other_ended = true;
    };
    scope beside{env};
    beside.spawn(bad());
    beside.spawn(slow());
    try {
      co_await beside.join();
    } catch (std::runtime_error const&) {
      co_return other_ended;
    }
    co_return false;
  };
  BOOST_TEST(run(body()));
}

BOOST_AUTO_TEST_CASE(cancels_its_chains_with_the_chain_that_joins_them) {
  asio::io_context context;
  asio::cancellation_signal signal;
  std::vector<kind> seen;
  auto body = [&]() -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    auto sleeper = [&]() -> task<> {
      auto const r =
          co_await cleat::sleep_until(cleat::clock::of(context.get_executor()).now() + 1h);
      if (!r) seen.push_back(r.error().why());
    };
    scope beside{env};
    beside.spawn(sleeper());
    beside.spawn(sleeper());
    co_await beside.join();
    seen.push_back(kind::closed);
  };
  cleat::spawn(context.get_executor(), body(),
               asio::bind_cancellation_slot(signal.slot(), asio::detached));
  asio::post(context, [&] { signal.emit(asio::cancellation_type::terminal); });
  context.run();
  BOOST_TEST(seen.size() == 3U);
  BOOST_TEST((seen.back() == kind::closed));
  BOOST_TEST(cleat::chain_count(context) == 0U);
}

BOOST_AUTO_TEST_CASE(goes_away_with_its_context_while_its_chains_wait) {
  auto alive = std::make_shared<int>(0);
  std::weak_ptr<int> const watch = alive;
  {
    asio::io_context context;
    auto body = [&](std::shared_ptr<int> p) -> task<> {
      event never_set;
      environment& env = co_await cleat::this_chain::environment;
      auto waiter = [&](std::shared_ptr<int> q) -> task<> {
        static_cast<void>(co_await never_set.wait());
        ++*q;
      };
      auto timer = [&](std::shared_ptr<int> q) -> task<> {
        asio::steady_timer t{context, 1h};
        static_cast<void>(co_await t.async_wait(use_task));
        ++*q;
      };
      auto sleeper = [&](std::shared_ptr<int> q) -> task<> {
        static_cast<void>(co_await cleat::sleep_until(cleat::clock::of(env.executor()).now() + 1h));
        ++*q;
      };
      scope beside{env};
      beside.spawn(waiter(p));
      beside.spawn(timer(p));
      beside.spawn(sleeper(p));
      co_await beside.join();
    };
    cleat::spawn(context.get_executor(), body(std::move(alive)));
    context.poll();
    BOOST_TEST(cleat::chain_count(context) == 4U);
  }
  BOOST_TEST(watch.expired());
}

BOOST_AUTO_TEST_CASE(an_event_remembers_one_set_and_wakes_one_waiter) {
  auto body = []() -> task<int> {
    event e;
    int woken = 0;
    e.set();
    e.set();
    auto const first = co_await e.wait();
    if (first) ++woken;
    auto const executor = co_await cleat::this_chain::executor;
    asio::post(executor, [&] { e.set(); });
    auto const second = co_await e.wait();
    if (second) ++woken;
    co_return woken;
  };
  BOOST_TEST(run(body()) == 2);
}

BOOST_AUTO_TEST_CASE(a_wait_for_an_event_ends_at_its_deadline) {
  auto body = []() -> task<kind> {
    event e;
    auto const executor = co_await cleat::this_chain::executor;
    auto const r = co_await e.wait(cleat::clock::of(executor).now() + 1ms);
    co_return r ? kind::invalid : r.error().why();
  };
  BOOST_TEST((run(body()) == kind::timed_out));
}

BOOST_AUTO_TEST_CASE(a_timed_operation_ends_at_its_deadline_and_not_before) {
  auto body = []() -> task<std::string> {
    auto const executor = co_await cleat::this_chain::executor;
    auto& clock = cleat::clock::of(executor);
    asio::steady_timer slow{executor, 1h};
    auto const late = co_await cleat::timed(slow.async_wait(use_task), clock.now() + 2ms);
    asio::steady_timer quick{executor, 1ms};
    auto const in_time = co_await cleat::timed(quick.async_wait(use_task), clock.now() + 1h);
    std::string out{late ? "done" : cleat::to_string(late.error().why())};
    out += in_time ? " done" : " failed";
    co_return out;
  };
  BOOST_TEST(run(body()) == "timed_out done");
}

BOOST_AUTO_TEST_CASE(chains_on_strands_of_two_threads_do_not_disturb_each_other) {
  asio::io_context context;
  auto const guard = asio::make_work_guard(context);
  std::thread one{[&] { context.run(); }};
  std::thread two{[&] { context.run(); }};
  std::atomic<int> sum = 0;
  auto count = [&](asio::any_io_executor strand) -> task<> {
    int mine = 0;  // touched by whichever thread runs the strand
    auto& clock = cleat::clock::of(strand);
    for (int i = 0; i < 300; ++i) {
      co_await asio::post(strand, use_task);
      mine += co_await value_after_hops(1, 2);
      if (i % 16 == 0) static_cast<void>(co_await cleat::sleep_until(clock.now() + 10us));
      event e;
      if (i % 16 == 1) static_cast<void>(co_await e.wait(clock.now() + 10us));
      asio::steady_timer t{strand, 20us};
      if (i % 16 == 2)
        static_cast<void>(co_await cleat::timed(t.async_wait(use_task), clock.now() + 20us));
    }
    sum += mine;
  };
  std::vector<std::future<void>> all;
  for (int i = 0; i < 8; ++i) {
    auto strand = asio::make_strand(context.get_executor());
    all.push_back(cleat::spawn(strand, count(strand), asio::use_future));
  }
  // One chain hops to another strand and back: the work runs there, the chain goes on here.
  auto visit = [&]() -> task<int> {
    auto const there = asio::make_strand(context.get_executor());
    int n = 0;
    for (int i = 0; i < 100; ++i)
      n += co_await cleat::spawn(there, value_after_hops(1, 1), use_task);
    co_return n;
  };
  auto visited = cleat::spawn(asio::make_strand(context.get_executor()), visit(), asio::use_future);
  for (auto& f : all) f.get();
  BOOST_TEST(visited.get() == 100);
  BOOST_TEST(sum == 2400);
  context.stop();
  one.join();
  two.join();
}

BOOST_AUTO_TEST_CASE(members_go_before_what_their_owner_has_when_the_context_goes) {
  bool owner_has_gone = false;
  bool member_went_after = false;
  auto const member = [](bool const& gone, bool& after) -> cleat::task<> {
    struct witness {
      bool const& gone;
      bool& after;
      ~witness() { after = gone; }
    } const here{gone, after};
    static_cast<void>(co_await cleat::sleep_until(cleat::never));
  };
  auto const owner = [&]() -> cleat::task<> {
    struct last_of_all {
      bool& gone;
      ~last_of_all() { gone = true; }
    } const mine{owner_has_gone};
    cleat::environment& env = co_await cleat::this_chain::environment;
    cleat::scope beside{env};
    beside.spawn(member(owner_has_gone, member_went_after));
    // Asio drops what waits for its timers before the context's other services go.
    boost::asio::steady_timer timer{env.executor(), std::chrono::hours{1}};
    static_cast<void>(co_await timer.async_wait(cleat::use_task));
    co_await beside.join();
  };
  {
    boost::asio::io_context context{1};
    cleat::spawn(context.get_executor(), owner());
    context.poll();
  }
  BOOST_TEST(owner_has_gone);
  BOOST_TEST(!member_went_after);
}

BOOST_AUTO_TEST_CASE(joining_an_empty_scope_waits_for_nothing) {
  auto body = []() -> task<bool> {
    environment& env = co_await cleat::this_chain::environment;
    scope beside{env};
    co_await beside.join();
    beside.spawn(hop());
    co_await beside.join();
    co_return beside.empty();
  };
  BOOST_TEST(run(body()));
}

BOOST_AUTO_TEST_CASE(a_join_that_is_kept_after_its_end_wakes_nobody_again) {
  auto body = []() -> task<int> {
    environment& env = co_await cleat::this_chain::environment;
    scope beside{env};
    beside.spawn(hop());
    auto first = beside.join();
    co_await std::move(first);
    beside.spawn(hop());
    int const n = co_await value_after_hops(1, 3);
    co_await beside.join();
    co_return n;
  };
  BOOST_TEST(run(body()) == 1);
}

BOOST_AUTO_TEST_CASE(rethrows_the_first_of_several_exceptions) {
  auto body = []() -> task<std::string> {
    environment& env = co_await cleat::this_chain::environment;
    auto bad = [](std::string what, int hops) -> task<> {
      for (int i = 0; i < hops; ++i) co_await hop();
      throw std::runtime_error(what);
    };
    scope beside{env};
    beside.spawn(bad("second", 2));
    beside.spawn(bad("first", 1));
    beside.spawn(hop());
    try {
      co_await beside.join();
    } catch (std::runtime_error const& e) {
      co_return e.what();
    }
    co_return "nothing";
  };
  BOOST_TEST(run(body()) == "first");
}

BOOST_AUTO_TEST_CASE(a_chain_that_was_cancelled_before_it_joins_cancels_its_chains) {
  asio::io_context context;
  bool ended = false;
  auto body = [&]() -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    auto waits = []() -> task<> { static_cast<void>(co_await cleat::sleep_until(cleat::never)); };
    scope beside{env};
    beside.spawn(waits());
    env.cancel();
    co_await beside.join();
    ended = true;
  };
  cleat::spawn(context.get_executor(), body());
  context.poll();
  BOOST_TEST(ended);
}

namespace {

/// Ends, here and now, what waits on it.
class bell final : public cleat::leaf {
 public:
  void await_resume() const noexcept {}
  void ring() { complete(); }

 private:
  void begin(bool) override {}
  void cancel() noexcept override { complete_later(); }
};

struct rings_at_its_end {
  bell& rung;
  ~rings_at_its_end() { rung.ring(); }
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_chain_that_ends_while_its_owner_goes_wakes_nobody) {
  asio::io_context context;
  bool ended = false;
  bool went_on = false;
  environment* owner = nullptr;
  bell last;
  auto member = [&]() -> task<> {
    co_await std::move(last);
    ended = true;
  };
  auto joins = [&](scope& beside) -> task<> {
    rings_at_its_end const here{last};
    co_await beside.join();
    went_on = true;
  };
  auto body = [&]() -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    owner = &env;
    scope beside{env};
    beside.spawn(member());
    co_await joins(beside);
  };
  cleat::spawn(context.get_executor(), body());
  context.poll();
  owner->drop();
  BOOST_TEST(ended);
  BOOST_TEST(!went_on);
  BOOST_TEST(cleat::chain_count(context) == 0U);
}

BOOST_AUTO_TEST_CASE(a_scope_that_goes_before_its_chains_says_so) {
  child const misuse{[] {
    asio::io_context context;
    auto body = []() -> task<> {
      cleat::environment& env = co_await cleat::this_chain::environment;
      auto waits = []() -> task<> { static_cast<void>(co_await cleat::sleep_until(cleat::never)); };
      cleat::scope beside{env};
      beside.spawn(waits());
    };
    cleat::spawn(context.get_executor(), body());
    context.run();
  }};
  BOOST_TEST(misuse.signal() == SIGABRT);
  BOOST_TEST(
      misuse.said() ==
      "cleat: a scope is destroyed while its chains still run; `co_await` its join() first\n");
}

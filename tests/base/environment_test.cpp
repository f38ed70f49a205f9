#define BOOST_TEST_MODULE environment
// What a chain is told of being stopped, and what a leaf may do.
#include <cleat/base/call.hpp>
#include <cleat/base/clock.hpp>
#include <cleat/base/spawn.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/test/unit_test.hpp>

#include <functional>
#include <memory>
#include <stdexcept>
#include <utility>

namespace asio = boost::asio;
using cleat::environment;
using cleat::shield;
using cleat::task;

namespace {

/// What a test does to a chain through its bell.
struct seen {
  bool began_cancelled = false;
  int cancellations = 0;
  int ended = 0;
};

/// Waits until it is rung, whatever it is told; counts how often it is told to stop.
class bell final : public cleat::leaf {
 public:
  enum class first { waits, ends, ends_later, is_dropped, throws };

  bell(bell*& place, seen& s, first what = first::waits) noexcept
      : place_(place), seen_(s), first_(what) {}
  ~bell() override { place_ = nullptr; }
  void await_resume() const noexcept { ++seen_.ended; }

  void ring() { complete(); }
  void ring_later() { complete_later(); }
  void lose() { drop(); }
  using leaf::link;
  [[nodiscard]] link right() noexcept { return link{*this}; }

 private:
  void begin(bool cancelled) override {
    seen_.began_cancelled = cancelled;
    place_ = this;
    if (first_ == first::ends) complete();
    if (first_ == first::ends_later) complete_later();
    if (first_ == first::is_dropped) drop();
    if (first_ == first::throws) throw std::runtime_error("cannot begin");
  }
  void cancel() noexcept override { ++seen_.cancellations; }

  bell*& place_;
  seen& seen_;
  first first_;
};

/// One chain that waits for a bell, twice.
class chain {
 public:
  explicit chain(bell::first first = bell::first::waits) {
    body_ = [this](bell::first f) -> task<> {
      environment& mine = co_await cleat::this_chain::environment;
      env = &mine;
      co_await bell{waiting, now, f};
      co_await bell{waiting, then};
    };
    cleat::spawn(context.get_executor(), body_(first));
    context.poll();
    context.restart();
  }

  environment* env = nullptr;
  bell* waiting = nullptr;
  seen now;
  seen then;

 private:
  std::function<task<>(bell::first)> body_;

 public:
  asio::io_context context;  // goes first
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_cancelled_chain_is_told_once_and_stays_cancelled) {
  chain c;
  BOOST_TEST(!c.env->cancelled());
  BOOST_TEST(!c.env->cancel_requested());
  c.env->cancel();
  c.env->cancel();
  BOOST_TEST(c.now.cancellations == 1);
  BOOST_TEST(c.env->cancelled());
  BOOST_TEST(c.env->cancel_requested());
  BOOST_TEST(!c.env->halted());
  c.waiting->ring();
  BOOST_TEST(!c.now.began_cancelled);
  BOOST_TEST(c.then.began_cancelled);
  BOOST_TEST(c.then.cancellations == 0);
}

BOOST_AUTO_TEST_CASE(a_halted_chain_is_cancelled_until_it_goes_on) {
  chain c;
  c.env->halt();
  BOOST_TEST(c.now.cancellations == 1);
  BOOST_TEST(c.env->halted());
  BOOST_TEST(c.env->cancelled());
  BOOST_TEST(c.env->cancel_requested());
  c.env->go_on();
  BOOST_TEST(!c.env->halted());
  BOOST_TEST(!c.env->cancelled());
  BOOST_TEST(!c.env->cancel_requested());
  c.waiting->ring();
  BOOST_TEST(!c.then.began_cancelled);
}

BOOST_AUTO_TEST_CASE(a_chain_that_was_halted_twice_goes_on_after_the_second_part_has_ended) {
  chain c;
  c.env->halt();
  c.env->halt();
  BOOST_TEST(c.now.cancellations == 1);
  c.env->go_on();
  BOOST_TEST(c.env->halted());
  BOOST_TEST(c.env->cancelled());
  c.env->go_on();
  BOOST_TEST(!c.env->halted());
}

BOOST_AUTO_TEST_CASE(whoever_is_halted_and_cancelled_is_told_once) {
  chain halted;
  halted.env->halt();
  halted.env->cancel();
  BOOST_TEST(halted.now.cancellations == 1);
  halted.env->go_on();
  BOOST_TEST(halted.env->cancelled());

  chain cancelled;
  cancelled.env->cancel();
  cancelled.env->halt();
  BOOST_TEST(cancelled.now.cancellations == 1);
}

BOOST_AUTO_TEST_CASE(what_a_shield_covers_is_not_told) {
  for (bool const halts : {false, true}) {
    chain c;
    {
      shield const outer{*c.env};
      {
        shield inner{*c.env};
        shield const moved{std::move(inner)};
      }
      if (halts) {
        c.env->halt();
      } else {
        c.env->cancel();
      }
      BOOST_TEST(c.now.cancellations == 0);
      BOOST_TEST(c.env->cancel_requested());
      BOOST_TEST(!c.env->cancelled());
    }
    BOOST_TEST(c.env->cancelled());
    c.waiting->ring();
    BOOST_TEST(c.then.began_cancelled);
  }
}

BOOST_AUTO_TEST_CASE(a_running_chain_may_be_stopped_while_it_waits_for_nothing) {
  asio::io_context context;
  seen s;
  bell* waiting = nullptr;
  auto body = [&](bool halts) -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    BOOST_TEST(env.waiting_on() == nullptr);
    co_await bell{waiting, s, bell::first::ends};
    BOOST_TEST(env.waiting_on() == nullptr);
    if (halts) {
      env.halt();
    } else {
      env.cancel();
    }
    co_await bell{waiting, s, bell::first::ends};
  };
  for (bool const halts : {false, true}) {
    s = {};
    cleat::spawn(context.get_executor(), body(halts));
    context.run();
    context.restart();
    BOOST_TEST(s.cancellations == 0);
    BOOST_TEST(s.began_cancelled);
    BOOST_TEST(s.ended == 2);
  }
}

BOOST_AUTO_TEST_CASE(knows_what_it_waits_on_while_it_waits) {
  chain c;
  BOOST_TEST(c.env->waiting_on() == c.waiting);
  c.waiting->ring();
  BOOST_TEST(c.env->waiting_on() == c.waiting);
  BOOST_TEST(c.now.ended == 1);
}

BOOST_AUTO_TEST_CASE(a_leaf_may_end_in_its_own_beginning_at_once_or_later) {
  for (auto const how : {bell::first::ends, bell::first::ends_later, bell::first::is_dropped}) {
    chain c{how};
    BOOST_TEST(c.now.ended == 1);
    BOOST_TEST(c.waiting != nullptr);
    BOOST_TEST(c.then.ended == 0);
    BOOST_TEST(c.context.poll() == 0U);
    BOOST_TEST(cleat::chain_count(c.context) == 1U);
  }
}

BOOST_AUTO_TEST_CASE(what_cannot_begin_throws_in_its_chain_which_waits_for_nothing_then) {
  asio::io_context context;
  seen s;
  bell* waiting = nullptr;
  bool thrown = false;
  auto body = [&]() -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    try {
      co_await bell{waiting, s, bell::first::throws};
    } catch (std::runtime_error const&) {
      thrown = env.waiting_on() == nullptr;
    }
    env.cancel();
  };
  cleat::spawn(context.get_executor(), body());
  context.run();
  BOOST_TEST(thrown);
  BOOST_TEST(s.cancellations == 0);
}

BOOST_AUTO_TEST_CASE(a_leaf_that_ends_later_lets_its_caller_go_first) {
  chain c;
  c.waiting->ring_later();
  BOOST_TEST(c.now.ended == 0);
  c.context.poll();
  BOOST_TEST(c.now.ended == 1);
}

BOOST_AUTO_TEST_CASE(a_chain_whose_leaf_is_dropped_goes_without_being_resumed) {
  chain c;
  c.waiting->lose();
  BOOST_TEST(c.waiting == nullptr);
  BOOST_TEST(c.now.ended == 0);
  BOOST_TEST(cleat::chain_count(c.context) == 0U);
}

BOOST_AUTO_TEST_CASE(who_loses_the_right_to_complete_a_leaf_drops_its_chain) {
  chain c;
  {
    auto first = std::make_unique<bell::link>(c.waiting->right());
    BOOST_TEST(first->get() == c.waiting);
    auto const second = std::make_unique<bell::link>(std::move(*first));
    BOOST_TEST(first->get() == nullptr);
    first.reset();
    BOOST_TEST(second->get() == c.waiting);
    BOOST_TEST(cleat::chain_count(c.context) == 1U);
  }
  BOOST_TEST(c.waiting == nullptr);
  BOOST_TEST(cleat::chain_count(c.context) == 0U);
}

BOOST_AUTO_TEST_CASE(who_has_used_the_right_to_complete_a_leaf_has_it_no_more) {
  chain c;
  {
    auto right = c.waiting->right();
    BOOST_TEST(right.release() == c.waiting);
    BOOST_TEST(right.get() == nullptr);
    BOOST_TEST(right.release() == nullptr);
    auto const moved = std::move(right);
    BOOST_TEST(moved.get() == nullptr);
  }
  BOOST_TEST(cleat::chain_count(c.context) == 1U);
  BOOST_TEST(c.now.ended == 0);
}

BOOST_AUTO_TEST_CASE(the_right_to_complete_a_leaf_ends_with_its_chain) {
  chain c;
  auto right = c.waiting->right();
  auto const moved = std::move(right);
  c.env->drop();
  BOOST_TEST(moved.get() == nullptr);

  chain other;
  auto released = other.waiting->right();
  released.release();
  other.env->drop();
  BOOST_TEST(released.get() == nullptr);
}

BOOST_AUTO_TEST_CASE(a_chain_that_goes_while_its_leaf_is_queued_leaves_nothing_to_do) {
  chain c;
  c.waiting->ring_later();
  c.env->drop();
  BOOST_TEST(c.context.poll() == 1U);
  BOOST_TEST(c.now.ended == 0);
  BOOST_TEST(cleat::chain_count(c.context) == 0U);
}

BOOST_AUTO_TEST_CASE(looks_its_services_up_once) {
  asio::io_context context;
  bool same = false;
  auto body = [&]() -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    auto& services = env.services();
    same = &env.services() == &services && &services.clock == &cleat::clock::of(env.executor());
    co_return;
  };
  cleat::spawn(context.get_executor(), body());
  context.run();
  BOOST_TEST(same);
}

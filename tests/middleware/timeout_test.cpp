#define BOOST_TEST_MODULE timeout
#include <cleat/conformance/middleware.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/middleware/timeout.hpp>
#include <cleat/observe/observe.hpp>
#include <cleat/sim/world.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/test/unit_test.hpp>

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace asio = boost::asio;
using cleat::action;
using cleat::call;
using cleat::certainty;
using cleat::duration;
using cleat::failure;
using cleat::kind;
using cleat::result;
using cleat::task;
using cleat::timeout;
using cleat::sim::world;
using namespace std::chrono_literals;

namespace {

/// A service that knows nothing of deadlines.
struct foreign {
  duration takes = 10s;
  std::optional<failure> fails;  ///< instead of succeeding
  bool throws = false;
  bool stubborn = false;                              ///< does not obey cancellation
  std::optional<result<std::string>> when_cancelled;  ///< what it says then
  int asked = 0;
  int ended = 0;
};

auto theirs(foreign& f) {
  return [&f](std::string q, call c) -> task<result<std::string>> {
    ++f.asked;
    std::optional<cleat::shield> deaf;
    if (f.stubborn) {
      auto guard = co_await cleat::this_chain::shield;
      deaf.emplace(std::move(guard));
    }
    if (f.takes != 0s) {
      auto const slept = co_await cleat::sleep_until(c.now() + f.takes);
      ++f.ended;
      if (!slept && f.when_cancelled) co_return *f.when_cancelled;
      if (!slept) co_return slept.error();
    }
    if (f.throws) throw std::runtime_error{"theirs"};
    if (f.fails) co_return *f.fails;
    co_return q + " done";
  };
}

struct heard {
  using listens_to = cleat::event_list<cleat::layer_acted>;
  void on(cleat::layer_acted const& e) noexcept {
    expired += e.what == action::timeout_expired && e.why != nullptr ? 1 : 0;
    elapsed = e.elapsed;
  }
  int expired = 0;
  duration elapsed{};
};

/// One call through `timeout(1s)`.
class one {
 public:
  explicit one(foreign& f) : service_(timeout(1s) | theirs(f)) { c.events = &events_; }

  result<std::string> ask() { return w.run(cleat::ask(service_, std::string{"it"}, c)); }
  /// Cancelled after a time.
  result<std::string> ask_and_cancel(duration after) {
    std::optional<result<std::string>> got;
    asio::cancellation_signal signal;
    auto done = [&](std::exception_ptr, result<std::string> r) { got = std::move(r); };
    cleat::spawn(w.executor(), cleat::ask(service_, std::string{"it"}, c),
                 asio::bind_cancellation_slot(signal.slot(), done));
    w.run_for(after);
    signal.emit(asio::cancellation_type::terminal);
    w.run_for(0s);
    BOOST_REQUIRE(got.has_value());
    return *got;
  }

  /// Cancelled before the service is asked.
  result<std::string> ask_when_cancelled() {
    auto late = [this]() -> task<result<std::string>> {
      cleat::environment& env = co_await cleat::this_chain::environment;
      env.cancel();
      auto r = co_await service_(std::string{"it"}, c);
      co_return r;
    };
    return w.run(late());
  }

  heard log;
  world w{1};
  call c = w.new_call();

 private:
  cleat::tee<heard> events_{log};
  decltype(timeout(1s) | theirs(std::declval<foreign&>())) service_;
};

bool failed(result<std::string> const& r, kind k, certainty sure) {
  return !r && r.error().why() == k && r.error().sure() == sure;
}

}  // namespace

BOOST_AUTO_TEST_CASE(passes_on_what_comes_in_time) {
  for (duration const takes : {0ms, 999ms}) {
    foreign f;
    f.takes = takes;
    one it{f};
    auto const r = it.ask();
    BOOST_TEST((r && *r == "it done"));
    f.fails = failure{kind::reset, certainty::rejected};
    BOOST_TEST(failed(it.ask(), kind::reset, certainty::rejected));
    f.fails = failure{kind::cancelled, certainty::not_sent};  // by somebody else
    BOOST_TEST(failed(it.ask(), kind::cancelled, certainty::not_sent));
    BOOST_TEST(it.log.expired == 0);
    BOOST_TEST(it.w.leftovers().empty());
  }
}

BOOST_AUTO_TEST_CASE(ends_what_does_not_come_in_time) {
  foreign f;
  one it{f};
  BOOST_TEST(failed(it.ask(), kind::timed_out, certainty::maybe_executed));
  BOOST_TEST((it.w.elapsed() == 1s));
  BOOST_TEST(f.ended == 1);
  BOOST_TEST(it.log.expired == 1);
  BOOST_TEST((it.log.elapsed == 1s));
  BOOST_TEST(it.w.leftovers().empty());
}

BOOST_AUTO_TEST_CASE(keeps_an_earlier_deadline) {
  foreign f;
  one it{f};
  it.c.tighten(it.w.now() + 300ms);
  BOOST_TEST(failed(it.ask(), kind::timed_out, certainty::maybe_executed));
  BOOST_TEST((it.w.elapsed() == 300ms));
}

BOOST_AUTO_TEST_CASE(asks_nobody_when_the_time_is_over) {
  foreign f;
  one it{f};
  it.c.tighten(it.w.now());
  BOOST_TEST(failed(it.ask(), kind::timed_out, certainty::not_sent));
  BOOST_TEST(f.asked == 0);
  BOOST_TEST(it.log.expired == 0);
}

BOOST_AUTO_TEST_CASE(believes_a_service_that_knows_how_far_it_got) {
  foreign f;
  f.when_cancelled = failure{kind::cancelled, certainty::not_sent}.with_detail("in their queue");
  one it{f};
  auto const r = it.ask();
  BOOST_TEST(failed(r, kind::timed_out, certainty::not_sent));
  BOOST_TEST(r.error().detail() == "in their queue");
  f.when_cancelled = failure{kind::closed, certainty::maybe_executed};
  BOOST_TEST(failed(it.ask(), kind::closed, certainty::maybe_executed));
}

BOOST_AUTO_TEST_CASE(says_how_many_attempts_the_service_had_made) {
  foreign f;
  f.when_cancelled = failure{kind::cancelled}.with_attempts(3);
  one it{f};
  auto const r = it.ask();
  BOOST_TEST(failed(r, kind::timed_out, certainty::maybe_executed));
  BOOST_TEST(r.error().attempts() == 3U);
}

BOOST_AUTO_TEST_CASE(a_call_that_is_cancelled_after_its_time_is_cancelled) {
  foreign f;
  f.stubborn = true;
  f.fails = failure{kind::cancelled};
  world w{1};
  auto service = timeout(1s) | theirs(f);
  std::optional<result<std::string>> got;
  asio::cancellation_signal signal;
  cleat::spawn(
      w.executor(), cleat::ask(service, std::string{"it"}, w.new_call()),
      asio::bind_cancellation_slot(
          signal.slot(), [&](std::exception_ptr, result<std::string> r) { got = std::move(r); }));
  w.run_for(5s);
  signal.emit(asio::cancellation_type::terminal);
  w.run_for(5s);
  BOOST_REQUIRE(got.has_value());
  BOOST_TEST(failed(*got, kind::cancelled, certainty::maybe_executed));
}

BOOST_AUTO_TEST_CASE(a_success_in_spite_of_cancellation_is_passed_on) {
  foreign f;
  f.when_cancelled = std::string{"just so"};
  one it{f};
  auto const r = it.ask();
  BOOST_TEST((r && *r == "just so"));
  BOOST_TEST(it.log.expired == 1);
}

BOOST_AUTO_TEST_CASE(cannot_end_what_does_not_obey) {
  foreign f;
  f.stubborn = true;
  one it{f};
  auto const r = it.ask();
  BOOST_TEST((r && *r == "it done"));
  BOOST_TEST((it.w.elapsed() == 10s));
  BOOST_TEST((it.log.expired == 1 && it.log.elapsed == 1s));
}

BOOST_AUTO_TEST_CASE(exceptions_pass_through) {
  for (duration const takes : {0ms, 500ms}) {
    foreign f;
    f.takes = takes;
    f.throws = true;
    one it{f};
    BOOST_CHECK_THROW(static_cast<void>(it.ask()), std::runtime_error);
    BOOST_TEST(it.w.leftovers().empty());
  }
}

BOOST_AUTO_TEST_CASE(cancelling_the_call_cancels_the_service) {
  foreign f;
  one it{f};
  BOOST_TEST(failed(it.ask_and_cancel(400ms), kind::cancelled, certainty::maybe_executed));
  BOOST_TEST(f.ended == 1);
  BOOST_TEST(it.log.expired == 0);
  BOOST_TEST(it.w.leftovers().empty());
}

BOOST_AUTO_TEST_CASE(a_cancelled_call_asks_nobody) {
  foreign f;
  one it{f};
  BOOST_TEST(failed(it.ask_when_cancelled(), kind::cancelled, certainty::not_sent));
  BOOST_TEST(f.asked == 0);
}

BOOST_AUTO_TEST_CASE(the_world_may_go_while_a_call_is_under_way) {
  foreign f;
  auto service = timeout(1s) | theirs(f);
  for (int steps = 0; steps < 4; ++steps) {
    world w{1};
    cleat::spawn(w.executor(), cleat::ask(service, std::string{"it"}, w.new_call()),
                 [](std::exception_ptr const&, result<std::string> const&) {});
    for (int i = 0; i < steps; ++i) static_cast<void>(w.step());
  }
  BOOST_TEST(f.ended <= 1);
}

BOOST_AUTO_TEST_CASE(says_what_it_is_and_stands_where_it_may) {
  foreign f;
  auto service = cleat::deadline(5s) | cleat::retry(2) | timeout(1500ms) | theirs(f);
  BOOST_TEST(cleat::describe(timeout(1500ms)).what == "timeout(1500 ms)");
  BOOST_TEST(cleat::layers_of<decltype(service)>.has(cleat::layer::timeout));
}

BOOST_AUTO_TEST_CASE(conforms) {
  for (duration const most : {duration{5s}, duration{1h}}) {
    auto make = [most] { return timeout(most); };
    for (auto const& broken :
         cleat::check_middleware(make, std::string{"a request"}, std::string{"ok"}))
      BOOST_ERROR(broken);
  }
}

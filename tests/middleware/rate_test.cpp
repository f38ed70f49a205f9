#define BOOST_TEST_MODULE rate
#include <cleat/base/mix.hpp>
#include <cleat/conformance/middleware.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/rate.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/observe/observe.hpp>
#include <cleat/sim/world.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using cleat::action;
using cleat::call;
using cleat::certainty;
using cleat::duration;
using cleat::kind;
using cleat::rate;
using cleat::result;
using cleat::task;
using cleat::time_point;
using cleat::token_bucket;
using cleat::sim::world;
using namespace std::chrono_literals;

namespace {

/// The service below: notes when it is asked.
struct peer {
  std::vector<duration> at;
  std::vector<std::uint64_t> asked;
};

auto quick(world& w, peer& p) {
  return [&w, &p](std::string q, call c) -> task<result<std::string>> {
    p.at.push_back(w.elapsed());
    p.asked.push_back(c.operation);
    co_return q + " done";
  };
}

struct heard {
  using listens_to = cleat::event_list<cleat::layer_acted>;
  void on(cleat::layer_acted const& e) noexcept {
    last = e.what;
    elapsed = e.elapsed;
    has_why = e.why != nullptr;
    ++acts;
  }
  action last{};
  duration elapsed{};
  bool has_why = false;
  int acts = 0;
};

/// A call that runs beside the test.
class asked {
 public:
  template <class Service>
  asked(world& w, Service& s, call c) {
    auto done = [this, &w](std::exception_ptr, result<std::string> r) {
      ended_at = w.elapsed();
      got = std::move(r);
    };
    cleat::spawn(w.executor(), cleat::ask(s, std::string{"it"}, c),
                 asio::bind_cancellation_slot(signal.slot(), done));
  }
  asked(asked const&) = delete;
  void cancel() { signal.emit(asio::cancellation_type::terminal); }
  [[nodiscard]] bool succeeded() const { return got && got->has_value(); }
  [[nodiscard]] bool failed_as(kind k) const {
    return got && !got->has_value() && got->error().why() == k &&
           got->error().sure() == certainty::not_sent;
  }

  asio::cancellation_signal signal;
  duration ended_at{};
  std::optional<result<std::string>> got;
};

token_bucket::settings settings(std::uint32_t tokens, duration per, std::uint32_t burst) {
  token_bucket::settings s;
  s.tokens = tokens;
  s.per = per;
  s.burst = burst;
  return s;
}

}  // namespace

BOOST_AUTO_TEST_CASE(lets_the_burst_go_at_once_and_the_others_in_their_time_and_order) {
  world w{1};
  peer p;
  auto service = rate(10).burst(2) | quick(w, p);
  std::deque<asked> all;
  std::vector<std::uint64_t> order;
  for (int i = 0; i < 5; ++i) {
    call const c = w.new_call();
    order.push_back(c.operation);
    all.emplace_back(w, service, c);
  }
  w.run_for(10s);
  BOOST_TEST((p.at == std::vector<duration>{0ms, 0ms, 100ms, 200ms, 300ms}));
  BOOST_TEST(p.asked == order);
  // Ten quiet seconds save up no more than the burst.
  for (int i = 0; i < 4; ++i) all.emplace_back(w, service, w.new_call());
  w.run_for(150ms);
  BOOST_TEST(p.at.size() == 8U);
  w.run_for(1s);
}

BOOST_AUTO_TEST_CASE(a_call_whose_token_comes_too_late_fails_at_once_and_takes_none) {
  world w{1};
  peer p;
  heard log;
  cleat::tee<heard> events{log};
  auto service = rate(10).burst(1) | quick(w, p);
  asked first{w, service, w.new_call()};
  call c = w.new_call();
  c.events = &events;
  c.tighten(w.now() + 100ms);
  asked late{w, service, c};
  w.run_for(0ms);
  BOOST_REQUIRE(late.failed_as(kind::overloaded));
  BOOST_TEST((late.got->error().retry_after() == 100ms));
  BOOST_TEST(late.got->error().detail() == "rate of 10/s");
  BOOST_TEST((log.acts == 1 && log.last == action::rate_rejected && log.has_why));
  BOOST_TEST((log.elapsed == 100ms));
  w.run_for(1us);
  asked later{w, service, c};
  w.run_for(0ms);
  BOOST_REQUIRE(later.failed_as(kind::overloaded));
  BOOST_TEST((later.got->error().retry_after() == 100ms));  // rounded up
  w.run_for(-1us + 1ms);
  c = w.new_call();
  c.events = &events;
  c.tighten(w.now() + 101ms);
  asked in_time{w, service, c};
  w.run_for(0ms);
  BOOST_TEST((log.last == action::rate_delayed && log.elapsed == 99ms && !log.has_why));
  w.run_for(1s);
  BOOST_TEST((in_time.succeeded() && in_time.ended_at == 100ms));
}

BOOST_AUTO_TEST_CASE(retry_waits_as_long_as_the_bucket_says) {
  world w{1};
  peer p;
  auto service = cleat::retry(2).wait(cleat::backoff::additive(0ms, 0ms)) |
                 rate(1, 3s).burst(1).reject() | quick(w, p);
  asked a{w, service, w.new_call()};
  asked b{w, service, w.new_call()};
  w.run_for(10s);
  BOOST_TEST((a.succeeded() && b.succeeded()));
  BOOST_TEST((p.at == std::vector<duration>{0s, 3s}));
}

BOOST_AUTO_TEST_CASE(nobody_waits_where_nobody_shall_and_only_so_many_otherwise) {
  world w{1};
  peer p;
  auto never_waits = rate(10).burst(1).reject() | quick(w, p);
  asked a{w, never_waits, w.new_call()};
  asked b{w, never_waits, w.new_call()};
  auto few_wait = rate(10).burst(1).waiting_max(1) | quick(w, p);
  asked c{w, few_wait, w.new_call()};
  asked d{w, few_wait, w.new_call()};
  asked e{w, few_wait, w.new_call()};
  w.run_for(0ms);
  BOOST_TEST(b.failed_as(kind::overloaded));
  BOOST_REQUIRE(e.failed_as(kind::overloaded));
  BOOST_TEST(e.got->error().detail() == "1 wait for a token");
  BOOST_TEST((e.got->error().retry_after() == 200ms));
  w.run_for(1s);
  BOOST_TEST((a.succeeded() && c.succeeded() && d.succeeded()));
}

BOOST_AUTO_TEST_CASE(says_why_there_is_no_token) {
  world w{1};
  peer p;
  auto never_waits = rate(10).burst(1).waiting_max(0).reject() | quick(w, p);
  asked a{w, never_waits, w.new_call()};
  asked b{w, never_waits, w.new_call()};
  auto nobody_may = rate(6, 60s).burst(1).waiting_max(0) | quick(w, p);
  asked c{w, nobody_may, w.new_call()};
  asked d{w, nobody_may, w.new_call()};
  auto slow = rate(6, 60s).burst(1) | quick(w, p);
  asked e{w, slow, w.new_call()};
  asked f{w, slow, w.new_call()};
  w.run_for(0ms);
  BOOST_REQUIRE((b.failed_as(kind::overloaded) && d.failed_as(kind::overloaded)));
  BOOST_TEST(b.got->error().detail() == "rate of 10/s");
  BOOST_TEST(d.got->error().detail() == "0 wait for a token");
  f.cancel();
  w.run_for(0ms);
  BOOST_REQUIRE(f.failed_as(kind::cancelled));
  BOOST_TEST(f.got->error().detail() == "waiting for a token");
}

BOOST_AUTO_TEST_CASE(the_last_that_waits_gives_its_token_back) {
  world w{1};
  peer p;
  auto service = rate(10).burst(1) | quick(w, p);
  asked a{w, service, w.new_call()};
  asked b{w, service, w.new_call()};
  asked c{w, service, w.new_call()};
  w.run_for(50ms);
  c.cancel();
  b.cancel();
  w.run_for(0ms);
  BOOST_TEST((b.failed_as(kind::cancelled) && c.failed_as(kind::cancelled)));
  asked d{w, service, w.new_call()};
  w.run_for(1s);
  BOOST_TEST((d.ended_at == 100ms));
}

BOOST_AUTO_TEST_CASE(a_cancelled_call_keeps_no_token_however_long_its_caller_keeps_it) {
  world w{1};
  peer p;
  auto const bucket = std::make_shared<token_bucket>(settings(10, 1s, 1));
  auto service = rate(1).shared(bucket) | quick(w, p);
  asked first{w, service, w.new_call()};
  auto kept = service("it", w.new_call());
  auto caller = [&]() -> task<> {
    auto const r = co_await std::move(kept);
    BOOST_TEST((!r && r.error().why() == kind::cancelled));
  };
  asio::cancellation_signal signal;
  cleat::spawn(w.executor(), caller(),
               asio::bind_cancellation_slot(signal.slot(), [](std::exception_ptr) {}));
  w.run_for(50ms);
  signal.emit(asio::cancellation_type::terminal);
  w.run_for(0ms);
  BOOST_TEST(bucket->waiting() == 0U);
  asked next{w, service, w.new_call()};
  w.run_for(1s);
  BOOST_TEST((next.succeeded() && next.ended_at == 100ms));
}

BOOST_AUTO_TEST_CASE(a_token_that_others_came_after_is_lost) {
  world w{1};
  peer p;
  auto service = rate(10).burst(1) | quick(w, p);
  asked a{w, service, w.new_call()};
  asked b{w, service, w.new_call()};
  asked c{w, service, w.new_call()};
  w.run_for(50ms);
  b.cancel();
  w.run_for(0ms);
  asked d{w, service, w.new_call()};
  w.run_for(1s);
  BOOST_TEST((c.ended_at == 200ms));
  BOOST_TEST((d.ended_at == 300ms));
}

BOOST_AUTO_TEST_CASE(a_call_cancelled_when_its_token_comes_asks_nobody) {
  world w{1};
  peer p;
  auto service = rate(10).burst(1) | quick(w, p);
  asked a{w, service, w.new_call()};
  asked b{w, service, w.new_call()};
  w.run_for(99ms);
  for (int i = 0; i < 20 && !b.got; ++i) {
    static_cast<void>(w.step());
    if (w.elapsed() == 100ms) b.cancel();
  }
  BOOST_TEST(b.failed_as(kind::cancelled));
  BOOST_TEST(p.asked.size() == 1U);
  asked c{w, service, w.new_call()};
  w.run_for(0ms);
  BOOST_TEST(c.succeeded());
}

BOOST_AUTO_TEST_CASE(whoever_finds_others_waiting_goes_behind_them) {
  world w{1};
  peer p;
  heard log;
  cleat::tee<heard> events{log};
  auto const bucket = std::make_shared<token_bucket>(settings(10, 1s, 1));
  auto service = rate(1).shared(bucket) | quick(w, p);
  token_bucket::token first{*bucket, w.now()};
  first.use();
  std::optional<token_bucket::token> late{std::in_place, *bucket, w.now()};
  BOOST_TEST((late->waits() && late->at() == w.now() + 100ms));
  w.run_for(200ms);
  call c = w.new_call();
  c.events = &events;
  asked a{w, service, c};
  w.run_for(0ms);
  BOOST_TEST(a.succeeded());
  BOOST_TEST((log.acts == 1 && log.last == action::rate_delayed && log.elapsed == 0ms));
  late->use();
  BOOST_TEST(bucket->waiting() == 0U);
}

BOOST_AUTO_TEST_CASE(who_does_not_wait_does_not_go_behind_others_either) {
  world w{1};
  peer p;
  auto const bucket = std::make_shared<token_bucket>(settings(10, 1s, 1));
  auto service = rate(1).reject().shared(bucket) | quick(w, p);
  token_bucket::token first{*bucket, w.now()};
  first.use();
  token_bucket::token const late{*bucket, w.now()};
  w.run_for(300ms);  // the late one may go, and has not gone yet
  asked a{w, service, w.new_call()};
  w.run_for(0ms);
  BOOST_TEST(!a.succeeded());
  BOOST_TEST(bucket->waiting() == 1U);
}

BOOST_AUTO_TEST_CASE(each_peer_has_a_rate_of_its_own_unless_it_is_shared) {
  for (bool const one_for_all : {false, true}) {
    world w{1};
    peer p;
    auto each = rate(10).burst(1).reject();
    auto service = (one_for_all ? std::move(each).shared() : std::move(each)) | quick(w, p);
    call c = w.new_call();
    c.peer = "a";
    asked a{w, service, c};
    c.peer = "b";
    asked b{w, service, c};
    w.run_for(0ms);
    BOOST_TEST(a.succeeded());
    BOOST_TEST(b.succeeded() != one_for_all);
  }
}

BOOST_AUTO_TEST_CASE(the_world_may_go_while_calls_wait) {
  for (int steps = 0; steps < 6; ++steps) {
    peer p;
    auto const bucket = std::make_shared<token_bucket>(settings(10, 1s, 1));
    std::deque<asked> all;
    std::optional<world> w{std::in_place, 1};
    auto service = rate(1).shared(bucket) | quick(*w, p);
    for (int i = 0; i < 4; ++i) all.emplace_back(*w, service, w->new_call());
    for (int i = 0; i < steps; ++i) static_cast<void>(w->step());
    w.reset();
    BOOST_TEST(bucket->waiting() == 0U);
  }
}

BOOST_AUTO_TEST_CASE(says_what_it_is) {
  BOOST_TEST(rate(100).describe() == "rate(100/s, burst 10)");
  BOOST_TEST(rate(5).describe() == "rate(5/s, burst 1)");
  BOOST_TEST(rate(0).describe() == "rate(1/s, burst 1)");
  BOOST_TEST(rate(6, 60s).burst(3).describe() == "rate(6 in 60 s, burst 3)");
  BOOST_TEST(rate(50).reject().shared().describe() == "rate(50/s, burst 5, nobody waits, shared)");
  BOOST_TEST(rate(19).describe() == "rate(19/s, burst 1)");
  BOOST_TEST(rate(20).describe() == "rate(20/s, burst 2)");
  BOOST_TEST(rate(20).burst(0).describe() == "rate(20/s, burst 1)");
  BOOST_TEST(rate(1'000'000'000).describe() == "rate(1000000000/s, burst 100000000)");
  BOOST_TEST(rate(5).shared(std::make_shared<token_bucket>(settings(7, 2s, 3))).describe() ==
             "rate(7 in 2 s, burst 3, shared)");
  world w{1};
  peer p;
  auto service = cleat::deadline(5s) | cleat::retry(2) | rate(100) | quick(w, p);
  BOOST_TEST(cleat::layers_of<decltype(service)>.has(cleat::layer::rate));
}

BOOST_AUTO_TEST_CASE(conforms) {
  // Sixteen at once, of whom some wait; and some whose tokens come too late.
  for (auto const& s : {settings(100, 1s, 4), settings(1, 10s, 1)}) {
    auto make = [s] { return rate(1).shared(std::make_shared<token_bucket>(s)); };
    for (auto const& broken :
         cleat::check_middleware(make, std::string{"a request"}, std::string{"ok"}))
      BOOST_ERROR(broken);
  }
}

// ---- the policy against an exact level

namespace {

__extension__ using wide = __int128;

/// The same bucket as a level: a nanosecond adds `tokens` to it and a token takes `per`. Below zero:
/// tokens that are still to come.
class level_model {
 public:
  level_model(token_bucket::settings s, time_point now) : with_(s), last_(now), level_(full()) {}

  time_point take(time_point now) {
    refill(now);
    level_ -= with_.per.count();
    if (level_ >= 0) return now;
    wide const owed = -level_;
    return now + duration{static_cast<duration::rep>((owed + with_.tokens - 1) / with_.tokens)};
  }
  void give_back(time_point now) {
    refill(now);
    level_ += with_.per.count();
  }

 private:
  [[nodiscard]] wide full() const { return static_cast<wide>(with_.burst) * with_.per.count(); }
  void refill(time_point now) {
    level_ = std::min(full(), level_ + static_cast<wide>((now - last_).count()) * with_.tokens);
    last_ = now;
  }

  token_bucket::settings with_;
  time_point last_;
  wide level_;
};

void random_steps(std::uint64_t seed) {
  std::uint64_t state = seed * 31;
  auto draw = [&](std::uint64_t bound) { return cleat::scale(cleat::mix64(++state), bound); };
  token_bucket::settings s;
  s.tokens = static_cast<std::uint32_t>(1 + draw(draw(2) == 0 ? 10 : 1'000'000));
  s.per = duration{static_cast<duration::rep>(1'000'000 + draw(2'000'000'000))};
  s.burst = static_cast<std::uint32_t>(1 + draw(8));
  auto const a_token = static_cast<std::uint64_t>(s.per.count()) / s.tokens + 1;
  time_point now{duration{static_cast<duration::rep>(draw(1ULL << 62U))}};
  token_bucket bucket{s};
  level_model model{s, now};
  std::list<token_bucket::token> waiting;  // in the order of taking
  std::vector<time_point> there;

  for (int step = 0; step < 150; ++step) {
    now += duration{static_cast<duration::rep>(draw(draw(8) == 0 ? 20 * a_token : 2 * a_token))};
    while (!waiting.empty() && waiting.front().at() <= now) {  // promised, and kept
      there.push_back(waiting.front().at());
      waiting.front().use();
      waiting.pop_front();
    }
    if (draw(4) == 0 && !waiting.empty()) {  // the last one gives up
      waiting.pop_back();
      model.give_back(now);
      continue;
    }
    time_point const promised = bucket.next(now);
    token_bucket::token& mine = waiting.emplace_back(bucket, now);
    BOOST_REQUIRE((mine.at() == promised));
    BOOST_REQUIRE((promised == model.take(now)));
    BOOST_REQUIRE(mine.waits() == (promised > now));
    BOOST_REQUIRE(promised - now <= s.per * static_cast<duration::rep>(waiting.size()));
    if (mine.waits()) continue;
    there.push_back(promised);
    mine.use();
    waiting.pop_back();
  }
  BOOST_REQUIRE(bucket.waiting() == waiting.size());
  BOOST_REQUIRE(std::is_sorted(there.begin(), there.end()));

  // In no window more than the burst and the rate; a nanosecond is what rounding may take.
  for (std::size_t i = 0; i < there.size(); ++i) {
    for (std::size_t j = i; j < there.size(); ++j) {
      auto const window = static_cast<wide>((there[j] - there[i]).count()) + 1;
      wide const over = static_cast<wide>(j - i + 1) - s.burst;
      BOOST_REQUIRE(over * s.per.count() <= window * s.tokens);
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_bucket_is_what_its_level_says) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) { random_steps(seed); }
  }
}

BOOST_AUTO_TEST_CASE(a_bucket_is_forgettable_exactly_when_it_is_full_and_nobody_waits) {
  token_bucket bucket{settings(10, 1s, 2)};
  time_point const now{1h};
  BOOST_TEST(bucket.is_forgettable(now));
  BOOST_TEST(bucket.is_forgettable(time_point{}));
  {
    token_bucket::token t{bucket, now};
    BOOST_TEST((!t.waits() && t.at() == now));
    t.use();
  }
  BOOST_TEST(!bucket.is_forgettable(now));
  BOOST_TEST(!bucket.is_forgettable(now + 100ms - 1ns));
  BOOST_TEST(bucket.is_forgettable(now + 100ms));
  {
    token_bucket::token t{bucket, now};
    t.use();
  }
  BOOST_TEST(!bucket.is_forgettable(now + 200ms - 1ns));
  BOOST_TEST(bucket.is_forgettable(now + 200ms));
  token_bucket::token late{bucket, now};
  BOOST_TEST((late.waits() && late.at() == now + 100ms && bucket.waiting() == 1));
  BOOST_TEST(!bucket.is_forgettable(now + 1h));  // full, and one has not gone yet
  late.use();
  BOOST_TEST(bucket.waiting() == 0U);
  BOOST_TEST(!bucket.is_forgettable(now + 300ms - 1ns));
  BOOST_TEST(bucket.is_forgettable(now + 300ms));
}

BOOST_AUTO_TEST_CASE(a_token_is_there_at_its_time_and_a_nanosecond_before_it_is_not) {
  token_bucket bucket{settings(3, 10ns, 2)};
  time_point const now{1h};
  for (int i = 0; i < 2; ++i) {
    BOOST_TEST((bucket.next(now) == now));
    token_bucket::token t{bucket, now};
    t.use();
  }
  // One in 3 1/3 ns, rounded up.
  BOOST_TEST((bucket.next(now) == now + 4ns));
  BOOST_TEST((bucket.next(now + 3ns) == now + 4ns));
  BOOST_TEST((bucket.next(now + 4ns) == now + 4ns));
  BOOST_TEST((bucket.next(now + 5ns) == now + 5ns));
  token_bucket::token t{bucket, now + 4ns};
  BOOST_TEST((!t.waits() && bucket.waiting() == 0));
  BOOST_TEST((bucket.next(now) == now + 7ns));
}

BOOST_AUTO_TEST_CASE(so_many_may_wait_for_a_token_and_not_one_more) {
  auto s = settings(10, 1s, 1);
  s.waiting_max = 2;
  token_bucket bucket{s};
  time_point const now{1h};
  token_bucket::token first{bucket, now};
  token_bucket::token second{bucket, now};
  BOOST_TEST((bucket.waiting() == 1 && bucket.may_wait()));
  {
    token_bucket::token const third{bucket, now};
    BOOST_TEST((bucket.waiting() == 2 && !bucket.may_wait()));
  }
  BOOST_TEST((bucket.waiting() == 1 && bucket.may_wait()));
  s.waiting_max = 0;
  BOOST_TEST(!token_bucket{s}.may_wait());
  BOOST_TEST(token_bucket{}.with().waiting_max == 1000U);
}

BOOST_AUTO_TEST_CASE(a_bucket_is_told_no_rate_it_cannot_keep) {
  auto const as_kept = [](token_bucket::settings s) { return token_bucket{s}.with(); };
  for (duration const per : {-1s, 0s}) {
    BOOST_TEST((as_kept(settings(7, per, 1)).per == 1ns));
    BOOST_TEST(as_kept(settings(7, per, 1)).tokens == 1U);
  }
  BOOST_TEST((as_kept(settings(1, 2ns, 1)).per == 2ns));
  BOOST_TEST(as_kept(settings(0, 5ns, 0)).tokens == 1U);
  BOOST_TEST(as_kept(settings(4, 5ns, 1)).tokens == 4U);
  BOOST_TEST(as_kept(settings(5, 5ns, 1)).tokens == 5U);
  BOOST_TEST(as_kept(settings(6, 5ns, 1)).tokens == 5U);
  BOOST_TEST(as_kept(settings(6, 5ns, 0)).burst == 1U);
  BOOST_TEST(as_kept(settings(6, 5ns, 2)).burst == 2U);
  token_bucket const by_default;
  BOOST_TEST((by_default.with().tokens == 1 && by_default.with().per == 1s));
  BOOST_TEST(by_default.with().burst == 1U);
}

BOOST_AUTO_TEST_CASE(no_rate_drifts) {
  // Three a second is no whole number of nanoseconds.
  token_bucket bucket{settings(3, 1s, 1)};
  time_point const began{5s};
  for (int i = 0; i < 3'000; ++i) {
    token_bucket::token t{bucket, began};
    t.use();
  }
  BOOST_TEST((bucket.next(began) == began + 1000s));
}

BOOST_AUTO_TEST_CASE(extreme_settings_stay_within_their_numbers) {
  token_bucket fast{settings(4'000'000'000, 1s, 0)};
  BOOST_TEST(fast.with().tokens == 1'000'000'000U);
  BOOST_TEST(fast.with().burst == 1U);
  time_point const now{1s};
  token_bucket slow{settings(1, duration::max(), 4'000'000'000)};
  BOOST_TEST((slow.next(now) == now));
  token_bucket once{settings(0, duration::max(), 1)};
  token_bucket::token t{once, now};
  t.use();
  BOOST_TEST((once.next(now) == cleat::never));
  token_bucket::token u{once, now};
  BOOST_TEST((u.at() == cleat::never && u.waits()));
}

#define BOOST_TEST_MODULE limit
#include <cleat/base/mix.hpp>
#include <cleat/base/scope.hpp>
#include <cleat/conformance/middleware.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/limit.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/observe/observe.hpp>
#include <cleat/sim/world.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using cleat::action;
using cleat::call;
using cleat::certainty;
using cleat::duration;
using cleat::failure;
using cleat::kind;
using cleat::limit;
using cleat::result;
using cleat::task;
using cleat::time_point;
using cleat::waiting_line;
using cleat::sim::world;
using namespace std::chrono_literals;

namespace {

/// The service below: takes its time, and counts.
struct peer {
  duration takes = 10ms;
  std::size_t under_way = 0;
  std::size_t most = 0;
  std::vector<std::uint64_t> asked;
};

class one_more {
 public:
  explicit one_more(peer& p) : peer_(p) { p.most = std::max(p.most, ++p.under_way); }
  one_more(one_more const&) = delete;
  ~one_more() { --peer_.under_way; }

 private:
  peer& peer_;
};

auto busy(peer& p) {
  return [&p](std::string q, call c) -> task<result<std::string>> {
    one_more const mine{p};
    p.asked.push_back(c.operation);
    auto const slept = co_await cleat::sleep_until(std::min(c.deadline(), c.now() + p.takes));
    if (!slept) co_return slept.error().with(certainty::maybe_executed);
    if (c.now() >= c.deadline()) co_return failure{kind::timed_out};
    co_return q + " done";
  };
}

struct heard {
  using listens_to = cleat::event_list<cleat::layer_acted>;
  struct act {
    action what;
    std::uint64_t operation;
    bool has_why;
    duration elapsed;
  };
  void on(cleat::layer_acted const& e) noexcept {
    acts.push_back({e.what, e.of.operation, e.why != nullptr, e.elapsed});
  }
  [[nodiscard]] std::size_t count(action a) const {
    return static_cast<std::size_t>(
        std::count_if(acts.begin(), acts.end(), [&](act const& x) { return x.what == a; }));
  }
  std::vector<act> acts;
};

/// A call that runs beside the test.
class asked {
 public:
  template <class Service>
  asked(world& w, Service& s, call c, std::string q = "it") {
    auto done = [this, &w](std::exception_ptr error, result<std::string> r) {
      thrown = error;
      ended_at = w.elapsed();
      got = std::move(r);
      if (then) then();
    };
    cleat::spawn(w.executor(), cleat::ask(s, std::move(q), c),
                 asio::bind_cancellation_slot(signal.slot(), done));
  }
  asked(asked const&) = delete;
  void cancel() { signal.emit(asio::cancellation_type::terminal); }
  [[nodiscard]] bool succeeded() const { return got && got->has_value(); }
  [[nodiscard]] bool failed_as(kind k, certainty sure = certainty::not_sent) const {
    return got && !got->has_value() && got->error().why() == k && got->error().sure() == sure;
  }
  [[nodiscard]] std::string detail() const { return std::string{got->error().detail()}; }

  asio::cancellation_signal signal;
  std::exception_ptr thrown;
  duration ended_at{};
  std::optional<result<std::string>> got;
  std::function<void()> then;
};

std::size_t size_of(std::string const& q) { return q.size(); }

auto bounded(waiting_line::settings s) {
  return limit(1).bytes(1, size_of).shared(std::make_shared<waiting_line>(s));
}

}  // namespace

BOOST_AUTO_TEST_CASE(refuses_at_once_what_is_over_the_limit) {
  world w{1};
  peer p;
  heard log;
  cleat::tee<heard> events{log};
  auto service = limit(2) | busy(p);
  call c = w.new_call();
  c.events = &events;
  asked a{w, service, c};
  asked b{w, service, c};
  asked d{w, service, c};
  w.run_for(0ms);
  BOOST_TEST(d.failed_as(kind::overloaded));
  BOOST_TEST(d.detail() == "limit of 2 calls");
  w.run_for(10ms);
  BOOST_TEST((a.succeeded() && b.succeeded()));
  BOOST_TEST((log.acts.size() == 1 && log.acts[0].what == action::limit_rejected));
  BOOST_TEST(log.acts[0].has_why);
  asked again{w, service, c};
  w.run_for(10ms);
  BOOST_TEST(again.succeeded());
  BOOST_TEST(p.most == 2U);
}

BOOST_AUTO_TEST_CASE(calls_in_the_queue_go_on_in_their_order) {
  world w{1};
  peer p;
  heard log;
  cleat::tee<heard> events{log};
  auto service = limit(1).queue(2) | busy(p);
  std::deque<asked> all;
  std::vector<std::uint64_t> order;
  for (int i = 0; i < 4; ++i) {
    call c = w.new_call();
    c.events = &events;
    order.push_back(c.operation);
    all.emplace_back(w, service, c);
  }
  w.run_for(100ms);
  BOOST_TEST(all[3].failed_as(kind::overloaded));
  BOOST_TEST(all[3].detail() == "limit of 1 calls, and 2 that wait");
  order.pop_back();
  BOOST_TEST(p.asked == order);
  BOOST_TEST((all[2].ended_at == 30ms));
  BOOST_TEST(log.count(action::limit_queued) == 2U);
  BOOST_TEST((log.acts[0].elapsed == 0ms && !log.acts[0].has_why));
}

BOOST_AUTO_TEST_CASE(the_wait_counts_against_the_deadline) {
  world w{1};
  peer p;
  auto service = cleat::deadline(15ms) | limit(1).queue(5) | busy(p);
  asked a{w, service, w.new_call()};
  asked b{w, service, w.new_call()};
  asked c{w, service, w.new_call()};
  w.run_for(1s);
  BOOST_TEST(a.succeeded());
  BOOST_TEST(b.failed_as(kind::timed_out, certainty::maybe_executed));
  BOOST_TEST(c.failed_as(kind::timed_out));
  BOOST_TEST((c.ended_at == 15ms));
  BOOST_TEST(p.asked.size() == 2U);
}

BOOST_AUTO_TEST_CASE(a_full_queue_may_drop_the_oldest) {
  world w{1};
  peer p;
  heard log;
  cleat::tee<heard> events{log};
  auto service = limit(1).queue(1).drop_oldest() | busy(p);
  call c = w.new_call();
  c.events = &events;
  asked a{w, service, c};
  asked b{w, service, c};
  w.run_for(4ms);
  asked d{w, service, c};
  w.run_for(0ms);
  BOOST_TEST(b.failed_as(kind::overloaded));
  BOOST_TEST(b.detail() == "dropped from the queue for a younger call");
  w.run_for(1s);
  BOOST_TEST((a.succeeded() && d.succeeded()));
  BOOST_TEST(log.count(action::limit_dropped) == 1U);
  BOOST_TEST((log.acts.back().what == action::limit_dropped && log.acts.back().elapsed == 4ms));
}

BOOST_AUTO_TEST_CASE(without_a_queue_there_is_nobody_to_drop) {
  world w{1};
  peer p;
  auto service = limit(1).drop_oldest() | busy(p);
  asked a{w, service, w.new_call()};
  asked b{w, service, w.new_call()};
  w.run_for(1s);
  BOOST_TEST(a.succeeded());
  BOOST_TEST(b.failed_as(kind::overloaded));
}

BOOST_AUTO_TEST_CASE(bytes_are_bounded_too) {
  world w{1};
  peer p;
  auto service = limit(1).queue(9).bytes(10, size_of) | busy(p);
  asked too_large{w, service, w.new_call(), "eleven byte"};
  asked a{w, service, w.new_call(), "6 byte"};
  asked b{w, service, w.new_call(), "4 by"};
  asked over{w, service, w.new_call(), "1"};
  w.run_for(0ms);
  BOOST_TEST(too_large.failed_as(kind::invalid));
  BOOST_TEST(over.failed_as(kind::overloaded));
  BOOST_TEST(over.detail() == "limit of 10 bytes");
  w.run_for(1s);
  BOOST_TEST((a.succeeded() && b.succeeded()));
}

BOOST_AUTO_TEST_CASE(one_peer_does_not_hold_up_another_unless_the_bound_is_shared) {
  for (bool const one_for_all : {false, true}) {
    world w{1};
    peer p;
    auto each = limit(1);
    auto service = (one_for_all ? std::move(each).shared() : std::move(each)) | busy(p);
    call c = w.new_call();
    c.peer = "a";
    asked a{w, service, c};
    c.peer = "b";
    asked b{w, service, c};
    w.run_for(1s);
    BOOST_TEST(a.succeeded());
    BOOST_TEST(b.succeeded() != one_for_all);
  }
}

BOOST_AUTO_TEST_CASE(a_new_peer_for_whom_there_is_no_room_is_refused_and_told) {
  world w{1};
  peer p;
  heard h;
  auto service = cleat::observe(h) | limit(1).peers_max(1) | busy(p);
  auto const call_to = [&](std::string_view who) {
    call c = w.new_call();
    c.peer = who;
    return c;
  };
  asked known{w, service, call_to("a")};
  w.run_for(0s);
  asked stranger{w, service, call_to("b")};
  w.run_for(1s);
  BOOST_TEST(known.succeeded());
  BOOST_TEST(stranger.failed_as(kind::overloaded));
  BOOST_TEST(h.count(action::limit_rejected) == 1U);
  BOOST_TEST(p.asked.size() == 1U);
}

BOOST_AUTO_TEST_CASE(a_cancelled_call_leaves_the_queue) {
  world w{1};
  peer p;
  auto service = limit(1).queue(1) | busy(p);
  asked a{w, service, w.new_call()};
  asked b{w, service, w.new_call()};
  w.run_for(2ms);
  b.cancel();
  w.run_for(0ms);
  BOOST_TEST(b.failed_as(kind::cancelled));
  asked c{w, service, w.new_call()};
  w.run_for(1s);
  BOOST_TEST((a.succeeded() && c.succeeded()));
  BOOST_TEST(p.asked.size() == 2U);
}

BOOST_AUTO_TEST_CASE(who_gives_up_in_the_queue_is_not_told_as_dropped) {
  world w{1};
  peer p;
  heard log;
  cleat::tee<heard> events{log};
  auto service = limit(1).queue(2) | busy(p);
  asked a{w, service, w.new_call()};
  call c = w.new_call();
  c.events = &events;
  asked b{w, service, c};
  c.tighten(w.now() + 3ms);
  asked d{w, service, c};
  w.run_for(2ms);
  b.cancel();
  w.run_for(1ms);
  BOOST_TEST(b.failed_as(kind::cancelled));
  BOOST_TEST(b.detail() == "waiting for a place");
  BOOST_TEST((d.failed_as(kind::timed_out) && d.ended_at == 3ms));
  BOOST_TEST(d.detail() == "waiting for a place");
  BOOST_TEST((log.acts.size() == 2 && log.count(action::limit_queued) == 2));
  w.run_for(1s);
  BOOST_TEST(a.succeeded());
}

BOOST_AUTO_TEST_CASE(a_call_that_waits_for_its_next_attempt_keeps_no_place) {
  world w{1};
  int asks = 0;
  auto flaky = [&](std::string q, call c) -> task<result<std::string>> {
    auto const slept = co_await cleat::sleep_until(c.now() + 10ms);
    if (!slept) co_return slept.error();
    if (++asks == 1) co_return failure{kind::refused, certainty::not_sent};
    co_return q + " done";
  };
  auto service =
      cleat::retry(2).wait(cleat::backoff::additive(100ms, 0ms)) | limit(1) | std::move(flaky);
  asked a{w, service, w.new_call()};
  w.run_for(50ms);
  asked b{w, service, w.new_call()};
  w.run_for(50ms);
  BOOST_TEST((b.succeeded() && b.ended_at == 60ms));
  w.run_for(1s);
  BOOST_TEST((a.succeeded() && a.ended_at == 120ms));
}

BOOST_AUTO_TEST_CASE(a_finished_call_keeps_no_place_however_long_its_caller_keeps_it) {
  for (std::string const how : {"success", "failure", "exception", "exception at once", "cancelled",
                                "cancelled in line", "late in line", "dropped from the line"}) {
    BOOST_TEST_CONTEXT(how) {
      world w{1};
      auto below = [&](std::string q, call c) -> task<result<std::string>> {
        if (how == "exception at once") throw std::runtime_error{"no"};
        auto const slept = co_await cleat::sleep_until(c.now() + 10ms);
        if (!slept) co_return slept.error();
        if (how == "exception") throw std::runtime_error{"no"};
        if (how == "failure") co_return failure{kind::refused};
        co_return q;
      };
      waiting_line::settings one;
      one.waiting_max = 1;
      one.bytes_max = 100;
      one.full = waiting_line::when_full::drop_oldest;
      auto const line = std::make_shared<waiting_line>(one);
      auto service = bounded(one).shared(line) | std::move(below);
      std::optional<waiting_line::place> other;
      if (how.ends_with(" line")) {
        other.emplace(*line, 1U);
        BOOST_TEST((other->enter() == waiting_line::answer::under_way));
      }
      call c = w.new_call();
      if (how == "late in line") c.tighten(w.now() + 5ms);
      auto kept = service("it", c);
      bool done = false;
      auto caller = [&]() -> task<> {
        try {
          auto const r = co_await std::move(kept);
          BOOST_TEST(r.has_value() == (how == "success"));
        } catch (std::runtime_error const&) {
          BOOST_TEST(how.starts_with("exception"));
        }
        done = true;
      };
      asio::cancellation_signal signal;
      cleat::spawn(w.executor(), caller(),
                   asio::bind_cancellation_slot(signal.slot(), [](std::exception_ptr) {}));
      w.run_for(1ms);
      if (how.starts_with("cancelled")) signal.emit(asio::cancellation_type::terminal);
      std::optional<waiting_line::place> younger;
      if (how == "dropped from the line") {
        younger.emplace(*line, 1U);
        BOOST_TEST((younger->enter() == waiting_line::answer::waits));
      }
      w.run_for(1s);
      BOOST_TEST(done);
      std::size_t const theirs = (other ? 1U : 0U) + (younger ? 1U : 0U);
      BOOST_TEST(line->under_way() + line->waiting() == theirs);
      BOOST_TEST(line->bytes() == theirs);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_call_that_is_destroyed_before_it_ends_keeps_no_place) {
  auto const line = std::make_shared<waiting_line>(waiting_line::settings{1, 1, 100});
  peer p;
  auto service = bounded({}).shared(line) | busy(p);
  {
    world w{1};
    {
      auto const never_awaited = service("it", w.new_call());
    }
    asked under_way{w, service, w.new_call()};
    asked waits{w, service, w.new_call()};
    w.run_for(1ms);
    BOOST_TEST((line->under_way() == 1 && line->waiting() == 1 && line->bytes() == 4));
  }
  BOOST_TEST((line->under_way() == 0 && line->waiting() == 0 && line->bytes() == 0));
}

BOOST_AUTO_TEST_CASE(a_request_of_all_the_bytes_is_let_in_alone) {
  world w{1};
  peer p;
  auto service = limit(9).bytes(10, size_of) | busy(p);
  asked a{w, service, w.new_call(), "ten bytes."};
  asked b{w, service, w.new_call(), "1"};
  asked nothing{w, service, w.new_call(), ""};
  w.run_for(1s);
  BOOST_TEST((a.succeeded() && nothing.succeeded()));
  BOOST_TEST(b.failed_as(kind::overloaded));
}

BOOST_AUTO_TEST_CASE(a_place_that_comes_too_late_is_given_on) {
  for (bool const by_deadline : {false, true}) {
    world w{1};
    peer p;
    auto service = limit(1).queue(2) | busy(p);
    asked a{w, service, w.new_call()};
    call late = w.new_call();
    if (by_deadline) late.tighten(w.now() + 10ms);
    asked b{w, service, late};
    asked c{w, service, w.new_call()};
    a.then = [&] {  // `b` has its place, and does not know of it yet
      BOOST_TEST(!b.got.has_value());
      if (!by_deadline) b.cancel();
    };
    w.run_for(1s);
    BOOST_TEST(b.failed_as(by_deadline ? kind::timed_out : kind::cancelled));
    BOOST_TEST((a.succeeded() && c.succeeded()));
    BOOST_TEST(p.asked.size() == 2U);
  }
}

BOOST_AUTO_TEST_CASE(the_world_may_go_while_calls_wait) {
  for (int steps = 0; steps < 8; ++steps) {
    peer p;
    auto line = std::make_shared<waiting_line>(waiting_line::settings{1, 3, 100});
    auto service = bounded({}).shared(line) | busy(p);
    std::deque<asked> all;
    {
      world w{1};
      for (int i = 0; i < 4; ++i) all.emplace_back(w, service, w.new_call());
      for (int i = 0; i < steps; ++i) static_cast<void>(w.step());
    }
    BOOST_TEST((line->under_way() == 0 && line->waiting() == 0 && line->bytes() == 0));
  }
}

BOOST_AUTO_TEST_CASE(says_what_it_is) {
  BOOST_TEST(limit(64).describe() == "limit(64)");
  BOOST_TEST(limit(0).describe() == "limit(1)");
  BOOST_TEST(limit(64).queue(16).describe() == "limit(64, queue 16)");
  BOOST_TEST(limit(4).queue(2).drop_oldest().describe() == "limit(4, queue 2 dropping the oldest)");
  BOOST_TEST(limit(4).shared().bytes(100, size_of).queue(1).describe() ==
             "limit(4, queue 1, 100 bytes, shared)");
  BOOST_TEST(limit(4).drop_oldest().describe() == "limit(4)");  // there is no queue
  BOOST_TEST(limit(4).queue(0).bytes(0, size_of).describe() == "limit(4, 0 bytes)");
  BOOST_TEST(bounded({3, 2, 9, waiting_line::when_full::drop_oldest}).describe() ==
             "limit(3, queue 2 dropping the oldest, 9 bytes, shared)");
  peer p;
  auto service = cleat::deadline(5s) | cleat::retry(2) | limit(64).queue(16) | busy(p);
  BOOST_TEST(cleat::layers_of<decltype(service)>.has(cleat::layer::limit));
}

BOOST_AUTO_TEST_CASE(conforms) {
  auto check = [](auto make, std::size_t at_once) {
    cleat::middleware_check how;
    how.at_once = at_once;
    for (auto const& broken :
         cleat::check_middleware(make, std::string{"a request"}, std::string{"ok"}, how))
      BOOST_ERROR(broken);
  };
  // Room for one, for all, and to wait; in one bound or each.
  for (waiting_line::settings const s :
       {waiting_line::settings{16, 0, waiting_line::unlimited},
        waiting_line::settings{3, 16, waiting_line::unlimited},
        waiting_line::settings{2, 5, 60, waiting_line::when_full::drop_oldest}})
    check([s] { return bounded(s); }, 16);
}

// ---- the policy against what it should be

namespace {

struct model {
  explicit model(waiting_line::settings s) : with(s) {}

  struct guest {
    std::unique_ptr<waiting_line::place> it;
    std::size_t bytes;
    int number;
  };

  waiting_line::settings with;
  std::vector<guest> inside;
  std::deque<guest> outside;
  std::vector<int> told;      ///< by the line
  std::vector<int> expected;  ///< what it should have told
  std::vector<guest> gone;

  static std::size_t sum(auto const& guests) {
    std::size_t all = 0;
    for (auto const& g : guests) all += g.bytes;
    return all;
  }
};

struct note {
  model* of;
  int number;
};

void random_steps(std::uint64_t seed) {
  std::uint64_t state = seed * 977;
  auto draw = [&](std::uint64_t bound) { return cleat::scale(cleat::mix64(++state), bound); };
  waiting_line::settings s;
  s.under_way_max = 1 + draw(4);
  s.waiting_max = draw(4);
  if (draw(2) == 0) s.bytes_max = 10 + draw(30);
  if (draw(2) == 0) s.full = waiting_line::when_full::drop_oldest;
  waiting_line line{s};
  std::deque<note> notes;
  model m{s};
  for (int step = 0; step < 200; ++step) {
    if (draw(5) < 3) {
      std::size_t const bytes = draw(16);
      model::guest g{std::make_unique<waiting_line::place>(line, bytes), bytes, step};
      notes.push_back({&m, step});
      g.it->tell(
          [](void* n) { static_cast<note*>(n)->of->told.push_back(static_cast<note*>(n)->number); },
          &notes.back());
      auto const answer = g.it->enter();

      bool const drops = s.full == waiting_line::when_full::drop_oldest;
      std::size_t const fixed = model::sum(m.inside) + (drops ? 0 : model::sum(m.outside));
      auto expected = waiting_line::answer::waits;
      if (bytes > s.bytes_max) {
        expected = waiting_line::answer::too_large;
      } else if (s.bytes_max != waiting_line::unlimited && fixed + bytes > s.bytes_max) {
        expected = waiting_line::answer::no_bytes;
      } else if (m.inside.size() < s.under_way_max) {
        expected = waiting_line::answer::under_way;
      } else if (s.waiting_max == 0 || (!drops && m.outside.size() == s.waiting_max)) {
        expected = waiting_line::answer::no_place;
      }
      BOOST_REQUIRE((answer == expected));
      if (answer == waiting_line::answer::under_way) m.inside.push_back(std::move(g));
      if (answer != waiting_line::answer::waits) continue;
      while (m.outside.size() == s.waiting_max ||
             (s.bytes_max != waiting_line::unlimited &&
              model::sum(m.inside) + model::sum(m.outside) + bytes > s.bytes_max)) {
        m.expected.push_back(m.outside.front().number);
        BOOST_REQUIRE(m.outside.front().it->was_dropped());
        m.gone.push_back(std::move(m.outside.front()));
        m.outside.pop_front();
      }
      m.outside.push_back(std::move(g));
    } else if (draw(3) == 0 && !m.outside.empty()) {
      m.outside.erase(m.outside.begin() + static_cast<std::ptrdiff_t>(draw(m.outside.size())));
    } else if (!m.inside.empty()) {
      m.inside.erase(m.inside.begin() + static_cast<std::ptrdiff_t>(draw(m.inside.size())));
      if (!m.outside.empty()) {
        m.expected.push_back(m.outside.front().number);
        m.inside.push_back(std::move(m.outside.front()));
        m.outside.pop_front();
      }
    }
    BOOST_REQUIRE(m.told == m.expected);
    BOOST_REQUIRE(line.under_way() == m.inside.size());
    BOOST_REQUIRE(line.waiting() == m.outside.size());
    BOOST_REQUIRE(line.bytes() == model::sum(m.inside) + model::sum(m.outside));
  }
  m.gone.clear();
  m.outside.clear();
  m.inside.clear();
  BOOST_REQUIRE((line.under_way() == 0 && line.waiting() == 0 && line.bytes() == 0));
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_line_is_forgettable_when_nobody_is_in_it) {
  waiting_line line{{1, 1, 10}};
  BOOST_TEST(line.is_forgettable(time_point{}));
  waiting_line::place a{line, 4};
  BOOST_TEST(line.is_forgettable(time_point{}));
  BOOST_TEST((a.enter() == waiting_line::answer::under_way));
  BOOST_TEST(!line.is_forgettable(time_point{}));
  waiting_line::place b{line, 4};
  BOOST_TEST((b.enter() == waiting_line::answer::waits));
  waiting_line::place c{line, 0};
  BOOST_TEST((c.enter() == waiting_line::answer::no_place));
  a.leave();
  BOOST_TEST((!b.waits() && line.under_way() == 1 && line.waiting() == 0 && line.bytes() == 4));
  BOOST_TEST(!line.is_forgettable(cleat::never));
  b.leave();
  BOOST_TEST(line.is_forgettable(time_point{}));
}

BOOST_AUTO_TEST_CASE(a_place_is_given_back_once_whatever_it_was) {
  waiting_line line{{1, 2, 100, waiting_line::when_full::drop_oldest}};
  waiting_line::place under_way{line, 1};
  waiting_line::place dropped{line, 2};
  waiting_line::place waits{line, 4};
  waiting_line::place younger{line, 8};
  waiting_line::place refused{line, 101};
  BOOST_TEST((under_way.enter() == waiting_line::answer::under_way));
  BOOST_TEST((dropped.enter() == waiting_line::answer::waits));
  BOOST_TEST((waits.enter() == waiting_line::answer::waits));
  BOOST_TEST((younger.enter() == waiting_line::answer::waits));
  BOOST_TEST((refused.enter() == waiting_line::answer::too_large));
  BOOST_TEST((dropped.was_dropped() && !dropped.waits()));  // nobody was to be told
  BOOST_TEST((waits.waits() && !waits.was_dropped() && !under_way.waits()));
  for (int twice = 0; twice < 2; ++twice) {
    dropped.leave();
    refused.leave();
    waits.leave();
    BOOST_TEST((!waits.waits() && !dropped.was_dropped()));
    BOOST_TEST((line.under_way() == 1 && line.waiting() == 1 && line.bytes() == 9));
  }
  for (int twice = 0; twice < 2; ++twice) {
    under_way.leave();
    BOOST_TEST((line.under_way() == 1 && line.waiting() == 0 && line.bytes() == 8));
  }
}

BOOST_AUTO_TEST_CASE(a_line_keeps_its_settings_wherever_it_is_moved) {
  waiting_line const of_none{{0, 1}};
  BOOST_TEST(of_none.with().under_way_max == 1U);
  waiting_line const by_default;
  BOOST_TEST((by_default.with().under_way_max == 1 && by_default.with().waiting_max == 0));
  BOOST_TEST((by_default.with().bytes_max == waiting_line::unlimited));
  waiting_line from{{3, 5, 7, waiting_line::when_full::drop_oldest}};
  waiting_line moved{std::move(from)};
  waiting_line assigned;
  assigned = std::move(moved);
  auto const& s = assigned.with();
  BOOST_TEST((s.under_way_max == 3 && s.waiting_max == 5 && s.bytes_max == 7));
  BOOST_TEST((s.full == waiting_line::when_full::drop_oldest));
}

BOOST_AUTO_TEST_CASE(a_line_is_what_a_deque_says) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) { random_steps(seed); }
  }
}

// ---- the middleware under random calls, ends, cancels and deadlines

namespace {

/// One of the calls of a storm: begins, has a deadline, may be cancelled, all at random.
template <class Service>
task<> comes_and_goes(world& w, Service& service, cleat::event_table const& events, int& ended) {
  cleat::sim::random& random = w.random();
  auto const begins = w.now() + std::chrono::milliseconds{random.below(60)};
  auto const lasts = std::chrono::milliseconds{1 + random.below(40)};
  auto const stays = std::chrono::milliseconds{1 + random.below(60)};
  std::string const q(random.below(8), 'x');
  static_cast<void>(co_await cleat::sleep_until(begins));
  call c = w.new_call();
  c.events = &events;
  c.tighten(begins + lasts);
  std::optional<result<std::string>> got;
  cleat::environment& env = co_await cleat::this_chain::environment;
  cleat::scope beside{env};
  beside.spawn(cleat::detail::keep(cleat::ask(service, q, c), got));
  static_cast<void>(co_await cleat::sleep_until(begins + stays));
  beside.cancel();
  co_await beside.join();
  BOOST_REQUIRE((got && w.now() <= begins + std::max(lasts, stays)));
  ++ended;
}

void storm(std::uint64_t seed) {
  world w{seed};
  waiting_line::settings s;
  s.under_way_max = 1 + w.random().below(3);
  s.waiting_max = w.random().below(5);
  if (w.random().below(2) == 0) s.bytes_max = 8 + w.random().below(16);
  if (w.random().below(2) == 0) s.full = waiting_line::when_full::drop_oldest;
  auto const line = std::make_shared<waiting_line>(s);
  peer p;
  heard log;
  cleat::tee<heard> events{log};
  auto below = [&, theirs = busy(p)](std::string q, call c) mutable -> task<result<std::string>> {
    BOOST_REQUIRE(line->under_way() <= s.under_way_max);
    BOOST_REQUIRE(line->waiting() <= s.waiting_max);
    BOOST_REQUIRE(line->bytes() <= s.bytes_max);
    return theirs(std::move(q), c);
  };
  auto service = bounded(s).shared(line) | below;
  int ended = 0;
  for (int i = 0; i < 25; ++i) w.spawn(comes_and_goes(w, service, events, ended));
  w.run_for(1s);
  BOOST_REQUIRE(ended == 25);
  BOOST_REQUIRE(p.most <= s.under_way_max);
  // Who waited was handed on in the order in which the waiting began.
  auto next = p.asked.begin();
  for (heard::act const& a : log.acts) {
    if (a.what != action::limit_queued) continue;
    auto const found = std::find(p.asked.begin(), p.asked.end(), a.operation);
    if (found == p.asked.end()) continue;
    BOOST_REQUIRE(found >= next);
    next = found;
  }
  BOOST_REQUIRE((line->under_way() == 0 && line->waiting() == 0 && line->bytes() == 0));
  asked last{w, service, w.new_call()};
  w.run_for(10ms);
  BOOST_REQUIRE(last.succeeded());
  BOOST_REQUIRE(w.leftovers().empty());
}

}  // namespace

BOOST_AUTO_TEST_CASE(keeps_its_bounds_and_loses_no_place_whatever_happens) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) { storm(seed); }
  }
}

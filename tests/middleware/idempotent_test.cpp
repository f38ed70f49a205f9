#define BOOST_TEST_MODULE idempotent
#include <cleat/conformance/middleware.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/idempotent.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/sim/world.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using cleat::action;
using cleat::answer_bounds;
using cleat::answer_window;
using cleat::call;
using cleat::certainty;
using cleat::duration;
using cleat::failure;
using cleat::idempotent;
using cleat::kind;
using cleat::result;
using cleat::task;
using cleat::time_point;
using cleat::sim::world;
using namespace std::chrono_literals;

namespace {

/// Answers after `takes`, with its number; fails first as it is told.
struct script {
  duration takes = 0ms;
  std::deque<failure> failures;
  bool throws = false;
  certainty when_stopped = certainty::maybe_executed;
  std::vector<call> asked;
};

auto scripted(script& s) {
  return [&s](std::string q, call c) -> task<result<std::string>> {
    s.asked.push_back(c);
    std::string const answer = q + " " + std::to_string(s.asked.size());
    auto const slept = co_await cleat::sleep_until(std::min(c.deadline(), c.now() + s.takes));
    if (!slept) co_return slept.error().with(s.when_stopped);
    if (c.now() >= c.deadline()) co_return failure{kind::timed_out, s.when_stopped};
    if (s.throws) throw std::runtime_error{"next throws"};
    if (s.failures.empty()) co_return answer;
    failure const f = s.failures.front();
    s.failures.pop_front();
    co_return f;
  };
}

struct watcher {
  using listens_to = cleat::event_list<cleat::layer_acted>;
  struct note {
    action what;
    duration elapsed;
  };
  void on(cleat::layer_acted const& e) noexcept { seen.push_back({e.what, e.elapsed}); }
  std::vector<note> seen;
};

/// A call of its own chain.
class asked {
 public:
  template <class Service>
  asked(world& time, Service& service, call const& c) : of(c) {
    auto done = [this, &time](std::exception_ptr error, result<std::string> r) {
      thrown = error != nullptr;
      at = time.elapsed();
      if (!error) got.emplace(std::move(r));
    };
    cleat::spawn(time.executor(), cleat::ask(service, std::string{"it"}, c),
                 asio::bind_cancellation_slot(signal.slot(), done));
  }
  asked(asked const&) = delete;
  asked& operator=(asked const&) = delete;

  void cancel() { signal.emit(asio::cancellation_type::terminal); }
  [[nodiscard]] bool ended() const { return got || thrown; }
  [[nodiscard]] bool gave(std::string const& answer) const {
    return got && got->has_value() && **got == answer;
  }
  [[nodiscard]] bool failed(kind k, certainty sure) const {
    return got && !got->has_value() && got->error().why() == k && got->error().sure() == sure;
  }

  call of;
  std::optional<result<std::string>> got;
  bool thrown = false;
  duration at{};

 private:
  asio::cancellation_signal signal;
};

template <class Service>
result<std::string> ask(world& time, Service& service, call c) {
  return time.run(cleat::ask(service, std::string{"it"}, c));
}

call again(call const& c, duration limit) {
  call same = c;
  same.tighten(c.now() + limit);
  return same;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_window_does_what_an_obvious_one_does) {
  struct obvious {
    struct entry {
      std::string peer;
      std::uint64_t operation;
      int value;
      time_point recorded;
    };
    void forget_old(time_point now) {
      std::erase_if(entries, [&](entry const& e) { return now - e.recorded >= keeps; });
    }
    auto position(std::string const& peer, std::uint64_t operation) {
      return std::find_if(entries.begin(), entries.end(), [&](entry const& e) {
        return e.peer == peer && e.operation == operation;
      });
    }
    std::size_t max;
    duration keeps;
    std::vector<entry> entries;  // the one that was used last is the last one
  };
  cleat::sim::random random{7, 1};
  for (std::size_t const max : {1U, 2U, 7U, 50U}) {
    answer_bounds bounds;
    bounds.answers_max = max;
    bounds.keeps = 100ms;
    answer_window<int> window{bounds};
    obvious model{max, bounds.keeps, {}};
    time_point now{1000h};
    std::size_t hits = 0;
    for (int step = 0; step < 20'000; ++step) {
      if (random.below(4) == 0)
        now += std::chrono::milliseconds{random.below(random.below(8) == 0 ? 200 : 5)};
      model.forget_old(now);
      std::string const peer = random.below(2) == 0 ? "a" : "b";
      std::uint64_t const operation = random.below(max + 3);
      if (random.below(2) == 0) {
        window.record({peer, operation}, step, now);
        if (auto const it = model.position(peer, operation); it != model.entries.end())
          model.entries.erase(it);
        if (model.entries.size() == max) model.entries.erase(model.entries.begin());
        model.entries.push_back({peer, operation, step, now});
      } else {
        auto const found = window.find({peer, operation}, now);
        auto const it = model.position(peer, operation);
        BOOST_REQUIRE(found.has_value() == (it != model.entries.end()));
        if (found) {
          ++hits;
          BOOST_REQUIRE(found->answer == it->value);
          BOOST_REQUIRE((found->age == now - it->recorded));
          std::rotate(it, it + 1, model.entries.end());
        }
      }
      BOOST_REQUIRE(window.size() <= max);
      BOOST_REQUIRE(window.size() >= model.entries.size());
    }
    BOOST_TEST(hits > 500U);
  }
}

BOOST_AUTO_TEST_CASE(a_window_forgets_all_that_is_old_without_one_call_paying_for_it) {
  answer_bounds bounds;
  bounds.answers_max = 100;
  answer_window<int> window{bounds};
  time_point now{1h};
  for (std::uint64_t i = 0; i < 100; ++i) window.record({"p", i}, 1, now);
  now += bounds.keeps;
  for (std::uint64_t i = 0; i < 50; ++i) {
    BOOST_TEST(!window.find({"p", 99}, now).has_value());
    BOOST_TEST(window.size() + 2 * i + 3 >= 100U);
  }
  BOOST_TEST(window.size() == 0U);
}

BOOST_AUTO_TEST_CASE(an_old_answer_that_is_asked_for_goes_with_the_two_oldest) {
  answer_window<int> window;
  time_point const now{1h};
  for (std::uint64_t i = 0; i < 10; ++i) window.record({"p", i}, 1, now);
  BOOST_TEST(!window.find({"p", 9}, now + 300s).has_value());
  BOOST_TEST(window.size() == 7U);
  window.record({"p", 9}, 1, now + 300s);
  BOOST_TEST(window.size() == 6U);
}

BOOST_AUTO_TEST_CASE(an_answer_is_kept_up_to_its_time_exactly) {
  time_point const now{1h};
  auto const kept_for = [&](duration said, duration meant) {
    answer_bounds bounds;
    bounds.keeps = said;
    answer_window<int> window{bounds};
    window.record({"p", 1}, 5, now);
    if (meant == 0s) return !window.find({"p", 1}, now).has_value();
    auto const before = window.find({"p", 1}, now + meant - 1ns);
    bool const as_said = before && before->answer == 5 && before->age == meant - 1ns;
    return as_said && !window.find({"p", 1}, now + meant).has_value();
  };
  BOOST_TEST(kept_for(1ns, 1ns));
  BOOST_TEST(kept_for(answer_bounds{}.keeps, 300s));
  BOOST_TEST(kept_for(24h, 24h));
  BOOST_TEST(kept_for(24h + 1ns, 24h));
  BOOST_TEST(kept_for(0s, 0s));
  BOOST_TEST(kept_for(-1s, 0s));
}

BOOST_AUTO_TEST_CASE(a_window_is_forgettable_when_its_youngest_answer_is_old_and_none_is_expected) {
  answer_bounds bounds;
  bounds.keeps = 10s;
  answer_window<int> window{bounds};
  time_point const now{1h};
  BOOST_TEST(window.is_forgettable(now));
  window.record({"p", 1}, 1, now);
  window.record({"p", 2}, 1, now + 5s);
  BOOST_TEST(!window.is_forgettable(now + 10s));
  BOOST_TEST(!window.is_forgettable(now + 15s - 1ns));
  BOOST_TEST(window.is_forgettable(now + 15s));
  window.expect();
  window.expect();
  BOOST_TEST(!window.is_forgettable(now + 15s));
  window.is_recorded();
  BOOST_TEST(!window.is_forgettable(now + 15s));
  window.is_recorded();
  BOOST_TEST(window.is_forgettable(now + 15s));
  window.record({"p", 3}, 1, now + 15s);
  BOOST_TEST(window.size() == 1U);
  BOOST_TEST(!window.is_forgettable(now + 15s));
}

BOOST_AUTO_TEST_CASE(a_window_is_full_when_what_it_holds_and_expects_is_all_it_may) {
  answer_bounds bounds;
  bounds.answers_max = 2;
  answer_window<int> two{bounds};
  BOOST_TEST(!two.is_full());
  two.record({"p", 1}, 1, time_point{1h});
  BOOST_TEST(!two.is_full());
  two.expect();
  BOOST_TEST(two.is_full());
  two.is_recorded();
  two.record({"p", 2}, 1, time_point{1h});
  BOOST_TEST(two.is_full());
  two.record({"p", 2}, 2, time_point{1h});
  BOOST_TEST((two.size() == 2 && two.find({"p", 1}, time_point{1h})));

  bounds.answers_max = 0;
  answer_window<int> none{bounds};
  none.expect();
  BOOST_TEST(!none.is_full());

  auto const full_with = [](answer_bounds b, std::size_t expected) {
    answer_window<int> window{b};
    for (std::size_t i = 0; i < expected; ++i) window.expect();
    return window.is_full();
  };
  BOOST_TEST((!full_with({}, 999) && full_with({}, 1'000)));
  bounds.answers_max = 2'000'000;
  BOOST_TEST((!full_with(bounds, 999'999) && full_with(bounds, 1'000'000)));
}

BOOST_AUTO_TEST_CASE(an_operation_is_named_by_its_peer_and_its_number) {
  cleat::operation_key const a{"a", 1};
  cleat::operation_key::equal const same;
  BOOST_TEST(same(a, a.as_view()));
  BOOST_TEST(!same(a, cleat::operation_key::view{"a", 2}));
  BOOST_TEST(!same(a, cleat::operation_key::view{"b", 1}));
  cleat::operation_key::hash const hash;
  BOOST_TEST(hash(a) == hash(a.as_view()));
  BOOST_TEST(hash(a) != hash(cleat::operation_key::view{"a", 2}));
  BOOST_TEST(hash(a) != hash(cleat::operation_key::view{"b", 1}));
}

BOOST_AUTO_TEST_CASE(a_window_of_no_answers_keeps_none) {
  answer_bounds bounds;
  bounds.answers_max = 0;
  answer_window<int> window{bounds};
  window.record({"p", 1}, 1, time_point{1h});
  BOOST_TEST(!window.find({"p", 1}, time_point{1h}).has_value());
}

BOOST_AUTO_TEST_CASE(a_repeated_operation_gets_the_recorded_answer) {
  world time{1};
  script s;
  watcher w;
  auto service = cleat::observe(w) | idempotent() | scripted(s);
  call const c = time.new_call();
  auto const first = ask(time, service, c);
  time.run_for(7s);
  auto const second = ask(time, service, c);
  BOOST_TEST((first && *first == "it 1"));
  BOOST_TEST((second && *second == "it 1"));
  BOOST_TEST(s.asked.size() == 1U);
  BOOST_REQUIRE(w.seen.size() == 1U);
  BOOST_TEST((w.seen[0].what == action::idempotent_replayed));
  BOOST_TEST((w.seen[0].elapsed == 7s));
}

BOOST_AUTO_TEST_CASE(the_same_number_means_something_else_to_another_peer) {
  world time{1};
  script s;
  auto service = idempotent() | scripted(s);
  call a = time.new_call();
  a.peer = "a";
  call b = a;
  b.peer = "b";
  call other = a;
  ++other.operation;
  BOOST_TEST(*ask(time, service, a) == "it 1");
  BOOST_TEST(*ask(time, service, b) == "it 2");
  BOOST_TEST(*ask(time, service, other) == "it 3");
  BOOST_TEST(*ask(time, service, a) == "it 1");
}

BOOST_AUTO_TEST_CASE(an_answer_is_forgotten_when_it_is_old_however_often_it_was_asked_for) {
  world time{1};
  script s;
  auto service = idempotent().keeps(10s) | scripted(s);
  call const c = time.new_call();
  for (int second = 0; second < 10; ++second) {
    BOOST_TEST(*ask(time, service, c) == "it 1");
    time.run_for(1s);
  }
  BOOST_TEST(*ask(time, service, c) == "it 2");
}

BOOST_AUTO_TEST_CASE(the_answer_that_was_not_asked_for_longest_makes_room) {
  world time{1};
  script s;
  auto service = idempotent().answers_max(2) | scripted(s);
  call const a = time.new_call();
  call const b = time.new_call();
  call const c = time.new_call();
  BOOST_TEST(*ask(time, service, a) == "it 1");
  BOOST_TEST(*ask(time, service, b) == "it 2");
  BOOST_TEST(*ask(time, service, a) == "it 1");
  BOOST_TEST(*ask(time, service, c) == "it 3");
  BOOST_TEST(*ask(time, service, a) == "it 1");
  BOOST_TEST(*ask(time, service, b) == "it 4");
}

BOOST_AUTO_TEST_CASE(a_busy_peer_pushes_out_no_answer_of_another) {
  for (bool const one : {false, true}) {
    world time{1};
    script s;
    auto make = [&] {
      auto i = idempotent().answers_max(2);
      return one ? std::move(i).one_window() : std::move(i);
    };
    auto service = make() | scripted(s);
    call quiet = time.new_call();
    quiet.peer = "quiet";
    BOOST_TEST(*ask(time, service, quiet) == "it 1");
    for (int i = 0; i < 5; ++i) {
      call c = time.new_call();
      c.peer = "busy";
      auto const r = ask(time, service, c);
      if (!one || i == 0) {
        BOOST_TEST(r.has_value());
      } else {
        BOOST_TEST(
            (!r && r.error().why() == kind::overloaded && r.error().sure() == certainty::not_sent));
      }
    }
    BOOST_TEST(*ask(time, service, quiet) == "it 1");
  }
}

BOOST_AUTO_TEST_CASE(one_window_has_room_again_when_answers_are_too_old) {
  world time{1};
  script s;
  auto service = idempotent().answers_max(2).keeps(10s).one_window() | scripted(s);
  BOOST_TEST(ask(time, service, time.new_call()).has_value());
  BOOST_TEST(ask(time, service, time.new_call()).has_value());
  BOOST_TEST(!ask(time, service, time.new_call()).has_value());
  time.run_for(10s);
  BOOST_TEST(ask(time, service, time.new_call()).has_value());
}

BOOST_AUTO_TEST_CASE(a_failure_is_no_answer) {
  world time{1};
  script s;
  s.failures = {failure{kind::rejected, certainty::rejected}, failure{kind::reset}};
  auto service = idempotent() | scripted(s);
  call const c = time.new_call();
  auto const rejected = ask(time, service, c);
  BOOST_TEST((!rejected && rejected.error().sure() == certainty::rejected));
  auto const reset = ask(time, service, c);
  BOOST_TEST((!reset && reset.error().sure() == certainty::maybe_executed));
  BOOST_TEST(*ask(time, service, c) == "it 3");
}

BOOST_AUTO_TEST_CASE(what_may_have_been_done_once_and_must_not_be_twice_is_not_asked_again) {
  world time{1};
  script s;
  s.failures = {failure{kind::refused, certainty::not_sent}, failure{kind::reset}};
  auto service = idempotent().keeps(1min) | scripted(s);
  call c = time.new_call();
  c.repeatable = false;
  BOOST_TEST((ask(time, service, c).error().why() == kind::refused));
  for (int i = 0; i < 3; ++i) {
    auto const r = ask(time, service, c);
    BOOST_TEST((!r && r.error().why() == kind::reset));
    BOOST_TEST((r.error().sure() == certainty::maybe_executed));
  }
  BOOST_TEST(s.failures.empty());
  time.run_for(2min);
  BOOST_TEST(*ask(time, service, c) == "it 3");  // of the second no more is known
}

BOOST_AUTO_TEST_CASE(those_that_ask_meanwhile_wait_for_the_same_answer) {
  world time{1};
  script s;
  s.takes = 2s;
  watcher w;
  auto service = cleat::observe(w) | idempotent() | scripted(s);
  call const c = time.new_call();
  asked first{time, service, c};
  time.run_for(1s);
  asked second{time, service, c};
  asked third{time, service, c};
  time.run_for(1min);
  BOOST_TEST(first.gave("it 1"));
  BOOST_TEST(second.gave("it 1"));
  BOOST_TEST(third.gave("it 1"));
  BOOST_TEST((second.at == 2s));
  BOOST_TEST(s.asked.size() == 1U);
  BOOST_REQUIRE(w.seen.size() == 2U);
  BOOST_TEST((w.seen[1].what == action::idempotent_joined));
  BOOST_TEST(time.leftovers().empty());
}

BOOST_AUTO_TEST_CASE(whoever_joined_gives_up_alone) {
  world time{1};
  script s;
  s.takes = 5s;
  auto service = idempotent() | scripted(s);
  call const c = time.new_call();
  asked first{time, service, c};
  asked hasty{time, service, again(c, 1s)};
  asked fickle{time, service, c};
  asked patient{time, service, c};
  time.run_for(500ms);
  fickle.cancel();
  time.run_for(1min);
  BOOST_TEST(fickle.failed(kind::cancelled, certainty::maybe_executed));
  BOOST_TEST((fickle.at == 500ms));
  BOOST_TEST(hasty.failed(kind::timed_out, certainty::maybe_executed));
  BOOST_TEST((hasty.at == 1s));
  BOOST_TEST(first.gave("it 1"));
  BOOST_TEST(patient.gave("it 1"));
}

BOOST_AUTO_TEST_CASE(when_the_one_that_asks_gives_up_the_next_one_asks) {
  for (bool const by_deadline : {false, true}) {
    world time{1};
    script s;
    s.takes = 5s;
    auto service = idempotent() | scripted(s);
    call const c = time.new_call();
    asked first{time, service, by_deadline ? again(c, 1s) : c};
    asked second{time, service, c};
    asked third{time, service, c};
    time.run_for(1s);
    if (!by_deadline) first.cancel();
    time.run_for(1s);
    BOOST_TEST(
        first.failed(by_deadline ? kind::timed_out : kind::cancelled, certainty::maybe_executed));
    second.cancel();
    time.run_for(1min);
    BOOST_TEST(second.failed(kind::cancelled, certainty::maybe_executed));
    BOOST_TEST(third.gave("it 3"));
    BOOST_TEST((third.at == 7s));
    BOOST_TEST(s.asked.size() == 3U);
    BOOST_TEST(*ask(time, service, c) == "it 3");
    BOOST_TEST(time.leftovers().empty());
  }
}

BOOST_AUTO_TEST_CASE(what_must_not_be_repeated_is_not_asked_again_unless_it_was_not_executed) {
  for (certainty const sure :
       {certainty::not_sent, certainty::rejected, certainty::maybe_executed}) {
    for (bool const by_deadline : {false, true}) {
      for (bool const first_may : {false, true}) {
        world time{1};
        script s;
        s.takes = 5s;
        s.when_stopped = sure;
        auto service = idempotent() | scripted(s);
        call c = time.new_call();
        c.repeatable = first_may;
        asked first{time, service, by_deadline ? again(c, 1s) : c};
        c.repeatable = !first_may;
        asked second{time, service, c};
        time.run_for(1s);
        if (!by_deadline) first.cancel();
        time.run_for(1min);
        if (sure == certainty::maybe_executed) {
          BOOST_TEST(s.asked.size() == 1U);
          BOOST_TEST(second.failed(by_deadline ? kind::timed_out : kind::shut_down,
                                   certainty::maybe_executed));
        } else {
          BOOST_TEST(second.gave("it 2"));
        }
        BOOST_TEST(time.leftovers().empty());
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(of_those_that_joined_only_the_ones_that_may_ask_go_on) {
  world time{1};
  script s;
  s.takes = 5s;
  auto service = idempotent() | scripted(s);
  call const c = time.new_call();
  call once = c;
  once.repeatable = false;
  asked first{time, service, c};
  asked second{time, service, once};
  asked third{time, service, c};
  asked fourth{time, service, once};
  asked fifth{time, service, c};
  time.run_for(1s);
  first.cancel();
  time.run_for(1min);
  BOOST_TEST(second.failed(kind::shut_down, certainty::maybe_executed));
  BOOST_TEST(fourth.failed(kind::shut_down, certainty::maybe_executed));
  BOOST_TEST((fourth.at == 1s));
  BOOST_TEST(third.gave("it 2"));
  BOOST_TEST(fifth.gave("it 2"));
}

BOOST_AUTO_TEST_CASE(of_several_that_may_ask_the_first_does_and_the_others_wait_for_it) {
  world time{1};
  script s;
  s.takes = 5s;
  auto service = idempotent() | scripted(s);
  call const c = time.new_call();
  call once = c;
  once.repeatable = false;
  asked first{time, service, c};
  asked second{time, service, c};
  asked third{time, service, c};
  asked fourth{time, service, once};
  time.run_for(1s);
  first.cancel();
  time.run_for(1min);
  BOOST_TEST(second.gave("it 2"));
  BOOST_TEST(third.gave("it 2"));
  BOOST_TEST(fourth.failed(kind::shut_down, certainty::maybe_executed));
  BOOST_TEST(s.asked.size() == 2U);
}

BOOST_AUTO_TEST_CASE(a_failure_of_the_peer_is_for_all_that_wait_with_the_worst_certainty) {
  world time{1};
  script s;
  s.takes = 1s;
  auto service = idempotent() | scripted(s);
  call const c = time.new_call();
  asked first{time, service, c};
  asked second{time, service, c};
  asked third{time, service, c};
  time.run_for(500ms);
  first.cancel();  // maybe_executed
  s.failures = {failure{kind::refused, certainty::not_sent}};
  time.run_for(1min);
  BOOST_TEST(second.failed(kind::refused, certainty::maybe_executed));
  BOOST_TEST(third.failed(kind::refused, certainty::maybe_executed));
  BOOST_TEST(s.asked.size() == 2U);
}

BOOST_AUTO_TEST_CASE(
    a_time_that_was_over_below_before_the_deadline_is_a_failure_for_all_that_wait) {
  world time{1};
  script s;
  s.takes = 1s;
  s.failures = {failure{kind::timed_out}};
  auto service = idempotent() | scripted(s);
  call const c = again(time.new_call(), 1s + 1ns);
  asked first{time, service, c};
  asked second{time, service, c};
  time.run_for(1s);
  BOOST_TEST(first.failed(kind::timed_out, certainty::maybe_executed));
  BOOST_TEST(second.failed(kind::timed_out, certainty::maybe_executed));
  BOOST_TEST(s.asked.size() == 1U);
}

BOOST_AUTO_TEST_CASE(says_which_bound_there_is_no_place_for) {
  world time{1};
  script s;
  auto none = idempotent().under_way_max(0) | scripted(s);
  BOOST_TEST(ask(time, none, time.new_call()).error().detail() ==
             "too many operations under way; see under_way_max");
  auto one = idempotent().answers_max(1).one_window() | scripted(s);
  BOOST_TEST(ask(time, one, time.new_call()).has_value());
  BOOST_TEST(ask(time, one, time.new_call()).error().detail() ==
             "the one window is full of answers that are kept; see answers_max");
}

BOOST_AUTO_TEST_CASE(has_room_for_ten_thousand_operations_and_peers_if_nothing_else_is_said) {
  world time{1};
  script s;
  auto service = idempotent() | scripted(s);
  for (int i = 0; i < 10'001; ++i) {
    std::string const name = std::to_string(i);
    call c = time.new_call();
    c.peer = name;
    BOOST_REQUIRE(ask(time, service, c).has_value() == (i < 10'000));
  }
  s.takes = 1h;
  auto busy = idempotent() | scripted(s);
  std::deque<asked> all;
  for (int i = 0; i < 10'001; ++i) all.emplace_back(time, busy, time.new_call());
  time.run_for(0s);
  BOOST_TEST(!all[9'999].ended());
  BOOST_TEST(all[10'000].failed(kind::overloaded, certainty::not_sent));
}

BOOST_AUTO_TEST_CASE(an_exception_goes_to_the_one_that_asked_and_is_a_failure_to_the_others) {
  world time{1};
  script s;
  s.takes = 1s;
  s.throws = true;
  auto service = idempotent() | scripted(s);
  call const c = time.new_call();
  asked first{time, service, c};
  asked second{time, service, c};
  time.run_for(1min);
  BOOST_TEST(first.thrown);
  BOOST_TEST(second.failed(kind::invalid, certainty::maybe_executed));
  s.throws = false;
  BOOST_TEST(*ask(time, service, c) == "it 2");
}

BOOST_AUTO_TEST_CASE(too_many_operations_under_way_are_too_many_and_joining_is_not_another_one) {
  world time{1};
  script s;
  s.takes = 1s;
  auto service = idempotent().under_way_max(2) | scripted(s);
  call const a = time.new_call();
  asked first{time, service, a};
  asked second{time, service, time.new_call()};
  asked third{time, service, time.new_call()};
  asked same{time, service, a};
  time.run_for(0s);
  BOOST_TEST(third.failed(kind::overloaded, certainty::not_sent));
  time.run_for(1min);
  BOOST_TEST(same.gave("it 1"));
  BOOST_TEST(second.gave("it 2"));
  BOOST_TEST(ask(time, service, time.new_call()).has_value());
}

BOOST_AUTO_TEST_CASE(an_operation_that_failed_is_under_way_no_more) {
  world time{1};
  script s;
  s.failures = {failure{kind::refused, certainty::not_sent}};
  auto service = idempotent().under_way_max(1) | scripted(s);
  BOOST_TEST(!ask(time, service, time.new_call()).has_value());
  BOOST_TEST(ask(time, service, time.new_call()).has_value());
}

BOOST_AUTO_TEST_CASE(calls_that_go_with_their_context_leave_nothing_in_the_way) {
  script s;
  s.takes = 1s;
  auto service = idempotent().under_way_max(1) | scripted(s);
  std::optional<call> c;
  std::deque<asked> all;
  for (bool const leave_while_waking : {false, true}) {
    world time{1};
    if (!c) c = time.new_call();
    call mine = time.new_call();
    mine.operation = c->operation;
    for (int i = 0; i < 4; ++i) all.emplace_back(time, service, mine);
    time.run_for(500ms);
    if (leave_while_waking) all.front().cancel();
  }
  world time{2};
  BOOST_TEST(ask(time, service, time.new_call()).has_value());
  call mine = time.new_call();
  mine.operation = c->operation;
  BOOST_TEST(*ask(time, service, mine) == "it 4");
}

BOOST_AUTO_TEST_CASE(no_operation_is_under_way_twice_nor_asked_again_once_it_has_an_answer) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    world time{seed};
    std::map<std::uint64_t, int> under_way;
    std::set<std::uint64_t> answered;
    bool twice = false;
    auto next = [&](std::string, call c) -> task<result<std::string>> {
      twice = twice || under_way[c.operation]++ != 0 || answered.contains(c.operation);
      auto const takes = std::chrono::milliseconds{time.random().below(50)};
      bool const fails = time.random().below(3) == 0;
      auto const slept = co_await cleat::sleep_until(std::min(c.deadline(), c.now() + takes));
      --under_way[c.operation];
      if (!slept) co_return slept.error();
      if (c.now() >= c.deadline()) co_return failure{kind::timed_out};
      if (fails) co_return failure{kind::reset};
      answered.insert(c.operation);
      co_return std::to_string(c.operation);
    };
    auto service = idempotent() | next;
    std::vector<call> const operations = {time.new_call(), time.new_call(), time.new_call()};
    std::deque<asked> all;
    for (int i = 0; i < 40; ++i) {
      call c = operations[time.random().below(3)];
      c.repeatable = time.random().below(4) != 0;
      all.emplace_back(time, service,
                       again(c, std::chrono::milliseconds{1 + time.random().below(80)}));
      if (time.random().below(3) == 0) all[time.random().below(all.size())].cancel();
      time.run_for(std::chrono::milliseconds{time.random().below(12)});
    }
    time.run_for(1min);
    BOOST_TEST_CONTEXT("seed " << seed) {
      BOOST_TEST(!twice);
      for (asked const& it : all) {
        BOOST_TEST(it.ended());
        if (it.got && it.got->has_value()) BOOST_TEST(it.gave(std::to_string(it.of.operation)));
      }
      BOOST_TEST(time.leftovers().empty());
    }
  }
}

BOOST_AUTO_TEST_CASE(one_may_serve_several_types_of_response) {
  world time{1};
  idempotent once;
  auto text = cleat::shared(once) |
              [](std::string q, call) -> task<result<std::string>> { co_return q + "!"; };
  auto number = cleat::shared(once) | [](std::string q, call) -> task<result<int>> {
    co_return static_cast<int>(q.size());
  };
  call const c = time.new_call();
  BOOST_TEST(*time.run(cleat::ask(text, std::string{"it"}, c)) == "it!");
  BOOST_TEST(*time.run(cleat::ask(number, std::string{"it"}, c)) == 2);
}

BOOST_AUTO_TEST_CASE(says_what_it_is_and_stands_where_it_should) {
  watcher w;
  script s;
  auto service = cleat::observe(w) | cleat::deadline(5s) | idempotent().answers_max(50).keeps(90s) |
                 cleat::retry(2) | scripted(s);
  BOOST_TEST(cleat::describe(idempotent()).what == "idempotent(1000 answers, 300 s)");
  BOOST_TEST(idempotent().one_window().answers_max(0).describe() ==
             "idempotent(0 answers, 300 s, one window)");
  BOOST_TEST(idempotent().answers_max(1'000'001).keeps(-1s).describe() ==
             "idempotent(1000000 answers, " + cleat::to_text(0s) + ")");
  BOOST_TEST(idempotent().keeps(25h).describe() ==
             "idempotent(1000 answers, " + cleat::to_text(24h) + ")");
  BOOST_TEST(cleat::to_text(cleat::describe(service)).find("idempotent(50 answers, 90 s)") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(conforms) {
  cleat::middleware_check how;
  how.answers_itself = true;
  auto make = [] { return idempotent(); };
  for (auto const& broken :
       cleat::check_middleware(make, std::string{"a request"}, std::string{"ok"}, how))
    BOOST_ERROR(broken);
}

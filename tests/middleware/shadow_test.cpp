#define BOOST_TEST_MODULE shadow
#include <cleat/base/scope.hpp>
#include <cleat/conformance/service.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/middleware/shadow.hpp>
#include <cleat/sim/world.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <deque>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace asio = boost::asio;
using cleat::action;
using cleat::call;
using cleat::certainty;
using cleat::duration;
using cleat::environment;
using cleat::failure;
using cleat::kind;
using cleat::result;
using cleat::shadow;
using cleat::task;
using cleat::sim::world;
using namespace std::chrono_literals;

namespace {

/// One of the two services, and what it was asked.
struct script {
  duration takes = 10ms;
  std::optional<failure> why;
  std::string answer = "ok";
  bool throws = false;
  std::vector<call> asked;
  std::vector<std::string> peers;
  std::vector<std::string> requests;
  int ended = 0;
};

/// What is used after it has gone is found by a sanitizer: it looks at itself when it goes on.
class service {
 public:
  using request = std::string;
  using response = std::string;

  explicit service(script& s) : script_(std::make_unique<script*>(&s)) {}

  task<result<std::string>> operator()(std::string q, call c) {
    script& s = **script_;
    s.asked.push_back(c);
    s.peers.emplace_back(c.peer);
    s.requests.push_back(q);
    auto const slept = co_await cleat::sleep_until(std::min(c.deadline(), c.now() + s.takes));
    script& still = **script_;
    ++still.ended;
    if (!slept) co_return slept.error();
    if (c.now() >= c.deadline()) co_return failure{kind::timed_out};
    if (still.throws) throw std::runtime_error{"no"};
    if (still.why) co_return *still.why;
    co_return still.answer;
  }

 private:
  std::unique_ptr<script*> script_;
};

struct watcher {
  using listens_to = cleat::event_list<cleat::layer_acted>;
  void on(cleat::layer_acted const& e) noexcept {
    ++seen[e.what];
    if (e.why != nullptr) {
      why = e.why->why();
      detail = e.why->detail();
    }
    elapsed = e.elapsed;
    peer = e.of.peer;
  }
  int count(action a) { return seen[a]; }
  std::map<action, int> seen;
  kind why{};
  std::string detail;
  duration elapsed{};
  std::string peer;
};

/// A call of its own chain.
class asked {
 public:
  template <class Service>
  asked(world& time, Service& of, call const& c) {
    auto done = [this, &time](std::exception_ptr error, result<std::string> r) {
      thrown = error != nullptr;
      at = time.elapsed();
      if (!error) got.emplace(std::move(r));
    };
    cleat::spawn(time.executor(), cleat::ask(of, std::string{"it"}, c),
                 asio::bind_cancellation_slot(signal.slot(), done));
  }
  asked(asked const&) = delete;
  asked& operator=(asked const&) = delete;
  void cancel() { signal.emit(asio::cancellation_type::terminal); }

  std::optional<result<std::string>> got;
  bool thrown = false;
  duration at{};

 private:
  asio::cancellation_signal signal;
};

}  // namespace

BOOST_AUTO_TEST_CASE(the_caller_gets_the_answer_of_the_primary_and_waits_for_nobody_else) {
  world time{1};
  script primary;
  script mirror;
  mirror.takes = 5s;
  mirror.answer = "something else";
  watcher w;
  auto made = cleat::observe(w) | shadow(service{primary}, service{mirror});
  call c = time.new_call();
  c.tighten(time.now() + 1min);
  c.attempt = 3;
  std::string peer = "a lamp with a rather long name";
  c.peer = peer;
  asked it{time, made, c};
  time.run_for(1s);
  BOOST_TEST((it.got && it.got->has_value() && **it.got == "ok"));
  BOOST_TEST((it.at == 10ms));
  BOOST_TEST(w.count(action::shadow_sent) == 1);
  BOOST_REQUIRE(mirror.asked.size() == 1U);
  BOOST_TEST(mirror.requests[0] == "it");
  BOOST_TEST(mirror.asked[0].operation == c.operation);
  BOOST_TEST((mirror.asked[0].correlation == c.correlation));
  BOOST_TEST((mirror.asked[0].deadline() == c.deadline()));
  BOOST_TEST(mirror.asked[0].attempt == 1U);
  BOOST_TEST(mirror.asked[0].events == nullptr);
  std::fill(peer.begin(), peer.end(), '-');  // it was the caller's
  time.run_for(10s);
  BOOST_TEST(mirror.peers[0] == "a lamp with a rather long name");
  BOOST_TEST(w.count(action::shadow_differed) == 1);
  BOOST_TEST((w.elapsed == 5s));
  BOOST_TEST(w.peer == "a lamp with a rather long name");
  BOOST_TEST(time.leftovers().empty());
}

BOOST_AUTO_TEST_CASE(the_primary_is_asked_first_and_at_once) {
  world time{1};
  std::vector<std::string> order;
  auto notes = [&order](std::string who) {
    return [&order, who](std::string q, call) -> task<result<std::string>> {
      order.push_back(who + q);
      co_return q;
    };
  };
  auto made = shadow(notes("primary "), notes("mirror "));
  auto three = [&]() -> task<> {
    for (std::string const q : {"1", "2", "3"}) {
      auto const r = co_await made(q, time.new_call());
      BOOST_TEST(r.has_value());
      order.push_back("answered " + q);
    }
  };
  time.run(three());
  time.run_for(0ms);
  std::vector<std::string> const primaries = {"primary 1",  "answered 1", "primary 2",
                                              "answered 2", "primary 3",  "answered 3"};
  auto const mine = [](std::string const& s) { return !s.starts_with("mirror"); };
  BOOST_TEST(order.size() == 9U);
  for (std::string const q : {"1", "2", "3"}) {
    auto const primary = std::find(order.begin(), order.end(), "primary " + q);
    auto const mirror = std::find(order.begin(), order.end(), "mirror " + q);
    BOOST_TEST((primary < mirror && mirror != order.end()));
  }
  std::vector<std::string> others;
  std::copy_if(order.begin(), order.end(), std::back_inserter(others), mine);
  BOOST_TEST(others == primaries, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(so_many_are_mirrored_at_once_and_not_one_more) {
  for (std::size_t const most : {std::size_t{0}, std::size_t{1}, std::size_t{3}}) {
    world time{1};
    script primary;
    script mirror;
    mirror.takes = 1h;
    watcher w;
    auto made = cleat::observe(w) | shadow(service{primary}, service{mirror}).at_once_max(most);
    for (int i = 0; i < 5; ++i)
      BOOST_TEST(time.run(cleat::ask(made, "it", time.new_call())).has_value());
    BOOST_TEST(mirror.asked.size() == most);
    BOOST_TEST(w.count(action::shadow_sent) == static_cast<int>(most));
    BOOST_TEST(w.count(action::shadow_skipped) == 5 - static_cast<int>(most));
  }
}

BOOST_AUTO_TEST_CASE(tells_where_the_mirror_differs_or_fails) {
  struct row {
    std::optional<failure> primary;
    std::optional<failure> mirror;
    std::string answer;
    int differed;
    int failed;
  };
  failure const lost{kind::reset};
  failure const refused{kind::refused};
  std::vector<row> const rows = {
      {{}, {}, "ok", 0, 0},   {{}, {}, "other", 1, 0},     {{}, lost, "ok", 0, 1},
      {lost, {}, "ok", 1, 0}, {lost, refused, "ok", 0, 0},
  };
  for (row const& it : rows) {
    for (duration const takes : {1ms, 10ms, 100ms}) {
      world time{1};
      script primary;
      script mirror;
      primary.why = it.primary;
      mirror.why = it.mirror;
      mirror.answer = it.answer;
      mirror.takes = takes;
      watcher w;
      auto made = cleat::observe(w) | shadow(service{primary}, service{mirror});
      auto const r = time.run(cleat::ask(made, "it", time.new_call()));
      BOOST_TEST(r.has_value() == !it.primary);
      time.run_for(1s);
      BOOST_TEST(w.count(action::shadow_sent) == 1);
      BOOST_TEST(w.count(action::shadow_differed) == it.differed);
      BOOST_TEST(w.count(action::shadow_failed) == it.failed);
      if (it.failed != 0) BOOST_TEST((w.why == kind::reset));
    }
  }
}

BOOST_AUTO_TEST_CASE(compares_as_it_is_told_and_a_comparison_that_throws_harms_nobody) {
  for (bool const throws : {false, true}) {
    world time{1};
    script primary;
    script mirror;
    mirror.answer = "OK";
    watcher w;
    auto by_length = [throws](result<std::string> const& a, result<std::string> const& b) {
      if (throws) throw std::runtime_error{"no"};
      return a.has_value() && b.has_value() && a->size() == b->size();
    };
    auto made = cleat::observe(w) | shadow(service{primary}, service{mirror}, by_length);
    BOOST_TEST(time.run(cleat::ask(made, "it", time.new_call())).has_value());
    time.run_for(1s);
    BOOST_TEST(w.count(action::shadow_differed) == 0);
    BOOST_TEST(w.count(action::shadow_failed) == (throws ? 1 : 0));
    BOOST_TEST(w.detail == (throws ? "the comparison threw" : ""));
  }
}

BOOST_AUTO_TEST_CASE(mirrors_what_may_be_repeated_or_what_was_chosen) {
  for (bool const repeatable : {false, true}) {
    world time{1};
    script primary;
    script mirror;
    auto made = shadow(service{primary}, service{mirror});
    call c = time.new_call();
    c.repeatable = repeatable;
    BOOST_TEST(time.run(cleat::ask(made, "it", c)).has_value());
    BOOST_TEST(mirror.asked.size() == (repeatable ? 1U : 0U));

    auto chosen =
        shadow(service{primary}, service{mirror}).when([](std::string const& q, call const&) {
          return q == "get";
        });
    mirror.asked.clear();
    BOOST_TEST(time.run(cleat::ask(chosen, "set", c)).has_value());
    BOOST_TEST(mirror.asked.empty());
    BOOST_TEST(time.run(cleat::ask(chosen, "get", c)).has_value());
    BOOST_TEST(mirror.asked.size() == 1U);
  }
}

BOOST_AUTO_TEST_CASE(a_choice_that_throws_fails_no_call) {
  world time{1};
  script primary;
  script mirror;
  watcher w;
  auto choose = [](std::string const&, call const&) -> bool { throw std::runtime_error{"no"}; };
  auto service =
      cleat::observe(w) | shadow(::service{primary}, ::service{mirror}).when(std::move(choose));
  asked a{time, service, time.new_call()};
  time.run_for(1s);
  BOOST_TEST((a.got && a.got->has_value()));
  BOOST_TEST(mirror.asked.empty());
  BOOST_TEST(w.count(action::shadow_failed) == 1);
  BOOST_TEST((w.why == kind::invalid));
}

BOOST_AUTO_TEST_CASE(a_mirror_that_throws_or_hangs_harms_nobody) {
  world time{1};
  script primary;
  script mirror;
  mirror.throws = true;
  watcher w;
  auto made = cleat::observe(w) | shadow(service{primary}, service{mirror}).at_once_max(2);
  BOOST_TEST(time.run(cleat::ask(made, "it", time.new_call())).has_value());
  time.run_for(1s);
  BOOST_TEST(w.count(action::shadow_failed) == 1);
  BOOST_TEST((w.why == kind::invalid));
  BOOST_TEST(w.detail == "the mirror threw");

  mirror.throws = false;
  mirror.takes = 1h;
  for (int i = 0; i < 5; ++i)
    BOOST_TEST(time.run(cleat::ask(made, "it", time.new_call())).has_value());
  BOOST_TEST(w.count(action::shadow_sent) == 3);
  BOOST_TEST(w.count(action::shadow_skipped) == 3);
  time.run_for(2h);
  BOOST_TEST(time.run(cleat::ask(made, "it", time.new_call())).has_value());
  BOOST_TEST(w.count(action::shadow_sent) == 4);
}

BOOST_AUTO_TEST_CASE(a_primary_that_throws_or_is_cancelled_is_compared_with_nothing) {
  for (bool const throws : {false, true}) {
    world time{1};
    script primary;
    script mirror;
    primary.throws = throws;
    primary.takes = 1s;
    watcher w;
    auto made = cleat::observe(w) | shadow(service{primary}, service{mirror});
    asked it{time, made, time.new_call()};
    time.run_for(100ms);
    if (!throws) it.cancel();
    time.run_for(1min);
    BOOST_TEST(it.thrown == throws);
    if (!throws) BOOST_TEST((it.got && it.got->error().why() == kind::cancelled));
    BOOST_TEST(w.seen.size() == 1U);
    BOOST_TEST(mirror.ended == 1);
    BOOST_TEST(time.leftovers().empty());
  }
}

BOOST_AUTO_TEST_CASE(cancelling_the_call_does_not_cancel_the_mirrored_one) {
  world time{1};
  script primary;
  script mirror;
  mirror.takes = 5s;
  auto made = shadow(service{primary}, service{mirror});
  asked it{time, made, time.new_call()};
  time.run_for(1ms);
  it.cancel();
  time.run_for(1s);
  BOOST_TEST(made.mirrored()->under_way() == 1U);
  time.run_for(1min);
  BOOST_TEST(mirror.ended == 1);
  BOOST_TEST(made.mirrored()->under_way() == 0U);
}

BOOST_AUTO_TEST_CASE(closing_cancels_what_is_under_way_and_waits_for_its_end) {
  world time{1};
  script primary;
  script mirror;
  mirror.takes = 1h;
  auto w = std::make_unique<watcher>();
  auto events = std::make_unique<cleat::tee<watcher>>(*w);
  auto made = shadow(service{primary}, service{mirror});
  call c = time.new_call();
  c.events = events.get();
  for (int i = 0; i < 3; ++i) BOOST_TEST(time.run(cleat::ask(made, "it", c)).has_value());
  BOOST_TEST(made.mirrored()->under_way() == 3U);
  duration const before = time.elapsed();
  auto twice = [&]() -> task<> {
    environment& env = co_await cleat::this_chain::environment;
    cleat::scope beside{env};
    beside.spawn(made.close());
    beside.spawn(cleat::mirrored_calls::close(made.mirrored()));
    co_await beside.join();
  };
  time.run(twice());
  BOOST_TEST((time.elapsed() == before));
  BOOST_TEST(made.mirrored()->under_way() == 0U);
  BOOST_TEST(mirror.ended == 3);
  BOOST_TEST(w->seen.size() == 1U);  // shadow_sent
  // The events may go now; the primary is asked on.
  events.reset();
  c.events = nullptr;
  BOOST_TEST(time.run(cleat::ask(made, "it", c)).has_value());
  BOOST_TEST(mirror.asked.size() == 3U);
  time.run(made.close());
  BOOST_TEST(time.leftovers().empty());
}

BOOST_AUTO_TEST_CASE(closing_cancels_all_that_are_left_whichever_has_ended) {
  for (std::size_t early = 0; early < 3; ++early) {
    world time{1};
    script primary;
    script mirror;
    auto made = shadow(service{primary}, service{mirror});
    for (std::size_t i = 0; i < 3; ++i) {
      mirror.takes = i == early ? 1s : 1h;
      BOOST_TEST(time.run(cleat::ask(made, "it", time.new_call())).has_value());
    }
    time.run_for(2s);
    BOOST_TEST((made.mirrored()->under_way() == 2 && mirror.ended == 1));
    duration const before = time.elapsed();
    time.run(made.close());
    BOOST_TEST((time.elapsed() == before && mirror.ended == 3));
    BOOST_TEST(made.mirrored()->under_way() == 0U);
  }
}

BOOST_AUTO_TEST_CASE(what_is_closed_before_its_mirror_was_asked_does_not_ask_it) {
  world time{1};
  script mirror;
  std::shared_ptr<cleat::mirrored_calls> mirrored;
  auto closes = [&](std::string q, call) -> task<result<std::string>> {
    co_await cleat::mirrored_calls::close(mirrored);
    co_return q;
  };
  auto made = shadow(closes, service{mirror});
  mirrored = made.mirrored();
  BOOST_TEST(time.run(cleat::ask(made, std::string{"it"}, time.new_call())).has_value());
  time.run_for(1s);
  BOOST_TEST(mirror.asked.empty());
}

BOOST_AUTO_TEST_CASE(tells_how_long_a_mirror_took_that_failed) {
  for (bool const throws : {false, true}) {
    world time{1};
    script primary;
    script mirror;
    mirror.takes = 70ms;
    mirror.throws = throws;
    mirror.why = failure{kind::reset};
    watcher w;
    auto made = cleat::observe(w) | shadow(service{primary}, service{mirror});
    BOOST_TEST(time.run(cleat::ask(made, "it", time.new_call())).has_value());
    BOOST_TEST((w.count(action::shadow_sent) == 1 && w.elapsed == 0s));
    time.run_for(1s);
    BOOST_TEST((w.count(action::shadow_failed) == 1 && w.elapsed == 70ms));
  }
}

BOOST_AUTO_TEST_CASE(a_shadow_may_go_while_mirrored_calls_are_under_way) {
  script primary;
  script mirror;
  mirror.takes = 1h;
  world time{1};
  {
    watcher w;
    auto made = cleat::observe(w) | shadow(service{primary}, service{mirror});
    BOOST_TEST(time.run(cleat::ask(made, "it", time.new_call())).has_value());
  }
  BOOST_TEST(mirror.ended == 0);
  time.run_for(0s);
  BOOST_TEST(mirror.ended == 1);  // cancelled, and the mirror was still there
  BOOST_TEST(time.leftovers().empty());
}

BOOST_AUTO_TEST_CASE(the_context_may_go_at_any_moment) {
  script primary;
  script mirror;
  mirror.takes = 1h;
  primary.takes = 1s;
  using made_of = decltype(shadow(service{primary}, service{mirror}));
  for (duration const when : {0ms, 500ms, 2000ms}) {
    for (bool const shadow_first : {false, true}) {
      std::optional<made_of> made{shadow(service{primary}, service{mirror})};
      std::optional<world> time{std::in_place, 1U};
      std::deque<asked> all;
      for (int i = 0; i < 3; ++i) all.emplace_back(*time, *made, time->new_call());
      time->run_for(when);
      bool const answered = when > 1s;
      if (shadow_first && answered) made.reset();
      time.reset();
      for (asked const& it : all) BOOST_TEST(it.got.has_value() == answered);
      if (made) BOOST_TEST(made->mirrored()->under_way() == 0U);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_mirror_has_events_of_its_own) {
  world time{1};
  script primary;
  script mirror;
  watcher of_mirror;
  cleat::tee<watcher> const table{of_mirror};
  auto made = shadow(service{primary}, service{mirror}).mirror_events(table);
  BOOST_TEST(time.run(cleat::ask(made, "it", time.new_call())).has_value());
  BOOST_REQUIRE(mirror.asked.size() == 1U);
  BOOST_TEST(mirror.asked[0].events == &table);
}

BOOST_AUTO_TEST_CASE(says_what_it_is_made_of) {
  script s;
  auto made = cleat::deadline(5s) | shadow(cleat::retry(2) | service{s}, service{s});
  using type = decltype(made);
  static_assert(type::layers.has(cleat::layer::retry) && type::layers.has(cleat::layer::shadow));
  BOOST_TEST(to_text(cleat::describe(made)) ==
             "deadline(5 s)\n"
             "shadow(64 at once)\n"
             "  primary: retry(2)\n"
             "           service\n"
             "  mirror: service\n");
}

BOOST_AUTO_TEST_CASE(conforms) {
  auto answering = [](std::string q, call c) -> task<result<std::string>> {
    auto const slept = co_await cleat::sleep_until(std::min(c.deadline(), c.now() + 1ms));
    if (!slept) co_return slept.error();
    if (c.now() >= c.deadline()) co_return failure{kind::timed_out, certainty::not_sent};
    co_return q;
  };
  auto make = [&](world&) { return shadow(answering, answering); };
  for (auto const& broken : cleat::check_service(make, "it")) BOOST_ERROR(broken);
}

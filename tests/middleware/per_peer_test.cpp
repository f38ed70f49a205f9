#define BOOST_TEST_MODULE per_peer
#include <cleat/base/scope.hpp>
#include <cleat/middleware/breaker.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/hedge.hpp>
#include <cleat/middleware/idempotent.hpp>
#include <cleat/middleware/limit.hpp>
#include <cleat/middleware/per_peer.hpp>
#include <cleat/middleware/rate.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/sim/random.hpp>
#include <cleat/sim/world.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

using cleat::call;
using cleat::certainty;
using cleat::failure;
using cleat::kind;
using cleat::per_peer;
using cleat::result;
using cleat::task;
using cleat::time_point;
using cleat::sim::world;
using namespace std::chrono_literals;

namespace {

/// A state that can be forgotten when its time has come.
class pinned {
 public:
  class settings {};
  explicit pinned(settings const& /*none*/) {}
  [[nodiscard]] bool is_forgettable(time_point now) const noexcept { return now >= until; }
  time_point until = cleat::never;
  int marked = 0;
};

constexpr time_point start{1h};

using answer = result<std::string>;

/// A service below that answers as the test says, and counts for each peer.
class peers {
 public:
  auto service() {
    return [this](std::string q, call c) -> task<answer> {
      ++asked[std::string{std::string_view{c.peer}}];
      if (q == "slow") {
        auto const slept = co_await cleat::sleep_until(c.now() + 1s);
        if (!slept) co_return slept.error();
      }
      if (q == "fails") co_return failure{kind::refused, certainty::not_sent};
      co_return "done";
    };
  }
  std::map<std::string, int> asked;
};

template <class Service>
answer ask(world& w, Service& s, std::string const& peer, std::string q,
           std::uint64_t operation = 0) {
  call c = w.new_call();
  c.peer = peer;
  if (operation != 0) c.operation = operation;
  return w.run(cleat::ask(s, std::move(q), c));
}

[[nodiscard]] bool is_refused(answer const& r, std::string_view bound) {
  return !r && r.error().why() == kind::overloaded && r.error().sure() == certainty::not_sent &&
         r.error().detail().find(bound) != std::string_view::npos &&
         r.error().detail().find("peers_max") != std::string_view::npos;
}

}  // namespace

BOOST_AUTO_TEST_CASE(each_peer_has_a_state_of_its_own_up_to_the_bound_exactly) {
  per_peer<pinned> all{{}, 3};
  for (std::string const name : {"a", "b", "c"}) {
    auto* const s = all.of(name, start);
    BOOST_REQUIRE(s != nullptr);
    BOOST_TEST(s->marked == 0);
    s->marked = name.front();
  }
  BOOST_TEST(all.of("d", start) == nullptr);
  for (std::string const name : {"a", "b", "c"}) {
    BOOST_TEST(all.of(name, start)->marked == name.front());
  }
  BOOST_TEST(all.size() == 3U);
}

BOOST_AUTO_TEST_CASE(what_can_be_forgotten_goes_first_and_of_those_what_was_asked_for_longest_ago) {
  per_peer<pinned> all{{}, 4};
  for (char const* const name : {"kept", "old", "young", "used again"}) {
    all.of(name, start)->until = start;
  }
  all.of("kept", start)->until = cleat::never;
  static_cast<void>(all.of("old", start));
  static_cast<void>(all.of("used again", start));
  static_cast<void>(all.of("young", start));
  all.of("used again", start)->marked = 1;
  all.of("young", start)->marked = 2;
  BOOST_TEST(all.of("new", start)->marked == 0);  // in the place of "old"
  BOOST_TEST(all.of("used again", start)->marked == 1);
  BOOST_TEST(all.of("young", start)->marked == 2);
  all.of("new", start)->until = cleat::never;
  all.of("newer", start)->until = cleat::never;  // in the place of "used again"
  BOOST_TEST(all.of("young", start)->marked == 2);
}

BOOST_AUTO_TEST_CASE(a_refused_peer_is_let_in_as_soon_as_one_can_be_forgotten) {
  per_peer<pinned> all{{}, 2};
  pinned* const a = all.of("a", start);
  static_cast<void>(all.of("b", start));
  BOOST_TEST(all.of("c", start) == nullptr);
  a->until = start;
  BOOST_TEST(all.of("c", start) != nullptr);
}

BOOST_AUTO_TEST_CASE(after_many_looks_in_vain_it_looks_at_all_of_them_once_in_ten_milliseconds) {
  per_peer<pinned> all{{}, 1};
  all.of("a", start)->until = start + 5ms;
  for (int i = 0; i < 20; ++i) BOOST_TEST(all.of("b", start) == nullptr);
  BOOST_TEST(all.of("b", start + 9ms) == nullptr);
  BOOST_TEST(all.of("b", start + 10ms) != nullptr);
}

namespace {

/// Counts how often it is looked at, and may not be made.
class looked_at {
 public:
  struct settings {
    int* looks;
    bool const* throws;
  };
  explicit looked_at(settings const& s) : looks_(s.looks) {
    if (*s.throws) throw std::runtime_error{"no"};
  }
  [[nodiscard]] bool is_forgettable(time_point now) const noexcept {
    ++*looks_;
    return now >= until;
  }
  time_point until = cleat::never;
  int marked = 0;

 private:
  int* looks_;
};

}  // namespace

BOOST_AUTO_TEST_CASE(eight_looks_in_vain_are_made_at_once_and_then_one_in_ten_milliseconds) {
  int looks = 0;
  bool const throws = false;
  per_peer<looked_at> all{{&looks, &throws}, 1};
  looked_at* a = all.of("a", start);
  auto const looks_at = [&](time_point now) {
    looks = 0;
    for (int i = 0; i < 20; ++i) BOOST_TEST(all.of("b", now) == nullptr);
    return looks;
  };
  BOOST_TEST(looks_at(start) == 8);
  BOOST_TEST(looks_at(start + 10ms - 1ns) == 0);
  BOOST_TEST(looks_at(start + 10ms) == 1);
  BOOST_TEST(looks_at(start + 20ms - 1ns) == 0);
  BOOST_TEST(looks_at(start + 20ms) == 1);
  a->until = start;
  a = all.of("b", start + 30ms);  // not in vain: they begin anew
  BOOST_REQUIRE(a != nullptr);
  looks = 0;
  for (int i = 0; i < 20; ++i) BOOST_TEST(all.of("c", start + 30ms) == nullptr);
  BOOST_TEST(looks == 8);
}

BOOST_AUTO_TEST_CASE(a_state_that_cannot_be_made_harms_no_other) {
  int looks = 0;
  bool throws = false;
  per_peer<looked_at> all{{&looks, &throws}, 1};
  looked_at* const a = all.of("a", start);
  a->until = start;
  a->marked = 7;
  throws = true;
  BOOST_CHECK_THROW(static_cast<void>(all.of("b", start)), std::runtime_error);
  throws = false;
  BOOST_TEST(all.size() == 0U);
  looked_at* const again = all.of("a", start);
  BOOST_TEST((all.size() == 1 && again->marked == 0));
}

BOOST_AUTO_TEST_CASE(who_is_forgotten_is_who_a_list_says) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    cleat::sim::random draw{seed};
    std::size_t const room = 1 + draw.below(4);
    per_peer<pinned> all{{}, room};
    struct known {
      std::string name;
      time_point until;
      int marked;
    };
    std::vector<known> model;  // the one that was asked for last is the last one
    time_point now = start;
    for (int step = 1; step <= 300; ++step) {
      now += 20ms;
      std::string const name(1, static_cast<char>('a' + draw.below(7)));
      auto const is = [&](known const& k) { return k.name == name; };
      auto it = std::find_if(model.begin(), model.end(), is);
      bool const met = it != model.end();
      bool fits = true;
      if (met) {
        std::rotate(it, it + 1, model.end());
      } else {
        if (model.size() == room) {
          auto const old = std::find_if(model.begin(), model.end(),
                                        [&](known const& k) { return now >= k.until; });
          fits = old != model.end();
          if (fits) model.erase(old);
        }
        if (fits) model.push_back({name, cleat::never, 0});
      }
      pinned* const s = all.of(name, now);
      BOOST_REQUIRE((s != nullptr) == fits);
      BOOST_REQUIRE(all.size() == model.size());
      if (s == nullptr) continue;
      BOOST_REQUIRE(s->marked == model.back().marked);
      s->marked = model.back().marked = step;
      s->until = model.back().until =
          draw.below(3) == 0 ? cleat::never : now + std::chrono::milliseconds{draw.below(200)};
    }
  }
}

BOOST_AUTO_TEST_CASE(says_how_much_room_there_is) {
  per_peer<pinned> const plain{{}};
  BOOST_TEST((plain.peers_max() == 10'000 && plain.size() == 0));
  per_peer<pinned> const three{{}, 3};
  BOOST_TEST((three.refusal().why() == kind::overloaded));
  BOOST_TEST((three.refusal().sure() == certainty::not_sent));
  BOOST_TEST(three.refusal().detail() ==
             "a new peer, beyond 3 that cannot be forgotten; see peers_max");
}

BOOST_AUTO_TEST_CASE(states_stay_where_they_are_when_all_are_moved) {
  per_peer<pinned> all{{}, 2};
  pinned* const a = all.of("a", start);
  per_peer<pinned> moved = std::move(all);
  BOOST_TEST(moved.of("a", start) == a);
}

BOOST_AUTO_TEST_CASE(who_comes_behind_ten_thousand_others_has_a_limit_of_its_own) {
  world w{1};
  peers p;
  auto service = cleat::limit(1) | p.service();
  for (int i = 0; i < 10'000; ++i) {
    auto const r = ask(w, service, "early" + std::to_string(i), "quick");
    BOOST_REQUIRE(r.has_value());
  }
  int ok = 0;
  auto late = [&](std::string name) -> task<> {
    call c{co_await cleat::this_chain::executor};
    c.peer = name;
    std::string q{"slow"};
    auto const r = co_await service(std::move(q), c);
    ok += r ? 1 : 0;
  };
  auto all = [&]() -> task<> {
    cleat::environment& env = co_await cleat::this_chain::environment;
    cleat::scope beside{env};
    for (int i = 0; i < 5; ++i) beside.spawn(late("late" + std::to_string(i)));
    co_await beside.join();
  };
  w.run(all());
  BOOST_TEST(ok == 5);
}

BOOST_AUTO_TEST_CASE(a_limit_refuses_a_new_peer_only_while_all_others_have_calls_under_way) {
  world w{1};
  peers p;
  auto service = cleat::limit(1).peers_max(2) | p.service();
  std::vector<std::unique_ptr<std::optional<answer>>> got;
  std::string const names[] = {"a", "b"};
  for (std::string const& name : names) {
    auto& mine = *got.emplace_back(std::make_unique<std::optional<answer>>());
    call c = w.new_call();
    c.peer = name;
    cleat::spawn(w.executor(), cleat::ask(service, std::string{"slow"}, c),
                 [&mine](std::exception_ptr, answer r) { mine = std::move(r); });
  }
  w.run_for(1ms);
  BOOST_TEST(is_refused(ask(w, service, "c", "quick"), "2"));
  BOOST_TEST(p.asked["c"] == 0);
  w.run_for(2s);
  BOOST_TEST(ask(w, service, "c", "quick").has_value());
}

namespace {

/// Asks for five peers at once, and says how many times the service below was asked for each.
template <class Layer>
std::vector<int> asked_for_five(Layer layer, std::string const& q) {
  world w{1};
  peers p;
  auto service = std::move(layer) | p.service();
  std::vector<std::string> const names{"a", "b", "c", "d", "e"};
  for (std::string const& name : names) {
    call c = w.new_call();
    c.peer = name;
    cleat::spawn(w.executor(), cleat::ask(service, q, c), [](std::exception_ptr, answer const&) {});
  }
  w.run_for(100ms);
  std::vector<int> times;
  for (std::string const& name : names) times.push_back(p.asked[name]);
  return times;
}

}  // namespace

BOOST_AUTO_TEST_CASE(each_layer_has_room_for_so_many_peers_exactly_however_else_it_is_set) {
  constexpr auto each = boost::test_tools::per_element();
  std::vector<int> const once{1, 1, 1, 0, 0};
  std::vector<int> const twice{2, 2, 2, 1, 1};
  auto const size = [](std::string const& q) { return q.size(); };
  BOOST_TEST(asked_for_five(cleat::limit(1).peers_max(3), "slow") == once, each);
  BOOST_TEST(asked_for_five(cleat::limit(1).peers_max(3).queue(2).drop_oldest(), "slow") == once,
             each);
  BOOST_TEST(asked_for_five(cleat::limit(1).queue(2).peers_max(3).bytes(99, size), "slow") == once,
             each);

  BOOST_TEST(asked_for_five(cleat::breaker().peers_max(3), "slow") == once, each);
  BOOST_TEST(asked_for_five(cleat::breaker().failures(1).peers_max(3), "fails") == once, each);
  BOOST_TEST(
      asked_for_five(cleat::breaker().peers_max(3).ratio(0.5).open_for(1s).trials(2).failures(2),
                     "fails") == once,
      each);

  BOOST_TEST(asked_for_five(cleat::rate(1).peers_max(3), "quick") == once, each);
  BOOST_TEST(
      asked_for_five(cleat::rate(1).peers_max(3).burst(1).waiting_max(5).reject(), "quick") == once,
      each);

  BOOST_TEST(asked_for_five(cleat::idempotent().peers_max(3), "quick") == once, each);
  BOOST_TEST(
      asked_for_five(cleat::idempotent().peers_max(3).keeps(1s).answers_max(1), "slow") == once,
      each);

  cleat::retry_budget::settings one;
  one.deposit = 0;
  one.floor = 1;
  auto const soon = cleat::backoff::full_jitter(1ms, 1ms);
  BOOST_TEST(asked_for_five(cleat::retry(3).wait(soon).peers_max(3).budget(one), "fails") == twice,
             each);
  BOOST_TEST(asked_for_five(cleat::retry(3).budget(one).peers_max(3).wait(soon), "fails") == twice,
             each);

  BOOST_TEST(asked_for_five(cleat::hedge().after(1ms).peers_max(3).budget(one), "slow") == twice,
             each);
  BOOST_TEST(asked_for_five(cleat::hedge().budget(one).peers_max(3).after(1ms), "slow") == twice,
             each);
}

BOOST_AUTO_TEST_CASE(no_room_for_any_peer_is_room_for_one) {
  per_peer<pinned> all{{}, 0};
  BOOST_TEST(all.peers_max() == 1U);
  BOOST_TEST(all.of("a", start) != nullptr);
  BOOST_TEST(all.of("b", start) == nullptr);
}

BOOST_AUTO_TEST_CASE(going_through_many_names_opens_no_breaker_and_fills_no_bucket) {
  world w{1};
  peers p;
  auto guarded = cleat::breaker().failures(1).open_for(1h, 1h).peers_max(3) | p.service();
  auto paced = cleat::rate(1, 1h).burst(1).reject().peers_max(3) | p.service();
  BOOST_TEST(!ask(w, guarded, "victim", "fails").has_value());
  BOOST_TEST(ask(w, paced, "victim", "quick").has_value());
  for (int i = 0; i < 100; ++i) {
    BOOST_TEST(ask(w, guarded, "name" + std::to_string(i), "quick").has_value());
    auto const r = ask(w, paced, "name" + std::to_string(i), "quick");
    BOOST_TEST((i < 2 ? r.has_value() : is_refused(r, "3")));
  }
  auto const open = ask(w, guarded, "victim", "quick");
  BOOST_TEST((!open && open.error().detail() == "breaker open after 1 failure: refused"));
  BOOST_TEST(!ask(w, paced, "victim", "quick").has_value());
  w.run_for(1h);
  BOOST_TEST(ask(w, paced, "name50", "quick").has_value());
}

BOOST_AUTO_TEST_CASE(
    a_breaker_makes_room_for_new_peers_when_those_in_trouble_are_not_asked_any_more) {
  world w{1};
  peers p;
  auto service = cleat::breaker().failures(2).open_for(1s, 6s).peers_max(2) | p.service();
  BOOST_TEST(!ask(w, service, "failed once", "fails").has_value());
  for (int i = 0; i < 2; ++i) BOOST_TEST(!ask(w, service, "open", "fails").has_value());
  w.run_for(59s);
  BOOST_TEST(is_refused(ask(w, service, "new", "quick"), "2"));
  w.run_for(1s);
  BOOST_TEST(ask(w, service, "new", "quick").has_value());  // in the place of "failed once"
  BOOST_TEST(!ask(w, service, "new", "fails").has_value());
  BOOST_TEST(is_refused(ask(w, service, "newer", "quick"), "2"));
  w.run_for(1s);
  BOOST_TEST(ask(w, service, "newer", "quick").has_value());  // in the place of "open"
}

BOOST_AUTO_TEST_CASE(going_through_many_names_carries_nothing_out_twice) {
  world w{1};
  peers p;
  auto service = cleat::idempotent().keeps(10s).peers_max(2) | p.service();
  BOOST_TEST(ask(w, service, "victim", "quick", 7).has_value());
  BOOST_TEST(ask(w, service, "other", "quick", 7).has_value());
  for (int i = 0; i < 50; ++i) {
    BOOST_TEST(is_refused(ask(w, service, "name" + std::to_string(i), "quick", 7), "2"));
  }
  BOOST_TEST(ask(w, service, "victim", "quick", 7).has_value());
  BOOST_TEST(p.asked["victim"] == 1);
  w.run_for(10s);
  BOOST_TEST(ask(w, service, "name", "quick", 7).has_value());
}

BOOST_AUTO_TEST_CASE(a_new_peer_without_a_budget_is_asked_once) {
  world w{1};
  peers p;
  cleat::retry_budget::settings one;
  one.deposit = 0;
  one.floor = 1;
  auto service =
      cleat::retry(3).wait(cleat::backoff::full_jitter(1ms, 1ms)).budget(one).peers_max(1) |
      p.service();
  BOOST_TEST(!ask(w, service, "a", "fails").has_value());  // uses its budget up
  BOOST_TEST(p.asked["a"] == 2);
  BOOST_TEST(!ask(w, service, "b", "fails").has_value());
  BOOST_TEST(p.asked["b"] == 1);
  w.run_for(1s);
  BOOST_TEST(!ask(w, service, "b", "fails").has_value());
  BOOST_TEST(p.asked["b"] == 3);
}

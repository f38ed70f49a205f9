#define BOOST_TEST_MODULE canary
#include <cleat/conformance/service.hpp>
#include <cleat/middleware/canary.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/sim/world.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

using cleat::action;
using cleat::call;
using cleat::canary;
using cleat::certainty;
using cleat::failure;
using cleat::kind;
using cleat::result;
using cleat::share;
using cleat::task;
using cleat::sim::world;
using namespace std::chrono_literals;

namespace {

auto answering(std::string with) {
  return [with](std::string q, call c) -> task<result<std::string>> {
    auto const slept = co_await cleat::sleep_until(std::min(c.deadline(), c.now() + 1ms));
    if (!slept) co_return slept.error();
    if (c.now() >= c.deadline()) co_return failure{kind::timed_out, certainty::not_sent};
    co_return with + " " + q;
  };
}

std::string key(std::uint64_t n) { return "lamp " + std::to_string(n); }

share::settings allowing(std::uint32_t parts, std::vector<std::string> allow,
                         std::vector<std::string> deny) {
  share::settings s;
  s.parts = parts;
  s.allow = std::move(allow);
  s.deny = std::move(deny);
  return s;
}

struct watcher {
  using listens_to = cleat::event_list<cleat::layer_acted>;
  void on(cleat::layer_acted const& e) noexcept { taken += e.what == action::canary_taken ? 1 : 0; }
  int taken = 0;
};

template <class Service>
std::string ask(world& time, Service& service, std::string_view peer) {
  call c = time.new_call();
  c.peer = peer;
  return *time.run(cleat::ask(service, std::string{"it"}, c));
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_key_has_the_same_place_in_every_process_and_on_every_platform) {
  share const plain{0};
  BOOST_TEST(plain.place_of("") == 9576U);
  BOOST_TEST(plain.place_of("lamp 1") == 675U);
  BOOST_TEST(plain.place_of("lamp 2") == 7467U);
  share::settings s;
  s.salt = 42;
  share const salted{s};
  BOOST_TEST(salted.place_of("lamp 1") == 265U);
}

BOOST_AUTO_TEST_CASE(whoever_is_in_a_share_stays_in_it_while_it_grows) {
  share part{0};
  std::vector<bool> before(10'000, false);
  for (std::uint32_t const parts : {0U, 1U, 10U, 100U, 500U, 2'500U, 5'000U, 9'999U, 10'000U}) {
    part.set(parts);
    for (std::size_t i = 0; i < before.size(); ++i) {
      bool const now = part.holds(key(i));
      BOOST_REQUIRE(now >= before[i]);
      before[i] = now;
    }
  }
  BOOST_TEST(std::count(before.begin(), before.end(), true) == 10'000);
}

BOOST_AUTO_TEST_CASE(a_share_of_the_keys_is_what_was_asked_for) {
  for (std::uint64_t const salt : {0U, 1U, 2U}) {
    for (std::uint32_t const parts : {0U, 100U, 1'000U, 2'500U, 5'000U, 9'000U, 10'000U}) {
      share::settings s;
      s.parts = parts;
      s.salt = salt;
      share const part{s};
      int held = 0;
      for (std::uint64_t i = 0; i < 10'000; ++i) held += part.holds(key(i)) ? 1 : 0;
      BOOST_TEST(std::abs(held - static_cast<int>(parts)) <= 100);
      held = 0;
      for (std::uint64_t i = 0; i < 10'000; ++i) held += part.holds(i) ? 1 : 0;
      BOOST_TEST(std::abs(held - static_cast<int>(parts)) <= 100);
    }
  }
}

BOOST_AUTO_TEST_CASE(shares_with_different_salts_are_independent) {
  share::settings s;
  s.parts = 5'000;
  share const a{s};
  s.salt = 1;
  share const b{s};
  int both = 0;
  for (std::uint64_t i = 0; i < 10'000; ++i) both += a.holds(key(i)) && b.holds(key(i)) ? 1 : 0;
  BOOST_TEST(std::abs(both - 2'500) <= 100);
}

BOOST_AUTO_TEST_CASE(some_are_always_in_and_some_never_and_never_is_the_stronger) {
  share part{allowing(0, {"in", "both"}, {"out", "both", "7"})};
  BOOST_TEST(part.holds("in"));
  BOOST_TEST(!part.holds("out"));
  BOOST_TEST(!part.holds("both"));
  BOOST_TEST(!part.holds("neither"));
  part.set(share::whole);
  BOOST_TEST(part.holds("in"));
  BOOST_TEST(!part.holds("out"));
  BOOST_TEST(!part.holds("both"));
  BOOST_TEST(part.holds("neither"));
  BOOST_TEST(!part.holds(std::uint64_t{7}));
  BOOST_TEST(part.holds(std::uint64_t{8}));
}

BOOST_AUTO_TEST_CASE(a_number_is_its_decimal_text) {
  share part{0};
  for (std::uint64_t const n : {std::uint64_t{0}, std::uint64_t{42}, UINT64_MAX}) {
    std::uint32_t const place = part.place_of(std::to_string(n));
    part.set(place);
    BOOST_TEST(!part.holds(n));
    part.set(place + 1);
    BOOST_TEST(part.holds(n));
  }
}

BOOST_AUTO_TEST_CASE(more_than_the_whole_is_refused_in_a_sentence) {
  auto const says = [](std::invalid_argument const& e) {
    return std::string_view{e.what()} ==
           "a share is given in hundredths of a per cent, from 0 to 10000, and cannot be 10001";
  };
  BOOST_CHECK_EXCEPTION(share{10'001}, std::invalid_argument, says);
  BOOST_CHECK_EXCEPTION(share{allowing(10'001, {}, {})}, std::invalid_argument, says);
  share part{25};
  BOOST_CHECK_EXCEPTION(part.set(10'001), std::invalid_argument, says);
  BOOST_TEST(part.parts() == 25U);
}

BOOST_AUTO_TEST_CASE(each_peer_is_sent_where_the_share_says) {
  world time{1};
  watcher w;
  auto part = std::make_shared<share>(5'000);
  auto service = cleat::observe(w) | canary(answering("stable"), answering("candidate"), part);
  int candidates = 0;
  for (std::uint64_t i = 0; i < 100; ++i) {
    std::string const peer = key(i);
    bool const taken = part->holds(peer);
    candidates += taken ? 1 : 0;
    BOOST_TEST(ask(time, service, peer) == (taken ? "candidate it" : "stable it"));
    BOOST_TEST(ask(time, service, peer) == (taken ? "candidate it" : "stable it"));
  }
  BOOST_TEST(w.taken == 2 * candidates);
  part->set(0);
  BOOST_TEST(ask(time, service, "lamp 1") == "stable it");
  part->set(share::whole);
  BOOST_TEST(ask(time, service, "lamp 1") == "candidate it");
}

BOOST_AUTO_TEST_CASE(another_key_may_decide_as_text_or_as_a_number) {
  world time{1};
  auto part = std::make_shared<share>(allowing(0, {"it", "5"}, {}));
  auto by_request = canary(answering("stable"), answering("candidate"), part,
                           [](std::string const& q, call const&) { return q; });
  auto by_number = canary(answering("stable"), answering("candidate"), part,
                          [](std::string const&, call const& c) { return c.peer.size(); });
  BOOST_TEST(ask(time, by_request, "someone") == "candidate it");
  BOOST_TEST(ask(time, by_number, "lamps") == "candidate it");
  BOOST_TEST(ask(time, by_number, "lamp") == "stable it");
}

BOOST_AUTO_TEST_CASE(services_of_different_kinds_are_one) {
  world time{1};
  watcher w;
  auto part = std::make_shared<share>(allowing(0, {"new"}, {}));
  // `observe` gives something else than a task.
  auto service = cleat::allow<cleat::order_rule::observe_inside_others>(cleat::retry(2)) |
                 canary(answering("stable"), cleat::observe(w) | answering("candidate"), part);
  BOOST_TEST(ask(time, service, "new") == "candidate it");
  BOOST_TEST(ask(time, service, "old") == "stable it");
}

BOOST_AUTO_TEST_CASE(says_what_it_is_made_of) {
  auto part = std::make_shared<share>(500);
  auto service = canary(cleat::retry(2) | answering(""), cleat::deadline(1s) | answering(""), part);
  using type = decltype(service);
  static_assert(type::layers.has(cleat::layer::retry) && type::layers.has(cleat::layer::deadline) &&
                type::layers.has(cleat::layer::canary));
  BOOST_TEST(to_text(cleat::describe(service)) ==
             "canary(5 %)\n"
             "  stable: retry(2)\n"
             "          a function\n"
             "  candidate: deadline(1 s)\n"
             "             a function\n");
  auto const percent = [&](std::uint32_t parts) {
    part->set(parts);
    return service.describe().what;
  };
  BOOST_TEST(percent(0) == "canary(0 %)");
  BOOST_TEST(percent(5) == "canary(0.05 %)");
  BOOST_TEST(percent(1) == "canary(0.01 %)");
  BOOST_TEST(percent(9) == "canary(0.09 %)");
  BOOST_TEST(percent(10) == "canary(0.1 %)");
  BOOST_TEST(percent(11) == "canary(0.11 %)");
  BOOST_TEST(percent(50) == "canary(0.5 %)");
  BOOST_TEST(percent(99) == "canary(0.99 %)");
  BOOST_TEST(percent(100) == "canary(1 %)");
  BOOST_TEST(percent(101) == "canary(1.01 %)");
  BOOST_TEST(percent(525) == "canary(5.25 %)");
  BOOST_TEST(percent(10'000) == "canary(100 %)");
}

BOOST_AUTO_TEST_CASE(conforms) {
  auto make = [](world&) {
    return canary(answering("stable"), answering("candidate"), std::make_shared<share>(5'000),
                  [](std::string const&, call const& c) { return c.operation; });
  };
  for (auto const& broken : cleat::check_service(make, "it")) BOOST_ERROR(broken);
}

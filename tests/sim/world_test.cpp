#define BOOST_TEST_MODULE sim_world
// Time, randomness and the end of a world.
#include <cleat/base/event.hpp>
#include <cleat/sim/world.hpp>
#include <cleat/transport/tcp.hpp>

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using cleat::task;
using cleat::sim::stuck;
using cleat::sim::world;

namespace {

task<int> after(world& w, cleat::duration wait, int value) {
  static_cast<void>(co_await cleat::sleep_until(w.now() + wait));
  co_return value;
}

task<> never_ends() {
  cleat::event nothing;
  static_cast<void>(co_await nothing.wait());
}

task<> turns_on_the_spot(world& w) {
  for (;;) {
    cleat::event over;
    over.set();
    static_cast<void>(co_await over.wait());
    static_cast<void>(co_await boost::asio::post(w.executor(), cleat::use_task));
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_year_less_a_day_takes_no_time) {
  world w{1};
  BOOST_TEST(w.run(after(w, 24h * 364, 5)) == 5);
  BOOST_TEST((w.elapsed() == 24h * 364));
}

BOOST_AUTO_TEST_CASE(the_seed_decides_what_the_library_draws) {
  auto const drawn = [](std::uint64_t seed) {
    world w{seed};
    return w.new_call().operation;
  };
  BOOST_TEST(drawn(1) == drawn(1));
  BOOST_TEST(drawn(1) != drawn(2));
}

BOOST_AUTO_TEST_CASE(run_for_lets_exactly_so_much_time_pass) {
  world w{1};
  int got = 0;
  w.spawn([](world& in, int& out) -> task<> { out = co_await after(in, 10s, 7); }(w, got));
  w.run_for(9s);
  BOOST_TEST(got == 0);
  BOOST_TEST((w.elapsed() == 9s));
  w.run_for(1s);
  BOOST_TEST(got == 7);
  BOOST_TEST((w.elapsed() == 10s));
  BOOST_TEST(w.leftovers().empty());
}

BOOST_AUTO_TEST_CASE(who_waits_for_nothing_is_named) {
  world w{1};
  BOOST_CHECK_EXCEPTION(w.run(never_ends()), stuck, [](stuck const& s) {
    return std::string{s.what()}.find("never_ends") != std::string::npos;
  });
  std::vector<std::string> const left = w.leftovers();
  BOOST_TEST(left.size() == 1U);
  BOOST_TEST(left.at(0).find("1 chains still live") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(who_turns_on_the_spot_is_stopped) {
  world w{1};
  BOOST_CHECK_THROW(w.run(turns_on_the_spot(w)), stuck);
}

BOOST_AUTO_TEST_CASE(who_turns_on_the_spot_is_stopped_beside_others_too) {
  world w{1};
  w.spawn(turns_on_the_spot(w));
  BOOST_CHECK_THROW(w.run_for(1s), stuck);
  BOOST_CHECK_THROW(w.run(after(w, cleat::duration{}, 1)), stuck);
}

BOOST_AUTO_TEST_CASE(a_world_goes_on_after_somebody_was_stuck) {
  world w{1};
  cleat::event event;
  auto const waits = [](cleat::event& e) -> task<int> {
    static_cast<void>(co_await e.wait());
    co_return 1;
  };
  BOOST_CHECK_THROW(w.run(waits(event)), stuck);
  event.set();
  w.run_for(1s);
  BOOST_TEST(w.leftovers().empty());
}

BOOST_AUTO_TEST_CASE(who_is_not_done_in_time_is_stopped) {
  world w{1};
  w.limit(1h);
  BOOST_CHECK_THROW(w.run(after(w, 2h, 1)), stuck);
}

BOOST_AUTO_TEST_CASE(what_a_task_throws_is_thrown) {
  world w{1};
  auto const breaks = []() -> task<int> {
    throw std::logic_error{"broken"};
    co_return 1;
  };
  BOOST_CHECK_THROW(w.run(breaks()), std::logic_error);
}

BOOST_AUTO_TEST_CASE(a_history_tells_what_happened_last_and_hashes_everything) {
  world a{1};
  world b{1};
  for (int i = 0; i < 100; ++i) a.note("step", "me", static_cast<std::uint64_t>(i));
  for (int i = 0; i < 99; ++i) b.note("step", "me", static_cast<std::uint64_t>(i));
  BOOST_TEST(a.history().hash() != b.history().hash());
  b.note("step", "me", 99);
  BOOST_TEST(a.history().hash() == b.history().hash());
  std::ostringstream text;
  a.history().write_last(text);
  std::string const lines = text.str();
  BOOST_TEST(std::count(lines.begin(), lines.end(), '\n') ==
             static_cast<long>(cleat::sim::history::kept));
}

BOOST_AUTO_TEST_CASE(over_loopback_sockets_are_real_and_time_is_not) {
  world w{1, cleat::sim::medium::loopback};
  bool const said = w.run([](world& in) -> task<bool> {
    auto& net = cleat::network::of(in.executor());
    auto listener = net.listen(in.executor(), "127.0.0.1", 0);
    auto mine = co_await net.dial("127.0.0.1", listener->port(), {}, in.now() + 10s);
    auto theirs = co_await listener->accept();
    static_cast<void>(co_await cleat::sleep_until(in.now() + 24h));
    std::byte const x{1};
    cleat::bytes_view const one{&x, 1};
    static_cast<void>(mine->write(std::span{&one, 1}));
    static_cast<void>(co_await theirs->readable());
    std::byte got{};
    auto const n = theirs->read(std::span{&got, 1});
    co_return n && *n == 1 && got == x;
  }(w));
  BOOST_TEST(said);
  BOOST_TEST((w.elapsed() >= 24h));
}

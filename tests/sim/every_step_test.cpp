#define BOOST_TEST_MODULE every_step
// Client, server, retry, deadline and a session in use, over both mediums: with each I/O operation in turn failing,
// cancelled at each suspension, and with their world destroyed at each.
#include "house.hpp"

#include <cleat/base/event.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/runtime/server.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <deque>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using cleat::certainty;
using cleat::environment;
using cleat::failure;
using cleat::kind;
using cleat::result;
using cleat::scope;
using cleat::task;
using cleat::sim::every_step_options;
using cleat::sim::every_step_report;
using cleat::sim::io;
using cleat::sim::medium;
using cleat::sim::rerun;
using cleat::sim::stepped_scenario;
using cleat::test::answer;
using cleat::test::asked;
using cleat::test::deeds;
using cleat::test::house;
using toggle::device_mode;
using toggle::message;

namespace {

// ---- calls of a connection each --------------------------------------------------------------------

/// One call through `client`, which is what is looked at.
template <class Client>
task<> one_call(rerun& r, house& h, Client& client, asked& first,
                std::optional<kind> its_own_failure) {
  environment& env = co_await cleat::this_chain::environment;
  scope beside{env};
  beside.spawn(h.serve());
  auto asking = cleat::ask(client, first.request(), first.c);
  auto const a = co_await r.subject(std::move(asking));
  first.ended(a);
  if (its_own_failure) first.ended_by_itself_or_cancelled(*its_own_failure);
  r.calm();
  bool const answers = co_await h.answers_the_next_call();
  r.expect(answers, "the next call to the same device succeeds");
  co_await h.settle();
  first.is_true_of(h.did());
  h.device().stop();
  co_await beside.join();
}

task<> client_scenario(rerun& r) {
  house h{r, {device_mode::ok}};
  auto client = h.line();
  asked first{r, "first", 5s, false};
  co_await one_call(r, h, client, first, kind::invalid);
}

task<> deadline_scenario(rerun& r) {
  house h{r, {device_mode::timeout, device_mode::ok}};
  auto client = cleat::deadline(2s) | h.line();
  asked first{r, "first", 2s};
  co_await one_call(r, h, client, first, kind::timed_out);
}

task<> retry_scenario(rerun& r) {
  house h{r, {device_mode::reject, device_mode::timeout, device_mode::ok}};
  auto client = cleat::deadline(10s) | cleat::retry(3).per_attempt(1500ms) | h.line();
  asked first{r, "first", 10s};
  co_await one_call(r, h, client, first, kind::timed_out);
}

task<> careful_retry_scenario(rerun& r) {
  house h{r, {device_mode::nack_retryable, device_mode::ok}};
  auto client = cleat::deadline(10s) | cleat::retry(3).per_attempt(1500ms) | h.line();
  asked first{r, "first", 10s, false};
  co_await one_call(r, h, client, first, kind::invalid);
}

/// A device that treats the first connection in this way.
task<> mode_scenario(rerun& r, device_mode mode) {
  house h{r, {mode, device_mode::ok}};
  auto client = cleat::deadline(3s) | cleat::retry(2).per_attempt(1200ms) | h.line();
  asked first{r, "first", 3s, false};
  co_await one_call(r, h, client, first, std::nullopt);
}

// ---- a server --------------------------------------------------------------------------------------

task<> ask(house& h, asked& what) {
  auto client = h.line();
  auto const a = co_await client(what.request(), what.c);
  what.ended(a);
}

class three_calls {
 public:
  explicit three_calls(rerun& r, std::string const& suffix = {})
      : first{r, "first" + suffix, 5s},
        second{r, "second" + suffix, 5s},
        third{r, "third" + suffix, 20s} {}

  void are_true_of(deeds const& did) const {
    for (asked const* each : {&first, &second, &third}) each->is_true_of(did);
  }

  asked first;
  asked second;
  asked third;
};

/// Two calls beside each other and one after them; then one that must succeed, and no more.
task<> customers(rerun& r, house& h, three_calls& calls) {
  environment& env = co_await cleat::this_chain::environment;
  scope beside{env};
  beside.spawn(ask(h, calls.first));
  beside.spawn(ask(h, calls.second));
  co_await beside.join();
  co_await ask(h, calls.third);
  r.calm();
  bool const answers = co_await h.answers_the_next_call();
  r.expect(answers || r.cancelled(), "the next call to the same device succeeds");
  h.device().stop();
}

void is_the_end_of_a_server(rerun& r, failure const& why) {
  r.expect(why.why() == kind::shut_down || (r.cancelled() && why.why() == kind::cancelled),
           "a server runs until it is stopped or cancelled", why.message());
}

/// The device is what is looked at: it serves until it is stopped, whatever becomes of a connection.
task<> server_scenario(rerun& r) {
  house h{r, {device_mode::ok}};
  three_calls calls{r};
  environment& env = co_await cleat::this_chain::environment;
  scope beside{env};
  beside.spawn(customers(r, h, calls));
  auto serving = h.device().run();
  failure const why = co_await r.subject(std::move(serving));
  is_the_end_of_a_server(r, why);
  co_await beside.join();
  co_await h.settle();
  calls.are_true_of(h.did());
}

// ---- a session that is used at both ends -------------------------------------------------------------

/// The devices' protocol, in which the state of "news" is a push.
class talk : public toggle::protocol {
 public:
  talk() noexcept : protocol(toggle::protocol_options{}) {}

  [[nodiscard]] cleat::relation relate(message const& m) const noexcept {
    bool const is_news = m.op == toggle::opcode::status && m.device_id->view() == "news";
    return is_news ? cleat::relation{cleat::role::push} : toggle::protocol::relate(m);
  }
};

using session = cleat::session<talk, cleat::any_stream>;

task<> run_one(session& s) { static_cast<void>(co_await s.run()); }

/// Carries out what it is asked, "first" later, so that answers overtake each other.
task<result<message>> carry_out(message m, rerun& r, deeds& did) {
  auto const name = std::string{m.device_id->view()};
  auto const takes = name.starts_with("first") ? 15ms : 0ms;
  auto const slept = co_await cleat::sleep_until(r.world().now() + takes);
  if (!slept) co_return slept.error();
  did.done(name);
  co_return message::ack(m, true);
}

/// Two ends that ask each other, what they did, and how it ended.
class party {
 public:
  explicit party(rerun& r) : run(r), calls(r), listener_(listening(r)) {}

  [[nodiscard]] cleat::server server() {
    return {std::move(listener_), [this](cleat::any_stream s) { return host(std::move(s)); }};
  }

  /// The one that accepted: pushes twice, asks once, and answers until the connection ends.
  task<> host(cleat::any_stream stream) {
    session s{std::move(stream), talk{}};
    s.serve = [this](message m) { return carry_out(std::move(m), run, host_did); };
    environment& env = co_await cleat::this_chain::environment;
    scope beside{env};
    beside.spawn(run_one(s));
    for (std::string_view const id : {"1", "2"})
      static_cast<void>(s.send(message::status("news", id)));
    asked& back = asked_back.emplace_back(run, "guest" + std::to_string(asked_back.size()), 3s);
    auto const a = co_await s.call(back.request(), back.c);
    back.ended(a);
    co_await beside.join();
  }

  /// The one that dialled: asks three things at once, waits for the news, and closes.
  task<> guest(std::uint16_t port, three_calls& all, std::size_t& heard) {
    cleat::tcp const there{"127.0.0.1", port};
    auto stream = co_await there.dial(all.first.c);
    if (!stream) {
      for (asked* each : {&all.first, &all.second, &all.third}) each->ended(stream.error());
      co_return;
    }
    session s{std::move(*stream), talk{}};
    s.serve = [this](message m) { return carry_out(std::move(m), run, guest_did); };
    environment& env = co_await cleat::this_chain::environment;
    scope beside{env};
    beside.spawn(run_one(s));
    scope asking{env};
    for (asked* each : {&all.first, &all.second, &all.third}) asking.spawn(ask(s, *each));
    co_await asking.join();
    for (heard = 0; heard < 2; ++heard) {
      auto const one = co_await s.next_push(run.world().now() + 1s);
      if (!one) break;
    }
    s.close();
    auto const guard = co_await cleat::this_chain::shield;
    co_await beside.join();
  }

  /// Over a sound network everything succeeds, once early jumps are forgiven.
  task<bool> succeeds(std::uint16_t port) {
    for (int tries = 0; tries < 3; ++tries) {
      three_calls again{run, " again " + std::to_string(tries)};
      std::size_t heard = 0;
      co_await guest(port, again, heard);
      if (again.first.succeeded() && again.second.succeeded() && again.third.succeeded() &&
          heard == 2)
        co_return true;
    }
    co_return false;
  }

  void is_true() const {
    calls.are_true_of(host_did);
    for (asked const& each : asked_back) each.is_true_of(guest_did);
  }

  rerun& run;
  deeds host_did;
  deeds guest_did;
  three_calls calls;
  std::deque<asked> asked_back;
  std::size_t news = 0;

 private:
  static task<> ask(session& s, asked& what) {
    auto const a = co_await s.call(what.request(), what.c);
    what.ended(a);
  }
  static cleat::any_listener listening(rerun& r) {
    auto& net = cleat::network::of(r.world().executor());
    auto made = net.listen(r.world().executor(), "127.0.0.1", 0);
    if (!made) made = net.listen(r.world().executor(), "127.0.0.1", 0);
    return std::move(*made);
  }

  cleat::any_listener listener_;
};

task<> serve(rerun& r, cleat::server& s) {
  failure const why = co_await s.run();
  r.expect(why.why() == kind::shut_down, "a server runs until it is stopped", why.message());
}

task<> guest_scenario(rerun& r) {
  party p{r};
  auto server = p.server();
  environment& env = co_await cleat::this_chain::environment;
  scope beside{env};
  beside.spawn(serve(r, server));
  auto visiting = p.guest(server.port(), p.calls, p.news);
  co_await r.subject(std::move(visiting));
  for (asked const* each : {&p.calls.first, &p.calls.second, &p.calls.third})
    each->ended_by_itself_or_cancelled(kind::invalid);
  if (r.untouched()) r.expect(p.news == 2, "every push arrives");
  r.calm();
  bool const well = co_await p.succeeds(server.port());
  r.expect(well, "the next session succeeds");
  server.stop();
  co_await beside.join();
  p.is_true();
}

task<> guests(rerun& r, party& p, cleat::server& server) {
  co_await p.guest(server.port(), p.calls, p.news);
  r.calm();
  bool const well = co_await p.succeeds(server.port());
  r.expect(well || r.cancelled(), "the next session succeeds");
  server.stop();
}

task<> host_scenario(rerun& r) {
  party p{r};
  auto server = p.server();
  environment& env = co_await cleat::this_chain::environment;
  scope beside{env};
  beside.spawn(guests(r, p, server));
  auto serving = server.run();
  failure const why = co_await r.subject(std::move(serving));
  is_the_end_of_a_server(r, why);
  co_await beside.join();
  p.is_true();
}

// ---- each of them, at every step ---------------------------------------------------------------------

struct named_scenario {
  char const* name;
  task<> (*run)(rerun&);
  bool to_be_cancelled_only = false;  ///< otherwise the same as another one
};

constexpr std::array all_scenarios{
    named_scenario{"client", client_scenario},
    named_scenario{"deadline", deadline_scenario},
    named_scenario{"retry", retry_scenario},
    named_scenario{"retry of what must not be repeated", careful_retry_scenario},
    named_scenario{"server", server_scenario},
    named_scenario{"session, by who dialled", guest_scenario},
    named_scenario{"session, by who accepted", host_scenario, true},
};

using harness = every_step_report (*)(stepped_scenario const&, every_step_options const&);

void over_one_medium(harness all_steps, std::string const& how, every_step_options const& options,
                     bool everything_fails) {
  std::string const over = options.over == medium::simulated ? ", simulated" : ", loopback";
  std::string steps;
  std::array<std::uint64_t, cleat::sim::ios.size()> failed{};
  for (auto const& each : all_scenarios) {
    if (each.to_be_cancelled_only && all_steps != cleat::sim::cancel_at_every_step) continue;
    auto const report = all_steps(each.run, options);
    BOOST_TEST_CONTEXT(each.name << over) {
      BOOST_TEST(report.steps >= 5U);
      for (auto const& sentence : report.broken) BOOST_ERROR(sentence);
    }
    steps += std::string{"; "} + each.name + ": " + std::to_string(report.steps);
    for (io const o : cleat::sim::ios) failed[static_cast<std::size_t>(o)] += report.failed(o);
  }
  BOOST_TEST_MESSAGE(how << over << steps);
  if (!everything_fails) return;
  for (io const o : cleat::sim::ios)
    BOOST_TEST(failed[static_cast<std::size_t>(o)] > 0U, "no " << to_string(o) << " failed");
}

void over_both_mediums(harness all_steps, std::string const& how, every_step_options options,
                       bool everything_fails) {
  for (medium const over : {medium::simulated, medium::loopback}) {
    options.over = over;
    over_one_medium(all_steps, how, options, everything_fails);
  }
}

every_step_options in_pieces() {
  every_step_options o;
  o.fault.bytes_at_once = 40;
  return o;
}

}  // namespace

BOOST_AUTO_TEST_CASE(each_operation_in_turn_fails_and_every_promise_is_kept) {
  over_one_medium(cleat::sim::fail_at_every_operation, "failed", {}, false);
  over_both_mediums(cleat::sim::fail_at_every_operation, "failed in pieces", in_pieces(), true);
}

BOOST_AUTO_TEST_CASE(each_operation_in_turn_is_done_and_then_the_stream_breaks) {
  every_step_options o;
  o.fault.afterwards = true;
  over_both_mediums(cleat::sim::fail_at_every_operation, "failed afterwards", o, false);
}

BOOST_AUTO_TEST_CASE(each_operation_in_turn_fails_for_other_reasons) {
  every_step_options o;
  o.fault.stream = kind::closed;
  o.fault.accept = kind::reset;
  o.fault.dial = kind::unreachable;
  over_one_medium(cleat::sim::fail_at_every_operation, "failed otherwise", o, false);
}

BOOST_AUTO_TEST_CASE(each_suspension_in_turn_is_cancelled_and_every_promise_is_kept) {
  over_one_medium(cleat::sim::cancel_at_every_step, "cancelled", {}, false);
  over_both_mediums(cleat::sim::cancel_at_every_step, "cancelled in pieces", in_pieces(), false);
}

BOOST_AUTO_TEST_CASE(whatever_a_device_does_every_promise_is_kept) {
  std::string steps;
  for (device_mode const mode : toggle::device_modes) {
    auto const scenario = [mode](rerun& r) { return mode_scenario(r, mode); };
    steps += std::string{"; "} + std::string{to_string(mode)} + ":";
    for (harness const all_steps :
         {cleat::sim::fail_at_every_operation, cleat::sim::cancel_at_every_step,
          cleat::sim::destroy_at_every_step}) {
      auto const report = all_steps(scenario, {});
      BOOST_TEST(report.steps > 5U);
      for (auto const& sentence : report.broken) BOOST_ERROR(to_string(mode) << ": " << sentence);
      steps += ' ' + std::to_string(report.steps);
    }
  }
  BOOST_TEST_MESSAGE("failed, cancelled, destroyed, simulated" << steps);
}

BOOST_AUTO_TEST_CASE(a_world_may_be_destroyed_after_any_step) {
  over_both_mediums(cleat::sim::destroy_at_every_step, "destroyed", in_pieces(), false);
}

// ---- the harnesses find what they are for ------------------------------------------------------------

namespace {

/// What the harness says of it, or nothing.
std::string said_of(harness all_steps, task<> (*scenario)(rerun&)) {
  auto const report = all_steps(scenario, {});
  return report.broken.empty() ? std::string{} : report.broken.front();
}

bool has(std::string const& text, std::string_view part) {
  bool const found = text.find(part) != std::string::npos;
  BOOST_TEST(found, "it says: " << text);
  return found;
}

task<> nap(rerun& r) { static_cast<void>(co_await cleat::sleep_until(r.world().now() + 1s)); }

task<> dials_once(rerun& r) {
  auto& net = cleat::network::of(r.world().executor());
  auto const there = net.listen(r.world().executor(), "127.0.0.1", 0);
  if (!there) co_return;
  auto dialling = net.dial("127.0.0.1", there->port(), {}, r.world().now() + 1s);
  auto const stream = co_await std::move(dialling);
  r.expect(stream.has_value(), "the dial succeeds");
}

task<> waits_for_nothing_if_cancelled(rerun& r) {
  co_await r.subject(nap(r));
  cleat::event never_set;
  if (r.cancelled()) static_cast<void>(co_await never_set.wait());
}

task<> shielded_nap(rerun& r) {
  auto const guard = co_await cleat::this_chain::shield;
  co_await nap(r);
}

task<> takes_its_time(rerun& r) { co_await r.subject(shielded_nap(r)); }

task<> leaves_a_chain(rerun& r) {
  auto const long_nap = [](rerun& in) -> task<> {
    static_cast<void>(co_await cleat::sleep_until(in.world().now() + 1h));
  };
  co_await r.subject(nap(r));
  if (r.cancelled()) r.world().spawn(long_nap(r));
}

task<> throws_if_cancelled(rerun& r) {
  co_await r.subject(nap(r));
  if (r.cancelled()) throw std::runtime_error{"too late"};
}

task<> leaks_a_listener(rerun& r) {
  static cleat::any_listener* kept = nullptr;
  auto made = cleat::network::of(r.world().executor()).listen(r.world().executor(), "127.0.0.1", 0);
  if (kept == nullptr) kept = new cleat::any_listener{std::move(*made)};
  co_return;
}

task<> goes_on_for_ever(rerun& r) {
  for (;;) co_await nap(r);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_promise_that_a_failing_operation_breaks_is_said_with_that_operation) {
  has(said_of(cleat::sim::fail_at_every_operation, dials_once),
      "with operation 2, a dial of network, failing: not kept: the dial succeeds");
}

BOOST_AUTO_TEST_CASE(who_never_ends_once_cancelled_is_said_with_the_step_and_the_place) {
  auto const said = said_of(cleat::sim::cancel_at_every_step, waits_for_nothing_if_cancelled);
  has(said, "cancelled after 0 steps: everybody waits, and for nothing");
  has(said, "waits_for_nothing_if_cancelled");
}

BOOST_AUTO_TEST_CASE(who_takes_time_to_end_once_cancelled_is_said_with_that_time) {
  has(said_of(cleat::sim::cancel_at_every_step, takes_its_time),
      "cancelled after 0 steps: not kept: a cancelled chain ends in time: it took 1000 ms");
  every_step_options o;
  o.cancelled_within = 1s;
  BOOST_TEST(cleat::sim::cancel_at_every_step(takes_its_time, o).broken.empty());
}

BOOST_AUTO_TEST_CASE(a_chain_that_is_left_over_is_said) {
  has(said_of(cleat::sim::cancel_at_every_step, leaves_a_chain), "1 chains still live");
}

BOOST_AUTO_TEST_CASE(what_a_scenario_throws_is_said) {
  has(said_of(cleat::sim::cancel_at_every_step, throws_if_cancelled), "thrown: too late");
}

BOOST_AUTO_TEST_CASE(an_end_that_is_left_open_is_said) {
  auto const said = said_of(cleat::sim::destroy_at_every_step, leaks_a_listener);
  has(said, "destroyed after 1 steps: not kept: every stream and every listener is destroyed");
}

BOOST_AUTO_TEST_CASE(a_scenario_without_an_end_is_given_up) {
  every_step_options o;
  o.runs_max = 20;
  auto const report = cleat::sim::destroy_at_every_step(goes_on_for_ever, o);
  BOOST_REQUIRE(report.broken.size() == 1U);
  has(report.broken.front(), "after 20 runs there is no end of steps");
}

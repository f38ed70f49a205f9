#define BOOST_TEST_MODULE persistent
// In simulated worlds, against a device that is served by the library's own session; and at every step, over real
// sockets too.
#include "../sim/house.hpp"

#include <cleat/conformance/service.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/observe/observe.hpp>
#include <cleat/runtime/persistent.hpp>
#include <cleat/runtime/server.hpp>
#include <cleat/service/any_service.hpp>
#include <cleat/sim/every_step.hpp>
#include <cleat/sim/world.hpp>
#include <cleat/transport/memory.hpp>
#include <cleat/transport/tcp.hpp>
#include <toggle/device_mode.hpp>
#include <toggle/protocol.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using cleat::any_stream;
using cleat::certainty;
using cleat::failure;
using cleat::kind;
using cleat::result;
using cleat::task;
using cleat::tcp;
using cleat::sim::dial_fate;
using cleat::sim::medium;
using cleat::sim::rerun;
using cleat::sim::world;
using cleat::test::asked;
using cleat::test::house;
using toggle::device_mode;
using toggle::message;
using toggle::protocol;
using toggle::request;
using namespace std::chrono_literals;

namespace {

using reply = result<toggle::response>;
using service = cleat::persistent_service<protocol, tcp>;

static_assert(cleat::Service<service>);
static_assert(std::is_nothrow_move_constructible_v<service>);

// ---- the other side ----------------------------------------------------------------------------------

/// A device that answers on every connection as long as the connection is there. What is asked of a
/// name that begins with "silent" it never answers, and of one with "slow" after 100 ms.
class device {
 public:
  explicit device(world& w, std::string const& host = "lamp", std::uint16_t port = 9000)
      : world_(w),
        server_(cleat::network::of(w.executor()).listen(w.executor(), host, port).value(),
                [this](any_stream s) { return visit(std::move(s)); }) {}

  task<> run() { static_cast<void>(co_await server_.run()); }
  void stop() { server_.stop(); }
  [[nodiscard]] std::uint16_t port() const { return server_.port(); }

  /// Closes all connections, in good order.
  void hang_up() {
    for (session* const s : std::vector{open_}) s->close();
  }
  [[nodiscard]] std::size_t connected() const { return open_.size(); }
  [[nodiscard]] bool has_heard(std::string_view name) const {
    return std::find(heard.begin(), heard.end(), name) != heard.end();
  }

  std::size_t connections_made = 0;
  std::vector<std::string> heard;
  /// So many requests it carries out, and then closes instead of answering.
  int hang_ups = 0;

 private:
  using session = cleat::session<protocol, any_stream>;

  task<> visit(any_stream stream) {
    ++connections_made;
    session speaks{std::move(stream), protocol{}};
    speaks.serve = [this, &speaks](message m) { return answer(std::move(m), speaks); };
    open_.push_back(&speaks);
    static_cast<void>(co_await speaks.run());
    std::erase(open_, &speaks);
  }

  task<result<message>> answer(message m, session& in) {
    std::string const name{m.device_id->view()};
    heard.push_back(name);
    if (name.starts_with("silent")) co_return failure{kind::cancelled};
    if (name.starts_with("slow")) {
      auto const slept = co_await cleat::sleep_until(world_.now() + 100ms);
      if (!slept) co_return slept.error();
    }
    if (hang_ups > 0) {
      --hang_ups;
      in.close();
      co_return failure{kind::closed};
    }
    co_return message::ack(m, true);
  }

  world& world_;
  cleat::server server_;
  std::vector<session*> open_;
};

/// Runs one that goes with its world, wherever that goes.
task<> run_device(world& w, std::string host, std::uint16_t port, device*& out) {
  device it{w, host, port};
  out = &it;
  co_await it.run();
}

// ---- who listens -------------------------------------------------------------------------------------

/// Writes down the events, a word each.
class diary {
 public:
  using listens_to =
      cleat::event_list<cleat::attempt_started, cleat::attempt_ended, cleat::connect_ended,
                        cleat::frame_sent, cleat::frame_received, cleat::answer_missing,
                        cleat::session_ended>;

  void on(cleat::attempt_started const&) noexcept { note("attempt", nullptr); }
  void on(cleat::attempt_ended const& e) noexcept {
    note("end", e.error);
    attempt_took = e.elapsed;
  }
  void on(cleat::connect_ended const& e) noexcept {
    note("connect", e.error);
    address = e.address;
    peer = e.of.peer;
    connect_took = e.elapsed;
  }
  void on(cleat::frame_sent const& e) noexcept { note("sent", e.error); }
  void on(cleat::frame_received const& e) noexcept { note("received", e.error); }
  void on(cleat::answer_missing const& e) noexcept { note("missing", &e.why); }
  void on(cleat::session_ended const& e) noexcept { note("session", &e.why); }

  /// What was written since the last time.
  std::string take() { return std::exchange(text_, {}); }

  std::string address;
  std::string peer;
  cleat::duration attempt_took{};
  cleat::duration connect_took{};

 private:
  void note(std::string_view word, failure const* error) {
    if (!text_.empty()) text_ += ' ';
    text_ += word;
    if (error != nullptr) {
      text_ += ':';
      text_ += cleat::to_string(error->why());
    }
  }

  std::string text_;
};

// ---- who asks ----------------------------------------------------------------------------------------

/// One call, on a chain of its own. It has begun.
class asking {
 public:
  template <class Service>
  asking(world& w, Service& through, std::string const& name, cleat::call const& c)
      : state_(std::make_shared<state>()), began_(w.now()) {
    auto done = [state = state_, &w](std::exception_ptr, reply r) {
      state->outcome.emplace(std::move(r));
      state->ended = w.now();
    };
    cleat::spawn(w.executor(), ask(through, request::turn(name, true), c),
                 asio::bind_cancellation_slot(state_->signal.slot(), done));
    w.run_for(0s);
  }

  void cancel() { state_->signal.emit(asio::cancellation_type::terminal); }

  [[nodiscard]] bool has_ended() const { return state_->outcome.has_value(); }
  [[nodiscard]] bool succeeded() const { return has_ended() && state_->outcome->has_value(); }
  [[nodiscard]] cleat::duration took() const { return state_->ended - began_; }
  [[nodiscard]] reply const& outcome() const { return state_->outcome.value(); }
  void fails_as(kind why, certainty sure) const {
    BOOST_REQUIRE(has_ended());
    BOOST_REQUIRE(!succeeded());
    failure const f = outcome().error();
    BOOST_TEST_CONTEXT(f.message()) {
      BOOST_TEST((f.why() == why));
      BOOST_TEST((f.sure() == sure));
    }
  }

 private:
  struct state {
    std::optional<reply> outcome;
    cleat::time_point ended{};
    asio::cancellation_signal signal;
  };
  template <class Service>
  static task<reply> ask(Service& through, request q, cleat::call c) {
    auto r = co_await through(std::move(q), c);
    co_return r;
  }

  std::shared_ptr<state> state_;
  cleat::time_point began_;
};

/// A device called lamp, a millisecond away, and a line to it. At the end nothing is left over.
class home {
 public:
  explicit home(cleat::session_options options = {}) : it(w) {
    cleat::sim::conditions even;
    even.latency_min = even.latency_max = 1ms;
    w.network().set(even);
    w.spawn(it.run());
    options.events = &events_of_the_line;
    options.peer = "the lamp";
    line.emplace(to_the_lamp().with(options));
    settle();
    chains_before = chains();
  }
  ~home() {
    line.reset();
    w.network().calm();
    it.stop();
    w.run_for(1min);
    for (auto const& left : w.leftovers()) BOOST_ERROR(left);
  }

  static service to_the_lamp() { return cleat::persistent<protocol>(tcp{"lamp", 9000}); }

  [[nodiscard]] cleat::call new_call(cleat::duration limit = 1h) {
    auto c = w.new_call();
    c.tighten(w.now() + limit);
    c.events = &events_of_the_calls;
    return c;
  }
  asking ask(std::string const& name, cleat::duration limit = 1h) {
    return {w, *line, name, new_call(limit)};
  }
  /// All that can happen at this moment has happened.
  void settle() { w.run_for(0s); }
  [[nodiscard]] std::size_t chains() { return cleat::chain_count(w.context); }

  world w{1};
  device it;
  diary book;      // of the calls
  diary log_book;  // of the line
  cleat::tee<diary> events_of_the_calls{book};
  cleat::tee<diary> events_of_the_line{log_book};
  std::optional<service> line;
  std::size_t chains_before = 0;
};

}  // namespace

// ---- one connection for all ------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(the_first_call_dials_and_later_ones_use_the_same_connection) {
  home h;
  h.w.run_for(1s);
  BOOST_TEST(h.it.connections_made == 0U);
  for (int i = 0; i < 3; ++i) {
    auto const c = h.ask("x");
    h.w.run_for(1s);
    BOOST_TEST(c.succeeded());
    BOOST_TEST((c.took() == (i == 0 ? 4ms : 2ms)));
  }
  BOOST_TEST(h.it.connections_made == 1U);
  BOOST_TEST(h.it.connected() == 1U);
}

BOOST_AUTO_TEST_CASE(calls_that_begin_while_it_dials_go_with_the_same_connection) {
  home h;
  std::deque<asking> all;
  for (int i = 0; i < 5; ++i) all.push_back(h.ask(std::to_string(i)));
  h.w.run_for(1ms);
  for (int i = 5; i < 10; ++i) all.push_back(h.ask(std::to_string(i)));
  h.w.run_for(1s);
  for (int i = 0; i < 10; ++i) {
    BOOST_REQUIRE(all[static_cast<std::size_t>(i)].succeeded());
    BOOST_TEST(all[static_cast<std::size_t>(i)].outcome()->device_id.view() == std::to_string(i));
  }
  BOOST_TEST(h.it.connections_made == 1U);
  BOOST_TEST(
      (h.it.heard == std::vector<std::string>{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}));
}

BOOST_AUTO_TEST_CASE(many_calls_are_under_way_at_once_and_their_answers_overtake_each_other) {
  home h;
  std::deque<asking> all;
  for (int i = 0; i < 400; ++i)
    all.push_back(h.ask((i % 2 == 0 ? "slow " : "quick ") + std::to_string(i)));
  h.w.run_for(50ms);
  for (std::size_t i = 0; i < all.size(); ++i) BOOST_TEST(all[i].has_ended() == (i % 2 != 0));
  h.w.run_for(1s);
  for (std::size_t i = 0; i < all.size(); ++i) {
    BOOST_REQUIRE(all[i].succeeded());
    BOOST_TEST(all[i].outcome()->device_id.view().ends_with(' ' + std::to_string(i)));
  }
  BOOST_TEST(h.it.connections_made == 1U);
}

BOOST_AUTO_TEST_CASE(who_has_its_answer_may_ask_again_at_once) {
  home h;
  auto again_and_again = [](service& line, cleat::call c, int& answered) -> task<> {
    for (; answered < 10; ++answered) {
      auto const r = co_await line(request::turn("x", true), c);
      if (!r) break;
    }
  };
  int answered = 0;
  h.w.run(again_and_again(*h.line, h.new_call(), answered));
  BOOST_TEST(answered == 10);
  BOOST_TEST(h.it.connections_made == 1U);
}

BOOST_AUTO_TEST_CASE(it_may_be_moved_before_its_first_call_and_between_calls) {
  home h;
  service moved{*std::move(h.line)};
  h.line.reset();
  asking const first{h.w, moved, "x", h.new_call()};
  h.w.run_for(1s);
  service again{std::move(moved)};
  asking const second{h.w, again, "x", h.new_call()};
  h.w.run_for(1s);
  BOOST_TEST(first.succeeded());
  BOOST_TEST(second.succeeded());
  BOOST_TEST(h.it.connections_made == 1U);
}

BOOST_AUTO_TEST_CASE(a_request_that_cannot_be_written_harms_nobody_else) {
  home h;
  auto const bad = h.ask("");
  auto const good = h.ask("x");
  h.w.run_for(1s);
  bad.fails_as(kind::invalid, certainty::not_sent);
  BOOST_TEST(good.succeeded());
  BOOST_TEST(h.it.connections_made == 1U);
}

BOOST_AUTO_TEST_CASE(the_bounds_of_the_session_hold_while_it_dials) {
  cleat::session_options few;
  few.calls_max = 2;
  few.waiting_max = 1;
  home h{few};
  std::deque<asking> all;
  for (int i = 0; i < 4; ++i) all.push_back(h.ask(std::to_string(i)));
  h.w.run_for(1s);
  for (std::size_t i = 0; i < 3; ++i) BOOST_TEST(all[i].succeeded());
  all[3].fails_as(kind::overloaded, certainty::not_sent);
}

// ---- dialling ----------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_dial_that_fails_fails_all_that_wait_and_the_next_call_dials_again) {
  home h;
  h.w.network().script_dials("lamp", {dial_fate::refuse});
  auto const first = h.ask("x");
  auto const second = h.ask("x");
  h.w.run_for(1s);
  first.fails_as(kind::refused, certainty::not_sent);
  second.fails_as(kind::refused, certainty::not_sent);
  BOOST_TEST(h.chains() == h.chains_before);

  auto const next = h.ask("x");
  h.w.run_for(1s);
  BOOST_TEST(next.succeeded());
  BOOST_TEST((h.it.heard == std::vector<std::string>{"x"}));
}

BOOST_AUTO_TEST_CASE(a_name_without_an_address_is_unresolved_each_time) {
  home h;
  service nobody = cleat::persistent<protocol>(tcp{"nobody", 9000});
  for (int i = 0; i < 2; ++i) {
    asking const c{h.w, nobody, "x", h.new_call()};
    h.w.run_for(1s);
    c.fails_as(kind::unresolved, certainty::not_sent);
  }
}

BOOST_AUTO_TEST_CASE(a_call_that_is_cancelled_while_it_dials_is_withdrawn_and_the_others_go_on) {
  home h;
  auto const before = h.ask("before");
  auto given_up = h.ask("given up");
  auto const after = h.ask("after");
  h.w.run_for(1ms);
  given_up.cancel();
  h.settle();
  given_up.fails_as(kind::cancelled, certainty::not_sent);
  BOOST_TEST(!before.has_ended());
  h.w.run_for(1s);
  BOOST_TEST(before.succeeded());
  BOOST_TEST(after.succeeded());
  BOOST_TEST((h.it.heard == std::vector<std::string>{"before", "after"}));
}

BOOST_AUTO_TEST_CASE(a_connection_that_everybody_gave_up_waiting_for_is_there_for_the_next_call) {
  home h;
  auto given_up = h.ask("given up");
  given_up.cancel();
  h.w.run_for(1s);
  given_up.fails_as(kind::cancelled, certainty::not_sent);
  auto const next = h.ask("next");
  h.w.run_for(1s);
  BOOST_TEST((next.took() == 2ms));
  BOOST_TEST((h.it.heard == std::vector<std::string>{"next"}));
}

BOOST_AUTO_TEST_CASE(the_deadline_of_a_call_holds_while_it_dials_and_the_others_go_on) {
  home h;
  cleat::sim::conditions far;
  far.latency_min = far.latency_max = 500ms;
  h.w.network().set(far);
  auto const patient = h.ask("patient");
  auto const hasty = h.ask("hasty", 300ms);
  h.w.run_for(3s);
  hasty.fails_as(kind::timed_out, certainty::not_sent);
  BOOST_TEST((hasty.took() == 300ms));
  BOOST_TEST(patient.succeeded());
  BOOST_TEST((h.it.heard == std::vector<std::string>{"patient"}));
}

BOOST_AUTO_TEST_CASE(
    a_call_whose_deadline_has_passed_and_one_that_is_cancelled_already_send_nothing) {
  home h;
  auto const late = h.ask("late", 0s);
  late.fails_as(kind::timed_out, certainty::not_sent);
  auto cancelled_at_once = [](service& line, cleat::call c) -> task<reply> {
    auto const ready = co_await cleat::sleep_until(c.now() + 1s);
    BOOST_TEST(!ready.has_value());
    auto r = co_await line(request::turn("cancelled", true), c);
    co_return r;
  };
  asio::cancellation_signal signal;
  std::optional<reply> outcome;
  auto done = [&](std::exception_ptr, reply r) { outcome.emplace(std::move(r)); };
  cleat::spawn(h.w.executor(), cancelled_at_once(*h.line, h.new_call()),
               asio::bind_cancellation_slot(signal.slot(), done));
  signal.emit(asio::cancellation_type::terminal);
  h.w.run_for(2s);
  BOOST_REQUIRE(outcome.has_value());
  BOOST_TEST((outcome->error().why() == kind::cancelled));
  BOOST_TEST((outcome->error().sure() == certainty::not_sent));
  BOOST_TEST(h.it.heard.empty());
}

BOOST_AUTO_TEST_CASE(connecting_ends_at_its_limit_for_all_that_wait) {
  home h;
  for (auto const& [limit, line] :
       {std::pair<cleat::duration, service>{10s, h.to_the_lamp()},
        std::pair<cleat::duration, service>{2s, h.to_the_lamp().connect_within(2s)}}) {
    h.w.network().script_dials("lamp", {dial_fate::hang});
    auto& through = const_cast<service&>(line);
    asking const first{h.w, through, "first", h.new_call()};
    h.w.run_for(1s);
    asking const second{h.w, through, "second", h.new_call()};
    h.w.run_for(limit - 1s - 1ns);
    BOOST_TEST(!first.has_ended());
    h.w.run_for(1ns);
    first.fails_as(kind::timed_out, certainty::not_sent);
    second.fails_as(kind::timed_out, certainty::not_sent);
    BOOST_TEST((first.took() == limit));
    asking const next{h.w, through, "next", h.new_call()};
    h.w.run_for(1s);
    BOOST_TEST(next.succeeded());
  }
}

// ---- dialers that take no time -------------------------------------------------------------------------

namespace {

/// Gives one end of a pair in memory at once, or fails at once, or throws.
class dialer_in_memory {
 public:
  using stream_type = cleat::memory_stream;
  enum class fate { connects, fails, throws };

  dialer_in_memory(std::deque<fate>* script, std::vector<cleat::memory_stream>* ends)
      : script_(script), ends_(ends) {}

  task<result<stream_type>> dial(cleat::call const&) const {
    fate const f = script_->front();
    script_->pop_front();
    if (f == fate::throws) throw std::runtime_error{"no memory"};
    if (f == fate::fails) co_return failure{kind::refused, certainty::not_sent};
    auto const executor = co_await cleat::this_chain::executor;
    auto [near, far] = cleat::memory_pair(executor);
    ends_->push_back(std::move(far));
    co_return std::move(near);
  }
  [[nodiscard]] std::string address() const { return "memory"; }

 private:
  std::deque<fate>* script_;
  std::vector<cleat::memory_stream>* ends_;
};

task<> answer_all(cleat::memory_stream end) {
  cleat::session<protocol, cleat::memory_stream> speaks{std::move(end), protocol{}};
  speaks.serve = [](message m) -> task<result<message>> { co_return message::ack(m, true); };
  static_cast<void>(co_await speaks.run());
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_dial_may_succeed_fail_or_throw_at_once) {
  using fate = dialer_in_memory::fate;
  home h;
  std::deque<fate> script{fate::fails, fate::throws, fate::connects};
  std::vector<cleat::memory_stream> ends;
  std::optional line{cleat::persistent<protocol>(dialer_in_memory{&script, &ends})};

  asking const failing{h.w, *line, "x", h.new_call()};
  h.settle();
  failing.fails_as(kind::refused, certainty::not_sent);

  std::optional<reply> outcome;
  auto ask = [](auto& through, cleat::call c, std::optional<reply>& out) -> task<> {
    auto r = co_await through(request::turn("x", true), c);
    out.emplace(std::move(r));
  };
  h.w.spawn(ask(*line, h.new_call(), outcome));
  BOOST_CHECK_THROW(h.settle(), std::runtime_error);  // whoever runs the loop has to know
  h.settle();
  BOOST_REQUIRE(outcome.has_value());
  BOOST_TEST((outcome->error().why() == kind::shut_down));
  BOOST_TEST((outcome->error().sure() == certainty::not_sent));

  asking const working{h.w, *line, "x", h.new_call()};
  BOOST_REQUIRE(ends.size() == 1U);
  h.w.spawn(answer_all(std::move(ends.front())));
  h.settle();
  BOOST_TEST(working.succeeded());
  line.reset();
}

// ---- the end of a connection -------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(when_the_peer_closes_calls_under_way_fail_and_the_next_one_connects_again) {
  home h;
  auto const first = h.ask("silent");
  auto const second = h.ask("slow");
  h.w.run_for(20ms);
  h.it.hang_up();
  h.w.run_for(20ms);
  first.fails_as(kind::closed, certainty::maybe_executed);
  second.fails_as(kind::closed, certainty::maybe_executed);
  BOOST_TEST(h.chains() == h.chains_before);
  auto const next = h.ask("next");
  h.w.run_for(1s);
  BOOST_TEST(next.succeeded());
  BOOST_TEST(h.it.connections_made == 2U);
}

BOOST_AUTO_TEST_CASE(
    when_the_connection_breaks_calls_under_way_fail_and_the_next_one_connects_again) {
  home h;
  auto const c = h.ask("silent");
  h.w.run_for(20ms);
  h.w.network().reset("lamp");
  h.w.run_for(20ms);
  c.fails_as(kind::reset, certainty::maybe_executed);
  auto const next = h.ask("next");
  h.w.run_for(1s);
  BOOST_TEST(next.succeeded());
  BOOST_TEST(h.it.connections_made == 2U);
}

BOOST_AUTO_TEST_CASE(a_connection_that_is_closed_while_idle_costs_the_next_call_no_failure) {
  home h;
  auto const first = h.ask("x");
  h.w.run_for(1s);
  BOOST_TEST(h.chains() > h.chains_before);
  h.it.hang_up();
  h.w.run_for(1s);
  BOOST_TEST(h.chains() == h.chains_before);
  BOOST_TEST(h.w.network().open_ends() == 0U);
  auto const next = h.ask("x");
  h.w.run_for(1s);
  BOOST_TEST(next.succeeded());
  BOOST_TEST(h.it.connections_made == 2U);
}

BOOST_AUTO_TEST_CASE(with_retry_above_it_connects_again_and_succeeds) {
  home h;
  auto steady = cleat::retry(3) | *std::move(h.line);
  h.it.hang_ups = 1;
  h.w.network().script_dials("lamp", {dial_fate::refuse});
  // Refused, closed while it waited for the answer, answered.
  asking const c{h.w, steady, "x", h.new_call()};
  h.w.run_for(5s);
  BOOST_TEST(c.succeeded());
  BOOST_TEST(h.it.connections_made == 2U);
  BOOST_TEST((h.it.heard == std::vector<std::string>{"x", "x"}));
}

BOOST_AUTO_TEST_CASE(retry_does_not_repeat_what_must_not_be_repeated) {
  home h;
  auto steady = cleat::retry(3) | *std::move(h.line);
  h.it.hang_ups = 1;
  auto once = h.new_call();
  once.repeatable = false;
  asking const c{h.w, steady, "x", once};
  h.w.run_for(5s);
  c.fails_as(kind::closed, certainty::maybe_executed);
  BOOST_TEST(h.it.heard.size() == 1U);
}

BOOST_AUTO_TEST_CASE(a_peer_that_falls_silent_is_given_up_after_so_many_unanswered_requests) {
  cleat::session_options impatient;
  impatient.unanswered_max = 2;
  home h{impatient};
  auto const first = h.ask("x");
  h.w.run_for(1s);
  h.w.network().vanish("lamp");
  for (int i = 0; i < 3; ++i) {
    auto const c = h.ask("x", 1s);
    h.w.run_for(1s);
    c.fails_as(kind::timed_out, certainty::maybe_executed);
  }
  auto const next = h.ask("x", 1s);
  h.w.run_for(1s);
  BOOST_TEST(next.succeeded());
  BOOST_TEST(h.it.connections_made == 2U);
}

BOOST_AUTO_TEST_CASE(a_call_that_is_given_up_leaves_the_connection_to_the_others) {
  home h;
  auto cancelled = h.ask("silent 1");
  auto const expired = h.ask("silent 2", 50ms);
  auto const good = h.ask("slow");
  h.w.run_for(20ms);
  cancelled.cancel();
  h.w.run_for(1s);
  cancelled.fails_as(kind::cancelled, certainty::maybe_executed);
  expired.fails_as(kind::timed_out, certainty::maybe_executed);
  BOOST_TEST(good.succeeded());
  BOOST_TEST(h.it.connections_made == 1U);
}

// ---- the end of the service ----------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(destroying_it_closes_an_idle_connection) {
  home h;
  auto const c = h.ask("x");
  h.w.run_for(1s);
  BOOST_TEST(h.it.connected() == 1U);
  h.line.reset();
  h.w.run_for(1s);
  BOOST_TEST(h.it.connected() == 0U);
  BOOST_TEST(h.chains() == h.chains_before);
  BOOST_TEST(h.w.network().open_ends() == 0U);
}

BOOST_AUTO_TEST_CASE(destroying_it_while_it_dials_ends_the_dial) {
  home h;
  h.w.network().script_dials("lamp", {dial_fate::hang});
  auto const c = h.ask("x");
  h.w.run_for(1s);
  h.line.reset();
  h.settle();
  c.fails_as(kind::shut_down, certainty::not_sent);
  BOOST_TEST(h.chains() == h.chains_before);
  BOOST_TEST(h.log_book.take() == "session:shut_down");
}

BOOST_AUTO_TEST_CASE(destroying_it_ends_the_calls_that_are_under_way) {
  home h;
  auto const c = h.ask("silent");
  h.w.run_for(1s);
  h.line.reset();
  h.settle();
  c.fails_as(kind::shut_down, certainty::maybe_executed);
  BOOST_TEST(h.chains() == h.chains_before + 1);  // the device has not heard of it yet
  h.w.run_for(1s);
  BOOST_TEST(h.chains() == h.chains_before);
}

BOOST_AUTO_TEST_CASE(who_has_its_answer_may_destroy_it_at_once) {
  home h;
  auto last_call = [](std::optional<service>& line, cleat::call c) -> task<bool> {
    auto const r = co_await (*line)(request::turn("x", true), c);
    line.reset();
    co_return r.has_value();
  };
  auto const other = h.ask("silent");
  BOOST_TEST(h.w.run(last_call(h.line, h.new_call())));
  h.settle();
  other.fails_as(kind::shut_down, certainty::maybe_executed);
}

namespace {

/// A device on this machine or in the simulation, a line to it, and three calls on their way.
class three_calls_in {
 public:
  explicit three_calls_in(medium m) : w(std::make_unique<world>(1, m)) {
    std::string const host = "127.0.0.1";
    w->spawn(run_device(*w, host, 0, it));
    w->run_for(0s);
    auto made = cleat::persistent<protocol>(tcp{host, it->port()});
    line = std::make_unique<service>(std::move(made));
    for (auto const* name : {"x", "slow", "silent"}) w->spawn(ask(name));
  }
  bool step() { return w->step(); }

  std::unique_ptr<world> w;
  device* it = nullptr;
  int ended = 0;
  std::unique_ptr<service> line;

 private:
  task<> ask(std::string name) {
    auto c = w->new_call();
    c.tighten(w->now() + 1s);
    if (line) static_cast<void>(co_await (*line)(request::turn(name, true), c));
    ++ended;
  }
};

constexpr std::array mediums{medium::simulated, medium::loopback};

}  // namespace

BOOST_AUTO_TEST_CASE(it_may_be_destroyed_after_any_step_and_leaves_nothing) {
  for (medium const m : mediums) {
    bool goes_on = true;
    std::size_t steps = 0;
    for (; goes_on; ++steps) {
      three_calls_in there{m};
      for (std::size_t i = 0; i < steps && goes_on; ++i) goes_on = there.step();
      there.line.reset();
      there.w->run_for(100ms);
      BOOST_TEST(there.ended == 3);
      there.it->stop();
      there.w->run_for(1s);
      for (auto const& left : there.w->leftovers())
        BOOST_ERROR("destroyed after " << steps << " steps: " << left);
    }
    BOOST_TEST(steps > 10U);
  }
}

BOOST_AUTO_TEST_CASE(its_execution_context_may_go_first_after_any_step) {
  for (medium const m : mediums) {
    bool goes_on = true;
    std::size_t steps = 0;
    for (; goes_on; ++steps) {
      three_calls_in there{m};
      for (std::size_t i = 0; i < steps && goes_on; ++i) goes_on = there.step();
      there.w.reset();
      there.line.reset();
    }
    BOOST_TEST(steps > 10U);
  }
}

BOOST_AUTO_TEST_CASE(after_one_execution_context_it_may_be_used_on_another) {
  service line = home::to_the_lamp();
  for (int i = 0; i < 2; ++i) {
    world w{1};
    device* it = nullptr;
    w.spawn(run_device(w, "lamp", 9000, it));
    auto c = w.new_call();
    c.tighten(w.now() + 1h);
    asking const quick{w, line, "x", c};
    asking const slow{w, line, "silent", c};
    w.run_for(1s);
    BOOST_TEST(quick.succeeded());
    BOOST_TEST(!slow.has_ended());
  }
}

// ---- events --------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(each_call_is_one_attempt_and_each_dial_is_told_to_the_events_of_the_line) {
  home h;
  auto const first = h.ask("x");
  h.w.run_for(1s);
  BOOST_TEST(h.book.take() == "attempt sent received end");
  BOOST_TEST((h.book.attempt_took == 4ms));
  BOOST_TEST(h.log_book.take() == "connect");
  BOOST_TEST(h.log_book.address == "lamp:9000");
  BOOST_TEST(h.log_book.peer == "the lamp");
  BOOST_TEST((h.log_book.connect_took == 2ms));

  auto const second = h.ask("x");
  h.w.run_for(1s);
  BOOST_TEST(h.book.take() == "attempt sent received end");
  BOOST_TEST(h.log_book.take().empty());

  h.it.hang_up();
  h.w.run_for(1s);
  BOOST_TEST(h.log_book.take() == "session:closed");
  BOOST_TEST(h.book.take().empty());
}

BOOST_AUTO_TEST_CASE(a_call_that_fails_is_one_attempt_too) {
  home h;
  h.w.network().script_dials("lamp", {dial_fate::refuse});
  auto const refused = h.ask("x");
  h.w.run_for(1s);
  BOOST_TEST(h.book.take() == "attempt sent:refused end:refused");
  BOOST_TEST(h.log_book.take() == "connect:refused session:refused");

  auto const late = h.ask("x", 0s);
  BOOST_TEST(h.book.take() == "attempt end:timed_out");
  auto given_up = h.ask("x");
  given_up.cancel();
  h.w.run_for(1s);
  BOOST_TEST(h.book.take() == "attempt end:cancelled");
  auto const expired = h.ask("silent", 1s);
  h.w.run_for(1s);
  BOOST_TEST(h.book.take() == "attempt sent missing:timed_out end:timed_out");
  auto const invalid = h.ask("");
  BOOST_TEST(h.book.take() == "attempt end:invalid");
}

// ---- the kit for services --------------------------------------------------------------------------------
// One promise of `Service` does not fit by design: that nothing that a call started outlives it. The connection does.
// The kit knows services that keep connections: of them it wants no more chains after any call than after one that
// went well. (It takes a chain that lives for a call that goes on, and does not destroy such a service; that is tested
// above.)

namespace {

template <class Over>
void conforms(Over over) {
  device* it = nullptr;
  cleat::service_check how;
  how.silence = [](world& w) { w.network().cut("lamp"); };
  how.acted = [&] { return it->heard.size(); };
  auto make = [&](world& w) {
    w.spawn(run_device(w, "lamp", 9000, it));
    return over(home::to_the_lamp());
  };
  for (auto const& broken : cleat::check_service(make, request::turn("x", true), how))
    BOOST_ERROR(broken);
}

}  // namespace

BOOST_AUTO_TEST_CASE(conforms_to_the_kit_for_services) {
  conforms([](auto line) { return line; });
  conforms([](auto line) {
    return cleat::any_service<request, toggle::response>{
        cleat::deadline(5s) | cleat::retry(3).per_attempt(1500ms) | std::move(line)};
  });
}

// ---- at every step ---------------------------------------------------------------------------------------

namespace {

/// Two calls one after the other are looked at; a third one goes on beside them, and then the next one succeeds. They all
/// succeed if nothing is done to them and the device is a good one.
template <class Client>
task<> conversation(rerun& r, house& h, std::optional<Client> line, bool repeatable, bool good) {
  asked first{r, "first", 5s, repeatable};
  asked second{r, "second", 5s, repeatable};
  asked third{r, "third", 5s, repeatable};
  auto one = [](Client& through, asked& what) -> task<> {
    auto const a = co_await through(what.request(), what.c);
    what.ended(a);
  };
  auto two = [](Client& through, asked& a, asked& b) -> task<> {
    auto const of_a = co_await through(a.request(), a.c);
    a.ended(of_a);
    auto const of_b = co_await through(b.request(), b.c);
    b.ended(of_b);
  };
  cleat::environment& env = co_await cleat::this_chain::environment;
  cleat::scope beside{env};
  beside.spawn(h.serve());
  cleat::scope other{env};
  other.spawn(one(*line, third));
  auto looked_at = two(*line, first, second);
  co_await r.subject(std::move(looked_at));
  co_await other.join();
  bool const exact = good && r.over() == medium::simulated;  // otherwise time may jump early
  if (r.cancelled() && exact)
    r.expect(third.succeeded(), "cancelling some calls leaves the others alone");
  if (r.untouched() && exact)
    r.expect(first.succeeded() && second.succeeded(), "what nothing is done to succeeds");

  r.calm();
  bool answered = false;
  for (int tries = 0; tries < 4 && !answered; ++tries) {
    auto c = r.world().new_call();
    c.tighten(c.now() + 3s);
    auto const a = co_await (*line)(request::turn("next", true), c);
    answered = a.has_value();
  }
  r.expect(answered, "the next call succeeds");
  line.reset();
  co_await h.settle();
  for (asked const* each : {&first, &second, &third}) each->is_true_of(h.did());
  h.device().stop();
  co_await beside.join();
}

/// A peer that leaves anything unanswered is given up at once.
service line_to(house& h) {
  cleat::session_options options;
  options.unanswered_max = 0;
  return cleat::persistent<protocol>(tcp{"127.0.0.1", h.device().port()})
      .connect_within(2s)
      .with(options);
}

task<> plain_scenario(rerun& r) {
  house h{r, {device_mode::ok}};
  std::optional<service> line{cleat::persistent<protocol>(tcp{"127.0.0.1", h.device().port()})};
  co_await conversation(r, h, std::move(line), false, true);
}

/// A device that treats the first connection in this way.
task<> retry_scenario(rerun& r, device_mode first) {
  house h{r, {first, device_mode::ok}};
  std::optional client{cleat::retry(3).per_attempt(1200ms) | line_to(h)};
  co_await conversation(r, h, std::move(client), true, first == device_mode::disconnect);
}

using harness = cleat::sim::every_step_report (*)(cleat::sim::stepped_scenario const&,
                                                  cleat::sim::every_step_options const&);

void keeps_its_promises(harness at_every_step, cleat::sim::stepped_scenario const& of,
                        cleat::sim::every_step_options options, std::string const& name) {
  for (medium const over : mediums) {
    options.over = over;
    auto const report = at_every_step(of, options);
    BOOST_TEST(report.steps >= 4U);
    for (auto const& sentence : report.broken)
      BOOST_ERROR(name << (over == medium::simulated ? ", simulated: " : ", loopback: ")
                       << sentence);
    BOOST_TEST_MESSAGE(name << ": " << report.steps << " steps");
  }
}

/// With a device that answers, and with one that closes the first connection instead.
void keeps_its_promises(harness at_every_step, cleat::sim::every_step_options const& options = {}) {
  keeps_its_promises(at_every_step, plain_scenario, options, "plain");
  auto const retried = [](rerun& r) { return retry_scenario(r, device_mode::disconnect); };
  keeps_its_promises(at_every_step, retried, options, "retry");
}

cleat::sim::every_step_options in_pieces() {
  cleat::sim::every_step_options o;
  o.fault.bytes_at_once = 40;
  return o;
}

}  // namespace

BOOST_AUTO_TEST_CASE(each_operation_in_turn_fails_and_every_promise_is_kept) {
  keeps_its_promises(cleat::sim::fail_at_every_operation);
  keeps_its_promises(cleat::sim::fail_at_every_operation, in_pieces());
  cleat::sim::every_step_options afterwards;
  afterwards.fault.afterwards = true;
  keeps_its_promises(cleat::sim::fail_at_every_operation, afterwards);
}

BOOST_AUTO_TEST_CASE(each_suspension_in_turn_is_cancelled_and_every_promise_is_kept) {
  keeps_its_promises(cleat::sim::cancel_at_every_step);
  keeps_its_promises(cleat::sim::cancel_at_every_step, in_pieces());
}

BOOST_AUTO_TEST_CASE(its_world_may_be_destroyed_after_any_step) {
  keeps_its_promises(cleat::sim::destroy_at_every_step, in_pieces());
}

BOOST_AUTO_TEST_CASE(however_a_device_spoils_a_connection_the_next_one_is_sound) {
  for (device_mode const mode : toggle::device_modes) {
    // A refusal is no fault of the connection, which is kept; and an answer that bears the number of
    // another call under way is that call's, for all that anybody can know.
    if (mode == device_mode::nack || mode == device_mode::nack_retryable ||
        mode == device_mode::wrong_id)
      continue;
    auto const scenario = [mode](rerun& r) { return retry_scenario(r, mode); };
    for (harness const at_every_step :
         {cleat::sim::fail_at_every_operation, cleat::sim::cancel_at_every_step}) {
      auto const report = at_every_step(scenario, {});
      BOOST_TEST(report.steps > 5U);
      for (auto const& sentence : report.broken) BOOST_ERROR(to_string(mode) << ": " << sentence);
    }
  }
}

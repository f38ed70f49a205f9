#define BOOST_TEST_MODULE observer_kit
// The kit for observers, on cleat's own, and on such as break their promises.
#include <cleat/conformance/observer.hpp>
#include <cleat/observe/log.hpp>
#include <cleat/observe/metrics.hpp>
#include <cleat/observe/observe.hpp>
#include <cleat/sim/world.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <future>
#include <stdexcept>
#include <string>
#include <vector>

using cleat::all_events;
using cleat::call_ended;
using cleat::check_observer;
using cleat::event_list;
using cleat::frame_sent;
using cleat::Observer;
using namespace std::chrono_literals;

namespace {

void report(std::vector<std::string> const& broken) {
  for (std::string const& b : broken) BOOST_ERROR(b);
  BOOST_TEST(broken.empty());
}

/// What the kit says of an `O`, which models nothing.
template <class O>
std::vector<std::string> sentences() {
  static_assert(!Observer<O>);
  O o;
  return check_observer(o);
}

void are(std::vector<std::string> const& broken, std::vector<std::string> const& expected) {
  BOOST_TEST(broken == expected, boost::test_tools::per_element());
}

// ---- observers that must pass

class counts {
 public:
  using listens_to = all_events;
  template <class E>
  void on(E const&) noexcept {
    ++events;
  }
  std::atomic<std::size_t> events = 0;
};

class counts_ended {
 public:
  using listens_to = event_list<call_ended>;
  void on(call_ended const& e) noexcept { (e.error == nullptr ? good : bad) += 1; }
  std::atomic<std::size_t> good = 0;
  std::atomic<std::size_t> bad = 0;
};

}  // namespace

BOOST_AUTO_TEST_CASE(metrics_conform) {
  cleat::metrics m;
  report(check_observer(m));
  BOOST_TEST(m.exposition().find("packet_sent_total") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_log_conforms) {
  cleat::sim::world w{1};
  cleat::log_sink_options options{cleat::clock::of(w.executor())};
  options.level = cleat::log_level::debug;
  options.fd = -1;
  for (auto const format : {cleat::log_format::json, cleat::log_format::text}) {
    options.format = format;
    auto sink = cleat::log_sink::open(options);
    BOOST_REQUIRE(sink.has_value());
    cleat::log log{**sink};
    report(check_observer(log));
  }
}

BOOST_AUTO_TEST_CASE(small_ones_conform_and_are_told_of_everything) {
  counts all;
  report(check_observer(all));
  counts_ended ended;
  report(check_observer(ended));
  BOOST_TEST(ended.good > 0U);
  BOOST_TEST(ended.bad >= cleat::kind_count * 3);
  BOOST_TEST(all.events == 15 * (ended.good + ended.bad));
}

namespace {

// ---- observers that must not

struct has_no_list {
  void on(call_ended const&) noexcept {}
};
struct has_another_list {
  using listens_to = event_list<int>;
};
struct forgot_an_event {
  using listens_to = event_list<call_ended, frame_sent>;
  void on(call_ended const&) noexcept {}
};
struct forgot_to_list_one {
  using listens_to = event_list<call_ended>;
  void on(call_ended const&) noexcept {}
  void on(frame_sent const&) noexcept {}
};
struct is_not_noexcept {
  using listens_to = event_list<call_ended>;
  void on(call_ended const&) {}
};
struct returns_something {
  using listens_to = event_list<call_ended>;
  bool on(call_ended const&) noexcept { return true; }
};
struct throws_at_times {
  using listens_to = event_list<call_ended, frame_sent>;
  void on(call_ended const&) noexcept {}
  void on(frame_sent const& e) {
    if (e.bytes.empty()) throw std::length_error{"no bytes"};
  }
};
struct throws_what_is_no_exception {
  using listens_to = event_list<call_ended>;
  void on(call_ended const& e) {
    if (e.error != nullptr) throw e.elapsed;
  }
};

/// Goes on when somebody opens the gate.
struct waits {
  using listens_to = event_list<frame_sent>;
  void on(frame_sent const& e) noexcept {
    if (e.error == nullptr) return;
    gate.wait();
    gone.set_value();
  }
  std::promise<void> opens;
  std::shared_future<void> gate = opens.get_future().share();
  std::promise<void> gone;
};

}  // namespace

BOOST_AUTO_TEST_CASE(what_does_not_say_what_it_listens_to_is_rejected) {
  are(sentences<has_no_list>(),
      {"it does not say which events it wants: `using listens_to = cleat::event_list<…>;`"});
  are(sentences<has_another_list>(),
      {"its `listens_to` is no cleat::event_list of events of cleat"});
}

BOOST_AUTO_TEST_CASE(a_forgotten_event_is_rejected) {
  are(sentences<forgot_an_event>(),
      {"it listens to an event for which it has no on(frame_sent const&)"});
  are(sentences<forgot_to_list_one>(),
      {"on(frame_sent const&) is for an event missing in `listens_to`"});
}

BOOST_AUTO_TEST_CASE(a_hook_of_another_form_is_rejected) {
  are(sentences<is_not_noexcept>(), {"on(call_ended const&) is not noexcept"});
  are(sentences<returns_something>(), {"on(call_ended const&) returns something"});
}

BOOST_AUTO_TEST_CASE(what_throws_is_rejected) {
  are(sentences<throws_at_times>(),
      {"on(frame_sent const&) is not noexcept", "it threw at frame_sent: no bytes"});
  are(sentences<throws_what_is_no_exception>(),
      {"on(call_ended const&) is not noexcept", "it threw at call_ended"});
}

BOOST_AUTO_TEST_CASE(what_waits_is_rejected) {
  static waits o;  // the kit's thread may leave it a little later than this test
  cleat::observer_check how;
  how.patience = 50ms;
  are(check_observer(o, how), {"it waits at frame_sent"});
  auto gone = o.gone.get_future();
  o.opens.set_value();
  gone.wait();
}

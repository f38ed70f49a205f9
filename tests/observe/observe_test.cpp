#define BOOST_TEST_MODULE observe
#include "events.hpp"

#include <cleat/observe/observe.hpp>

#include <boost/test/unit_test.hpp>

#include <string>

namespace {

using cleat::call_ended;
using cleat::event_list;
using cleat::frame_sent;
using cleat::Observer;

std::string told;

struct hears_sent {
  using listens_to = event_list<frame_sent>;
  void on(frame_sent const&) noexcept { told += "a"; }
};
struct hears_sent_and_retry {
  using listens_to = event_list<frame_sent, cleat::retry_scheduled>;
  void on(frame_sent const&) noexcept { told += "b"; }
  void on(cleat::retry_scheduled const&) const noexcept { told += "r"; }
};
struct hears_nothing {
  using listens_to = event_list<>;
};
struct hears_everything {
  using listens_to = cleat::all_events;
  template <class E>
  void on(E const&) const noexcept {
    ++count;
  }
  mutable int count = 0;
};
static_assert(Observer<hears_sent>);
static_assert(Observer<hears_sent_and_retry>);
static_assert(Observer<hears_sent_and_retry const> == false, "one of its hooks is not const");
static_assert(Observer<hears_nothing>);
static_assert(Observer<hears_everything>);
static_assert(Observer<hears_everything const>);

// What does not model it.
struct without_list {
  void on(frame_sent const&) noexcept {}
};
struct misspelt {
  using listens_to = event_list<frame_sent>;
  void onn(frame_sent const&) noexcept {}
};
struct one_misspelt {
  using listens_to = event_list<frame_sent, call_ended>;
  void on(frame_sent const&) noexcept {}
  void on_ended(call_ended const&) noexcept {}
};
struct throwing {
  using listens_to = event_list<frame_sent>;
  void on(frame_sent const&) {}
};
struct giving_back {
  using listens_to = event_list<frame_sent>;
  bool on(frame_sent const&) noexcept { return true; }
};
struct wanting_to_change {
  using listens_to = event_list<frame_sent>;
  void on(frame_sent&) noexcept {}
};
struct secretive {
  using listens_to = event_list<frame_sent>;

 private:
  void on(frame_sent const&) noexcept {}
};
struct my_event {};
struct with_unknown_event {
  using listens_to = event_list<my_event>;
  void on(my_event const&) noexcept {}
};
struct with_no_real_list {
  using listens_to = frame_sent;
  void on(frame_sent const&) noexcept {}
};
struct forgetful {
  using listens_to = event_list<frame_sent>;
  void on(frame_sent const&) noexcept {}
  void on(call_ended const&) noexcept {}
};
static_assert(!Observer<int>);
static_assert(!Observer<without_list>);
static_assert(!Observer<misspelt>);
static_assert(!Observer<one_misspelt>);
static_assert(!Observer<throwing>);
static_assert(!Observer<giving_back>);
static_assert(!Observer<wanting_to_change>);
static_assert(!Observer<secretive>);
static_assert(!Observer<with_unknown_event>);
static_assert(!Observer<with_no_real_list>);
static_assert(!Observer<forgetful>);

// The table refers to itself.
static_assert(!std::is_copy_constructible_v<cleat::tee<hears_sent>>);
static_assert(!std::is_move_constructible_v<cleat::tee<hears_sent>>);
static_assert(std::is_base_of_v<cleat::event_table, cleat::tee<hears_sent>>);
// Observers outlive it, so it takes no temporaries.
static_assert(!std::is_constructible_v<cleat::tee<hears_sent>, hears_sent>);

}  // namespace

BOOST_AUTO_TEST_CASE(tells_each_observer_in_the_order_given) {
  hears_sent a;
  hears_sent_and_retry b;
  cleat::tee const both{b, a};
  made_events const made;
  told.clear();
  both.notify(made.sent());
  BOOST_TEST(told == "ba");
  cleat::failure const why{cleat::kind::timed_out};
  both.notify(made.retry(why));
  BOOST_TEST(told == "bar");
}

BOOST_AUTO_TEST_CASE(leaves_null_what_nobody_wants) {
  hears_sent a;
  hears_nothing n;
  cleat::tee const events{a, n};
  BOOST_TEST(events.listens<frame_sent>());
  BOOST_TEST(!events.listens<call_ended>());
  BOOST_TEST(!events.listens<cleat::retry_scheduled>());
  cleat::tee<> const nobody;
  BOOST_TEST(!nobody.listens<frame_sent>());
}

BOOST_AUTO_TEST_CASE(passes_on_every_event_of_the_framework) {
  hears_everything const all;
  cleat::tee const events{all};
  made_events const made;
  cleat::failure const why{cleat::kind::closed};
  events.notify(cleat::call_started{made.of});
  events.notify(call_ended{made.of, nullptr, {}});
  events.notify(cleat::attempt_started{made.of});
  events.notify(cleat::attempt_ended{made.of, nullptr, {}});
  events.notify(made.retry(why));
  events.notify(cleat::retry_budget_empty{made.of, why});
  events.notify(cleat::connect_ended{made.of, "127.0.0.1:9000", nullptr, {}});
  events.notify(made.sent());
  events.notify(made.received(cleat::verdict::answer));
  events.notify(made.missing(why));
  events.notify(cleat::decode_failed{nullptr, {}, why, true});
  events.notify(cleat::push_dropped{"DEVICE123"});
  events.notify(cleat::frames_passed_over{nullptr, "DEVICE123", 1, {}});
  events.notify(cleat::session_ended{"DEVICE123", why});
  BOOST_TEST(all.count == 14);
}

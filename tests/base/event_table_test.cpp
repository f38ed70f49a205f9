#define BOOST_TEST_MODULE event_table
#include <cleat/base/events.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <set>
#include <string>
#include <string_view>

using cleat::event_table;
using cleat::failure;
using cleat::kind;

namespace {

/// A table filled by hand: hears of attempts, and of nothing else.
class attempts_table final : public event_table {
 public:
  attempts_table() noexcept {
    set_self(this);
    set<cleat::attempt_started>([](void const* self, cleat::attempt_started const& e) noexcept {
      auto const& t = *static_cast<attempts_table const*>(self);
      ++t.started;
      t.last_attempt = e.of.attempt;
    });
    set<cleat::attempt_ended>([](void const* self, cleat::attempt_ended const& e) noexcept {
      auto const& t = *static_cast<attempts_table const*>(self);
      ++(e.error == nullptr ? t.succeeded : t.failed);
    });
  }

  mutable int started = 0;
  mutable int succeeded = 0;
  mutable int failed = 0;
  mutable std::uint32_t last_attempt = 0;
};

/// Gives the table back as the pipeline sees it.
event_table const* seen(event_table const& t) { return &t; }

}  // namespace

BOOST_AUTO_TEST_CASE(an_empty_table_listens_to_nothing_and_may_be_told_everything) {
  boost::asio::io_context context;
  cleat::call const c{context.get_executor()};
  event_table const nobody;
  BOOST_TEST(!nobody.listens<cleat::call_started>());
  BOOST_TEST(!nobody.listens<cleat::session_ended>());
  failure const why{kind::closed};
  nobody.notify(cleat::call_started{c});
  nobody.notify(cleat::session_ended{"lamp", why});
  cleat::notify(seen(nobody), cleat::attempt_ended{c, &why, {}});
  BOOST_TEST(!cleat::listens<cleat::attempt_ended>(seen(nobody)));
}

BOOST_AUTO_TEST_CASE(no_table_at_all_may_be_told_everything) {
  boost::asio::io_context context;
  cleat::call const c{context.get_executor()};
  BOOST_TEST(c.events == nullptr);
  cleat::notify(c.events, cleat::call_started{c});
  BOOST_TEST(!cleat::listens<cleat::call_started>(c.events));
}

BOOST_AUTO_TEST_CASE(tells_each_entry_of_its_own_event_and_leaves_the_null_entries_alone) {
  boost::asio::io_context context;
  cleat::call c{context.get_executor()};
  attempts_table const table;
  c.events = &table;
  BOOST_TEST(cleat::listens<cleat::attempt_started>(c.events));
  BOOST_TEST(cleat::listens<cleat::attempt_ended>(c.events));
  BOOST_TEST(!cleat::listens<cleat::call_started>(c.events));
  BOOST_TEST(!cleat::listens<cleat::frame_sent>(c.events));

  c.attempt = 2;
  cleat::notify(c.events, cleat::call_started{c});
  cleat::notify(c.events, cleat::attempt_started{c});
  failure const why{kind::refused};
  cleat::notify(c.events, cleat::attempt_ended{c, &why, {}});
  c.attempt = 3;
  cleat::notify(c.events, cleat::attempt_started{c});
  cleat::notify(c.events, cleat::attempt_ended{c, nullptr, {}});

  BOOST_TEST(table.started == 2);
  BOOST_TEST(table.last_attempt == 3U);
  BOOST_TEST(table.failed == 1);
  BOOST_TEST(table.succeeded == 1);
}

BOOST_AUTO_TEST_CASE(a_copy_of_a_table_tells_the_same_listener) {
  boost::asio::io_context context;
  cleat::call const c{context.get_executor()};
  attempts_table const table;
  event_table const copy = table;
  copy.notify(cleat::attempt_started{c});
  BOOST_TEST(table.started == 1);
}

BOOST_AUTO_TEST_CASE(an_event_has_a_line_of_its_own_unless_it_says_that_it_is_summed) {
  failure const why{kind::malformed};
  BOOST_TEST(
      !(cleat::frame_received{nullptr, "", {}, cleat::verdict::push, "", nullptr, {}}.summed));
  BOOST_TEST(!(cleat::decode_failed{nullptr, {}, why, false}.summed));
  BOOST_TEST(!(cleat::push_dropped{"lamp"}.summed));
}

BOOST_AUTO_TEST_CASE(each_action_has_a_word_of_its_own) {
  std::set<std::string_view> words;
  for (std::size_t i = 0; i < cleat::action_count; ++i)
    words.insert(cleat::to_string(static_cast<cleat::action>(i)));
  BOOST_TEST(words.size() == cleat::action_count);
  BOOST_TEST(words.count("unknown") == 0U);
  BOOST_TEST(cleat::to_string(cleat::action::limit_queued) == "limit_queued");
  BOOST_TEST(cleat::to_string(cleat::action::timeout_expired) == "timeout_expired");
}

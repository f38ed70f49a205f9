#define BOOST_TEST_MODULE outbound
#include <cleat/session/outbound.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <thread>

using cleat::detail::outbound;

namespace {

constexpr std::size_t kept_bytes_max = 65536;
constexpr std::size_t kept_max = 64;

void stage(outbound& out, std::string_view text) { cleat::append(out.buffer(), text); }
void send(outbound& out, std::size_t bytes) {
  out.mark_sent(bytes);
  out.trim(out.sent());
}

/// In a thread of its own: the memory that is kept belongs to a thread.
void alone(void (*test)()) { std::thread{test}.join(); }

}  // namespace

BOOST_AUTO_TEST_CASE(positions_count_from_the_beginning_whatever_was_sent_and_forgotten) {
  outbound out;
  BOOST_TEST((out.empty() && out.sent() == 0U && out.end() == 0U));
  stage(out, "first");
  stage(out, "second");
  BOOST_TEST(out.size() == 11U);
  out.mark_sent(7);
  BOOST_TEST((out.sent() == 7U && out.end() == 11U && out.size() == 4U && !out.empty()));
  BOOST_TEST(cleat::as_text(out.unsent()) == "cond");
  BOOST_TEST(cleat::as_text(out.between(5, 11)) == "second");
  send(out, 4);
  BOOST_TEST((out.empty() && out.sent() == 11U && out.end() == 11U && out.size() == 0U));
  stage(out, "third");
  BOOST_TEST(out.end() == 16U);
  BOOST_TEST(cleat::as_text(out.between(11, 16)) == "third");
}

BOOST_AUTO_TEST_CASE(what_is_taken_back_was_never_there) {
  outbound out;
  stage(out, "one");
  stage(out, "two");
  stage(out, "three");
  out.mark_sent(3);
  out.withdraw(3, 6);
  BOOST_TEST((out.sent() == 3U && out.end() == 8U));
  BOOST_TEST(cleat::as_text(out.unsent()) == "three");
}

BOOST_AUTO_TEST_CASE(what_was_sent_is_forgotten_when_it_is_much_or_all) {
  outbound out;
  stage(out, std::string(kept_bytes_max + 2, 'x'));
  send(out, kept_bytes_max);
  BOOST_TEST(out.buffer().size() == kept_bytes_max + 2);
  send(out, 1);
  BOOST_TEST(out.buffer().size() == 1U);
  BOOST_TEST((out.sent() == kept_bytes_max + 1 && out.end() == kept_bytes_max + 2));
  send(out, 1);
  BOOST_TEST(out.buffer().empty());
}

BOOST_AUTO_TEST_CASE(one_that_has_sent_all_lends_its_memory_to_the_next) {
  alone([] {
    std::array<outbound, kept_max + 1> used;
    for (outbound& each : used) stage(each, "x");
    for (outbound& each : used) send(each, 1);
    std::array<outbound, kept_max + 1> next;
    std::size_t with_memory = 0;
    for (outbound& each : next) {
      if (each.buffer().capacity() != 0) ++with_memory;
      BOOST_TEST(each.buffer().empty());
    }
    BOOST_TEST(with_memory == kept_max);
  });
}

BOOST_AUTO_TEST_CASE(one_that_has_taken_all_back_lends_its_memory_too) {
  alone([] {
    outbound used;
    stage(used, "x");
    used.withdraw(0, 1);
    outbound next;
    BOOST_TEST(next.buffer().capacity() != 0U);
  });
}

BOOST_AUTO_TEST_CASE(what_one_large_batch_took_is_not_kept) {
  alone([] {
    outbound used;
    used.buffer().reserve(kept_bytes_max + 1);
    stage(used, "x");
    send(used, 1);
    outbound next;
    BOOST_TEST(next.buffer().capacity() == 0U);
  });
  alone([] {
    outbound used;
    used.buffer().reserve(kept_bytes_max);
    stage(used, "x");
    send(used, 1);
    outbound next;
    BOOST_TEST(next.buffer().capacity() == kept_bytes_max);
  });
}

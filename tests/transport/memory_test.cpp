#define BOOST_TEST_MODULE memory
#include <cleat/base/scope.hpp>
#include <cleat/runtime/block_on.hpp>
#include <cleat/transport/memory.hpp>

#include <boost/test/unit_test.hpp>

#include <optional>
#include <string>

using cleat::bytes_view;
using cleat::kind;
using cleat::memory_pair;
using cleat::memory_stream;
using cleat::result;
using cleat::task;

namespace {

result<std::size_t> put(memory_stream& s, std::string_view text) {
  bytes_view const one = cleat::as_bytes(text);
  return s.write(std::span{&one, 1});
}

/// What is there now, at most `most` bytes.
result<std::string> get(memory_stream& s, std::size_t most = 1000) {
  std::string text(most, '\0');
  auto const n = s.read(std::as_writable_bytes(std::span{text}));
  if (!n) return n.error();
  text.resize(*n);
  return text;
}

bool failed_as(auto const& r, kind k) { return !r && r.error().why() == k; }

/// Two ends, and a loop for them.
class fixture {
 public:
  explicit fixture(memory_stream::options o = {}) : ends(memory_pair(context.get_executor(), o)) {}
  boost::asio::io_context context;
  std::pair<memory_stream, memory_stream> ends;
  memory_stream& a = ends.first;
  memory_stream& b = ends.second;
};

}  // namespace

BOOST_AUTO_TEST_CASE(carries_bytes_both_ways_in_order) {
  fixture f;
  BOOST_TEST(put(f.a, "one ").value() == 4U);
  BOOST_TEST(put(f.a, "two").value() == 3U);
  BOOST_TEST(put(f.b, "back").value() == 4U);
  BOOST_TEST(get(f.b, 5).value() == "one t");
  BOOST_TEST(get(f.b).value() == "wo");
  BOOST_TEST(get(f.b).value() == "");
  BOOST_TEST(get(f.a).value() == "back");
}

BOOST_AUTO_TEST_CASE(accepts_no_more_than_its_buffer_holds) {
  memory_stream::options o;
  o.buffer_bytes_max = 5;
  fixture f{o};
  BOOST_TEST(put(f.a, "1234").value() == 4U);
  bytes_view const two[] = {cleat::as_bytes("5"), cleat::as_bytes("6")};
  BOOST_TEST(f.a.write(two).value() == 1U);
  BOOST_TEST(put(f.a, "7").value() == 0U);
  BOOST_TEST(put(f.b, "other way").value() == 5U);
  BOOST_TEST(get(f.b, 2).value() == "12");
  BOOST_TEST(put(f.a, "789").value() == 2U);
  BOOST_TEST(get(f.b).value() == "34578");
}

BOOST_AUTO_TEST_CASE(gives_no_more_than_its_cap_a_read) {
  memory_stream::options o;
  o.read_bytes_max = 2;
  fixture f{o};
  BOOST_TEST(put(f.a, "12345").value() == 5U);
  BOOST_TEST(get(f.b).value() == "12");
  BOOST_TEST(get(f.b).value() == "34");
  BOOST_TEST(get(f.b).value() == "5");
}

BOOST_AUTO_TEST_CASE(gives_what_was_written_before_the_close_and_then_the_end) {
  fixture f;
  BOOST_TEST(put(f.a, "last").has_value());
  f.a.close();
  f.a.close();
  BOOST_TEST(get(f.b).value() == "last");
  BOOST_TEST(failed_as(get(f.b), kind::closed));
  BOOST_TEST(failed_as(put(f.b, "x"), kind::reset));
  BOOST_TEST(failed_as(get(f.a), kind::shut_down));
  BOOST_TEST(failed_as(put(f.a, "x"), kind::shut_down));
}

BOOST_AUTO_TEST_CASE(closes_when_an_end_is_destroyed) {
  fixture f;
  {
    memory_stream const gone = std::move(f.a);
  }
  BOOST_TEST(failed_as(get(f.b), kind::closed));
}

BOOST_AUTO_TEST_CASE(reads_nothing_into_nothing) {
  fixture f;
  BOOST_TEST(put(f.a, "x").has_value());
  BOOST_TEST(f.b.read({}).value() == 0U);
  BOOST_TEST(get(f.b).value() == "x");
}

BOOST_AUTO_TEST_CASE(
    wakes_a_reader_for_bytes_and_for_the_end_and_a_writer_for_room_and_for_the_end) {
  auto body = []() -> task<> {
    cleat::environment& env = co_await cleat::this_chain::environment;
    memory_stream::options o;
    o.buffer_bytes_max = 2;
    auto [a, b] = memory_pair(env.executor(), o);
    std::string order;
    auto reads = [](memory_stream& s, std::string& out) -> task<> {
      for (;;) {
        auto const ready = co_await s.readable();
        BOOST_TEST(ready.has_value());
        auto const got = get(s);
        if (!got) co_return;
        out += *got;
      }
    };
    auto writes = [](memory_stream& s, std::string_view text) -> task<> {
      while (!text.empty()) {
        auto const ready = co_await s.writable();
        BOOST_TEST(ready.has_value());
        auto const n = put(s, text);
        BOOST_REQUIRE(n.has_value());
        text.remove_prefix(*n);
      }
      s.close();
    };
    cleat::scope beside{env};
    beside.spawn(reads(b, order));
    beside.spawn(writes(a, "a long sentence through a narrow pipe"));
    co_await beside.join();
    BOOST_TEST(order == "a long sentence through a narrow pipe");
  };
  cleat::block_on(body());
}

BOOST_AUTO_TEST_CASE(a_cancelled_wait_takes_no_byte) {
  auto body = []() -> task<> {
    cleat::environment& env = co_await cleat::this_chain::environment;
    auto ends = memory_pair(env.executor());
    std::optional<result<void>> waited;
    auto wait = [&]() -> task<> { waited = co_await ends.second.readable(); };
    cleat::scope beside{env};
    beside.spawn(wait());
    beside.cancel();
    co_await beside.join();
    BOOST_TEST((waited && failed_as(*waited, kind::cancelled)));
    BOOST_TEST(put(ends.first, "kept").has_value());
    auto const ready = co_await ends.second.readable();
    BOOST_TEST(ready.has_value());
    BOOST_TEST(get(ends.second).value() == "kept");
  };
  cleat::block_on(body());
}

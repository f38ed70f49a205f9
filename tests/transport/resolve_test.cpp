#define BOOST_TEST_MODULE resolve
// Names are looked up in a script (scripted_names), addresses are real, and time moves by hand.
#include "../support/full_listener.hpp"
#include "../support/hand_time.hpp"
#include "../support/scripted_names.hpp"

#include <cleat/base/spawn.hpp>
#include <cleat/runtime/block_on.hpp>
#include <cleat/transport/network.hpp>
#include <cleat/transport/resolve.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/strand.hpp>
#include <boost/test/unit_test.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace asio = boost::asio;
using cleat::any_stream;
using cleat::certainty;
using cleat::endpoints;
using cleat::failure;
using cleat::kind;
using cleat::never;
using cleat::result;
using cleat::task;
using cleat::test::full_listener;
using cleat::test::hand_time;
using cleat::test::scripted_names;
using namespace std::chrono_literals;

namespace {

scripted_names& names() { return scripted_names::instance(); }

/// A chain that was started, and what came of it.
template <class T>
class started {
 public:
  started(asio::any_io_executor const& executor, task<result<T>> t) {
    auto done = [this](std::exception_ptr, result<T> r) { outcome.emplace(std::move(r)); };
    cleat::spawn(executor, std::move(t), asio::bind_cancellation_slot(signal.slot(), done));
  }
  void cancel() { signal.emit(asio::cancellation_type::terminal); }
  [[nodiscard]] bool failed_as(kind k) const {
    return outcome && !*outcome && outcome->error().why() == k &&
           outcome->error().sure() == certainty::not_sent;
  }

  std::optional<result<T>> outcome;
  asio::cancellation_signal signal;
};

task<result<endpoints>> resolving(std::string host, cleat::time_point deadline = never) {
  auto r = co_await cleat::resolve(std::move(host), 9000, deadline);
  co_return r;
}

std::vector<std::string> addresses_of(std::string host) {
  auto const found = cleat::block_on(resolving(std::move(host)));
  std::vector<std::string> all;
  for (auto const& e : found.value()) {
    BOOST_TEST(e.port() == 9000U);
    all.push_back(e.address().to_string());
  }
  return all;
}

failure trouble_with(std::string host) {
  auto const found = cleat::block_on(resolving(std::move(host)));
  BOOST_REQUIRE(!found.has_value());
  return found.error();
}

using strings = std::vector<std::string>;

}  // namespace

// First, while no other lookup of this process is under way.
BOOST_AUTO_TEST_CASE(a_thirty_third_lookup_at_once_is_refused) {
  names().hang("slow.test");
  hand_time time;
  std::vector<std::unique_ptr<started<endpoints>>> all;
  auto const start = [&] {
    all.push_back(
        std::make_unique<started<endpoints>>(time.context.get_executor(), resolving("slow.test")));
  };
  for (int i = 0; i < 33; ++i) start();
  time.run_until([&] { return all.back()->outcome.has_value(); });
  BOOST_TEST(all.back()->failed_as(kind::overloaded));
  names().wait_until_hanging(32);
  for (int i = 0; i < 32; ++i) BOOST_TEST(!all[static_cast<std::size_t>(i)]->outcome.has_value());

  names().let_go();
  for (int i = 0; i < 32; ++i) {
    auto const& one = *all[static_cast<std::size_t>(i)];
    time.run_until([&] { return one.outcome.has_value(); });
    BOOST_TEST(one.outcome->has_value());
  }
  start();
  time.run_until([&] { return all.back()->outcome.has_value(); });
  BOOST_TEST(all.back()->outcome->has_value());
  BOOST_TEST(cleat::chain_count(time.context) == 0U);
}

BOOST_AUTO_TEST_CASE(a_literal_address_asks_nobody) {
  int const before = names().asked();
  BOOST_TEST(addresses_of("192.0.2.7") == strings{"192.0.2.7"});
  BOOST_TEST(addresses_of("2001:db8::7") == strings{"2001:db8::7"});
  BOOST_TEST(addresses_of("::1") == strings{"::1"});
  BOOST_TEST(names().asked() == before);
}

BOOST_AUTO_TEST_CASE(a_literal_address_needs_no_time_and_no_turn_of_the_loop) {
  hand_time time;
  started<endpoints> s{time.context.get_executor(), resolving("192.0.2.7", time.now() - 1h)};
  time.context.poll_one();  // starts the chain
  BOOST_REQUIRE(s.outcome.has_value());
  BOOST_TEST(s.outcome->has_value());
}

BOOST_AUTO_TEST_CASE(what_looks_like_an_address_and_is_none_asks_nobody_and_is_invalid) {
  int const before = names().asked();
  for (auto const* host : {"127.0.0.010",
                           "0x7f.8",
                           "2130706440",
                           "127.8",
                           "1",
                           "010.0.0.1",
                           "0X7F.1",
                           "127.0.0.1.",
                           "127.0.0.256",
                           "1.2.3.4.5",
                           "fe80::1",
                           "FE80::1",
                           "febf::1%",
                           "fe80::1%no-such-if",
                           "fe80::1%25lo",
                           "2001:db8::1%lo",
                           "127.0.0.1%lo",
                           "::ffff:127.0.0.010",
                           "[::1]",
                           "[::1]:9000",
                           "127.0.0.1:9000",
                           "lamp.test:9000",
                           "http://lamp.test",
                           "lamp test",
                           "224.0.0.1",
                           "255.255.255.255",
                           "ff02::1"}) {
    BOOST_TEST_CONTEXT(host) {
      failure const why = trouble_with(host);
      BOOST_TEST((why.why() == kind::invalid));
      BOOST_TEST((why.sure() == certainty::not_sent));
      std::string_view const named{host};
      BOOST_TEST(why.detail().find(named.substr(0, named.find('%'))) != std::string_view::npos);
    }
  }
  BOOST_TEST(names().asked() == before);
}

BOOST_AUTO_TEST_CASE(a_host_is_not_cut_at_a_nul) {
  int const before = names().asked();
  using namespace std::string_literals;
  BOOST_TEST((trouble_with("127.0.0.1\0.test"s).why() == kind::invalid));
  BOOST_TEST((trouble_with("fe80::1\0%lo"s).why() == kind::invalid));
  BOOST_TEST(names().asked() == before);
}

BOOST_AUTO_TEST_CASE(an_ipv4_address_inside_an_ipv6_address_is_the_ipv4_address) {
  BOOST_TEST(addresses_of("::ffff:192.0.2.7") == strings{"192.0.2.7"});
}

BOOST_AUTO_TEST_CASE(gives_the_two_families_by_turns_beginning_with_the_systems_first) {
  names().resolve("six.test",
                  {"2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2"});
  strings const six_first{"2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "2001:db8::3"};
  BOOST_TEST(addresses_of("six.test") == six_first);
  names().resolve("four.test", {"192.0.2.1", "192.0.2.2", "2001:db8::1"});
  strings const four_first{"192.0.2.1", "2001:db8::1", "192.0.2.2"};
  BOOST_TEST(addresses_of("four.test") == four_first);
  names().resolve("only.test", {"192.0.2.1", "192.0.2.2"});
  strings const only{"192.0.2.1", "192.0.2.2"};
  BOOST_TEST(addresses_of("only.test") == only);
}

BOOST_AUTO_TEST_CASE(a_name_without_an_address_fails_as_unresolved_and_says_which) {
  for (int const code : {EAI_NONAME, EAI_NODATA, EAI_AGAIN, EAI_FAIL, EAI_SERVICE}) {
    BOOST_TEST_CONTEXT(::gai_strerror(code)) {
      names().fail("nobody.test", code);
      failure const why = trouble_with("nobody.test");
      BOOST_TEST((why.why() == kind::unresolved));
      BOOST_TEST((why.sure() == certainty::not_sent));
      BOOST_TEST(why.detail() == "nobody.test");
    }
  }
  names().fail("nobody.test", EAI_MEMORY);
  BOOST_TEST((trouble_with("nobody.test").why() == kind::resources));
  names().resolve("nobody.test", {});
  BOOST_TEST((trouble_with("").why() == kind::unresolved));
}

BOOST_AUTO_TEST_CASE(a_lookup_that_hangs_ends_at_its_deadline) {
  names().hang("slow.test");
  hand_time time;
  started<endpoints> s{time.context.get_executor(), resolving("slow.test", time.now() + 1s)};
  time.poll();
  names().wait_until_hanging(1);
  time.advance(1s - 1ns);
  time.poll();
  BOOST_TEST(!s.outcome.has_value());
  time.advance(1ns);
  time.poll();
  BOOST_TEST(s.failed_as(kind::timed_out));
  BOOST_TEST(s.outcome->error().detail() == "slow.test");
  BOOST_TEST(cleat::chain_count(time.context) == 0U);
  names().let_go();
  names().wait_until_hanging(0);
}

BOOST_AUTO_TEST_CASE(a_lookup_that_hangs_ends_when_its_chain_is_cancelled) {
  names().hang("slow.test");
  hand_time time;
  started<endpoints> s{time.context.get_executor(), resolving("slow.test", time.now() + 1s)};
  time.poll();
  names().wait_until_hanging(1);
  s.cancel();
  time.poll();
  BOOST_TEST(s.failed_as(kind::cancelled));
  BOOST_TEST((time.clock().next_due() == never));
  BOOST_TEST(cleat::chain_count(time.context) == 0U);
  names().let_go();
  names().wait_until_hanging(0);
}

BOOST_AUTO_TEST_CASE(a_cancelled_chain_asks_nobody) {
  int const before = names().asked();
  hand_time time;
  auto body = [](asio::cancellation_signal& signal) -> task<result<endpoints>> {
    signal.emit(asio::cancellation_type::terminal);
    auto r = co_await cleat::resolve("any.test", 9000, never);
    co_return r;
  };
  asio::cancellation_signal signal;
  std::optional<result<endpoints>> outcome;
  auto done = [&](std::exception_ptr, result<endpoints> r) { outcome = std::move(r); };
  cleat::spawn(time.context.get_executor(), body(signal),
               asio::bind_cancellation_slot(signal.slot(), done));
  time.poll();
  BOOST_TEST((outcome && !*outcome && outcome->error().why() == kind::cancelled));
  BOOST_TEST(names().asked() == before);
}

BOOST_AUTO_TEST_CASE(a_context_may_go_away_while_a_lookup_hangs) {
  names().hang("slow.test");
  auto time = std::make_unique<hand_time>();
  started<endpoints> s{time->context.get_executor(), resolving("slow.test", time->now() + 1s)};
  time->poll();
  names().wait_until_hanging(1);
  time.reset();
  names().let_go();
  names().wait_until_hanging(0);
  BOOST_TEST(!s.outcome.has_value());
}

BOOST_AUTO_TEST_CASE(a_context_may_go_away_while_a_lookup_of_a_chain_on_a_strand_hangs) {
  names().hang("slow.test");
  auto time = std::make_unique<hand_time>();
  started<endpoints> s{asio::make_strand(time->context), resolving("slow.test", time->now() + 1s)};
  time->poll();
  names().wait_until_hanging(1);
  time.reset();
  names().let_go();
  names().wait_until_hanging(0);
  BOOST_TEST(!s.outcome.has_value());
  names().resolve("other.test", {"192.0.2.1"});
  BOOST_TEST(addresses_of("other.test") == strings{"192.0.2.1"});  // time for the thread to end
}

// ---- several addresses ---------------------------------------------------------------------------

namespace {

/// Three addresses of this machine under one port. 127.0.0.1 accepts connections; what the others do, a test decides.
class fixture {
 public:
  explicit fixture(strings addresses) : live(others, {asio::ip::make_address("127.0.0.1"), 0}) {
    names().resolve("lamp.test", std::move(addresses));
    start = time->now();
  }
  ~fixture() {
    if (dialled && !dialled->outcome) time.reset();  // a failed test: the chain goes first
  }
  void full(std::string const& address) {
    hanging.push_back(std::make_unique<full_listener>(address, port()));
  }
  [[nodiscard]] std::uint16_t port() const { return live.local_endpoint().port(); }

  /// Dials and goes on until a first address is under way and the next one is due after `delay`.
  started<any_stream>& dial(cleat::duration limit, cleat::duration delay) {
    dialled.emplace(context().get_executor(), dialling(*this, start + limit));
    run_until_due(start + delay);
    return *dialled;
  }
  /// Goes on until the dial is done or has nothing to do before `at`.
  void run_until_due(cleat::time_point at) {
    time->run_until([&] { return dialled->outcome || time->clock().next_due() == at; });
  }
  [[nodiscard]] bool has_connection() {
    live.non_blocking(true);
    boost::system::error_code code;
    asio::ip::tcp::socket const s = live.accept(code);
    return !code;
  }
  void run_until_done() {
    time->run_until([&] { return dialled->outcome.has_value(); });
    BOOST_TEST(cleat::chain_count(time->context) == 0U);
    BOOST_TEST((time->clock().next_due() == never));
  }

  std::optional<hand_time> time{std::in_place};
  cleat::time_point start;
  std::optional<started<any_stream>> dialled;
  asio::io_context others;
  asio::ip::tcp::acceptor live;
  std::vector<std::unique_ptr<full_listener>> hanging;

 private:
  asio::io_context& context() { return time->context; }
  static task<result<any_stream>> dialling(fixture& f, cleat::time_point deadline) {
    auto& net = cleat::network::of(co_await cleat::this_chain::executor);
    auto r = co_await net.dial("lamp.test", f.port(), {}, deadline);
    co_return r;
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(tries_the_second_address_after_a_quarter_of_a_second_if_the_first_hangs) {
  fixture f{{"127.0.0.2", "127.0.0.1"}};
  f.full("127.0.0.2");
  f.dial(10s, 250ms);
  f.time->advance(250ms - 1ns);
  f.time->poll();
  BOOST_TEST(!f.has_connection());
  f.time->advance(1ns);
  f.run_until_done();
  BOOST_TEST(f.dialled->outcome->has_value());
  BOOST_TEST(f.has_connection());
  BOOST_TEST((f.time->now() == f.start + 250ms));
}

BOOST_AUTO_TEST_CASE(leaves_the_second_address_alone_if_the_first_answers) {
  fixture f{{"127.0.0.1", "127.0.0.2"}};
  asio::ip::tcp::acceptor second{f.others, {asio::ip::make_address("127.0.0.2"), f.port()}};
  f.dial(10s, 250ms);
  f.run_until_done();
  BOOST_TEST(f.dialled->outcome->has_value());
  BOOST_TEST(f.has_connection());
  second.non_blocking(true);
  boost::system::error_code code;
  asio::ip::tcp::socket const none = second.accept(code);
  BOOST_TEST((code == asio::error::would_block));
}

BOOST_AUTO_TEST_CASE(tries_the_next_address_10_ms_after_one_that_refuses) {
  fixture f{{"127.0.0.2", "127.0.0.3", "127.0.0.1"}};
  f.dial(10s, 10ms);
  f.time->advance(10ms);
  f.run_until_due(f.start + 20ms);
  f.time->advance(10ms - 1ns);
  f.time->poll();
  BOOST_TEST(!f.has_connection());
  f.time->advance(1ns);
  f.run_until_done();
  BOOST_TEST(f.dialled->outcome->has_value());
  BOOST_TEST((f.time->now() == f.start + 20ms));
}

BOOST_AUTO_TEST_CASE(addresses_that_all_refuse_are_tried_10_ms_apart_however_many_they_are) {
  strings many;
  for (int i = 2; i < 34; ++i) many.push_back("127.0.0." + std::to_string(i));
  fixture f{many};
  f.dial(10s, 10ms);
  for (int i = 1; i < 31; ++i) {
    f.time->advance(10ms);
    f.run_until_due(f.time->now() + 10ms);
    BOOST_REQUIRE(!f.dialled->outcome.has_value());
  }
  f.time->advance(10ms);
  f.run_until_done();  // the last one's failure is waited for by nobody
  BOOST_TEST(f.dialled->failed_as(kind::refused));
  BOOST_TEST((f.time->now() == f.start + 310ms));
}

BOOST_AUTO_TEST_CASE(
    tries_the_next_address_10_ms_after_one_that_refuses_while_an_earlier_one_hangs) {
  fixture f{{"127.0.0.2", "127.0.0.3", "127.0.0.1"}};
  f.full("127.0.0.2");
  f.dial(10s, 250ms);
  f.time->advance(250ms);
  f.run_until_due(f.start + 260ms);
  f.time->advance(10ms);
  f.run_until_done();
  BOOST_TEST(f.dialled->outcome->has_value());
  BOOST_TEST((f.time->now() == f.start + 260ms));
}

BOOST_AUTO_TEST_CASE(a_short_deadline_does_not_bring_addresses_closer_together) {
  fixture f{{"127.0.0.2", "127.0.0.3", "127.0.0.1"}};
  f.full("127.0.0.2");
  f.full("127.0.0.3");
  f.dial(12ms, 10ms);
  f.time->advance(10ms);
  f.run_until_due(f.start + 12ms);
  f.time->advance(2ms);
  f.run_until_done();
  BOOST_TEST(f.dialled->failed_as(kind::timed_out));
  BOOST_TEST(!f.has_connection());
}

BOOST_AUTO_TEST_CASE(gives_each_address_its_share_of_a_short_deadline) {
  fixture f{{"127.0.0.2", "127.0.0.1"}};
  f.full("127.0.0.2");
  f.dial(90ms, 30ms);
  f.time->advance(30ms);
  f.run_until_done();
  BOOST_TEST(f.dialled->outcome->has_value());
}

BOOST_AUTO_TEST_CASE(fails_as_the_last_address_did_if_all_refuse) {
  fixture f{{"127.0.0.2", "127.0.0.3"}};
  f.dial(10s, 10ms);
  f.time->advance(10ms);
  f.run_until_done();
  BOOST_TEST((f.time->now() == f.start + 10ms));
  BOOST_TEST(f.dialled->failed_as(kind::refused));
  BOOST_TEST(f.dialled->outcome->error().detail() == "127.0.0.3:" + std::to_string(f.port()));
}

BOOST_AUTO_TEST_CASE(ends_at_the_deadline_if_all_addresses_hang) {
  fixture f{{"127.0.0.2", "127.0.0.3"}};
  f.full("127.0.0.2");
  f.full("127.0.0.3");
  f.dial(10s, 250ms);
  f.time->advance(250ms);
  f.time->poll();
  f.time->advance(10s - 250ms - 1ns);
  f.time->poll();
  BOOST_TEST(!f.dialled->outcome.has_value());
  f.time->advance(1ns);
  f.run_until_done();
  BOOST_TEST(f.dialled->failed_as(kind::timed_out));
}

BOOST_AUTO_TEST_CASE(leaves_nothing_behind_when_cancelled_between_two_addresses) {
  fixture f{{"127.0.0.2", "127.0.0.3"}};
  f.full("127.0.0.2");
  f.full("127.0.0.3");
  f.dial(10s, 250ms);
  f.dialled->cancel();
  f.run_until_done();
  BOOST_TEST(f.dialled->failed_as(kind::cancelled));
}

BOOST_AUTO_TEST_CASE(leaves_nothing_behind_when_cancelled_with_two_addresses_under_way) {
  fixture f{{"127.0.0.2", "127.0.0.3"}};
  f.full("127.0.0.2");
  f.full("127.0.0.3");
  f.dial(10s, 250ms);
  f.time->advance(250ms);
  f.time->poll();
  f.dialled->cancel();
  f.run_until_done();
  BOOST_TEST(f.dialled->failed_as(kind::cancelled));
}

BOOST_AUTO_TEST_CASE(a_context_may_go_away_while_two_addresses_hang) {
  fixture f{{"127.0.0.2", "127.0.0.3"}};
  f.full("127.0.0.2");
  f.full("127.0.0.3");
  f.dial(10s, 250ms);
  f.time->advance(250ms);
  f.time->poll();
  // The dial, and one for each address.
  BOOST_TEST(cleat::chain_count(f.time->context) == 3U);
  f.time.reset();
  BOOST_TEST(!f.dialled->outcome.has_value());
}

BOOST_AUTO_TEST_CASE(the_lookup_counts_against_the_deadline_of_the_whole) {
  names().hang("lamp.test");
  hand_time time;
  auto body = [](cleat::time_point deadline) -> task<result<any_stream>> {
    auto& net = cleat::network::of(co_await cleat::this_chain::executor);
    auto r = co_await net.dial("lamp.test", 9, {}, deadline);
    co_return r;
  };
  started<any_stream> s{time.context.get_executor(), body(time.now() + 1s)};
  time.poll();
  names().wait_until_hanging(1);
  time.advance(1s);
  time.poll();
  BOOST_TEST(s.failed_as(kind::timed_out));
  names().let_go();
  names().wait_until_hanging(0);
}

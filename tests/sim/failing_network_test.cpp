#define BOOST_TEST_MODULE sim_failing_network
// One operation fails, and what follows from that is what follows from it on a real network.
#include <cleat/base/scope.hpp>
#include <cleat/conformance/transport.hpp>
#include <cleat/sim/failing_network.hpp>
#include <cleat/sim/world.hpp>
#include <cleat/transport/network.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <chrono>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using cleat::any_stream;
using cleat::bytes_view;
using cleat::certainty;
using cleat::failure;
using cleat::kind;
using cleat::result;
using cleat::task;
using cleat::sim::failing_network;
using cleat::sim::io;
using cleat::sim::io_fault;
using cleat::sim::medium;
using cleat::sim::world;

namespace {

constexpr std::array mediums{medium::simulated, medium::loopback};

using two_ends = std::pair<any_stream, any_stream>;

/// Two connected ends: a listen, a dial and an accept.
task<result<void>> readable(cleat::any_stream& s) {
  auto r = co_await s.readable();
  co_return r;
}
task<result<void>> writable(cleat::any_stream& s) {
  auto r = co_await s.writable();
  co_return r;
}

task<result<two_ends>> connect(world& w) {
  auto& net = cleat::network::of(w.executor());
  auto listener = net.listen(w.executor(), "127.0.0.1", 0);
  if (!listener) co_return listener.error();
  auto mine = co_await net.dial("127.0.0.1", listener->port(), {}, w.now() + 1h);
  if (!mine) co_return mine.error();
  auto theirs = co_await listener->accept();
  if (!theirs) co_return theirs.error();
  two_ends both{std::move(*mine), std::move(*theirs)};
  co_return std::move(both);
}

result<std::size_t> put(any_stream& s, std::string_view text) {
  bytes_view const b = cleat::as_bytes(text);
  return s.write(std::span{&b, 1});
}

/// What comes, and then why nothing more does.
task<std::pair<std::string, kind>> drain(any_stream& s) {
  std::string got;
  std::array<std::byte, 64> lent;
  for (;;) {
    auto const ready = co_await s.readable();
    if (!ready) co_return std::pair{got, ready.error().why()};
    auto const n = s.read(lent);
    if (!n) co_return std::pair{got, n.error().why()};
    got += cleat::as_text(bytes_view{lent}.first(*n));
  }
}

/// Says what the other end hears: all of it, until the end.
std::string heard(world& w, any_stream& s) { return w.run(drain(s)).first; }

io_fault at(std::uint64_t nth) {
  io_fault f;
  f.nth = nth;
  return f;
}

constexpr std::uint64_t first_of_stream = 4;  // behind listen, dial, accept

kind why(result<std::size_t> const& r) { return r ? kind::invalid : r.error().why(); }

}  // namespace

BOOST_AUTO_TEST_CASE(conforms_to_the_transport_kit_while_nothing_fails) {
  for (medium const m : mediums) {
    world w{1, m};
    failing_network const net{w.executor(), {}};
    auto connector = [&w]() { return connect(w); };
    for (auto const& broken : w.run(cleat::check_transport<any_stream>(connector, 1h)))
      BOOST_ERROR(broken);
    BOOST_TEST(net.passed() > 10U);
    BOOST_TEST(!net.failed());
    BOOST_TEST(net.open() == 0U);
  }
}

BOOST_AUTO_TEST_CASE(fails_the_operation_that_it_was_told_and_says_which_that_was) {
  for (medium const m : mediums) {
    for (auto const& [nth, what, why_not] :
         {std::tuple{1U, io::listen, kind::resources}, std::tuple{2U, io::dial, kind::refused},
          std::tuple{3U, io::accept, kind::resources}}) {
      world w{1, m};
      failing_network const net{w.executor(), at(nth)};
      auto const r = w.run(connect(w));
      BOOST_TEST((!r && r.error().why() == why_not && r.error().sure() == certainty::not_sent));
      BOOST_TEST((net.failed() == what));
      BOOST_TEST(net.open() == 0U);
    }
    world w{1, m};
    failing_network const net{w.executor(), at(first_of_stream + 1)};
    auto both = w.run(connect(w));
    std::array<std::byte, 4> lent;
    BOOST_TEST(both->first.read(lent).value() == 0U);
    BOOST_TEST(net.what() == "no operation");
    BOOST_TEST((why(both->second.read(lent)) == kind::reset));
    BOOST_TEST(net.what() == "operation 5, a read of accepted stream 1");
  }
}

BOOST_AUTO_TEST_CASE(a_stream_is_broken_from_then_on_and_its_other_end_comes_to_its_end) {
  for (medium const m : mediums) {
    world w{1, m};
    failing_network const net{w.executor(), at(first_of_stream + 1)};
    auto both = w.run(connect(w));
    BOOST_TEST(put(both->first, "said").value() == 4U);
    BOOST_TEST((why(put(both->first, "not said")) == kind::reset));
    std::array<std::byte, 4> lent;
    BOOST_TEST((why(both->first.read(lent)) == kind::reset));
    BOOST_TEST((w.run(readable(both->first)).error().why() == kind::reset));
    BOOST_TEST((w.run(writable(both->first)).error().why() == kind::reset));
    BOOST_TEST(heard(w, both->second) == "said");
  }
}

BOOST_AUTO_TEST_CASE(who_waits_on_a_stream_that_breaks_is_told) {
  for (medium const m : mediums) {
    world w{1, m};
    failing_network const net{w.executor(), at(first_of_stream + 1)};
    auto both = w.run(connect(w));
    kind reader = kind::invalid;
    w.spawn([](any_stream& s, kind& out) -> task<> {
      auto const ready = co_await s.readable();
      if (!ready) out = ready.error().why();
    }(both->first, reader));
    w.run_for(1s);
    BOOST_TEST((reader == kind::invalid));
    BOOST_TEST((why(put(both->first, "x")) == kind::reset));
    w.run_for(1s);
    BOOST_TEST((reader == kind::reset));
  }
}

BOOST_AUTO_TEST_CASE(what_fails_afterwards_was_done) {
  for (medium const m : mediums) {
    world w{1, m};
    io_fault how = at(first_of_stream);
    how.afterwards = true;
    failing_network const net{w.executor(), how};
    auto both = w.run(connect(w));
    BOOST_TEST(put(both->first, "said").value() == 4U);
    BOOST_TEST((why(put(both->first, "not said")) == kind::reset));
    BOOST_TEST(heard(w, both->second) == "said");
  }
}

BOOST_AUTO_TEST_CASE(an_accept_that_fails_leaves_the_connection_for_the_next_unless_it_was_reset) {
  for (medium const m : mediums) {
    for (kind const of_accept : {kind::resources, kind::reset}) {
      world w{1, m};
      io_fault how = at(3);
      how.accept = of_accept;
      failing_network const net{w.executor(), how};
      w.run([](world& in, kind expected) -> task<> {
        auto& all = cleat::network::of(in.executor());
        auto listener = all.listen(in.executor(), "127.0.0.1", 0);
        auto mine = co_await all.dial("127.0.0.1", listener->port(), {}, in.now() + 1h);
        auto const none = co_await listener->accept();
        BOOST_TEST((!none && none.error().why() == expected));
        if (expected == kind::resources) {
          auto const theirs = co_await listener->accept();
          BOOST_TEST(theirs.has_value());
        } else {
          auto const end = co_await drain(*mine);
          BOOST_TEST(end.first.empty());
        }
      }(w, of_accept));
    }
  }
}

BOOST_AUTO_TEST_CASE(moves_no_more_than_a_few_bytes_at_once) {
  for (medium const m : mediums) {
    world w{1, m};
    io_fault how;
    how.bytes_at_once = 3;
    failing_network const net{w.executor(), how};
    auto both = w.run(connect(w));
    std::string const a = "ab";
    std::string const b = "cdef";
    std::array const gather{cleat::as_bytes(a), cleat::as_bytes(b)};
    BOOST_TEST(both->first.write(gather).value() == 3U);
    BOOST_TEST(put(both->first, "defgh").value() == 3U);
    both->first.close();
    BOOST_TEST(heard(w, both->second) == "abcdef");
  }
}

BOOST_AUTO_TEST_CASE(nothing_fails_once_it_is_calm) {
  for (medium const m : mediums) {
    world w{1, m};
    failing_network net{w.executor(), at(first_of_stream)};
    auto both = w.run(connect(w));
    net.calm();
    BOOST_TEST(put(both->first, "said").value() == 4U);
    BOOST_TEST(!net.failed());
    BOOST_TEST(net.passed() == 3U);
    BOOST_TEST(net.open() == 2U);
  }
}

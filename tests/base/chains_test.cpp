#define BOOST_TEST_MODULE chains
// The list of the chains of a context. That two threads are noticed is in one_thread_test.cpp.
#include <cleat/base/chains.hpp>
#include <cleat/base/clock.hpp>
#include <cleat/base/spawn.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/system_executor.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <regex>
#include <sstream>
#include <string>
#include <utility>

namespace asio = boost::asio;
using cleat::task;
using cleat::use_task;
using namespace std::chrono_literals;

namespace {

task<> innermost(asio::steady_timer& t) { static_cast<void>(co_await t.async_wait(use_task)); }
task<> outermost(asio::steady_timer& t) { co_await innermost(t); }

task<> is_cancelled() {
  cleat::environment& env = co_await cleat::this_chain::environment;
  env.cancel();
  auto const guard = co_await cleat::this_chain::shield;
  static_cast<void>(co_await cleat::sleep_until(cleat::never));
}

std::string dump_of(asio::io_context& context) {
  std::ostringstream out;
  cleat::dump_chains(context, out);
  return out.str();
}

/// Where a coroutine of this file stands, on a line of a dump.
std::string at(std::string const& depth, std::string const& name) {
  return "  #" + depth + " [^\n]*" + name + "[^\n]* at chains_test\\.cpp:\\d+\n";
}

bool reads(std::string const& dump, std::string const& expected) {
  return std::regex_match(dump, std::regex{expected});
}

/// Is told how many chains there are as it goes.
class counts_at_its_end {
 public:
  counts_at_its_end(asio::io_context& of, std::size_t& most) noexcept : of_(&of), most_(most) {}
  counts_at_its_end(counts_at_its_end&& other) noexcept
      : of_(std::exchange(other.of_, nullptr)), most_(other.most_) {}
  counts_at_its_end& operator=(counts_at_its_end&&) = delete;
  ~counts_at_its_end() {
    if (of_ != nullptr) most_ = std::max(most_, cleat::chain_count(*of_));
  }

 private:
  asio::io_context* of_;
  std::size_t& most_;
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_context_without_chains_has_nothing_to_show) {
  asio::io_context context;
  BOOST_TEST(cleat::chain_count(context) == 0U);
  BOOST_TEST(dump_of(context) == "");
}

BOOST_AUTO_TEST_CASE(shows_each_chain_from_the_inside_out_the_youngest_first) {
  asio::io_context context;
  asio::steady_timer t{context, 1h};
  cleat::spawn(context.get_executor(), outermost(t));
  cleat::spawn(context.get_executor(), innermost(t));
  context.poll();
  auto const dump = dump_of(context);
  BOOST_TEST_CONTEXT(dump) {
    BOOST_TEST(reads(dump, "chain 1 of 2\n" + at("0", "innermost") + "chain 2 of 2\n" +
                               at("0", "innermost") + at("1", "outermost")));
  }
  BOOST_TEST(cleat::chain_count(context) == 2U);
  t.cancel();
  context.run();
  BOOST_TEST(cleat::chain_count(context) == 0U);
}

BOOST_AUTO_TEST_CASE(shows_which_chain_runs) {
  asio::io_context context;
  asio::steady_timer t{context, 1h};
  std::string seen;
  auto nothing = []() -> task<> { co_return; };
  auto shows = [&]() -> task<> {
    auto const executor = co_await cleat::this_chain::executor;
    co_await asio::post(executor, use_task);
    co_await nothing();  // it is over: not shown
    seen = dump_of(context);
  };
  cleat::spawn(context.get_executor(), innermost(t));
  cleat::spawn(context.get_executor(), shows());
  context.poll();
  BOOST_TEST_CONTEXT(seen) {
    BOOST_TEST(reads(seen, "chain 1 of 2 \\(running\\)\n" + at("0", "operator\\(\\)") +
                               "chain 2 of 2\n" + at("0", "innermost")));
  }
}

BOOST_AUTO_TEST_CASE(shows_which_chain_was_cancelled) {
  asio::io_context context;
  cleat::spawn(context.get_executor(), is_cancelled());
  context.poll();
  auto const dump = dump_of(context);
  BOOST_TEST_CONTEXT(dump) {
    BOOST_TEST(reads(dump, "chain 1 of 1 \\(cancelled\\)\n" + at("0", "is_cancelled")));
  }
}

BOOST_AUTO_TEST_CASE(a_chain_that_never_began_was_never_in_the_list) {
  std::size_t most = 0;
  {
    asio::io_context context;
    auto holds = [](counts_at_its_end) -> task<> { co_return; };
    cleat::spawn(context.get_executor(), holds(counts_at_its_end{context, most}));
    cleat::spawn(context.get_executor(), holds(counts_at_its_end{context, most}));
    BOOST_TEST(cleat::chain_count(context) == 0U);
  }
  BOOST_TEST(most == 0U);
}

BOOST_AUTO_TEST_CASE(plain_executors_are_watched_and_strands_are_not) {
  asio::io_context context;
  asio::thread_pool pool{1};
  asio::io_context other;
  auto* const watched = cleat::detail::one_thread_of(context.get_executor());
  BOOST_TEST(watched != nullptr);
  BOOST_TEST(cleat::detail::one_thread_of(context.get_executor()) == watched);
  BOOST_TEST(cleat::detail::one_thread_of(other.get_executor()) != watched);
  BOOST_TEST(cleat::detail::one_thread_of(pool.get_executor()) != nullptr);
  BOOST_TEST(cleat::detail::one_thread_of(asio::system_executor{}) != nullptr);
  BOOST_TEST(cleat::detail::one_thread_of(asio::make_strand(context)) == nullptr);
}

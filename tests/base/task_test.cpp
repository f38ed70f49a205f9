#define BOOST_TEST_MODULE task
#include <cleat/base/leaf_or_task.hpp>
#include <cleat/base/spawn.hpp>
#include <cleat/base/task.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace asio = boost::asio;
using cleat::failure;
using cleat::kind;
using cleat::result;
using cleat::task;
using cleat::use_task;
using namespace std::chrono_literals;

namespace {

/// Runs a task to its end on a fresh context.
template <class T>
T run(task<T> t) {
  asio::io_context context;
  auto future = cleat::spawn(context.get_executor(), std::move(t), asio::use_future);
  context.run();
  BOOST_TEST(cleat::chain_count(context) == 0U);
  return future.get();
}

task<int> one() { co_return 1; }
task<int> plus_one(int i) { co_return i + 1; }
task<std::string> text(std::string s) { co_return s + "!"; }
task<std::unique_ptr<int>> owner() { co_return std::make_unique<int>(7); }
task<int> fails() {
  throw std::runtime_error("broken");
  co_return 0;
}

}  // namespace

BOOST_AUTO_TEST_CASE(gives_the_value_of_a_child_to_its_parent) {
  auto body = []() -> task<int> {
    int const a = co_await one();
    co_return a + co_await plus_one(41);
  };
  BOOST_TEST(run(body()) == 43);
}

BOOST_AUTO_TEST_CASE(carries_results_that_own_memory) {
  auto body = []() -> task<std::string> {
    std::string s = co_await text(std::string(100, 'x'));
    auto const p = co_await owner();
    co_return s + std::to_string(*p);
  };
  BOOST_TEST(run(body()) == std::string(100, 'x') + "!7");
}

BOOST_AUTO_TEST_CASE(starts_nothing_before_it_is_awaited) {
  bool started = false;
  auto body = [&]() -> task<> {
    started = true;
    co_return;
  };
  {
    auto const never_run = body();
    BOOST_TEST(!started);
  }
  BOOST_TEST(!started);
}

BOOST_AUTO_TEST_CASE(rethrows_in_the_parent_what_escapes_a_child) {
  auto body = []() -> task<bool> {
    try {
      static_cast<void>(co_await fails());
    } catch (std::runtime_error const& e) {
      co_return std::string(e.what()) == "broken";
    }
    co_return false;
  };
  BOOST_TEST(run(body()));
}

BOOST_AUTO_TEST_CASE(gives_an_escaped_exception_to_the_completion_handler) {
  asio::io_context context;
  auto future = cleat::spawn(context.get_executor(), fails(), asio::use_future);
  context.run();
  BOOST_CHECK_THROW(future.get(), std::runtime_error);
}

BOOST_AUTO_TEST_CASE(survives_two_million_synchronous_completions) {
  auto body = []() -> task<long> {
    long sum = 0;
    for (int i = 0; i < 2'000'000; ++i) sum += co_await one();
    co_return sum;
  };
  BOOST_TEST(run(body()) == 2'000'000);
}

BOOST_AUTO_TEST_CASE(survives_two_million_synchronous_completions_after_a_real_suspension) {
  auto body = []() -> task<long> {
    auto const executor = co_await cleat::this_chain::executor;
    auto child = [&]() -> task<long> {
      co_await asio::post(executor, use_task);
      long sum = 0;
      for (int i = 0; i < 2'000'000; ++i) sum += co_await one();
      co_return sum;
    };
    long sum = co_await child();
    for (int i = 0; i < 2'000'000; ++i) sum += co_await one();
    co_return sum;
  };
  BOOST_TEST(run(body()) == 4'000'000);
}

BOOST_AUTO_TEST_CASE(survives_two_hundred_thousand_inline_dispatches) {
  auto body = []() -> task<int> {
    auto const executor = co_await cleat::this_chain::executor;
    int n = 0;
    for (; n < 200'000; ++n) co_await asio::dispatch(executor, use_task);
    co_return n;
  };
  BOOST_TEST(run(body()) == 200'000);
}

BOOST_AUTO_TEST_CASE(survives_two_hundred_thousand_inline_dispatches_in_children) {
  auto hop = [](asio::any_io_executor executor) -> task<int> {
    co_await asio::dispatch(executor, use_task);
    co_return 1;
  };
  auto body = [&]() -> task<int> {
    auto const executor = co_await cleat::this_chain::executor;
    int n = 0;
    while (n < 200'000) n += co_await hop(executor);
    co_return n;
  };
  BOOST_TEST(run(body()) == 200'000);
}

BOOST_AUTO_TEST_CASE(survives_many_suspensions_at_every_depth) {
  auto body = []() -> task<int> {
    auto const executor = co_await cleat::this_chain::executor;
    auto inner = [&](int i) -> task<int> {
      if (i % 2 == 0) co_await asio::post(executor, use_task);
      co_return 1;
    };
    auto middle = [&](int i) -> task<int> {
      int n = co_await inner(i);
      if (i % 3 == 0) co_await asio::post(executor, use_task);
      n += co_await inner(i + 1);
      co_return n;
    };
    int n = 0;
    for (int i = 0; i < 50'000; ++i) n += co_await middle(i);
    co_return n;
  };
  BOOST_TEST(run(body()) == 100'000);
}

BOOST_AUTO_TEST_CASE(awaits_asio_operations_and_gives_results) {
  asio::io_context context;
  asio::local::stream_protocol::socket a{context};
  asio::local::stream_protocol::socket b{context};
  asio::local::connect_pair(a, b);
  auto body = [&]() -> task<std::string> {
    auto const sent = co_await asio::async_write(a, asio::buffer("hello", 5), use_task);
    BOOST_TEST(sent.value() == 5U);
    std::string in(16, '\0');
    result<std::size_t> const n = co_await b.async_read_some(asio::buffer(in), use_task);
    in.resize(n.value());
    a.close();
    char c = 0;
    result<std::size_t> const end = co_await b.async_read_some(asio::buffer(&c, 1), use_task);
    BOOST_TEST(!end.has_value());
    BOOST_TEST((end.error().why() == kind::closed));
    co_return in;
  };
  auto future = cleat::spawn(context.get_executor(), body(), asio::use_future);
  context.run();
  BOOST_TEST(future.get() == "hello");
}

BOOST_AUTO_TEST_CASE(accepts_as_tuple_redirect_error_and_deferred) {
  asio::io_context context;
  asio::local::stream_protocol::socket a{context};
  asio::local::stream_protocol::socket b{context};
  asio::local::connect_pair(a, b);
  auto body = [&]() -> task<> {
    auto const [e1, n1] =
        co_await asio::async_write(a, asio::buffer("abc", 3), asio::as_tuple(use_task));
    BOOST_TEST(!e1.failed());
    BOOST_TEST(n1 == 3U);
    char in[3];
    boost::system::error_code e2;
    std::size_t const n2 =
        co_await asio::async_read(b, asio::buffer(in), asio::redirect_error(use_task, e2));
    BOOST_TEST(!e2.failed());
    BOOST_TEST(n2 == 3U);
    auto const n3 = co_await a.async_write_some(asio::buffer("d", 1), asio::deferred);
    BOOST_TEST(n3.value() == 1U);
    a.close();
    static_cast<void>(co_await b.async_read_some(asio::buffer(in), use_task));
    std::size_t const n4 =
        co_await b.async_read_some(asio::buffer(in), asio::redirect_error(use_task, e2));
    BOOST_TEST((e2 == asio::error::eof));
    BOOST_TEST(n4 == 0U);
  };
  auto future = cleat::spawn(context.get_executor(), body(), asio::use_future);
  context.run();
  future.get();
}

BOOST_AUTO_TEST_CASE(awaits_an_asio_awaitable_and_is_awaited_in_one) {
  asio::io_context context;
  auto theirs = [](int i) -> asio::awaitable<int> {
    asio::steady_timer timer{co_await asio::this_coro::executor, 1ms};
    co_await timer.async_wait(asio::use_awaitable);
    co_return i * 2;
  };
  auto ours = [&](int i) -> task<std::string> {
    int const doubled = co_await theirs(i);
    co_return std::to_string(doubled);
  };
  std::string got;
  auto outer = [&]() -> asio::awaitable<void> { got = co_await ours(21)(asio::use_awaitable); };
  asio::co_spawn(context, outer(), asio::detached);
  context.run();
  BOOST_TEST(got == "42");
}

BOOST_AUTO_TEST_CASE(carries_exceptions_both_ways_through_awaitable) {
  asio::io_context context;
  auto theirs = []() -> asio::awaitable<void> {
    throw std::runtime_error("theirs");
    co_return;
  };
  auto ours = [&]() -> task<> { co_await theirs(); };
  std::string got;
  auto outer = [&]() -> asio::awaitable<void> {
    try {
      co_await ours()(asio::use_awaitable);
    } catch (std::runtime_error const& e) {
      got = e.what();
    }
  };
  asio::co_spawn(context, outer(), asio::detached);
  context.run();
  BOOST_TEST(got == "theirs");
}

BOOST_AUTO_TEST_CASE(destroys_its_frames_before_the_completion_handler_is_called) {
  asio::io_context context;
  auto alive = std::make_shared<int>(0);
  std::weak_ptr<int> const watch = alive;
  auto body = [](std::shared_ptr<int> p) -> task<> {
    co_await asio::post(co_await cleat::this_chain::executor, use_task);
    ++*p;
  };
  bool gone = false;
  cleat::spawn(context.get_executor(), body(std::move(alive)),
               [&](std::exception_ptr) { gone = watch.expired(); });
  context.run();
  BOOST_TEST(gone);
}

BOOST_AUTO_TEST_CASE(is_destroyed_with_its_context_while_it_waits) {
  auto alive = std::make_shared<int>(0);
  std::weak_ptr<int> const watch = alive;
  bool called = false;
  {
    asio::io_context context;
    asio::steady_timer timer{context, 1h};
    auto inner = [&](std::shared_ptr<int> p) -> task<> {
      static_cast<void>(co_await timer.async_wait(use_task));
      ++*p;
    };
    auto outer = [&](std::shared_ptr<int> p) -> task<> { co_await inner(std::move(p)); };
    cleat::spawn(context.get_executor(), outer(std::move(alive)),
                 [&](std::exception_ptr) { called = true; });
    context.poll();
    BOOST_TEST(!watch.expired());
    BOOST_TEST(cleat::chain_count(context) == 1U);
  }
  BOOST_TEST(watch.expired());
  BOOST_TEST(!called);
}

BOOST_AUTO_TEST_CASE(is_destroyed_with_its_context_before_it_began) {
  auto alive = std::make_shared<int>(0);
  std::weak_ptr<int> const watch = alive;
  {
    asio::io_context context;
    auto body = [](std::shared_ptr<int> p) -> task<> {
      ++*p;
      co_return;
    };
    cleat::spawn(context.get_executor(), body(std::move(alive)));
    BOOST_TEST(!watch.expired());
  }
  BOOST_TEST(watch.expired());
}

BOOST_AUTO_TEST_CASE(is_cancelled_at_each_of_its_suspensions) {
  // Cancelled at the n-th of five waits: that wait and all later ones end as cancelled, nothing
  // runs on, nothing leaks.
  for (int at = 0; at < 6; ++at) {
    asio::io_context context;
    asio::cancellation_signal signal;
    int reached = 0;
    std::vector<kind> seen;
    auto wait = [&]() -> task<result<void>> {
      asio::steady_timer timer{co_await cleat::this_chain::executor, 1ms};
      if (reached == at)
        asio::post(context, [&] { signal.emit(asio::cancellation_type::terminal); });
      ++reached;
      auto r = co_await timer.async_wait(use_task);
      co_return r;
    };
    auto body = [&]() -> task<int> {
      int done = 0;
      for (int i = 0; i < 5; ++i) {
        auto const r = co_await wait();
        if (r) {
          ++done;
        } else {
          seen.push_back(r.error().why());
        }
      }
      co_return done;
    };
    int done = -1;
    auto handler = [&](std::exception_ptr, int n) { done = n; };
    cleat::spawn(context.get_executor(), body(),
                 asio::bind_cancellation_slot(signal.slot(), handler));
    context.run();
    BOOST_TEST(done == std::min(at, 5));
    BOOST_TEST(seen.size() == std::size_t(5 - std::min(at, 5)));
    for (kind const k : seen) BOOST_TEST((k == kind::cancelled));
    BOOST_TEST(cleat::chain_count(context) == 0U);
  }
}

BOOST_AUTO_TEST_CASE(finishes_its_cleanup_under_a_shield) {
  asio::io_context context;
  asio::cancellation_signal signal;
  bool cleaned = false;
  bool told = false;
  auto body = [&]() -> task<> {
    asio::steady_timer timer{context, 1h};
    auto const r = co_await timer.async_wait(use_task);
    BOOST_TEST((!r && r.error().why() == kind::cancelled));
    {
      auto const guard = co_await cleat::this_chain::shield;
      timer.expires_after(1ms);
      auto const cleanup = co_await timer.async_wait(use_task);
      cleaned = cleanup.has_value();
    }
    told = co_await cleat::this_chain::cancelled;
    timer.expires_after(1h);
    auto const after = co_await timer.async_wait(use_task);
    BOOST_TEST(!after.has_value());
  };
  cleat::spawn(context.get_executor(), body(),
               asio::bind_cancellation_slot(signal.slot(), asio::detached));
  asio::post(context, [&] { signal.emit(asio::cancellation_type::terminal); });
  context.run();
  BOOST_TEST(cleaned);
  BOOST_TEST(told);
}

BOOST_AUTO_TEST_CASE(keeps_the_value_of_an_operation_that_completed_before_the_cancellation) {
  asio::io_context context;
  asio::cancellation_signal signal;
  asio::local::stream_protocol::socket a{context};
  asio::local::stream_protocol::socket b{context};
  asio::local::connect_pair(a, b);
  std::string got;
  auto body = [&]() -> task<> {
    char c = 0;
    auto const n = co_await b.async_read_some(asio::buffer(&c, 1), use_task);
    if (n) got += c;
    auto const later = co_await b.async_read_some(asio::buffer(&c, 1), use_task);
    if (later) got += c;
  };
  asio::write(a, asio::buffer("xy", 2));
  cleat::spawn(context.get_executor(), body(),
               asio::bind_cancellation_slot(signal.slot(), asio::detached));
  context.poll_one();  // starts the chain: its read succeeds at once and its completion is queued
  signal.emit(asio::cancellation_type::terminal);
  context.run();
  BOOST_TEST(got == "x");
  // The byte that was not asked for any more is still there.
  char c = 0;
  BOOST_TEST(asio::read(b, asio::buffer(&c, 1)) == 1U);
  BOOST_TEST(c == 'y');
}

BOOST_AUTO_TEST_CASE(shows_where_a_suspended_chain_stands) {
  asio::io_context context;
  asio::steady_timer timer{context, 1h};
  struct local {
    static task<> innermost(asio::steady_timer& t) {
      static_cast<void>(co_await t.async_wait(use_task));
    }
    static task<> outermost(asio::steady_timer& t) { co_await innermost(t); }
  };
  cleat::spawn(context.get_executor(), local::outermost(timer));
  context.poll();
  std::ostringstream out;
  cleat::dump_chains(context, out);
  std::string const dump = out.str();
  BOOST_TEST_CONTEXT(dump) {
    auto const inner = dump.find("innermost");
    auto const outer = dump.find("outermost");
    BOOST_TEST(dump.find("chain 1 of 1") == 0U);
    BOOST_TEST(inner != std::string::npos);
    BOOST_TEST(outer != std::string::npos);
    BOOST_TEST(inner < outer);
    BOOST_TEST(dump.find("task_test.cpp:") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(goes_on_after_an_operation_that_could_not_be_started) {
  auto refuses = [](auto&& token) {
    auto initiation = [](auto handler) {
      static_cast<void>(handler);
      throw std::runtime_error("cannot start");
    };
    return asio::async_initiate<decltype(token), void(boost::system::error_code)>(initiation,
                                                                                  token);
  };
  auto child = [&]() -> task<int> {
    try {
      static_cast<void>(co_await refuses(use_task));
    } catch (std::runtime_error const&) {
      co_return 1;
    }
    co_return 0;
  };
  auto body = [&]() -> task<int> {
    int n = 0;
    for (int i = 0; i < 10; ++i) n += co_await child();
    co_await asio::post(co_await cleat::this_chain::executor, use_task);
    for (int i = 0; i < 10; ++i) n += co_await child();
    co_return n;
  };
  BOOST_TEST(run(body()) == 20);
}

BOOST_AUTO_TEST_CASE(a_cancellation_signal_may_go_before_its_context) {
  auto alive = std::make_shared<int>(0);
  std::weak_ptr<int> const watch = alive;
  {
    asio::io_context context;
    asio::cancellation_signal signal;  // destroyed first
    auto body = [&](std::shared_ptr<int> p) -> task<> {
      asio::steady_timer timer{context, 1h};
      static_cast<void>(co_await timer.async_wait(use_task));
      ++*p;
    };
    cleat::spawn(context.get_executor(), body(std::move(alive)),
                 asio::bind_cancellation_slot(signal.slot(), asio::detached));
    context.poll();
  }
  BOOST_TEST(watch.expired());
}

BOOST_AUTO_TEST_CASE(shows_a_running_chain_from_inside) {
  asio::io_context context;
  std::ostringstream out;
  auto body = [&]() -> task<> {
    static_cast<void>(co_await one());
    cleat::dump_chains(context, out);
  };
  cleat::spawn(context.get_executor(), body());
  context.run();
  BOOST_TEST(out.str().find("(running)") != std::string::npos);
}

// What a task may await is a closed list.
static_assert(cleat::AwaitableInTask<task<int>>);
static_assert(cleat::AwaitableInTask<asio::awaitable<int>>);
static_assert(!cleat::AwaitableInTask<std::suspend_always>);
static_assert(!cleat::AwaitableInTask<int>);
static_assert(cleat::AwaitsTo<task<result<int>>, result<int>>);
static_assert(!cleat::AwaitsTo<task<int>, result<int>>);
static_assert(cleat::AwaitsTo<asio::awaitable<int>, int>);

// ---- a leaf or a task ----------------------------------------------------------------------------

namespace {

/// Ends when it is told to, or at once.
class bell final : public cleat::leaf {
 public:
  explicit bell(bell*& place, bool now = false) noexcept : place_(place), now_(now) {}
  bell(bell&&) = delete;
  ~bell() override { place_ = nullptr; }
  int await_resume() const noexcept { return cancelled_ ? -1 : 7; }
  void ring() { complete(); }

 private:
  void begin(bool cancelled) override {
    cancelled_ = cancelled;
    if (cancelled || now_) return complete();
    place_ = this;
  }
  void cancel() noexcept override {
    cancelled_ = true;
    complete_later();
  }

  bell*& place_;
  bool now_;
  bool cancelled_ = false;
};

using either = cleat::leaf_or_task<bell, int>;

either leaf(bell*& place, bool now = false) { return either{std::in_place_type<bell>, place, now}; }
either child(task<int> t) { return either{std::move(t)}; }

}  // namespace

BOOST_AUTO_TEST_CASE(awaits_a_leaf_or_a_task_alike) {
  bell* none = nullptr;
  auto body = [&]() -> task<int> {
    int const a = co_await leaf(none, true);
    int const b = co_await child(plus_one(41));
    co_return a + b;
  };
  BOOST_TEST(run(body()) == 49);
}

BOOST_AUTO_TEST_CASE(goes_on_where_a_leaf_that_may_be_a_task_is_told_to_end) {
  asio::io_context context;
  bell* waiting = nullptr;
  auto body = [&]() -> task<int> {
    int sum = 0;
    for (int i = 0; i < 3; ++i) sum += co_await leaf(waiting);
    co_return sum;
  };
  auto future = cleat::spawn(context.get_executor(), body(), asio::use_future);
  context.poll();
  for (int i = 0; i < 3; ++i) {
    BOOST_REQUIRE(waiting != nullptr);
    waiting->ring();
  }
  BOOST_TEST(waiting == nullptr);
  context.run();
  BOOST_TEST(future.get() == 21);
}

BOOST_AUTO_TEST_CASE(goes_on_after_a_task_that_may_be_a_leaf_has_waited) {
  auto body = []() -> task<int> {
    auto const executor = co_await cleat::this_chain::executor;
    auto hop = [](asio::any_io_executor on) -> task<int> {
      co_await asio::post(on, use_task);
      co_return 1;
    };
    int sum = 0;
    for (int i = 0; i < 1000; ++i) sum += co_await child(hop(executor));
    co_return sum;
  };
  BOOST_TEST(run(body()) == 1000);
}

BOOST_AUTO_TEST_CASE(rethrows_what_escapes_a_task_that_may_be_a_leaf) {
  auto body = []() -> task<bool> {
    try {
      static_cast<void>(co_await child(fails()));
    } catch (std::runtime_error const&) {
      co_return true;
    }
    co_return false;
  };
  BOOST_TEST(run(body()));
}

BOOST_AUTO_TEST_CASE(cancels_the_leaf_or_the_task_that_it_waits_on) {
  for (bool const direct : {true, false}) {
    asio::io_context context;
    asio::cancellation_signal signal;
    bell* waiting = nullptr;
    auto inner = [&]() -> task<int> {
      int const n = co_await leaf(waiting);
      co_return n;
    };
    auto body = [&](bool plain) -> task<int> {
      if (plain) {
        int const n = co_await leaf(waiting);
        co_return n;
      }
      int const n = co_await child(inner());
      co_return n;
    };
    int outcome = 0;
    auto done = [&](std::exception_ptr, int n) { outcome = n; };
    cleat::spawn(context.get_executor(), body(direct),
                 asio::bind_cancellation_slot(signal.slot(), done));
    context.poll();
    BOOST_TEST(waiting != nullptr);
    signal.emit(asio::cancellation_type::terminal);
    context.run();
    BOOST_TEST(outcome == -1);
    BOOST_TEST(waiting == nullptr);
  }
}

BOOST_AUTO_TEST_CASE(what_is_never_awaited_begins_neither_as_a_leaf_nor_as_a_task) {
  bell* waiting = nullptr;
  bool started = false;
  auto body = [&]() -> task<int> {
    started = true;
    co_return 1;
  };
  {
    auto const never_begun = leaf(waiting);
    auto const never_run = child(body());
  }
  BOOST_TEST(waiting == nullptr);
  BOOST_TEST(!started);
}

// Session: calls and pushes between two sessions in one process, and the search for a call's slot.
#include "measured.hpp"

#include <cleat/base/scope.hpp>
#include <cleat/session/session.hpp>
#include <cleat/transport/memory.hpp>
#include <toggle/protocol.hpp>

#include <boost/asio/io_context.hpp>

#include <cstddef>
#include <cstdlib>
#include <utility>
#include <vector>

namespace {

using cleat::environment;
using cleat::memory_stream;
using cleat::result;
using cleat::scope;
using cleat::task;
using micro::measured;
using toggle::message;
using toggle::protocol;

using session = cleat::session<protocol, memory_stream>;

task<> run_session(session& s) { static_cast<void>(co_await s.run()); }

task<result<message>> acknowledge(message m) { co_return message::ack(m, m.state.value_or(false)); }

/// Two sessions, connected.
class pair_of_sessions {
 public:
  pair_of_sessions()
      : ends_(cleat::memory_pair(context.get_executor())),
        client(std::move(ends_.first), protocol{}),
        server(std::move(ends_.second), protocol{}) {}

  boost::asio::io_context context{1};

 private:
  std::pair<memory_stream, memory_stream> ends_;

 public:
  session client;
  session server;
};

task<> beside_sessions(pair_of_sessions& p, std::vector<task<>> users) {
  environment& env = co_await cleat::this_chain::environment;
  scope sessions{env};
  sessions.spawn(run_session(p.client));
  sessions.spawn(run_session(p.server));
  scope beside{env};
  for (auto& user : users) beside.spawn(std::move(user));
  co_await beside.join();
  p.client.close();
  p.server.close();
  co_await sessions.join();
}

task<> call_again_and_again(pair_of_sessions& p, measured& loop, cleat::call c) {
  auto const q = toggle::request::turn(micro::device_id, true);
  while (loop.again()) {
    auto const answer = co_await p.client.call(q, c);
    if (!answer) std::abort();
  }
}

void calls(benchmark::State& state) {
  pair_of_sessions p;
  p.server.serve = acknowledge;
  measured loop{state};
  std::vector<task<>> callers;
  for (std::int64_t n = 0; n < state.range(0); ++n)
    callers.push_back(call_again_and_again(p, loop, micro::new_call(p.context)));
  micro::run(p.context, beside_sessions(p, std::move(callers)));
}

/// A request that the other side takes as a push, since it serves none.
task<> push_again_and_again(pair_of_sessions& p, measured& loop) {
  message const m = message::status(micro::device_id, "8de74d08753f195d");
  while (loop.again()) {
    if (!p.client.send(m)) std::abort();
    auto const got = co_await p.server.next_push();
    if (!got) std::abort();
  }
}

void pushes(benchmark::State& state) {
  pair_of_sessions p;
  measured loop{state};
  std::vector<task<>> users;
  users.push_back(push_again_and_again(p, loop));
  micro::run(p.context, beside_sessions(p, std::move(users)));
}

class nobody : public cleat::detail::exchange_base {
 public:
  nobody() = default;
};

/// With so many calls pending, all of them are looked for in turn, but not in their order.
class pending_calls {
 public:
  explicit pending_calls(std::int64_t count) : count_(static_cast<std::uint64_t>(count)) {
    for (std::uint64_t n = 0; n < count_; ++n) slots.add(key(n), by, n, n + 1);
  }

  [[nodiscard]] cleat::match_key next() noexcept {
    constexpr std::uint64_t stride = 617;  // has no divisor with 1,000 in common
    at_ = (at_ + stride) % count_;
    return key(at_);
  }
  /// That of a call that is not among them.
  [[nodiscard]] cleat::match_key another() const noexcept { return key(count_); }

  nobody by;
  cleat::detail::slot_table slots;

 private:
  [[nodiscard]] static cleat::match_key key(std::uint64_t n) noexcept {
    constexpr std::uint64_t first = 0x8de74d08753f195d;
    return {protocol::numbered_space, first + n};
  }

  std::uint64_t count_;
  std::uint64_t at_ = 0;
};

void find_slot(benchmark::State& state) {
  pending_calls pending{state.range(0)};
  micro::measure(state, [&] { benchmark::DoNotOptimize(pending.slots.find(pending.next())); });
}

void add_and_remove_slot(benchmark::State& state) {
  pending_calls pending{state.range(0)};
  auto const key = pending.another();
  micro::measure(state, [&] { pending.slots.remove(pending.slots.add(key, pending.by, 0, 1)); });
}

}  // namespace

BENCHMARK(calls)->Name("session/call/in_flight")->Arg(1)->Arg(128);
BENCHMARK(pushes)->Name("session/push");
BENCHMARK(find_slot)->Name("session/slot_find/pending")->Arg(1)->Arg(1000);
BENCHMARK(add_and_remove_slot)->Name("session/slot_add_remove/pending")->Arg(1)->Arg(1000);

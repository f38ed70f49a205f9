#pragma once

#include <cleat/base/clock.hpp>
#include <cleat/base/event.hpp>
#include <cleat/base/scope.hpp>
#include <cleat/transport/transport.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cleat {

/// The kit for transports: whether a model keeps the promises of `Transport`.
///
/// The author of a transport adds one test file:
///
/// ```
/// auto connect = [&]() -> task<result<std::pair<my_stream, my_stream>>> { … };   // two connected
/// ends for (auto const& broken : block_on(check_transport<my_stream>(connect)))
/// BOOST_ERROR(broken);
/// ```
///
/// `connect` is called several times and is used until the check ends; both ends live on the
/// calling chain's executor. The check takes well under a second over loopback. It gives a sentence
/// for each promise that was broken, and none if all were kept. A wait that should have ended is
/// given up when `patience` runs out, so that a broken model fails instead of hanging.
template <Transport T>
class transport_check {
 public:
  using two_ends = std::pair<T, T>;
  using connector = std::function<task<result<two_ends>>()>;

  transport_check(environment& env, connector connect, duration patience)
      : env_(env),
        clock_(clock::of(env.executor())),
        connect_(std::move(connect)),
        patience_(patience) {}

  task<std::vector<std::string>> run() {
    using step = task<> (transport_check::*)(T&, T&);
    static constexpr std::array<step, 11> steps = {
        &transport_check::nothing_there,     &transport_check::gathers,
        &transport_check::carries_both_ways, &transport_check::pushes_back,
        &transport_check::cancelled_wait,    &transport_check::cancelled_with_data,
        &transport_check::cancelled_before,  &transport_check::end_after_data,
        &transport_check::close_ends_a_wait, &transport_check::closed_for_good,
        &transport_check::small_reads,
    };
    for (step const s : steps) {
      auto pair = co_await connect_();
      if (!pair) {
        broken_.push_back("two ends could not be connected: " + pair.error().message());
        break;
      }
      co_await (this->*s)(pair->first, pair->second);
    }
    co_await destructor_closes();
    co_return std::move(broken_);
  }

 private:
  void expect(bool kept, char const* promise) {
    if (!kept) broken_.emplace_back(promise);
  }

  /// Waits with patience; nothing if patience ran out.
  template <class Wait>
  task<std::optional<result<void>>> ended(Wait wait) {
    std::optional<result<void>> outcome;
    event over;
    scope beside{env_};
    beside.spawn(keep(std::move(wait), outcome, over));
    static_cast<void>(co_await over.wait(clock_.now() + patience_));
    beside.cancel();
    co_await beside.join();
    co_return outcome;
  }
  template <class Wait>
  static task<> keep(Wait wait, std::optional<result<void>>& out, event& over) {
    auto r = co_await wait();
    out.emplace(r);
    over.set();
  }
  auto readable(T& t) {
    return [&t]() -> task<result<void>> {
      auto r = co_await t.readable();
      co_return r;
    };
  }
  auto writable(T& t) {
    return [&t]() -> task<result<void>> {
      auto r = co_await t.writable();
      co_return r;
    };
  }

  static result<std::size_t> put(T& t, std::string_view s) {
    bytes_view const b = as_bytes(s);
    return t.write(std::span{&b, 1});
  }
  /// Takes exactly `n` bytes, or less if the stream ends or patience does.
  task<std::string> take(T& t, std::size_t n) {
    std::string got;
    std::array<std::byte, 4096> lent;
    while (got.size() < n) {
      auto const r = t.read(std::span{lent}.first(std::min(lent.size(), n - got.size())));
      if (!r) break;
      got += as_text(bytes_view{lent}.first(*r));
      if (*r != 0) continue;
      auto wait = readable(t);
      auto const ready = co_await ended(std::move(wait));
      if (!ready || !*ready) break;
    }
    co_return got;
  }
  static std::string pattern(std::size_t n, unsigned seed) {
    std::string s(n, '\0');
    for (std::size_t i = 0; i < n; ++i) s[i] = static_cast<char>((i * 31 + i / 251 + seed) % 251);
    return s;
  }

  task<> nothing_there(T& a, T& b) {
    std::array<std::byte, 16> lent;
    auto const none = a.read(lent);
    expect(none && *none == 0, "read gives 0 while nothing is there, and does not wait");
    put_all(b, "x");
    auto wait = readable(a);
    auto const ready = co_await ended(std::move(wait));
    expect(ready && *ready, "readable ends when bytes arrive");
    auto const empty = a.read(std::span<std::byte>{});
    expect(empty && *empty == 0, "reading into an empty span gives 0");
    std::string const got = co_await take(a, 1);
    expect(got == "x", "a byte that was waited for is still there to be read");
  }
  void put_all(T& t, std::string_view s) {
    auto const n = put(t, s);
    expect(n && *n == s.size(), "an idle stream accepts a few bytes at once");
  }

  task<> gathers(T& a, T& b) {
    std::array<bytes_view, 4> const spans = {as_bytes("one "), as_bytes(""), as_bytes("two "),
                                             as_bytes("three")};
    auto const n = a.write(spans);
    expect(n && *n == 13, "write takes all spans of a small gather");
    std::string const got = co_await take(b, 13);
    expect(got == "one two three", "gathered spans arrive in their order");
  }

  task<> send_all(T& t, std::string data) {
    std::string_view left = data;
    for (std::size_t cut = 1; !left.empty(); cut = cut * 7 % 9973 + 1) {
      auto const n = put(t, left.substr(0, cut));
      if (!n) break;
      left.remove_prefix(*n);
      if (*n != 0) continue;
      auto wait = writable(t);
      auto const ready = co_await ended(std::move(wait));
      if (!ready || !*ready) break;
    }
    expect(left.empty(), "write goes on when writable has ended");
  }
  task<> receive_all(T& t, std::string want) {
    std::string const got = co_await take(t, want.size());
    expect(got == want, "bytes arrive whole and in order while both directions are busy");
  }
  task<> carries_both_ways(T& a, T& b) {
    std::string const there = pattern(40'000, 1);
    std::string const back = pattern(25'000, 2);
    scope beside{env_};
    beside.spawn(send_all(a, there));
    beside.spawn(send_all(b, back));
    beside.spawn(receive_all(a, back));
    beside.spawn(receive_all(b, there));
    co_await beside.join();
  }

  task<> pushes_back(T& a, T& b) {
    std::string const block = pattern(65536, 3);
    std::size_t accepted = 0;
    bool full = false;
    for (int i = 0; i < 4096 && !full; ++i) {
      auto const n = put(a, block);
      if (!n) break;
      accepted += *n;
      full = *n == 0;
    }
    expect(full, "write gives 0 when the peer takes nothing, instead of growing or failing");
    std::string const got = co_await take(b, accepted);
    expect(got.size() == accepted, "all bytes that were accepted arrive");
    auto wait = writable(a);
    auto const ready = co_await ended(std::move(wait));
    expect(ready && *ready, "writable ends when there is room again");
  }

  task<> waiting(T& t, std::optional<result<void>>& out) {
    auto r = co_await t.readable();
    out.emplace(r);
  }

  task<> cancelled_wait(T& a, T& b) {
    std::optional<result<void>> outcome;
    scope beside{env_};
    beside.spawn(waiting(a, outcome));
    beside.cancel();
    co_await beside.join();
    expect(outcome && !*outcome && outcome->error().why() == kind::cancelled,
           "a cancelled wait ends as cancelled");
    put_all(b, "later");
    std::string const got = co_await take(a, 5);
    expect(got == "later", "a cancelled wait harms nothing: what comes later can be read");
  }

  task<> cancelled_with_data(T& a, T& b) {
    std::optional<result<void>> outcome;
    scope beside{env_};
    beside.spawn(waiting(a, outcome));
    put_all(b, "kept");
    beside.cancel();
    co_await beside.join();
    expect(outcome.has_value(), "a wait that is cancelled while bytes arrive ends");
    std::string const got = co_await take(a, 4);
    expect(got == "kept", "cancelling a wait while bytes arrive loses none");
  }

  task<> waiting_too_late(T& t, std::optional<result<void>>& out) {
    event never_set;
    static_cast<void>(co_await never_set.wait());  // ends when the chain is cancelled
    auto r = co_await t.readable();
    out.emplace(r);
  }

  task<> cancelled_before(T& a, T& b) {
    put_all(b, "there");
    auto wait = readable(a);
    static_cast<void>(co_await ended(std::move(wait)));
    std::optional<result<void>> outcome;
    scope beside{env_};
    beside.spawn(waiting_too_late(a, outcome));
    beside.cancel();
    co_await beside.join();
    expect(
        outcome && !*outcome && outcome->error().why() == kind::cancelled,
        "a wait of a chain that was cancelled before ends as cancelled, also when bytes are there");
  }

  task<> end_after_data(T& a, T& b) {
    put_all(b, "last words");
    b.close();
    std::string const got = co_await take(a, 10);
    expect(got == "last words", "what was written before a close can be read after it");
    auto wait = readable(a);
    auto const ready = co_await ended(std::move(wait));
    expect(ready.has_value(), "readable ends at the end of the stream");
    std::array<std::byte, 1> lent;
    auto const end = a.read(lent);
    expect(!end && (end.error().why() == kind::closed || end.error().why() == kind::reset),
           "read fails as closed or reset at the end of the stream");
  }

  task<> close_ends_a_wait(T& a, T& b) {
    std::optional<result<void>> outcome;
    event over;
    scope beside{env_};
    beside.spawn(keep(readable(a), outcome, over));
    a.close();
    auto const in_time = co_await over.wait(clock_.now() + patience_);
    beside.cancel();
    co_await beside.join();
    std::array<std::byte, 1> lent;
    expect(in_time && !a.read(lent),
           "close ends a wait that is under way, and read fails after it");
    auto wait = readable(b);
    auto const ready = co_await ended(std::move(wait));
    expect(ready.has_value(), "the peer of a closed stream hears of it");
  }

  task<> closed_for_good(T& a, T&) {
    a.close();
    a.close();
    std::array<std::byte, 1> lent;
    auto const in = a.read(lent);
    expect(!in && in.error().why() == kind::shut_down,
           "read fails as shut_down after our own close");
    auto const out = put(a, "x");
    expect(!out && out.error().why() == kind::shut_down,
           "write fails as shut_down after our own close");
    co_return;
  }

  task<> small_reads(T& a, T& b) {
    put_all(b, "abc");
    std::string got;
    for (int i = 0; i < 3; ++i) got += co_await take(a, 1);
    expect(got == "abc", "what does not fit into a small read stays for the next one");
  }

  task<> destructor_closes() {
    auto pair = co_await connect_();
    if (!pair) co_return;
    T kept = std::move(pair->first);
    {
      T const gone = std::move(pair->second);
    }
    auto wait = readable(kept);
    auto const ready = co_await ended(std::move(wait));
    std::array<std::byte, 1> lent;
    expect(ready.has_value() && !kept.read(lent), "the destructor closes");
  }

  environment& env_;
  clock& clock_;
  connector connect_;
  duration patience_;
  std::vector<std::string> broken_;
};

/// Checks a transport; see `transport_check`.
template <Transport T>
task<std::vector<std::string>> check_transport(typename transport_check<T>::connector connect,
                                               duration patience = std::chrono::seconds{10}) {
  environment& env = co_await this_chain::environment;
  transport_check<T> check{env, std::move(connect), patience};
  auto broken = co_await check.run();
  co_return broken;
}

}  // namespace cleat

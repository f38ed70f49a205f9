#pragma once

#include <cleat/base/bytes.hpp>
#include <cleat/base/event.hpp>
#include <cleat/base/scope.hpp>
#include <cleat/codec/codec.hpp>
#include <cleat/sim/world.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace cleat::sim {

/// What a simulated peer is: how it acts on what it receives. (What it does wrong is chance's business: `manners`.)
///
/// Used on the world's executor. It outlives the peer.
template <class Message>
class peer_role {
 public:
  virtual ~peer_role() = default;
  /// Carries out a request and gives the answer; nothing if this message wants none.
  virtual std::optional<Message> carry_out(Message const& request) = 0;
  /// What it sends as soon as it has read a request, before it acts; usually nothing.
  virtual std::optional<Message> receipt(Message const&) { return std::nullopt; }
  /// Turns an answer into one to another request, or to none.
  virtual void misnumber(Message&, random&) {}
  /// Bytes instead of an answer; random ones unless the codec has worse.
  virtual byte_buffer garbage(random& numbers) {
    byte_buffer bytes(static_cast<std::size_t>(numbers.between(1, 64)));
    for (std::byte& b : bytes) b = static_cast<std::byte>(numbers.below(256));
    return bytes;
  }
};

/// What a simulated peer does with one request. All but the first are mistakes.
enum class deed : std::uint8_t {
  well,          ///< it acts and answers
  silent,        ///< it reads the request, and that is all
  receipt_only,  ///< it sends the receipt and never acts
  late,          ///< it acts at once, and answers later
  twice,         ///< it answers twice
  misnumbered,   ///< it acts, and its answer bears another number
  garbage,       ///< it acts, and answers bytes that mean nothing
};

/// How a simulated peer misbehaves, for each request by chance. All probabilities are 0 at first.
class manners {
 public:
  manners() noexcept {}

  double silent = 0;
  double receipt_only = 0;
  double late = 0;
  duration late_max = std::chrono::seconds{10};  ///< by how much at most, evenly spread
  double twice = 0;
  double misnumbered = 0;
  double garbage = 0;
};

/// A simulated peer that speaks a codec: it listens on a host of the world's network, carries out what it is asked, and
/// misbehaves as its manners say.
///
/// ```
/// class lamp : public sim::peer_role<toggle::message> { … };
/// lamp role;
/// sim::peer<toggle::protocol> peer{world, "lamp", 9000, {}, role};
/// world.spawn(peer.run());      // until the host crashes, or the chain is cancelled
/// ```
///
/// It outlives the chain of `run`. What its role throws leaves through `run`, in the end.
///
/// Everything that goes wrong is noted and tallied in the world, as `peer: late` and so on.
template <Codec C>
class peer {
 public:
  using message = typename C::message;

  peer(world& in, std::string host, std::uint16_t port, C codec, peer_role<message>& role)
      : world_(in),
        host_(std::move(host)),
        port_(port),
        codec_(std::move(codec)),
        role_(role),
        random_(in.random().next()) {}
  peer(peer const&) = delete;
  peer& operator=(peer const&) = delete;

  /// How it behaves from here on.
  sim::manners manners;

  /// What it does with the next requests; after those, chance and its manners decide.
  void script(std::deque<deed> deeds) { script_ = std::move(deeds); }

  /// Serves until it is cancelled or its host crashes. May be called again after that.
  task<> run() {
    auto listener = cleat::network::of(world_.executor()).listen(world_.executor(), host_, port_);
    if (!listener && !world_.network().is_up(host_)) co_return;
    if (!listener) throw std::logic_error{listener.error().message()};  // the scenario's mistake
    environment& env = co_await this_chain::environment;
    scope beside{env};
    for (;;) {
      auto stream = co_await listener->accept();
      if (!stream) break;
      beside.spawn(visit(std::move(*stream)));
    }
    beside.cancel();
    auto const guard = co_await this_chain::shield;
    co_await beside.join();
  }

  /// Sends a message to everybody who is connected.
  void push(message const& m) {
    for (conversation* const c : conversations_) say(*c, m);
  }

 private:
  /// One connection.
  struct conversation {
    conversation(any_stream s, environment& env) : stream(std::move(s)), beside(env) {}
    any_stream stream;
    scope beside;
    byte_buffer out;
    event more;
    bool ended = false;
  };

  void did(std::string_view what) {
    world_.note(what, host_);
    world_.tally(what);
  }

  task<> visit(any_stream stream) {
    environment& env = co_await this_chain::environment;
    conversation with{std::move(stream), env};
    conversations_.push_back(&with);
    with.beside.spawn(write(with));
    byte_buffer unread;
    std::exception_ptr thrown;
    while (!with.ended) {
      auto const ready = co_await with.stream.readable();
      if (!ready) break;
      std::array<std::byte, 1024> lent;
      auto const n = with.stream.read(lent);
      if (!n) break;
      append(unread, bytes_view{lent}.first(*n));
      try {
        std::size_t const used = work_through(with, unread);
        unread.erase(unread.begin(), unread.begin() + static_cast<std::ptrdiff_t>(used));
      } catch (...) {  // of the role: a test's own
        thrown = std::current_exception();
        break;
      }
    }
    with.ended = true;
    std::erase(conversations_, &with);
    with.stream.close();
    with.beside.cancel();
    auto const guard = co_await this_chain::shield;
    co_await with.beside.join();
    if (thrown) std::rethrow_exception(thrown);
  }

  std::size_t work_through(conversation& with, bytes_view unread) {
    std::size_t used = 0;
    while (used < unread.size()) {
      auto step = codec_.decode(unread.subspan(used));
      if (auto* const item = step.has_item()) {
        used += item->used;
        handle(with, item->message);
      } else if (auto const* const skip = step.skips()) {
        used += skip->used;
      } else {
        with.ended = step.is_lost() != nullptr;
        break;
      }
    }
    return used;
  }

  [[nodiscard]] deed next_deed() {
    deed what = deed::well;
    // From the mildest to the worst, each drawn: one probability changed leaves the others their numbers.
    if (random_.chance(manners.twice)) what = deed::twice;
    if (random_.chance(manners.late)) what = deed::late;
    if (random_.chance(manners.misnumbered)) what = deed::misnumbered;
    if (random_.chance(manners.garbage)) what = deed::garbage;
    if (random_.chance(manners.receipt_only)) what = deed::receipt_only;
    if (random_.chance(manners.silent)) what = deed::silent;
    if (script_.empty()) return what;
    what = script_.front();
    script_.pop_front();
    return what;
  }

  void handle(conversation& with, message const& request) {
    deed const what = next_deed();
    if (what == deed::silent) return did("peer: silent");
    if (auto const receipt = role_.receipt(request)) say(with, *receipt);
    if (what == deed::receipt_only) return did("peer: receipt only");
    std::optional<message> answer = role_.carry_out(request);
    if (!answer) return;
    switch (what) {
      case deed::garbage:
        did("peer: garbage");
        append(with.out, role_.garbage(random_));
        return with.more.set();
      case deed::late:
        did("peer: late");
        return with.beside.spawn(later(with, *std::move(answer)));
      case deed::misnumbered:
        did("peer: misnumbered");
        role_.misnumber(*answer, random_);
        break;
      case deed::twice:
        did("peer: twice");
        say(with, *answer);
        break;
      default:
        break;
    }
    say(with, *answer);
  }

  void say(conversation& with, message const& m) {
    if (with.ended) return;
    static_cast<void>(codec_.encode(m, with.out));
    with.more.set();
  }

  task<> later(conversation& with, message m) {
    duration const wait = random_.between(duration{}, manners.late_max);
    auto const slept = co_await sleep_until(world_.now() + wait);
    if (slept) say(with, m);
  }

  task<> write(conversation& with) {
    for (;;) {
      while (!with.out.empty()) {
        bytes_view const all{with.out};
        auto const n = with.stream.write(std::span{&all, 1});
        if (!n) co_return;
        with.out.erase(with.out.begin(), with.out.begin() + static_cast<std::ptrdiff_t>(*n));
        if (with.out.empty()) break;
        auto const ready = co_await with.stream.writable();
        if (!ready) co_return;
      }
      auto const woken = co_await with.more.wait();
      if (!woken) co_return;
    }
  }

  world& world_;
  std::string host_;
  std::uint16_t port_;
  C codec_;
  peer_role<message>& role_;
  random random_;
  std::deque<deed> script_;
  std::vector<conversation*> conversations_;
};

}  // namespace cleat::sim

#pragma once

#include <cleat/base/entropy.hpp>
#include <cleat/base/event.hpp>
#include <cleat/base/events.hpp>
#include <cleat/base/fragile.hpp>
#include <cleat/base/pooled_queue.hpp>
#include <cleat/base/scope.hpp>
#include <cleat/base/turns.hpp>
#include <cleat/codec/protocol.hpp>
#include <cleat/session/exchange.hpp>
#include <cleat/session/kept_pushes.hpp>
#include <cleat/session/lent_memory.hpp>
#include <cleat/session/outbound.hpp>
#include <cleat/session/session_options.hpp>
#include <cleat/session/slot_table.hpp>
#include <cleat/session/stray_frames.hpp>
#include <cleat/session/turn_limit.hpp>
#include <cleat/transport/transport.hpp>

#include <boost/intrusive/list.hpp>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace cleat {

/// One connection between two equals: either side may call, answer and push. The only place where a
/// transport and a protocol meet.
///
/// Somebody runs it (`run`, beside its callers, usually in a `scope`), and it outlives its callers.
/// Then:
///
/// - `call` sends a request and gives its answer. Many may be under way. It ends by its deadline,
/// whatever happens.
///   Its failure tells how certain it is that the peer did not act. Cancelled or expired before its
///   first byte was handed to the system, the request is withdrawn (`not_sent`); later it stays
///   whole on the wire, and its answer, if one comes, meets a tombstone and never another caller.
/// - `send` stages a message that has no answer: a push, or the answer to a request.
/// - What is staged while a write is under way, or while the reader works through what it received,
/// leaves in one
///   write.
/// - `respond` (set before `run`) sees every received message first, inside the reader, and may
/// `send` at once: for
///   receipts that must not wait for anybody. `serve` (set before `run`) answers requests; its
///   tasks run beside the reader, which never waits for them.
/// - `next_push` gives what nobody asked for.
/// - A frame that is of no use (an answer that nobody waits for, one that came before its request was
///   sent, a frame that cannot be read) is passed over and told of, see `frames_passed_over`. One
///   that cannot be read and bears the number of a call fails that call (`keys_of_unreadable`).
/// - The reader pauses only while this peer's own outbound bytes are over their limit. Calls take at
///   most half of them, so that asking much never holds up the answers.
/// - A peer that closes its direction (it sends nothing more) gets the answers to what it asked, within
///   `half_closed_max`; calls to it fail as `closed` at once. Then the session ends as `closed`.
/// - One turn of the loop works through a bounded number of the peer's frames and bytes; then
///   everybody else has a turn (`frames_per_turn_max`, `bytes_per_turn_max`).
/// - `close` ends it: what is under way fails as `shut_down`.
///
/// Errors: `run` gives the reason of the end; calls fail with it. Cancelling `run` closes the
/// session.
///
/// Thread safety: everything on the stream's executor, which also runs the callers' chains.
template <Protocol P, Transport T>
class session {
 public:
  using message = typename P::message;
  using request = typename P::request;
  using response = typename P::response;
  using exchange = detail::exchange<session>;

  session(T stream, P protocol, session_options options = {})
      : stream_(std::move(stream)),
        protocol_(std::move(protocol)),
        options_(options),
        clock_(clock::of(stream_.executor())),
        number_(entropy::of(stream_.executor()).next()) {}
  session(session const&) = delete;
  session& operator=(session const&) = delete;
  ~session() {
    for (detail::slot* s = slots_.first(); s != nullptr; s = s->next()) {
      if (s->by != nullptr) static_cast<exchange*>(s->by)->orphan();
    }
    while (!waiting_.empty()) {
      auto& e = next_waiting();
      stop_waiting(e);
      e.orphan();
    }
  }

  /// Called with every received message, in order, by the reader. It must not wait and must not
  /// destroy the session.
  std::function<void(message const&)> respond;
  /// Called for every request of the peer; a coroutine takes it by value, since it is gone after
  /// the first wait. Its answer is sent; a failure sends nothing. What it or
  /// `respond` throws ends the session and leaves through `run`.
  std::function<task<result<message>>(message&&)> serve;

  /// Reads until the end of the session and gives its reason.
  task<failure> run() {
    environment& env = co_await this_chain::environment;
    scope beside{env};
    scope_ = &beside;
    try {
      flush();
      if (serve && !ended_) read();  // who connects usually asks at once
      while (!ended_) {
        if (half_closed_) {
          co_await finish_answers();
          continue;
        }
        if (is_paused()) {
          co_await drain();
          continue;
        }
        if (more_) {
          co_await let_others();
          if (env.cancelled()) end(failure{kind::shut_down});
        } else {
          auto const ready = co_await stream_.readable();
          if (!ready)
            end(ready.error().why() == kind::cancelled ? failure{kind::shut_down} : ready.error());
        }
        if (!ended_) read();
      }
    } catch (...) {
      broken();
    }
    beside.cancel();
    {
      auto const guard = co_await this_chain::shield;
      try {
        co_await beside.join();
      } catch (...) {
        broken();
      }
    }
    scope_ = nullptr;
    if (thrown_) std::rethrow_exception(thrown_);
    co_return *ended_;
  }

  /// Awaits the answer to `q`: `result<response> r = co_await s.call(q, c);`. `on_progress` hears
  /// of each step.
  [[nodiscard]] exchange call(request&& q, cleat::call const& c,
                              std::function<void(message const&)> on_progress = nullptr) {
    static_assert(detail::sturdy<request>::checked);
    return exchange{*this, std::move(q), c, std::move(on_progress)};
  }
  [[nodiscard]] exchange call(request const& q, cleat::call const& c,
                              std::function<void(message const&)> on_progress = nullptr) {
    return exchange{*this, request{q}, c, std::move(on_progress)};
  }

  /// Stages a message that has no answer. Fails as `invalid`, `overloaded` (too many bytes wait) or
  /// with the reason of the session's end; then nothing is sent.
  result<void> send(message const& m) {
    if (ended_) return ended_->with(certainty::not_sent);
    if (out_.size() > 2 * options_.outbound_bytes_max)
      return failure{kind::overloaded, certainty::not_sent};
    auto const staged = stage(m);
    if (staged && ended_) return *ended_;
    return staged;
  }

  /// The next message that nobody asked for. Fails with the reason of the end, as `timed_out` or as
  /// `cancelled`.
  task<result<message>> next_push(time_point deadline = never) {
    takes_pushes_ = true;
    while (pushes_.empty()) {
      if (ended_) co_return *ended_;
      if (half_closed_) co_return *half_closed_;
      auto const woken = co_await pushed_.wait(deadline);
      if (!woken) co_return woken.error();
    }
    message m = pushes_.take();
    co_return m;
  }

  /// Ends the session, after handing over what is staged, as far as it is accepted at once.
  void close() noexcept {
    hand_over();
    end(failure{kind::shut_down});
  }

  /// Ends it for this reason, at once.
  void close(failure const& why) noexcept { end(why); }

  [[nodiscard]] bool ended() const noexcept { return ended_ != nullptr; }
  /// Whether a call would be sent: it has not ended, and the peer has not closed its direction.
  [[nodiscard]] bool takes_calls() const noexcept { return !ended_ && !half_closed_; }
  /// Calls whose answers are awaited, and calls that were given up and not answered yet.
  [[nodiscard]] std::size_t pending() const noexcept { return slots_.live() + waiting_.size(); }
  [[nodiscard]] std::size_t unanswered() const noexcept { return slots_.buried(); }
  [[nodiscard]] std::size_t outbound_bytes() const noexcept { return out_.size(); }
  [[nodiscard]] P const& protocol() const noexcept { return protocol_; }

 private:
  friend exchange;

  struct mark {
    mark(std::uint64_t from, std::uint64_t to, message_id const& of) noexcept
        : begin(from), end(to), id(of) {}
    std::uint64_t begin;
    std::uint64_t end;
    message_id id;
  };

  /// Whether so many bytes wait to be sent that nothing more is read.
  [[nodiscard]] bool is_paused() const noexcept {
    return out_.size() > options_.outbound_bytes_max;
  }
  void tell_drained() noexcept {
    if (is_paused()) return;
    drained_.set();
    drained_too_.set();
  }

  /// Waits until few enough bytes wait to be sent. Apart, so that an idle reader's frame is small.
  task<> drain() {
    auto const drained = co_await drained_.wait();
    if (!drained) end(failure{kind::shut_down});  // cancelled
  }

  /// The peer sends nothing more: waits until what it asked is answered and all has left.
  task<> finish_answers() {
    time_point const until = saturated_add(clock_.now(), options_.half_closed_max);
    while (!ended_ && (serving_ != 0 || !out_.empty())) {
      auto const woken = co_await drained_.wait(until);
      if (woken) continue;
      bool const late = woken.error().why() == kind::timed_out;
      end(late ? *half_closed_ : failure{kind::shut_down});
    }
    if (!ended_) end(*half_closed_);
  }

  /// Gives up the turn. Apart for the same reason.
  static task<> let_others() { co_await give_way{}; }

  // ---- callers
  // -----------------------------------------------------------------------------------------------------

  [[nodiscard]] exchange& next_waiting() noexcept {
    return static_cast<exchange&>(waiting_.front());
  }
  void stop_waiting(exchange& e) noexcept { waiting_.erase(waiting_.iterator_to(e)); }

  /// A call begins.
  void enter(exchange& e) {
    if (ended_) return e.finish(ended_->with(certainty::not_sent));
    if (half_closed_) return e.finish(half_closed_->with(certainty::not_sent));
    e.began_ = clock_.now();
    if (e.began_ >= e.call_.deadline())
      return e.finish(failure{kind::timed_out, certainty::not_sent});
    if (!has_room() || !waiting_.empty()) {
      if (waiting_.size() >= options_.waiting_max) {
        return e.finish(failure{kind::overloaded, certainty::not_sent}.with_detail(
            "too many calls wait for this peer"));
      }
      waiting_.push_back(e);
      watch(e.call_.deadline());
      return;
    }
    stage(e);
    if (e.slot_ != nullptr) watch(e.call_.deadline());
    if (corked_) return;
    hear_what_came_first(e);
    flush();
  }

  /// What was received before our first byte left answers nothing. Where answers bear no number only
  /// the order tells: then it is read before.
  void hear_what_came_first(exchange const& e) {
    if (out_.sent() != 0 || scope_ == nullptr || e.slot_ == nullptr || !e.slot_->in_order()) return;
    try {
      bool const reader_goes_on = more_;
      read();
      if (more_ && !reader_goes_on) scope_->spawn(read_on());  // the reader waits for more bytes
    } catch (...) {
      broken();
    }
  }

  task<> read_on() {
    try {
      while (more_ && !ended_) {
        if (is_paused()) {
          auto const drained = co_await drained_too_.wait();
          if (!drained) co_return;  // cancelled, and so is the reader
        }
        co_await let_others();
        if (more_ && !ended_ && !is_paused()) read();
      }
    } catch (...) {
      broken();
    }
  }

  /// A call ends early: its deadline passed, its caller was cancelled, or the session ended. The
  /// only way out but an answer.
  void leave(exchange& e, failure why) {
    if (e.slot_ == nullptr) {
      stop_waiting(e);
      return e.finish_later(why.with(certainty::not_sent));
    }
    detail::slot& s = *std::exchange(e.slot_, nullptr);
    if (s.begin >= out_.sent()) {  // not a byte of it has left
      if (!takes_calls()) {
        notify(e.call_.events, frame_sent{&e.call_, e.id_, out_.between(s.begin, s.end), &why,
                                          clock_.now() - e.began_});
      }
      if (!ended_) withdraw(s);
      slots_.remove(s);
      return e.finish_later(why.with(certainty::not_sent));
    }
    why = why.with(certainty::maybe_executed);
    if (s.written()) {
      notify(e.call_.events, answer_missing{e.call_, e.id_, why, clock_.now() - s.written_at});
    } else {
      notify(e.call_.events, frame_sent{&e.call_, e.id_, {}, &why, clock_.now() - e.began_});
    }
    if (half_closed_) {
      slots_.remove(s);  // no answer will come late
    } else {
      slots_.bury(s);
    }
    e.finish_later(why);
    if (takes_calls() && slots_.buried() > options_.unanswered_max) {
      end(failure{kind::timed_out}.with_detail("the peer left too many requests unanswered"));
    }
  }

  /// The same, while the session goes on, unless it was for this call.
  void abandon(exchange& e, failure const& why) {
    leave(e, why);
    if (options_.ends_with_call) end(failure{kind::shut_down});
  }

  /// The caller was cancelled.
  void give_up(exchange& e) {
    abandon(e, failure{kind::cancelled});
    admit();
    if (!corked_) flush();
  }

  [[nodiscard]] bool has_room() const noexcept {
    return slots_.live() < options_.calls_max && out_.size() <= options_.outbound_bytes_max / 2;
  }

  /// Encodes a request behind what is staged already.
  void stage(exchange& e) {
    auto const begin = out_.end();
    try {
      // Numbers that are still awaited are passed over; there are at most as many as slots.
      for (std::size_t tries = slots_.live() + slots_.buried() + 1; tries != 0; --tries) {
        auto made = protocol_.open(e.request_, e.call_, number_++);
        if (!made) return e.finish_later(made.error().with(certainty::not_sent));
        if (is_awaited(made->keys)) continue;
        auto const encoded = protocol_.encode(made->message, out_.buffer());
        if (!encoded) return e.finish_later(encoded.error().with(certainty::not_sent));
        e.id_ = protocol_.id(made->message);
        e.slot_ = &slots_.add(made->keys, e, begin, out_.end());
        return;
      }
    } catch (...) {  // no half frame, and no caller that waits for ever
      out_.buffer().resize(out_.buffer().size() - (out_.end() - begin));
      return e.finish_later(
          failure{kind::invalid, certainty::not_sent}.with_detail("the protocol threw"));
    }
    if (slots_.live() == 0) {  // tombstones have them all: nobody here would ever give one back
      end(failure{kind::timed_out}.with_detail("the peer left too many requests unanswered"));
      return e.finish_later(ended_->with(certainty::not_sent));
    }
    e.finish_later(failure{kind::overloaded, certainty::not_sent}.with_detail(
        "all message numbers are in use"));
  }

  /// Encodes a message that has no answer.
  result<void> stage(message const& m) {
    auto const begin = out_.end();
    auto const encoded = protocol_.encode(m, out_.buffer());
    if (!encoded) return encoded;
    if (listens<frame_sent>(options_.events))
      marks_.emplace_back(begin, out_.end(), protocol_.id(m));
    if (!corked_) flush();
    return {};
  }

  [[nodiscard]] bool is_awaited(match_keys const& keys) const noexcept {
    for (match_key const& k : keys) {
      if (!k.shared() && slots_.find(k) != nullptr) return true;
    }
    return false;
  }

  void withdraw(detail::slot& s) {
    auto const n = s.end - s.begin;
    out_.withdraw(s.begin, s.end);
    for (detail::slot* later = s.next(); later != nullptr; later = later->next()) {
      later->begin -= n;
      later->end -= n;
    }
    marks_.for_each([&](mark& m) {
      if (m.begin >= s.end) {
        m.begin -= n;
        m.end -= n;
      }
    });
    if (out_.empty()) watch_stall(false);
    tell_drained();
  }

  /// Lets waiting calls in while there is room.
  void admit() {
    while (!waiting_.empty() && has_room() && !ended_) {
      exchange& e = next_waiting();
      stop_waiting(e);
      stage(e);
    }
  }

  // ---- deadlines: stamps, and one timer armed for the earliest
  // ----------------------------------------------------------

  void watch(time_point due) {
    if (due >= watched_) return;
    watched_ = due;
    timer_.set(
        stream_.executor(), due, [](void* self) { static_cast<session*>(self)->sweep(); }, this);
  }

  void sweep() {
    watched_ = never;
    time_point const now = clock_.now();
    if (stalls_at_ <= now)
      return end(failure{kind::timed_out}.with_detail("the peer takes no bytes"));
    failure const late = failure{kind::timed_out}.with_detail(what_came_instead());
    time_point next = stalls_at_;
    for (detail::slot* s = slots_.first(); s != nullptr && !ended_;) {
      detail::slot* const after = s->next();
      if (s->by != nullptr) {
        auto& e = *static_cast<exchange*>(s->by);
        if (e.call_.deadline() <= now) {
          abandon(e, late);
        } else {
          next = std::min(next, e.call_.deadline());
        }
      }
      s = after;
    }
    for (auto at = waiting_.begin(); !ended_ && at != waiting_.end();) {
      auto& e = static_cast<exchange&>(*at++);
      if (e.call_.deadline() <= now) {
        abandon(e, late);
      } else {
        next = std::min(next, e.call_.deadline());
      }
    }
    if (ended_) return;
    admit();
    watch(next);
    flush();
  }

  // ---- writing
  // -----------------------------------------------------------------------------------------------------

  /// Hands over all that is staged, and what waits for that; the rest is for `write_rest`.
  void flush() {
    while (!writing_ && !ended_ && !out_.empty()) {
      if (!hand_over()) return write_rest_later();
      admit();
    }
    if (writing_ && !out_.empty()) watch_stall(true);
  }

  /// Writes once; says whether all that was staged has left.
  bool hand_over() {
    if (ended_ || writing_ || out_.empty()) return true;
    bytes_view const unsent = out_.unsent();
    auto const n = stream_.write(std::span{&unsent, 1});
    if (!n) {
      end(n.error());
      return true;
    }
    sent(*n);
    return *n == unsent.size();
  }

  /// `n` more bytes have left.
  void sent(std::size_t n) {
    out_.mark_sent(n);
    auto const upto = out_.sent();
    time_point now = never;
    detail::slot* s = slots_.first_unwritten();
    for (; s != nullptr && s->end <= upto; s = s->next()) {
      if (now == never) now = clock_.now();
      s->written_at = now;
      if (s->by == nullptr) continue;
      auto& e = *static_cast<exchange*>(s->by);
      if (listens<frame_sent>(e.call_.events)) {
        notify(e.call_.events, frame_sent{&e.call_, e.id_, out_.between(s->begin, s->end), nullptr,
                                          now - e.began_});
      }
    }
    while (!marks_.empty() && marks_.front().end <= upto) {
      mark const& m = marks_.front();
      notify(options_.events, frame_sent{nullptr, m.id, out_.between(m.begin, m.end), nullptr, {}});
      marks_.pop_front();
    }
    // A frame that has begun stays until it is whole, for those who want to see it.
    auto needed = upto;
    if (s != nullptr) needed = std::min(needed, s->begin);
    if (!marks_.empty()) needed = std::min(needed, marks_.front().begin);
    out_.trim(needed);
  }

  void write_rest_later() {
    if (scope_ == nullptr) return;  // `run` has not begun: it flushes when it does
    writing_ = true;
    scope_->spawn(write_rest());
  }

  task<> write_rest() {
    while (!ended_ && !out_.empty()) {
      watch_stall(true);
      auto const ready = co_await stream_.writable();
      watch_stall(false);
      if (!ready) end(ready.error());
      if (ended_) break;
      writing_ = false;
      hand_over();
      writing_ = true;
      admit();
      tell_drained();
    }
    writing_ = false;
  }

  /// From now on the peer has to take bytes, or has not.
  void watch_stall(bool on) {
    if (on == (stalls_at_ != never)) return;
    stalls_at_ = on ? saturated_add(clock_.now(), options_.write_stall_max) : never;
    watch(stalls_at_);
  }

  // ---- reading
  // -----------------------------------------------------------------------------------------------------

  /// Takes what is there and works through it, as much as fits into a turn; then sends all that
  /// came of it.
  void read() {
    corked_ = true;
    clock::moment const all_of_it{clock_};
    detail::turn_limit now{options_.frames_per_turn_max, options_.bytes_per_turn_max};
    if (std::exchange(more_, false)) take_rest(now);
    bool all_read = false;
    detail::lent_memory const lent;
    while (!all_read && !ended_ && now.may_read()) {
      auto const n = stream_.read(lent.span());
      if (!n) {
        input_ended(n.error());
        all_read = true;
        break;
      }
      now.did_read(*n);
      all_read = *n < lent.span().size();
      bytes_view const got{lent.span().first(*n)};
      if (rest_.empty()) {
        std::size_t const used = take(got, now);
        append(rest_, got.subspan(used));
      } else {
        append(rest_, got);
        take_rest(now);
      }
      if (is_paused()) break;
    }
    more_ = !all_read || (now.is_over() && !rest_.empty());
    corked_ = false;
    admit();
    flush();
  }

  /// Nothing more is received. A peer that has closed only its own direction still gets what it
  /// waits for.
  void input_ended(failure const& why) {
    bool const owes = serving_ != 0 || ((serve || respond) && !out_.empty());
    if (why.why() != kind::closed || !owes || scope_ == nullptr) return end(why);
    half_closed_ = std::make_unique<failure>(why);
    fail_calls(why);
    pushed_.set();
  }

  void take_rest(detail::turn_limit& now) {
    byte_buffer whole = std::move(rest_);
    rest_.clear();
    std::size_t const used = take(whole, now);
    whole.erase(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(used));
    if (!whole.empty()) rest_ = std::move(whole);
  }

  /// Works through complete frames; gives the number of bytes that are done with.
  std::size_t take(bytes_view unread, detail::turn_limit& now) {
    std::size_t used = 0;
    while (!ended_ && used < unread.size() && !now.is_over()) {
      bytes_view const left = unread.subspan(used);
      auto step = protocol_.decode(left);
      if (auto* const item = step.has_item()) {
        used += item->used;
        now.did_take(item->used);
        received(std::move(item->message), left.first(item->used));
      } else if (auto const* const skip = step.skips()) {
        used += skip->used;
        now.did_take(skip->used);
        unreadable(left.first(skip->used), skip->why, false);
      } else if (auto const* const lost = step.is_lost()) {
        unreadable(left, lost->why, true);
      } else {
        break;
      }
    }
    return used;
  }

  void unreadable(bytes_view bytes, failure const& why, bool lost) {
    exchange* const asker = lost ? nullptr : asker_of(bytes);
    exchange* const only = asker != nullptr ? asker : only_exchange();
    auto const* const events = only != nullptr ? only->call_.events : options_.events;
    decode_failed failed{nullptr, bytes, why, lost};
    failed.summed = !lost && asker == nullptr && is_summed();
    if (only != nullptr) {
      failed.of = &only->call_;
      failed.id = only->id_;
      failed.elapsed = since_written(*only->slot_);
    }
    notify(events, failed);
    if (lost) return end(why);
    if (asker != nullptr) return abandon(*asker, why);
    passed_over();
  }

  /// The call that a frame which cannot be read answers, if it says so.
  [[nodiscard]] exchange* asker_of([[maybe_unused]] bytes_view unreadable) const {
    if constexpr (requires { protocol_.keys_of_unreadable(unreadable); }) {
      if (slots_.live() == 0) return nullptr;
      detail::slot* const s = awaiting(protocol_.keys_of_unreadable(unreadable));
      if (s != nullptr) return static_cast<exchange*>(s->by);
    }
    return nullptr;
  }

  /// The request that awaits an answer under one of these keys. What came before its first byte was
  /// sent does not answer it.
  [[nodiscard]] detail::slot* awaiting(match_keys const& keys) const noexcept {
    for (match_key const& k : keys) {
      detail::slot* const s = slots_.find(k);
      if (s != nullptr && s->begin < out_.sent()) return s;
    }
    return nullptr;
  }

  /// The call under way, if there is exactly one.
  [[nodiscard]] exchange* only_exchange() const noexcept {
    if (slots_.live() != 1) return nullptr;
    for (detail::slot* s = slots_.first(); s != nullptr; s = s->next()) {
      if (s->by != nullptr) return static_cast<exchange*>(s->by);
    }
    return nullptr;
  }

  void received(message&& m, bytes_view bytes) {
    relation const r = protocol_.relate(m);
    if (respond) respond(m);
    if (ended_) return;
    switch (r.as) {
      case role::request:
        return requested(std::move(m), bytes, r);
      case role::push:
        return pushed(std::move(m), bytes, r);
      case role::progress:
      case role::answer:
        return answered(std::move(m), bytes, r);
    }
  }

  // ---- frames of no use

  /// Counts one; says whether its event is left to a summary.
  bool is_summed() {
    ++strays_in_a_row_;
    return strays_.add(clock_.now());
  }

  /// Its event was told.
  void passed_over() {
    time_point const now = clock_.now();
    if (strays_.summary_due(now)) tell_strays(now);
    std::size_t const max = options_.stray_frames_max;
    if (max == 0 || strays_in_a_row_ < max) return;
    end(failure{kind::overloaded}.with_detail(std::to_string(max) + " stray frames in a row"));
  }

  void tell_strays(time_point now) noexcept {
    exchange const* const only = only_exchange();
    auto const* const events = only != nullptr ? only->call_.events : options_.events;
    duration const waited = strays_.waited(now);
    notify(events, frames_passed_over{only != nullptr ? &only->call_ : nullptr, options_.peer,
                                      strays_.take(now), waited});
  }

  [[nodiscard]] std::string what_came_instead() const {
    if (strays_in_a_row_ == 0) return {};
    return "passed over " + std::to_string(strays_in_a_row_) +
           (strays_in_a_row_ == 1 ? " stray frame" : " stray frames");
  }

  // ---- frames of use

  void requested(message&& m, bytes_view bytes, relation const& r) {
    if (!serve && !respond && !takes_pushes_) {
      tell(m, bytes, verdict::request, r, nullptr, nullptr, is_summed());
      keep_push(std::move(m), bytes.size(), true);
      return passed_over();
    }
    strays_in_a_row_ = 0;
    tell(m, bytes, verdict::request, r);
    if (!serve) return keep_push(std::move(m), bytes.size());
    if (serving_ >= options_.requests_max) {
      return end(failure{kind::overloaded}.with_detail("the peer asks too much at once"));
    }
    if (scope_ == nullptr) return;
    try {
      scope_->spawn(answer(serve(std::move(m))));
    } catch (...) {
      broken();
    }
  }

  task<> answer(task<result<message>> answering) {
    ++serving_;
    try {
      auto reply = co_await std::move(answering);
      if (reply && !ended_) answer_with(*reply);
    } catch (...) {
      broken();
    }
    --serving_;
    if (half_closed_ && serving_ == 0) drained_.set();
  }

  /// However many bytes wait: there are at most `requests_max` answers, and the reader pauses.
  void answer_with(message const& m) {
    auto const staged = stage(m);
    if (staged) return;
    failure const why = staged.error();
    notify(options_.events, frame_sent{nullptr, protocol_.id(m), {}, &why, {}});
  }

  /// Something of the user's threw: the session ends, nobody is left waiting, and `run` rethrows it.
  void broken() noexcept {
    if (!thrown_) thrown_ = std::current_exception();
    end(failure{kind::shut_down}.with_detail("a handler threw"));
  }

  void pushed(message&& m, bytes_view bytes, relation const& r) {
    strays_in_a_row_ = 0;
    tell(m, bytes, verdict::push, r);
    keep_push(std::move(m), bytes.size());
  }

  void keep_push(message m, std::size_t bytes, bool stray = false) {
    std::size_t dropped =
        pushes_.keep(std::move(m), bytes, options_.pushes_max, options_.pushes_bytes_max);
    for (; dropped != 0; --dropped) {
      time_point const now = clock_.now();
      notify(options_.events, push_dropped{options_.peer, stray || strays_.add(now)});
      if (strays_.summary_due(now)) tell_strays(now);
    }
    if (!pushes_.empty()) pushed_.set();
  }

  void answered(message&& m, bytes_view bytes, relation const& r) {
    detail::slot* const s = awaiting(r.keys);
    bool const final = r.as == role::answer;
    if (r.also_push) keep_push(m, bytes.size());
    if (s == nullptr) {
      if (r.also_push) {
        strays_in_a_row_ = 0;
        return tell(m, bytes, verdict::push, r);
      }
      tell(m, bytes, verdict::unmatched, r, only_exchange(), nullptr, is_summed());
      return passed_over();
    }
    strays_in_a_row_ = 0;
    if (s->by == nullptr) {
      tell(m, bytes, verdict::late, r);
      if (final) slots_.remove(*s);
      return;
    }
    auto& e = *static_cast<exchange*>(s->by);
    if (!final) {
      tell(m, bytes, verdict::progress, r, &e, s);
      if (e.on_progress_) e.on_progress_(m);
      return;
    }
    message_id const id = listens<frame_received>(e.call_.events) ? protocol_.id(m) : message_id{};
    result<response> outcome = protocol_.conclude(std::move(m));
    if (listens<frame_received>(e.call_.events)) {
      failure const why = outcome ? failure{} : outcome.error();
      notify(e.call_.events, frame_received{&e.call_, id, bytes, verdict::answer, r.note,
                                            outcome ? nullptr : &why, since_written(*s)});
    }
    e.slot_ = nullptr;
    slots_.remove(*s);
    e.finish(std::move(outcome));  // the caller goes on, here
  }

  void tell(message const& m, bytes_view bytes, verdict as, relation const& r,
            exchange const* e = nullptr, detail::slot const* s = nullptr,
            bool summed = false) const {
    auto const* const events = e != nullptr ? e->call_.events : options_.events;
    if (!listens<frame_received>(events)) return;
    message_id const id = protocol_.id(m);
    notify(events, frame_received{e != nullptr ? &e->call_ : nullptr, id, bytes, as, r.note,
                                  nullptr, s != nullptr ? since_written(*s) : duration{}, summed});
  }

  [[nodiscard]] duration since_written(detail::slot const& s) const {
    return s.written() ? clock_.now() - s.written_at : duration{};
  }

  // ---- the end
  // -----------------------------------------------------------------------------------------------------

  /// All calls end for this reason.
  void fail_calls(failure const& why) {
    for (detail::slot* s = slots_.first(); s != nullptr;) {
      detail::slot* const after = s->next();
      if (s->by != nullptr) leave(*static_cast<exchange*>(s->by), why);
      s = after;
    }
    while (!waiting_.empty()) leave(next_waiting(), why);
  }

  void end(failure const& why) noexcept {
    if (ended_) return;
    ended_ = std::make_unique<failure>(why);
    timer_.unset();
    stream_.close();
    fail_calls(why);
    pushed_.set();
    drained_.set();
    if (scope_ != nullptr) scope_->cancel();
    if (strays_.untold() != 0) tell_strays(clock_.now());
    notify(options_.events, session_ended{options_.peer, why});
  }

  T stream_;
  P protocol_;
  session_options options_;
  clock& clock_;
  std::uint64_t number_;
  scope* scope_ = nullptr;
  std::unique_ptr<failure const> ended_;
  std::unique_ptr<failure const> half_closed_;  ///< the peer sends nothing more
  std::exception_ptr thrown_;

  detail::slot_table slots_;
  boost::intrusive::list<detail::exchange_base> waiting_;
  time_point stalls_at_ = never;  ///< unless the peer takes bytes before
  time_point watched_ = never;
  timer timer_;

  detail::outbound out_;
  detail::pooled_queue<mark> marks_;
  event drained_;         ///< for `run`
  event drained_too_;     ///< for `read_on`
  bool writing_ = false;  ///< `write_rest` is under way
  bool corked_ = false;

  byte_buffer rest_;   ///< read, and not worked through
  bool more_ = false;  ///< the turn ended before all was read and worked through
  detail::stray_frames strays_;
  std::size_t strays_in_a_row_ = 0;
  std::size_t serving_ = 0;
  detail::kept_pushes<message> pushes_;
  event pushed_;
  bool takes_pushes_ = false;  ///< somebody asked for one
};

}  // namespace cleat

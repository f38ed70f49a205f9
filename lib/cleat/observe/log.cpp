#include <cleat/observe/log.hpp>

#include <cleat/base/bytes.hpp>
#include <cleat/base/call.hpp>
#include <cleat/observe/outcome.hpp>
#include <cleat/observe/unless_it_throws.hpp>

#include <boost/json/object.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <utility>

namespace cleat {
namespace {

namespace json = boost::json;

constexpr std::size_t packet_bytes_max = 4096;
constexpr std::size_t tried_again_max = 1024;

/// Milliseconds with three decimals at most.
json::value to_ms(duration d) {
  auto const us = std::chrono::duration_cast<std::chrono::microseconds>(d).count();
  if (us % 1000 == 0) return us / 1000;
  return static_cast<double>(us) / 1000.0;
}

std::string bytes_of(std::size_t n) { return std::to_string(n) + (n == 1 ? " byte" : " bytes"); }

/// The fields of one record.
class record {
 public:
  explicit record(std::string_view event) { fields_.emplace("event", event); }

  record& add(std::string_view name, json::value value) {
    fields_.emplace(name, std::move(value));
    return *this;
  }

  record& packet(std::string_view direction, std::string_view id, std::string_view peer,
                 bytes_view bytes) {
    add("direction", json::string{direction});
    add("msg_id", json::string{id});
    add("device_id", json::string{peer});
    bool const cut = bytes.size() > packet_bytes_max;
    add("raw_packet_hex",
        json::string{to_hex(bytes.first(std::min(bytes.size(), packet_bytes_max)))});
    if (cut) add("raw_packet_truncated", true);
    return *this;
  }

  record& ended(duration elapsed, outcome how) {
    return add("elapsed_ms", to_ms(elapsed)).add("outcome", json::string{to_string(how)});
  }

  record& of(call const& c) {
    add("correlation_id", json::string{c.correlation.to_text().view()});
    add("op_id", json::string{hex16(c.operation).view()});
    return add("attempt", c.attempt);
  }

  record& because(failure const& f) {
    add("reason", json::string{to_string(f.why())});
    return add("failure", json::string{f.message()});
  }

  [[nodiscard]] json::object take() { return std::move(fields_); }

 private:
  json::object fields_;
};

std::string_view peer_of(call const* c) noexcept {
  return c != nullptr ? c->peer : std::string_view{};
}

/// "DEVICE123", or what to say without one.
std::string named(std::string_view peer) { return peer.empty() ? "the peer" : std::string{peer}; }

std::string_view words(verdict v) noexcept {
  switch (v) {
    case verdict::request:
      return "a request";
    case verdict::progress:
      return "a sign of progress";
    case verdict::answer:
      return "an answer";
    case verdict::push:
      return "a push";
    case verdict::late:
      return "an answer after its caller gave up";
    case verdict::unmatched:
      return "an answer that nobody waits for";
  }
  return "a frame";
}

/// What happened to a call, in the words before and after the name of its peer.
struct sentence {
  std::string_view before = "a layer acted on the call to ";
  std::string_view after;
};

constexpr sentence words(action a) noexcept {
  switch (a) {
    case action::limit_queued:
      return {"the call to ", " waits for a place"};
    case action::limit_rejected:
      return {"the call to ", " found no place, and none to wait for one"};
    case action::limit_dropped:
      return {"the call to ", " gave its place in the queue up to a younger one"};
    case action::rate_delayed:
      return {"the call to ", " waits for a token"};
    case action::rate_rejected:
      return {"the call to ", " gets no token in time"};
    case action::breaker_rejected:
      return {"the call to ", " was not sent: the breaker is open"};
    case action::breaker_opened:
      return {"the breaker of ", " has opened"};
    case action::breaker_half_opened:
      return {"the breaker of ", " is half open: a call tries whether it may close"};
    case action::breaker_closed:
      return {"the breaker of ", " has closed again"};
    case action::hedge_sent:
      return {"the call to ", " takes long: a second attempt goes beside the first"};
    case action::hedge_won:
      return {"the call to ", " was answered by its second attempt first"};
    case action::hedge_budget_empty:
      return {"the call to ", " gets no second attempt: the budget for hedges is empty"};
    case action::idempotent_replayed:
      return {"the call to ", " got the recorded answer of the same operation"};
    case action::idempotent_joined:
      return {"the call to ", " waits for the same operation, which is under way"};
    case action::idempotent_rejected:
      return {"the call to ", " was not sent: there is no room to remember its answer"};
    case action::fallback_used:
      return {"the call to ", " was answered by the fallback"};
    case action::canary_taken:
      return {"the call to ", " went to the candidate"};
    case action::shadow_sent:
      return {"the call to ", " goes to the mirror too"};
    case action::shadow_skipped:
      return {"the call to ", " was not mirrored: too many mirrored calls are under way"};
    case action::shadow_differed:
      return {"the call to ", " was answered otherwise by the mirror"};
    case action::shadow_failed:
      return {"the call to ", " failed at the mirror only"};
    case action::timeout_expired:
      return {"the call to ", " was cancelled: the service below did not keep the deadline"};
  }
  return {};
}

/// With the time of the call's own clock, which may be a simulation's.
void write_for(log_sink& to, call const* c, log_level l, std::string const& message, record& r,
               std::source_location where = std::source_location::current()) {
  if (c != nullptr) {
    to.write_at(c->clock().wall(), l, message, r.take(), where);
  } else {
    to.write(l, message, r.take(), where);
  }
}

}  // namespace

std::uint32_t log::take_attempts(call_ended const& e) {
  std::uint32_t tried = std::max(e.of.attempt, e.error != nullptr ? e.error->attempts() : 1U);
  std::lock_guard const lock{mutex_};
  if (auto const found = attempts_.find(e.of.operation); found != attempts_.end()) {
    tried = std::max(tried, found->second);
    attempts_.erase(found);
  }
  return tried;
}

void log::write(call_ended const& e, log_level l) noexcept {
  detail::unless_it_throws([&] {
    record r{"call"};
    r.add("device_id", json::string{e.of.peer.view()});
    r.add("attempts", take_attempts(e)).ended(e.elapsed, outcome_of(e.error));
    if (e.error != nullptr) {
      r.add("certainty", json::string{to_string(e.error->sure())}).because(*e.error);
    }
    r.of(e.of);
    write_for(to_, &e.of, l,
              "the call to " + named(e.of.peer) +
                  (e.error == nullptr ? " succeeded" : " failed: " + e.error->message()),
              r);
  });
}

void log::write(retry_scheduled const& e, log_level l) noexcept {
  detail::unless_it_throws([&] {
    {
      std::lock_guard const lock{mutex_};
      // Full of calls whose end nobody told: forget one.
      if (attempts_.size() >= tried_again_max) attempts_.erase(attempts_.begin());
      attempts_[e.of.operation] = e.of.attempt + 1;
    }
    record r{"retry"};
    r.add("device_id", json::string{e.of.peer.view()})
        .add("wait_ms", to_ms(e.wait))
        .because(e.why)
        .of(e.of);
    write_for(to_, &e.of, l,
              "attempt " + std::to_string(e.of.attempt) + " failed: " + e.why.message() +
                  "; the next one follows",
              r);
  });
}

void log::write(retry_budget_empty const& e, log_level l) noexcept {
  detail::unless_it_throws([&] {
    record r{"retry_budget_empty"};
    r.add("device_id", json::string{e.of.peer.view()}).because(e.why).of(e.of);
    write_for(to_, &e.of, l, "no further attempt, the retry budget is empty: " + e.why.message(),
              r);
  });
}

void log::write(layer_acted const& e, log_level l) noexcept {
  detail::unless_it_throws([&] {
    record r{"layer"};
    r.add("action", json::string{to_string(e.what)})
        .add("device_id", json::string{e.of.peer.view()});
    if (e.elapsed != duration{}) r.add("elapsed_ms", to_ms(e.elapsed));
    if (e.why != nullptr) r.because(*e.why);
    r.of(e.of);
    sentence const says = words(e.what);
    std::string message = std::string{says.before} + named(e.of.peer) + std::string{says.after};
    if (e.why != nullptr) message += " (" + e.why->message() + ')';
    write_for(to_, &e.of, l, message, r);
  });
}

void log::write(connect_ended const& e, log_level l) noexcept {
  detail::unless_it_throws([&] {
    record r{"connect"};
    r.add("device_id", json::string{e.of.peer.view()}).add("address", json::string{e.address});
    r.ended(e.elapsed, outcome_of_sending(e.error));
    if (e.error != nullptr) r.because(*e.error);
    r.of(e.of);
    std::string const where{e.address};
    write_for(to_, &e.of, l,
              e.error == nullptr ? "connected to " + where
                                 : "cannot connect to " + where + ": " + e.error->message(),
              r);
  });
}

void log::write(frame_sent const& e, log_level l) noexcept {
  detail::unless_it_throws([&] {
    record r{"tcp_packet"};
    r.packet("send", e.id, peer_of(e.of), e.bytes).ended(e.elapsed, outcome_of_sending(e.error));
    if (e.error != nullptr) r.because(*e.error);
    if (e.of != nullptr) r.of(*e.of);
    std::string const what = bytes_of(e.bytes.size()) + " to " + named(peer_of(e.of));
    write_for(
        to_, e.of, l,
        e.error == nullptr ? "sent " + what : "could not send " + what + ": " + e.error->message(),
        r);
  });
}

void log::write(frame_received const& e, log_level l) noexcept {
  detail::unless_it_throws([&] {
    bool const stray = e.as == verdict::late || e.as == verdict::unmatched;
    record r{"tcp_packet"};
    r.packet("recv", e.id, peer_of(e.of), e.bytes);
    r.ended(e.elapsed, stray || e.error != nullptr ? outcome::error : outcome::success);
    if (stray) {
      r.add("reply", json::string{e.as == verdict::late ? "late" : "unmatched"});
      if (!e.note.empty()) r.add("note", json::string{e.note});
    } else if (!e.note.empty()) {
      r.add("reply", json::string{e.note});
    }
    if (e.error != nullptr) r.because(*e.error);
    if (e.of != nullptr) r.of(*e.of);
    std::string message = "received " + bytes_of(e.bytes.size()) + " from " + named(peer_of(e.of)) +
                          ": " + std::string{words(e.as)};
    if (!e.note.empty()) message += " (" + std::string{e.note} + ')';
    write_for(to_, e.of, l, message, r);
  });
}

void log::write(answer_missing const& e, log_level l) noexcept {
  detail::unless_it_throws([&] {
    // Bytes that could not be read were a packet of their own, see `decode_failed`.
    record r{e.why.why() == kind::malformed ? "answer_missing" : "tcp_packet"};
    r.packet("recv", e.id, e.of.peer, {}).ended(e.elapsed, outcome_of(&e.why));
    r.because(e.why).of(e.of);
    write_for(to_, &e.of, l, "no answer from " + named(e.of.peer) + ": " + e.why.message(), r);
  });
}

void log::write(decode_failed const& e, log_level l) noexcept {
  detail::unless_it_throws([&] {
    record r{"tcp_packet"};
    r.packet("recv", e.id, peer_of(e.of), e.bytes);
    r.ended(e.elapsed, outcome::decode_error).because(e.why);
    if (e.why.offset() != failure::no_offset) r.add("offset", e.why.offset());
    r.add("lost", e.lost);
    if (e.of != nullptr) r.of(*e.of);
    write_for(to_, e.of, l,
              "cannot read " + bytes_of(e.bytes.size()) + " from " + named(peer_of(e.of)) + ": " +
                  e.why.message(),
              r);
  });
}

void log::write(push_dropped const& e, log_level l) noexcept {
  detail::unless_it_throws([&] {
    record r{"push_dropped"};
    r.add("device_id", json::string{e.peer});
    write_for(to_, nullptr, l,
              "dropped a push from " + named(e.peer) + ": its consumer is too slow", r);
  });
}

void log::write(frames_passed_over const& e, log_level l) noexcept {
  detail::unless_it_throws([&] {
    record r{"frames_passed_over"};
    r.add("device_id", json::string{e.peer})
        .add("more", e.more)
        .add("elapsed_ms", to_ms(e.elapsed));
    if (e.of != nullptr) r.of(*e.of);
    write_for(to_, e.of, l,
              "passed over " + std::to_string(e.more) + " more stray " +
                  (e.more == 1 ? "frame" : "frames") + " from " + named(e.peer),
              r);
  });
}

void log::write(session_ended const& e, log_level l) noexcept {
  detail::unless_it_throws([&] {
    record r{"session_ended"};
    r.add("device_id", json::string{e.peer}).because(e.why);
    write_for(to_, nullptr, l,
              "the session with " + named(e.peer) + " has ended: " + e.why.message(), r);
  });
}

}  // namespace cleat

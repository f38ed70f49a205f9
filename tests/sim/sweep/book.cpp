#include "book.hpp"

#include <cleat/base/ids.hpp>

#include <algorithm>
#include <chrono>

namespace sweeping {

using cleat::certainty;
using cleat::kind;

namespace {

/// A call that ends on time may end one turn of the event loop later, and that takes no virtual time.
constexpr cleat::duration tick{0};

// Each is told of when it is broken, and counted when it could have been.
constexpr std::string_view ends_by_deadline = "a call ends by its deadline";
constexpr std::string_view ends_at_once = "a call that is given up ends at once";
constexpr std::string_view attempts_allowed = "no more attempts than allowed";
constexpr std::string_view worst_attempt = "a call is as uncertain as its worst attempt";
constexpr std::string_view executed_once = "what must not be repeated is carried out at most once";
constexpr std::string_view within_budget = "retries stay within their budget";
constexpr std::string_view not_executed =
    "a call that ends as not_sent or rejected was not carried out";

[[nodiscard]] std::string name_of(std::uint64_t operation) {
  return std::string{cleat::hex16(operation).view()};
}

}  // namespace

std::vector<std::string> book::promises() {
  std::vector<std::string> all;
  for (std::string_view const each : {ends_by_deadline, ends_at_once, attempts_allowed,
                                      worst_attempt, executed_once, within_budget, not_executed}) {
    all.emplace_back(each);
  }
  return all;
}

book::entry* book::find(std::uint64_t operation, std::string_view promise) {
  auto const found = calls_.find(operation);
  bool const known = trial_.expect(found != calls_.end(), promise, name_of(operation));
  return known ? &found->second : nullptr;
}

void book::began(cleat::call const& c, cleat::time_point deadline, bool acts) {
  entry& e = calls_[c.operation];
  e.deadline = deadline;
  e.last_deadline = deadline;
  e.acts = acts;
  e.repeatable = c.repeatable;
  budget& b = budget_of(c.peer);
  b.saved = std::min(b.saved + terms_.budget.deposit, terms_.budget.saved_max);
  trial_.world.note("call", c.peer, c.operation, c.repeatable ? 1 : 0);
}

void book::asked_again(cleat::call const& c) {
  entry* const e = find(c.operation, "only calls that began are asked for again");
  if (e == nullptr) return;
  ++e->asked;
  e->last_deadline = std::max(e->last_deadline, c.deadline());
  budget& b = budget_of(c.peer);
  b.saved = std::min(b.saved + terms_.budget.deposit, terms_.budget.saved_max);
  trial_.world.note("again", c.peer, c.operation);
}

void book::succeeded(std::uint64_t operation) {
  if (entry* const e = find(operation, "only calls that began succeed")) e->succeeded = true;
}

bool book::failed(std::uint64_t operation) const {
  auto const found = calls_.find(operation);
  return found != calls_.end() && found->second.ended &&
         (!found->second.succeeded || found->second.otherwise);
}

void book::cancelled(std::uint64_t operation) {
  entry* const e = find(operation, "only calls that began are given up");
  if (e == nullptr || e->ended) return;
  e->given_up = trial_.world.now();
  trial_.world.note("given up", "", operation);
}

void book::ended(std::uint64_t operation, cleat::failure const* why) {
  entry* const e = find(operation, "only calls that began end");
  if (e == nullptr) return;
  trial_.expect(!e->ended, "a call ends once", name_of(operation));
  e->ended = true;
  e->succeeded = e->succeeded || why == nullptr;
  if (why != nullptr) e->sure = why->sure();
  auto const now = trial_.world.now();
  std::string const detail = why == nullptr ? "" : why->message();
  trial_.world.note(why == nullptr ? "success" : to_string(why->why()), detail, operation,
                    static_cast<std::uint64_t>(e->sure));
  if (now == e->deadline) trial_.reached(ends_by_deadline);
  trial_.expect(now <= e->deadline + tick, ends_by_deadline, detail);
  if (e->given_up != cleat::never) {
    trial_.reached(ends_at_once);
    trial_.expect(now <= e->given_up + tick, ends_at_once, detail);
  }
  auto const allowed = e->asked * terms_.attempts_max + e->hedges;
  if (why != nullptr && e->attempts == allowed) trial_.reached(attempts_allowed);
  trial_.expect(e->attempts <= allowed, attempts_allowed, detail);
  if (why == nullptr) return;
  if (why->why() == kind::overloaded) trial_.reached("queue full");
  if (why->why() == kind::cancelled)
    trial_.reached(e->sure == certainty::not_sent ? "cancelled before it was sent"
                                                  : "cancelled after it was sent");
  if (why->why() == kind::timed_out && e->sure == certainty::not_sent)
    trial_.reached("timed out before it was sent");
  trial_.expect(worse(e->worst, e->sure) == e->sure, worst_attempt, detail);
  if (e->worst == certainty::maybe_executed && e->latest != certainty::maybe_executed) {
    trial_.reached("an earlier attempt was worse");
    trial_.reached(worst_attempt);
  }
  if (!e->repeatable && e->executions != 0) trial_.reached(executed_once);
}

void book::executed(std::uint64_t operation) {
  entry* const e = find(operation, "a device carries out only what somebody asked for");
  if (e == nullptr) return;
  ++e->executions;
  trial_.world.note("executed", "", operation, e->executions);
  if (e->ended) trial_.reached("carried out after its caller had given up");
  if (e->executions > 1) trial_.reached("a repeatable call was carried out twice");
  trial_.expect(e->repeatable || e->executions == 1, executed_once, name_of(operation));
}

void book::executed(std::string_view message_id) {
  auto const found = by_message_.find(message_id);
  bool const known = trial_.expect(found != by_message_.end(),
                                   "a device carries out only what was sent", message_id);
  if (known) executed(found->second);
}

void book::close() {
  for (auto const& [operation, e] : calls_) {
    trial_.expect(e.ended, "every call ends", name_of(operation));
    if (!e.acts || !e.ended) continue;
    if (e.otherwise) continue;
    if (e.succeeded) {
      trial_.expect(e.executions > 0, "a call that succeeded was carried out", name_of(operation));
    } else if (e.sure != certainty::maybe_executed && e.asked == 1) {
      trial_.reached(not_executed);
      trial_.expect(e.executions == 0, not_executed, name_of(operation));
    }
  }
}

// ---- the observer --------------------------------------------------------------------------------

void book::on(cleat::attempt_started const& e) noexcept {
  auto const found = calls_.find(e.of.operation);
  if (found == calls_.end()) return;
  entry& x = found->second;
  ++x.attempts;
  trial_.expect(x.attempts <= x.scheduled + x.hedges + x.asked, "every retry is paid for",
                e.of.peer);
}

void book::on(cleat::attempt_ended const& e) noexcept {
  auto const found = calls_.find(e.of.operation);
  if (found == calls_.end() || e.error == nullptr) return;
  found->second.latest = e.error->sure();
  found->second.worst = worse(found->second.worst, e.error->sure());
}

book::budget& book::budget_of(std::string_view peer) {
  auto const [place, is_new] = budgets_.try_emplace(std::string{peer});
  if (is_new) place->second.floor = terms_.budget.floor;
  return place->second;
}

book::budget& book::filled(std::string_view peer) {
  budget& b = budget_of(peer);
  double const rate = terms_.budget.floor;
  auto const now = trial_.world.elapsed();
  double const seconds = std::chrono::duration<double>(now - b.filled_at.value_or(now)).count();
  b.floor = std::min(std::max(rate, 1.0), b.floor + rate * seconds);
  b.filled_at = now;
  return b;
}

void book::on(cleat::retry_scheduled const& e) noexcept {
  trial_.reached("another attempt");
  budget& b = filled(e.of.peer);
  constexpr double one = 1 - 0.001;
  trial_.expect(b.floor >= one || b.saved >= one, within_budget, e.of.peer);
  (b.floor >= one ? b.floor : b.saved) -= 1;
  auto const found = calls_.find(e.of.operation);
  if (found == calls_.end()) return;
  ++found->second.scheduled;
  trial_.expect(e.of.now() + e.wait < found->second.last_deadline,
                "no wait between attempts outlasts the deadline");
}

void book::on(cleat::retry_budget_empty const& e) noexcept {
  trial_.reached("budget empty");
  trial_.reached(within_budget);
  filled(e.of.peer);
}

void book::on(cleat::layer_acted const& e) noexcept {
  trial_.reached(to_string(e.what));
  trial_.world.note(to_string(e.what), e.of.peer, e.of.operation);
  auto const found = calls_.find(e.of.operation);
  if (found == calls_.end()) return;
  if (e.what == cleat::action::hedge_sent) ++found->second.hedges;
  if (e.what == cleat::action::fallback_used) found->second.otherwise = true;
}

void book::on(cleat::frame_sent const& e) noexcept {
  // Also with an error: what has begun may still arrive whole.
  if (e.of != nullptr)
    by_message_.insert_or_assign(std::string{std::string_view{e.id}}, e.of->operation);
  if (e.error != nullptr) {
    trial_.reached(e.bytes.empty() ? "left in mid-frame" : "left before the frame");
    return;
  }
  trial_.world.note("sent", e.id, e.of != nullptr ? e.of->operation : 0, e.bytes.size());
}

void book::on(cleat::frame_received const& e) noexcept {
  using cleat::verdict;
  trial_.world.note("received", e.id, static_cast<std::uint64_t>(e.as), e.bytes.size());
  if (e.as == verdict::late) trial_.reached("late answer met a tombstone");
  if (e.as == verdict::unmatched) trial_.reached("answer that nobody awaits");
  if (e.as == verdict::progress) trial_.reached("receipt");
  if (!e.note.empty()) trial_.reached("unframed answer");
}

void book::on(cleat::answer_missing const& e) noexcept {
  trial_.world.note("no answer", e.id, e.of.operation, static_cast<std::uint64_t>(e.why.why()));
  if (e.why.why() == kind::reset) trial_.reached("reset between write and answer");
  if (e.why.why() == kind::closed) trial_.reached("closed between write and answer");
  if (e.why.why() == kind::timed_out) trial_.reached("no answer in time");
}

void book::on(cleat::decode_failed const& e) noexcept {
  trial_.world.note("unreadable", e.id, e.lost ? 1 : 0, e.bytes.size());
  trial_.reached(e.lost ? "stream lost" : "unreadable frame skipped");
}

void book::on(cleat::frames_passed_over const& e) noexcept {
  trial_.world.note("passed over", e.peer, e.more, 0);
}

void book::on(cleat::push_dropped const&) noexcept { trial_.reached("push dropped"); }

void book::on(cleat::session_ended const& e) noexcept {
  trial_.world.note("session ended", e.peer, static_cast<std::uint64_t>(e.why.why()));
  if (e.why.detail() == "the peer takes no bytes") trial_.reached("peer took no bytes");
  if (e.why.detail() == "the peer left too many requests unanswered")
    trial_.reached("peer left too much unanswered");
  if (e.why.detail() == "the peer asks too much at once") trial_.reached("peer asked too much");
}

}  // namespace sweeping

#include "probes.hpp"

#include <algorithm>
#include <iterator>

namespace sweeping {

using cleat::certainty;
using cleat::failure;
using cleat::kind;

namespace {

// Each is told of when it is broken, and counted when it could have been.
namespace limits {
constexpr std::string_view at_once = "limit: no more calls are under way than it was told";
constexpr std::string_view free_place = "limit: whoever finds a free place has it at once";
}  // namespace limits
namespace rates {
constexpr std::string_view pace = "rate: no more calls pass than its burst and its rate allow";
}
namespace breakers {
constexpr std::string_view open = "breaker: nothing passes while it is open";
constexpr std::string_view trials = "breaker: no more trials are under way than it was told";
constexpr std::string_view closed = "breaker: nobody is refused while it is closed";
}  // namespace breakers
namespace hedges {
constexpr std::string_view once = "hedge: one attempt if it must not be repeated, else two at most";
constexpr std::string_view delay =
    "hedge: the second attempt comes when the delay is over, if then";
constexpr std::string_view loser = "hedge: nothing is under way after the end";
constexpr std::string_view first = "hedge: the first answer is the answer, at once";
}  // namespace hedges
namespace retries {
constexpr std::string_view attempts = "retry: no more attempts than it was told";
constexpr std::string_view asked_wait = "retry: no wait is shorter than what the peer asked for";
constexpr std::string_view again = "retry: nothing again after what must not be repeated";
constexpr std::string_view in_time = "retry: no attempt begins after the deadline";
constexpr std::string_view each = "retry: each attempt has its own deadline";
constexpr std::string_view worst = "retry: a failure is as uncertain as the worst attempt";
}  // namespace retries
namespace shadows {
constexpr std::string_view primary = "shadow: the primary is asked first";
constexpr std::string_view at_once = "shadow: no more mirrored calls at once than it was told";
constexpr std::string_view alone = "shadow: the caller hears the primary only, and at once";
constexpr std::string_view only = "shadow: only what may be repeated is mirrored";
}  // namespace shadows
namespace idempotents {
constexpr std::string_view one = "idempotent: an operation is under way once";
constexpr std::string_view kept = "idempotent: what is remembered is not carried out again";
constexpr std::string_view same = "idempotent: all that ask for an operation hear the same answer";
}  // namespace idempotents
namespace canaries {
constexpr std::string_view none = "canary: a share of nothing takes no call";
constexpr std::string_view all = "canary: the whole share takes every call";
constexpr std::string_view sticky = "canary: one operation goes to one side";
constexpr std::string_view share = "canary: the candidate gets its share";
}  // namespace canaries
namespace deadlines {
constexpr std::string_view tightened = "deadline: what is below has the earlier deadline";
constexpr std::string_view stays = "deadline: an earlier deadline stays";
constexpr std::string_view kept = "deadline: a call ends by it";
}  // namespace deadlines
namespace timeouts {
constexpr std::string_view tightened = "timeout: what is below has the earlier deadline";
constexpr std::string_view over = "timeout: nothing begins when the time is over";
constexpr std::string_view kept = "timeout: a call ends by it, whatever is below";
}  // namespace timeouts
namespace fallbacks {
constexpr std::string_view answer = "fallback: an answer stays as it is";
constexpr std::string_view used = "fallback: a failure is answered otherwise";
constexpr std::string_view left = "fallback: some failures stay as they are";
}  // namespace fallbacks
namespace observes {
constexpr std::string_view started = "observe: a call is told before anything is asked, once";
constexpr std::string_view ended = "observe: the end of a call is told, once";
}  // namespace observes

/// The same to whoever hears it.
[[nodiscard]] bool same(probe::outcome const& a, probe::outcome const& b) {
  if (a.has_value() != b.has_value()) return false;
  if (a) {
    return a->device_id.view() == b->device_id.view() && a->outcome.view() == b->outcome.view() &&
           a->state == b->state && a->framed == b->framed;
  }
  failure const x = a.error();
  failure const y = b.error();
  return x.why() == y.why() && x.sure() == y.sure() && x.retry_after() == y.retry_after();
}

[[nodiscard]] bool is_overloaded(probe::outcome const& r) {
  return !r && r.error().why() == kind::overloaded;
}

/// Whether another attempt may be made after this.
[[nodiscard]] bool may_be_repeated(probe::outcome const& r, bool repeatable) {
  if (r) return false;
  failure const why = r.error();
  if (why.sure() == certainty::maybe_executed && !repeatable) return false;
  switch (why.why()) {
    case kind::timed_out:
    case kind::unresolved:
    case kind::refused:
    case kind::unreachable:
    case kind::reset:
    case kind::closed:
      return true;
    case kind::rejected:
    case kind::overloaded:
      return why.retry_after().has_value();
    default:
      return false;
  }
}

enum class health : std::uint8_t { good, bad, unknown };

/// What the end of a call says of the peer.
[[nodiscard]] health health_of(probe::outcome const& r) {
  if (r) return health::good;
  failure const why = r.error();
  switch (why.why()) {
    case kind::timed_out:
    case kind::unresolved:
    case kind::refused:
    case kind::unreachable:
    case kind::reset:
    case kind::closed:
    case kind::malformed:
      return health::bad;
    case kind::rejected:
      return why.retry_after() ? health::bad : health::good;
    case kind::overloaded:
      return why.sure() == certainty::not_sent ? health::unknown : health::bad;
    default:
      return health::unknown;
  }
}

}  // namespace

std::vector<std::string> probe::promises() {
  std::vector<std::string> all;
  for (std::string_view const each :
       {limits::at_once,   limits::free_place, rates::pace,         breakers::open,
        breakers::trials,  breakers::closed,   hedges::once,        hedges::delay,
        hedges::loser,     hedges::first,      retries::attempts,   retries::asked_wait,
        retries::again,    retries::in_time,   retries::each,       retries::worst,
        shadows::primary,  shadows::at_once,   shadows::alone,      shadows::only,
        idempotents::one,  idempotents::kept,  idempotents::same,   canaries::none,
        canaries::all,     canaries::sticky,   canaries::share,     deadlines::tightened,
        deadlines::stays,  deadlines::kept,    timeouts::tightened, timeouts::over,
        timeouts::kept,    fallbacks::answer,  fallbacks::used,     fallbacks::left,
        observes::started, observes::ended}) {
    all.emplace_back(each);
  }
  return all;
}

probe::upper* probe::whose(cleat::call const& c) {
  // A layer that asks several times counts its attempts on from that of the call.
  upper* found = nullptr;
  for (upper& u : uppers_) {
    if (u.of.correlation != c.correlation || u.of.attempt > c.attempt) continue;
    if (found == nullptr || found->of.attempt < u.of.attempt) found = &u;
  }
  return found;
}

std::size_t probe::under_way(place at) const {
  return static_cast<std::size_t>(
      std::count_if(lowers_.begin(), lowers_.end(), [&](lower const& l) { return l.at == at; }));
}

std::uint64_t probe::enter(cleat::call const& c) {
  upper& u = uppers_.emplace_back(upper{++numbers_, c, now()});
  entered(u);
  return u.number;
}

std::uint64_t probe::down(place at, cleat::call& c) {
  if (at == place::above) return enter(c);
  lower l{++numbers_, 0, at, c, now()};
  if (at == place::mirror) {
    mirror_begins(l);
  } else {
    upper* const u = whose(c);
    if (expect(u != nullptr, "a layer asks only for calls that are under way")) {
      l.above = u->number;
      expect(u->of.operation == c.operation && u->of.peer == c.peer &&
                 u->of.repeatable == c.repeatable,
             "a layer asks for what it was asked for");
      expect(c.deadline() <= u->of.deadline(), "no layer puts a deadline off");
      begins(*u, l, c);
      expect(u->asked < asks_max_, asks_no_more_);
      ++u->asked;
      ++u->under_way;
    }
  }
  lowers_.push_back(l);
  return l.number;
}

void probe::up(place at, std::uint64_t number, outcome const& r, bool cancelled) {
  if (at == place::above) return leave(number, r, cancelled);
  auto const it = std::find_if(lowers_.begin(), lowers_.end(),
                               [&](lower const& l) { return l.number == number; });
  lower l = *it;
  lowers_.erase(it);
  auto const above = std::find_if(uppers_.begin(), uppers_.end(),
                                  [&](upper const& u) { return u.number == l.above; });
  if (above == uppers_.end()) return;
  --above->under_way;
  ended(*above, l, r);
  above->last.emplace(r);
  above->last_ended = now();
}

void probe::leave(std::uint64_t number, outcome const& r, bool cancelled) {
  auto const it = std::find_if(uppers_.begin(), uppers_.end(),
                               [&](upper const& u) { return u.number == number; });
  it->cancelled = cancelled;
  left(*it, r);
  expect(it->under_way == 0, "nothing that a layer asked for outlives the call");
  if (hands_the_answer_on_ && it->last)
    expect(same(*it->last, r), "a layer hands on what it was answered");
  uppers_.erase(it);
}

// ---- limit ---------------------------------------------------------------------------------------

void limit_probe::entered(upper& u) {
  // Whoever has not left may still have a place, or wait for one.
  u.noted = uppers_.size() <= at_once_;
  bool const full = under_way(place::below) == at_once_;
  armed_if(full, limits::at_once);
  armed_if(u.noted && was_full_, limits::free_place);
  was_full_ = was_full_ || full;
}

void limit_probe::begins(upper& u, lower& /*l*/, cleat::call& /*handed_on*/) {
  expect(under_way(place::below) < at_once_, limits::at_once);
  if (u.noted) expect(now() == u.began, limits::free_place);
}

void limit_probe::left(upper& u, outcome const& /*r*/) {
  if (u.noted) expect(u.asked == 1, limits::free_place);
}

// ---- rate ----------------------------------------------------------------------------------------

void rate_probe::begins(upper& u, lower& /*l*/, cleat::call& /*handed_on*/) {
  armed_if(now() > u.began, rates::pace);
  auto const passed = std::min<cleat::duration>(now() - at_, std::chrono::hours{1});
  level_ = std::min(full_, level_ + a_second_ * std::chrono::nanoseconds{passed}.count());
  at_ = now();
  // The time of a token is a whole nanosecond.
  expect(level_ + a_second_ >= token, rates::pace);
  level_ -= token;
}

void rate_probe::left(upper& u, outcome const& r) {
  armed_if(u.asked == 0 && is_overloaded(r), rates::pace);
}

// ---- breaker -------------------------------------------------------------------------------------

unsigned breaker_probe::trials_under_way() const {
  auto const is_trial = [&](lower const& l) {
    return std::find(trying_.begin(), trying_.end(), l.generation) != trying_.end();
  };
  return static_cast<unsigned>(std::count_if(lowers_.begin(), lowers_.end(), is_trial));
}

void breaker_probe::become(state s) {
  state_ = s;
  ++generation_;
  if (s == state::half_open) trying_.push_back(generation_);
}

void breaker_probe::open_for(cleat::duration time) {
  time_ = std::min(time, longest_);
  until_ = now() + time_;
  become(state::open);
}

void breaker_probe::entered(upper& u) {
  armed_if(state_ == state::open && now() < until_, breakers::open);
  armed_if(state_ == state::half_open && trials_under_way() == trials_, breakers::trials);
  armed_if(state_ == state::closed && began_anew_, breakers::closed);
  u.noted = state_ == state::closed;
}

void breaker_probe::begins(upper& /*u*/, lower& l, cleat::call& /*handed_on*/) {
  if (state_ == state::open) {
    expect(now() >= until_, breakers::open);
    become(state::half_open);
    successes_ = 0;
  }
  if (state_ == state::half_open) expect(trials_under_way() < trials_, breakers::trials);
  l.generation = generation_;
}

void breaker_probe::ended(upper& u, lower& l, outcome const& r) {
  bool const too_late = u.began >= u.of.deadline();  // the peer was not asked
  auto const health = too_late && !r ? health::unknown : health_of(r);
  if (l.generation != generation_ || health == health::unknown) return;
  if (state_ == state::half_open) {
    if (health == health::bad) return open_for(time_ * 2);
    if (++successes_ < trials_) return;
    become(state::closed);
    began_anew_ = true;
    in_a_row_ = 0;
  } else if (health == health::good) {
    began_anew_ = began_anew_ || in_a_row_ != 0;
    in_a_row_ = 0;
  } else if (++in_a_row_ >= failures_) {
    open_for(first_);
  }
}

void breaker_probe::left(upper& u, outcome const& /*r*/) {
  if (u.noted) expect(u.asked == 1, breakers::closed);
}

// ---- hedge ---------------------------------------------------------------------------------------

hedge_probe::hedge_probe(cleat::sim::trial& in, cleat::duration delay, bool always)
    : probe(in, "hedge"), delay_(delay), always_(always) {
  asks_max_ = 2;
  asks_no_more_ = hedges::once;
  hands_the_answer_on_ = false;
}

void hedge_probe::begins(upper& u, lower& l, cleat::call& /*handed_on*/) {
  if (u.asked == 0) return;
  armed(hedges::delay);
  expect(u.of.repeatable, hedges::once);
  expect(u.under_way == 1 && l.of.attempt == u.of.attempt + 1 && now() < u.of.deadline(),
         hedges::delay);
  if (always_ || latencies_ < learnt) expect(now() >= u.began + delay_, hedges::delay);
}

void hedge_probe::ended(upper& u, lower& /*l*/, outcome const& r) {
  if (!r || u.noted) return;
  u.noted = true;  // the first that answered
  u.noted_at = now();
  armed_if(u.under_way != 0, hedges::loser);
  armed_if(u.under_way != 0, hedges::first);
}

void hedge_probe::left(upper& u, outcome const& r) {
  armed_if(!u.of.repeatable && now() > u.began + delay_, hedges::once);
  expect(u.under_way == 0, hedges::loser);
  expect(r.has_value() == u.noted && (!r || now() == u.noted_at), hedges::first);
  if (r && u.of.repeatable) ++latencies_;
}

// ---- retry ---------------------------------------------------------------------------------------

retry_probe::retry_probe(cleat::sim::trial& in, unsigned attempts, cleat::duration per_attempt)
    : probe(in, "retry"), per_attempt_(per_attempt) {
  asks_max_ = attempts;
  asks_no_more_ = retries::attempts;
  hands_the_answer_on_ = false;
}

void retry_probe::begins(upper& u, lower& l, cleat::call& /*handed_on*/) {
  auto const own = cleat::saturated_add(now(), per_attempt_);
  armed_if(own < u.of.deadline(), retries::each);
  expect(l.of.deadline() == std::min(own, u.of.deadline()), retries::each);
  expect(u.under_way == 0, "retry: one attempt after the other");
  if (u.asked == 0 || !u.last) return;
  expect(may_be_repeated(*u.last, u.of.repeatable), retries::again);
  expect(now() < u.of.deadline(), retries::in_time);
  if (*u.last) return;
  auto const asked = u.last->error().retry_after();
  armed_if(asked.has_value(), retries::asked_wait);
  if (asked) expect(now() >= u.last_ended + *asked, retries::asked_wait);
}

void retry_probe::ended(upper& u, lower& /*l*/, outcome const& r) {
  if (r) return;
  failure const why = r.error();
  u.worst = worse(u.worst, why.sure());
  bool const may = may_be_repeated(r, u.of.repeatable);
  bool const left = u.asked < asks_max_;
  armed_if(may && !left, retries::attempts);
  armed_if(!may && left, retries::again);
  auto const asked = why.retry_after();
  bool const too_late = asked && now() + *asked >= u.of.deadline();
  armed_if(may && left && too_late, retries::in_time);
}

void retry_probe::left(upper& u, outcome const& r) {
  if (r) return;
  armed_if(u.last && !*u.last && u.last->error().sure() != u.worst, retries::worst);
  expect(worse(u.worst, r.error().sure()) == r.error().sure(), retries::worst);
}

// ---- shadow --------------------------------------------------------------------------------------

void shadow_probe::entered(upper& u) {
  armed_if(!u.of.repeatable, shadows::only);
  armed_if(u.of.repeatable && under_way(place::mirror) == at_once_, shadows::at_once);
}

void shadow_probe::begins(upper& u, lower& /*l*/, cleat::call& /*handed_on*/) {
  primary_asked_.push_back(u.of.correlation);
}

void shadow_probe::mirror_begins(lower& l) {
  armed(shadows::primary);
  expect(std::find(primary_asked_.rbegin(), primary_asked_.rend(), l.of.correlation) !=
             primary_asked_.rend(),
         shadows::primary);
  expect(under_way(place::mirror) < at_once_, shadows::at_once);
  expect(l.of.repeatable, shadows::only);
}

void shadow_probe::left(upper& u, outcome const& r) {
  auto const mirrored = [&](lower const& l) { return l.of.correlation == u.of.correlation; };
  armed_if(std::any_of(lowers_.begin(), lowers_.end(), mirrored), shadows::alone);
  expect(u.last && same(*u.last, r) && now() == u.last_ended, shadows::alone);
}

void shadow_probe::close() {
  expect(lowers_.empty(), "shadow: nothing is mirrored when it is closed");
}

// ---- idempotent ----------------------------------------------------------------------------------

bool idempotent_probe::remembered(operation const& o) const {
  return o.answer && now() - o.answered < keeps_;
}

void idempotent_probe::entered(upper& u) {
  operation const& o = operations_[u.of.operation];
  u.noted = o.under_way;  // it joins
  armed_if(o.under_way, idempotents::one);
  armed_if(remembered(o), idempotents::kept);
}

void idempotent_probe::begins(upper& u, lower& /*l*/, cleat::call& /*handed_on*/) {
  operation& o = operations_[u.of.operation];
  expect(!o.under_way, idempotents::one);
  expect(!remembered(o), idempotents::kept);
  if (u.noted) expect(o.given_up, idempotents::same);
  o.under_way = true;
}

void idempotent_probe::ended(upper& u, lower& /*l*/, outcome const& r) {
  operation& o = operations_[u.of.operation];
  o.under_way = false;
  auto const why = r ? kind::invalid : r.error().why();
  o.given_up = why == kind::cancelled || (why == kind::timed_out && now() >= u.of.deadline());
  // What must not be tried again is as good as done.
  if (!r && (u.of.repeatable || r.error().sure() != certainty::maybe_executed)) return;
  o.answer.emplace(r);
  o.answered = now();
}

void idempotent_probe::left(upper& u, outcome const& r) {
  if (u.asked != 0) {
    expect(u.last && u.last->has_value() == r.has_value() && (!r || same(*u.last, r)),
           idempotents::same);
    return;
  }
  operation const& o = operations_[u.of.operation];
  bool const answered = o.answer && o.answer->has_value();
  armed_if(answered, idempotents::same);
  if (r) {
    expect(answered && same(*o.answer, r), idempotents::same);
  } else if (answered && o.answered >= u.began) {
    expect(u.cancelled || r.error().why() == kind::timed_out, idempotents::same);
  }
}

// ---- canary --------------------------------------------------------------------------------------

void canary_probe::begins(upper& u, lower& l, cleat::call& /*handed_on*/) {
  if (parts_ == 0) {
    armed(canaries::none);
    expect(l.at == place::below, canaries::none);
  }
  if (parts_ == whole) {
    armed(canaries::all);
    expect(l.at == place::beside, canaries::all);
  }
  auto const [side, is_new] = sides_.try_emplace(u.of.operation, l.at);
  armed_if(!is_new, canaries::sticky);
  expect(side->second == l.at, canaries::sticky);
}

void canary_probe::close() {
  auto const all = static_cast<std::int64_t>(sides_.size());
  if (all < 30) return;
  armed_if(parts_ != 0 && parts_ != whole, canaries::share);
  auto const taken = static_cast<std::int64_t>(std::count_if(
      sides_.begin(), sides_.end(), [](auto const& each) { return each.second == place::beside; }));
  // Seven times the standard deviation, and as far as a handful of calls.
  std::int64_t const off = taken * whole - all * parts_;
  bool const is_a_handful = off >= -5 * whole && off <= 5 * whole;
  expect(is_a_handful || off * off <= 49 * all * parts_ * (whole - parts_), canaries::share);
}

// ---- deadline, timeout ---------------------------------------------------------------------------

void deadline_probe::begins(upper& u, lower& l, cleat::call& /*handed_on*/) {
  auto const own = cleat::saturated_add(u.began, limit_);
  bool const is_earlier = own < u.of.deadline();
  auto const promise = is_earlier ? deadlines::tightened : deadlines::stays;
  armed(promise);
  expect(l.of.deadline() == std::min(own, u.of.deadline()), promise);
}

void deadline_probe::left(upper& u, outcome const& /*r*/) {
  auto const due = std::min(cleat::saturated_add(u.began, limit_), u.of.deadline());
  armed_if(now() == due, deadlines::kept);
  expect(now() <= std::max(due, u.began), deadlines::kept);
}

void timeout_probe::entered(upper& u) { armed_if(u.of.deadline() <= u.began, timeouts::over); }

void timeout_probe::begins(upper& u, lower& l, cleat::call& handed_on) {
  auto const own = cleat::saturated_add(u.began, limit_);
  armed_if(own < u.of.deadline(), timeouts::tightened);
  expect(l.of.deadline() == std::min(own, u.of.deadline()), timeouts::tightened);
  expect(now() < l.of.deadline(), timeouts::over);
  if (foreign_) handed_on = u.of;
}

void timeout_probe::left(upper& u, outcome const& r) {
  auto const due = std::min(cleat::saturated_add(u.began, limit_), u.of.deadline());
  armed_if(foreign_ && u.asked != 0 && now() >= due, timeouts::kept);
  expect(now() <= std::max(due, u.began), timeouts::kept);
  if (r) expect(u.last && same(*u.last, r), "a layer hands on what it was answered");
}

// ---- fallback ------------------------------------------------------------------------------------

void fallback_probe::left(upper& u, outcome const& r) {
  if (!expect(u.last.has_value(), "fallback: the service is asked first")) return;
  if (*u.last) {
    armed(fallbacks::answer);
    expect(same(*u.last, r), fallbacks::answer);
    return;
  }
  auto const why = u.last->error().why();
  bool const in_time = u.began < u.of.deadline();
  if (u.cancelled || !in_time || why == kind::cancelled || why == kind::invalid) {
    armed(fallbacks::left);
    expect(same(*u.last, r), fallbacks::left);
  } else {
    armed(fallbacks::used);
    expect(r && r->outcome.view() == "stopgap", fallbacks::used);
  }
}

// ---- observe -------------------------------------------------------------------------------------

observe_probe::told& observe_probe::told_of(std::uint64_t number) {
  auto const it =
      std::find_if(told_.begin(), told_.end(), [&](told const& each) { return each.of == number; });
  return it != told_.end() ? *it : told_.emplace_back(told{number});
}

void observe_probe::on(cleat::call_started const& e) noexcept {
  upper const* const u = whose(e.of);
  if (expect(u != nullptr, observes::started)) ++told_of(u->number).started;
}

void observe_probe::on(cleat::call_ended const& e) noexcept {
  upper const* const u = whose(e.of);
  if (!expect(u != nullptr, observes::ended)) return;
  told& mine = told_of(u->number);
  ++mine.ended;
  mine.failed = e.error != nullptr;
  expect(e.elapsed == now() - u->began, observes::ended);
}

void observe_probe::begins(upper& u, lower& /*l*/, cleat::call& /*handed_on*/) {
  armed(observes::started);
  expect(told_of(u.number).started == 1, observes::started);
}

void observe_probe::left(upper& u, outcome const& r) {
  told const mine = told_of(u.number);
  armed(observes::ended);
  expect(mine.ended == 1 && mine.failed != r.has_value(), observes::ended);
  std::erase_if(told_, [&](told const& each) { return each.of == u.number; });
}

}  // namespace sweeping

#pragma once

#include "parley.hpp"

#include <cleat/base/clock.hpp>

#include <algorithm>
#include <deque>
#include <functional>
#include <list>
#include <vector>

namespace fuzz {

/// What is known of one call.
struct asked {
  cleat::match_keys keys;
  cleat::time_point deadline = cleat::never;
  cleat::time_point ended_at = cleat::never;
  std::optional<cleat::result<reply>> outcome;
  std::size_t opened_at = unknown;     ///< index of the last `opened` event
  std::size_t cancelled_at = unknown;  ///< how many events there had been

  static constexpr std::size_t unknown = static_cast<std::size_t>(-1);

  [[nodiscard]] bool not_sent() const {
    return outcome && !*outcome && outcome->error().sure() == cleat::certainty::not_sent;
  }
  /// The serial number of the message that it was given; `unknown`: none.
  [[nodiscard]] std::size_t answered_by() const {
    if (!outcome) return unknown;
    if (*outcome) return (*outcome)->serial;
    bool const refused = outcome->error().why() == cleat::kind::rejected;
    return refused ? outcome->error().offset() : unknown;
  }
};

/// Notes what a session does, and judges it in the end: which answer belonged to which call, and
/// what the peer must and must not have seen.
class ledger final : public parley::listener {
 public:
  explicit ledger(std::function<cleat::time_point()> now) : now_(std::move(now)) {}

  /// More calls than these are not made.
  static constexpr std::size_t calls_max = 96;

  std::deque<asked> calls;
  /// Calls end early when a frame is unreadable: then an answer may come too late for them.
  bool unreadable_fails_call = false;
  /// How many bytes of the session wait to be sent. Where there are none, each request has left.
  std::function<std::size_t()> unsent;

  void cancelled(std::size_t tag) {
    if (calls[tag].cancelled_at == asked::unknown) calls[tag].cancelled_at = events_.size();
  }
  /// The responder is through with the message that came last, which is now matched.
  void responded() {
    heard_.all_sent = unsent && unsent() == 0;  // the responder may have let a call in
    events_.push_back(heard_);
  }

  void opened(std::uint8_t tag, cleat::match_keys const& keys) override {
    calls[tag].keys = keys;
    calls[tag].opened_at = events_.size();
    event e;
    e.tag = tag;
    events_.push_back(e);
  }
  void received(utterance const& m, cleat::relation const& r) override {
    heard_ = event{};
    heard_.throws = parley::cannot_be_concluded(m);
    heard_.message = true;
    heard_.as = r.as;
    heard_.keys = r.keys;
    heard_.at = now_();
  }
  [[nodiscard]] std::size_t serial() const override { return events_.size() - 1; }

  /// The same history once more, with a plain list: each answer goes to the oldest call that
  /// awaits it, whether its caller is still there or not.
  void judge_answers() const {
    std::list<std::size_t> waiting;
    std::vector<std::size_t> meant(calls.size(), asked::unknown);
    for (std::size_t i = 0; i < events_.size(); ++i) {
      event const& e = events_[i];
      if (!e.message) {
        asked const& c = calls[e.tag];
        if (c.opened_at != i || c.not_sent()) continue;
        for (cleat::match_key const& k : c.keys) {
          if (k.shared()) continue;
          cleat::match_keys const alone{k};
          require(find(waiting, alone) == waiting.end(), "a number is used by one call at a time");
        }
        waiting.push_back(e.tag);
      } else if (e.as == cleat::role::answer) {
        auto const slot = find(waiting, e.keys);
        if (slot == waiting.end()) continue;
        // It may have come before the request was sent, and then answers nothing: from here on it is
        // not known who awaits what.
        if (!e.all_sent && calls[*slot].answered_by() != i) return judge_keys();
        meant[*slot] = i;
        waiting.erase(slot);
      }
    }
    for (std::size_t tag = 0; tag < calls.size(); ++tag) judge_call(calls[tag], meant[tag]);
  }

  /// What the peer received: whole frames, and of the last one perhaps a part.
  void judge_wire(cleat::bytes_view wire, std::vector<bool> const& pushed) const {
    parley const speaks;
    std::vector<bool> seen(calls.size());
    std::size_t last_opened = 0;
    std::size_t next_push = 0;
    auto const one = [&](utterance const& m) {
      if (m.what == speech::push) {
        require(m.tag >= next_push && m.tag < pushed.size() && pushed[m.tag],
                "pushes leave in order, once, and only those that were accepted");
        next_push = m.tag + std::size_t{1};
      }
      if (m.what != speech::ask) return;
      require(m.tag < calls.size() && !seen[m.tag], "a request leaves once");
      asked const& c = calls[m.tag];
      require(!c.not_sent(), "what was not sent is not on the wire");
      require(c.opened_at >= last_opened, "requests leave in their order");
      last_opened = c.opened_at;
      seen[m.tag] = true;
    };
    while (!wire.empty()) {
      auto step = speaks.decode(wire);
      require(step.is_lost() == nullptr && step.skips() == nullptr, "only whole frames leave");
      auto* const item = step.has_item();
      if (item == nullptr) break;
      one(item->message);
      wire = wire.subspan(item->used);
    }
    // The tag of a frame that is cut short may be missing: then it may be anybody's.
    bool const anybody = !wire.empty() && wire.size() < 4;
    if (wire.size() >= 4) {
      utterance const cut{static_cast<speech>(wire[0]), 0, 0,
                          std::to_integer<std::uint8_t>(wire[3]), 0};
      one(cut);
    }
    for (std::size_t tag = 0; tag < calls.size(); ++tag) {
      asked const& c = calls[tag];
      bool const maybe = c.outcome && !*c.outcome && !c.not_sent() &&
                         c.outcome->error().sure() == cleat::certainty::maybe_executed;
      require(!maybe || seen[tag] || anybody, "what may have been executed has left");
    }
  }

 private:
  /// What can be said of any history: an answer bears a key of its call.
  void judge_keys() const {
    for (asked const& c : calls) {
      require(c.outcome.has_value() && c.ended_at <= c.deadline, "every call ends by its deadline");
      std::size_t const got = c.answered_by();
      if (got == asked::unknown) continue;
      auto const& heard = events_[got].keys;
      bool const known = std::any_of(heard.begin(), heard.end(), [&](cleat::match_key const& k) {
        return std::find(c.keys.begin(), c.keys.end(), k) != c.keys.end();
      });
      require(known, "an answer belongs to its call");
    }
  }

  struct event {
    cleat::match_keys keys;
    cleat::time_point at{};
    std::size_t tag = 0;
    cleat::role as = cleat::role::push;
    bool message = false;
    bool throws = false;
    bool all_sent = false;
  };

  [[nodiscard]] std::list<std::size_t>::iterator find(std::list<std::size_t>& waiting,
                                                      cleat::match_keys const& keys) const {
    for (cleat::match_key const& k : keys) {
      auto const slot = std::find_if(waiting.begin(), waiting.end(), [&](std::size_t tag) {
        auto const& mine = calls[tag].keys;
        return std::find(mine.begin(), mine.end(), k) != mine.end();
      });
      if (slot != waiting.end()) return slot;
    }
    return waiting.end();
  }

  void judge_call(asked const& c, std::size_t meant) const {
    require(c.outcome.has_value(), "every call ends");
    require(c.ended_at <= c.deadline, "a call ends by its deadline");
    std::size_t const got = c.answered_by();
    if (got != asked::unknown) return require(got == meant, "an answer belongs to its call");
    if (meant == asked::unknown) return;
    bool const gone = unreadable_fails_call || c.cancelled_at <= meant || events_[meant].throws ||
                      events_[meant].at >= c.deadline;
    require(gone, "a call that waits gets its answer");
  }

  std::function<cleat::time_point()> now_;
  std::vector<event> events_;
  event heard_;
};

}  // namespace fuzz

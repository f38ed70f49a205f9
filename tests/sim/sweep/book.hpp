#pragma once

#include <cleat/base/events.hpp>
#include <cleat/middleware/retry_budget.hpp>
#include <cleat/observe/observe.hpp>
#include <cleat/sim/trial.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sweeping {

/// Keeps the books of one run: every call from its beginning to its end, every execution at a device, every retry. It
/// knows nothing of how the product works, only what it promises.
class book {
 public:
  /// What `retry` was told.
  class retry_terms {
   public:
    retry_terms(unsigned attempts, cleat::retry_budget::settings s)
        : attempts_max(attempts), budget(s) {}
    unsigned attempts_max;
    cleat::retry_budget::settings budget;
  };

  book(cleat::sim::trial& in, retry_terms terms) : trial_(in), terms_(terms) {}
  book(book const&) = delete;
  book& operator=(book const&) = delete;

  /// A call begins; it is to end by `deadline`. `acts`: the device's ledger tells whether it was carried out.
  void began(cleat::call const& c, cleat::time_point deadline, bool acts);
  /// Somebody asks for an operation that has begun.
  void asked_again(cleat::call const& c);
  /// Whoever asked again has an answer of the device's.
  void succeeded(std::uint64_t operation);
  /// It has ended, and not with an answer of the device's.
  [[nodiscard]] bool failed(std::uint64_t operation) const;
  /// Its caller gives it up, here and now.
  void cancelled(std::uint64_t operation);
  /// It ends, with this failure or null.
  void ended(std::uint64_t operation, cleat::failure const* why);

  /// A device carried out an operation, or the request with this number.
  void executed(std::uint64_t operation);
  void executed(std::string_view message_id);

  /// Nothing happens any more: what has to hold of the whole run.
  void close();

  /// What is counted when it could have been broken (see `named_scenario::promises`).
  [[nodiscard]] static std::vector<std::string> promises();

  // An observer of the callers' side.
  using listens_to =
      cleat::event_list<cleat::attempt_started, cleat::attempt_ended, cleat::retry_scheduled,
                        cleat::retry_budget_empty, cleat::layer_acted, cleat::frame_sent,
                        cleat::frame_received, cleat::answer_missing, cleat::decode_failed,
                        cleat::push_dropped, cleat::frames_passed_over, cleat::session_ended>;
  void on(cleat::attempt_started const& e) noexcept;
  void on(cleat::attempt_ended const& e) noexcept;
  void on(cleat::retry_scheduled const& e) noexcept;
  void on(cleat::retry_budget_empty const& e) noexcept;
  void on(cleat::layer_acted const& e) noexcept;
  void on(cleat::frame_sent const& e) noexcept;
  void on(cleat::frame_received const& e) noexcept;
  void on(cleat::answer_missing const& e) noexcept;
  void on(cleat::decode_failed const& e) noexcept;
  void on(cleat::push_dropped const& e) noexcept;
  void on(cleat::frames_passed_over const& e) noexcept;
  void on(cleat::session_ended const& e) noexcept;

 private:
  struct entry {
    cleat::time_point deadline{};
    cleat::time_point last_deadline{};  ///< of all that asked for it
    cleat::time_point given_up = cleat::never;
    bool acts = false;
    bool repeatable = true;
    bool ended = false;
    bool succeeded = false;
    cleat::certainty sure = cleat::certainty::not_sent;
    unsigned executions = 0;
    bool otherwise = false;  ///< a fallback answered
    unsigned asked = 1;      ///< how often somebody asked for it
    unsigned hedges = 0;
    unsigned attempts = 0;
    unsigned scheduled = 0;  ///< retries that were announced, and so paid for
    cleat::certainty worst = cleat::certainty::not_sent;  ///< of its attempts
    cleat::certainty latest = cleat::certainty::not_sent;
  };
  /// One retry budget, as it is meant: a part of a token for each call, and a floor that fills with time.
  struct budget {
    double floor = 0;
    double saved = 0;
    std::optional<cleat::duration> filled_at;  ///< since somebody took of it first
  };

  [[nodiscard]] entry* find(std::uint64_t operation, std::string_view promise);
  [[nodiscard]] budget& budget_of(std::string_view peer);
  /// Somebody takes of it, or tries to.
  budget& filled(std::string_view peer);

  cleat::sim::trial& trial_;
  retry_terms terms_;
  std::map<std::uint64_t, entry> calls_;
  std::map<std::string, std::uint64_t, std::less<>> by_message_;
  std::map<std::string, budget, std::less<>> budgets_;
};

}  // namespace sweeping

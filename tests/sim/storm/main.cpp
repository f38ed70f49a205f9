// A retry storm, with a shared retry budget and without. See docs/explanation/retry-storm.md.
#include "../../support/command_line.hpp"
#include "storm.hpp"

#include <cleat/base/ids.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <limits>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

using storming::account;
using storming::second;
using storming::terms;
using budget_settings = cleat::retry_budget::settings;

/// As `retry` has it when nothing is said: a token for five requests, ten retries a second beside that.
budget_settings const limited{};

/// A budget that never runs out: a million retries a second are always allowed, and no storm here wants more than some
/// thousands. (That none was denied is checked.)
budget_settings unlimited() {
  budget_settings s;
  s.floor = 1e6;
  return s;
}

/// What is promised of the attempts: so many for each request, and the floor.
constexpr double attempts_per_request_max = 1.25;

/// The floor allows `floor` retries each second and as many at once at the beginning. `saved` is what earlier requests
/// may have left in the budget.
double attempts_max(double per_request, second const& of, std::uint64_t seconds, double saved) {
  return per_request * static_cast<double>(of.requests) +
         limited.floor * static_cast<double>(seconds + 1) + saved;
}

/// `1,234,567`.
std::string grouped(std::uint64_t n) {
  std::string const digits = std::to_string(n);
  std::string s;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i != 0 && (digits.size() - i) % 3 == 0) s += ',';
    s += digits[i];
  }
  return s;
}

std::string ratio(std::uint64_t of, std::uint64_t to) {
  std::ostringstream s;
  s << std::fixed << std::setprecision(3) << static_cast<double>(of) / static_cast<double>(to);
  return s.str();
}

std::string percent(std::uint64_t part, std::uint64_t of) {
  std::ostringstream s;
  s << std::fixed << std::setprecision(1)
    << 100 * static_cast<double>(part) / static_cast<double>(of) << " %";
  return s.str();
}

std::string recovery(account const& a, terms const& t) {
  auto const s = a.recovered_after(t.outage_ends());
  return s ? std::to_string(*s) + " s" : "not in " + std::to_string(t.after) + " s";
}

std::uint64_t peak(account const& a) {
  std::uint64_t most = 0;
  for (second const& s : a.seconds) most = std::max(most, s.attempts);
  return most;
}

/// Both runs, and what is to hold of them.
class comparison {
 public:
  explicit comparison(terms const& t)
      : terms_(t), with_(storming::run(t, limited)), without_(storming::run(t, unlimited())) {}

  void tell(std::ostream& out) const {
    out << grouped(terms_.clients) << " clients, " << terms::requests_per_second
        << " requests a second each, up to " << terms_.attempts << " attempts a request;\n"
        << "a server for " << grouped(terms_.capacity)
        << " requests a second, which fails everything from second " << terms_.calm << " to second "
        << terms_.outage_ends() << "; seed " << terms_.seed << "\n\n";
    row(out, "", terms_.one_budget ? "one budget" : "a budget each", "no budget");
    both(out, "requests", [](second const& all) { return grouped(all.requests); });
    both(out, "attempts", [](second const& all) { return grouped(all.attempts); });
    row(out, "  at most, 1.25 a request and the floor", grouped(whole_max()), "-");
    both(out, "  a request", [](second const& all) { return ratio(all.attempts, all.requests); });
    out << "in the outage\n";
    during(out, "  requests", [](second const& all) { return grouped(all.requests); });
    during(out, "  attempts", [](second const& all) { return grouped(all.attempts); });
    row(out, "    at most, with what the calm saved", grouped(outage_max()), "-");
    during(out, "    a request",
           [](second const& all) { return ratio(all.attempts, all.requests); });
    during(out, "  retries that the budget denied",
           [](second const& all) { return grouped(all.denied); });
    row(out, "most attempts in a second", grouped(peak(with_)), grouped(peak(without_)));
    row(out, "succeeded after the outage", succeeded_after(with_), succeeded_after(without_));
    row(out, "recovered after", recovery(with_, terms_), recovery(without_, terms_));
    row(out, "history", std::string{cleat::hex16(with_.hash).view()},
        std::string{cleat::hex16(without_.hash).view()});
  }

  /// Every second of both runs, a line each.
  void write_csv(std::ostream& out) const {
    out << "run,clients,capacity,second,phase,requests,attempts,succeeded,failed,denied\n";
    write_csv(out, "budget", with_);
    write_csv(out, "unlimited", without_);
  }

  /// The promises that were broken, in sentences.
  [[nodiscard]] std::vector<std::string> broken() const {
    std::vector<std::string> found;
    auto const expect = [&](bool holds, std::string_view promise) {
      if (!holds) found.emplace_back(promise);
    };
    second const all = with_.sum(0, with_.seconds.size());
    second const out = outage(with_);
    expect(all.attempts <= whole_max(), "attempts stay within 1.25 a request and the floor");
    expect(out.attempts <= outage_max(), "and so they do in the outage alone");
    double const own_max =
        attempts_max(1 + limited.deposit, all, static_cast<std::uint64_t>(with_.seconds.size()), 0);
    expect(static_cast<double>(all.attempts) <= own_max, "attempts stay within the budget");
    expect(with_.recovered_after(terms_.outage_ends()).has_value(),
           "with a budget, all is well again after the outage");
    expect(outage(without_).attempts > out.attempts,
           "without a budget, more attempts are made in the outage");
    expect(without_.sum(0, without_.seconds.size()).denied == 0,
           "a budget without limits denies nothing");
    for (account const* const a : {&with_, &without_}) {
      second const sum = a->sum(0, a->seconds.size());
      expect(sum.requests == terms_.clients * terms::requests_per_second * terms_.length(),
             "every client asks as often as it should");
      expect(sum.succeeded + sum.failed == sum.requests, "every request ends once");
      second const calm = a->sum(0, terms_.calm);
      expect(calm.succeeded * 100 >= calm.requests * 99, "before the outage all is well");
      // What begins later may be retried when it is over.
      std::uint64_t const hopeless = terms_.outage_ends() - terms::seconds_per_request_max;
      expect(a->sum(terms_.calm, hopeless).succeeded == 0, "in the outage nothing succeeds");
      for (std::string const& what : a->leftovers) found.push_back("nothing is left over: " + what);
    }
    return found;
  }

 private:
  static void row(std::ostream& out, std::string_view what, std::string const& with,
                  std::string const& without) {
    out << std::left << std::setw(42) << what << std::right << std::setw(18) << with
        << std::setw(18) << without << '\n';
  }
  template <class Say>
  void both(std::ostream& out, std::string_view what, Say const& say) const {
    row(out, what, say(with_.sum(0, with_.seconds.size())),
        say(without_.sum(0, without_.seconds.size())));
  }
  template <class Say>
  void during(std::ostream& out, std::string_view what, Say const& say) const {
    row(out, what, say(outage(with_)), say(outage(without_)));
  }

  [[nodiscard]] second outage(account const& a) const {
    return a.sum(terms_.calm, terms_.outage_ends());
  }
  [[nodiscard]] std::string succeeded_after(account const& a) const {
    second const all = a.sum(terms_.outage_ends(), a.seconds.size());
    return percent(all.succeeded, all.requests);
  }
  /// Nothing is saved when the run begins.
  [[nodiscard]] std::uint64_t whole_max() const {
    second const all = with_.sum(0, with_.seconds.size());
    return static_cast<std::uint64_t>(
        attempts_max(attempts_per_request_max, all, with_.seconds.size(), 0));
  }
  [[nodiscard]] std::uint64_t outage_max() const {
    return static_cast<std::uint64_t>(
        attempts_max(attempts_per_request_max, outage(with_), terms_.outage, limited.saved_max));
  }

  void write_csv(std::ostream& out, std::string_view name, account const& a) const {
    for (std::size_t n = 0; n < a.seconds.size(); ++n) {
      second const& s = a.seconds[n];
      std::string_view const phase = n < terms_.calm            ? "calm"
                                     : n < terms_.outage_ends() ? "outage"
                                     : n < terms_.length()      ? "after"
                                                                : "end";
      out << name << ',' << terms_.clients << ',' << terms_.capacity << ',' << n << ',' << phase
          << ',' << s.requests << ',' << s.attempts << ',' << s.succeeded << ',' << s.failed << ','
          << s.denied << '\n';
    }
  }

  terms terms_;
  account with_;
  account without_;
};

int compare(terms const& t, std::string const& csv) {
  std::ofstream file;
  if (!csv.empty()) {
    file.open(csv);
    if (!file) throw CLI::ValidationError{"--csv", "cannot write " + csv};
  }
  comparison const both{t};
  both.tell(std::cout);
  auto const broken = both.broken();
  std::cout << '\n';
  for (std::string const& promise : broken) std::cout << "broken: " << promise << '\n';
  if (broken.empty()) std::cout << "nothing broke a promise\n";
  std::cout << std::flush;
  if (!csv.empty()) {
    both.write_csv(file);
    file.close();
    if (!file) {
      std::cerr << "sim_storm: " << csv << " could not be written\n";
      return 1;
    }
  }
  if (!std::cout) {
    std::cerr << "sim_storm: the result could not be written to stdout\n";
    return 1;
  }
  return broken.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  terms t;
  std::uint64_t capacity_each = 3;
  std::string csv;
  CLI::App app{
      "Lets many clients ask one server that fails everything for a while, in a simulated world,\n"
      "twice: with a retry budget that they share, and with one that never runs out. Says what "
      "each\n"
      "cost, and checks what the budget promises.",
      "sim_storm"};
  auto const count = [&](char const* name, auto& into, char const* what, std::uint64_t least,
                         std::uint64_t most) {
    app.add_option(name, into, what)
        ->capture_default_str()
        ->check(cleat::test::a_count(least, most))
        ->type_name("N");
  };
  // Of fewer the floor would be a great part: ten retries a second, however few ask.
  count("--clients", t.clients, "How many clients, of 2 requests a second each", 50, 10'000);
  count("--capacity", capacity_each, "What the server gets done in a second, for each client", 3,
        1000);
  count("--attempts", t.attempts, "How many attempts of a request, at most", 2, 100);
  count("--calm", t.calm, "Seconds before the outage", 5, 3600);
  count("--outage", t.outage, "Seconds of the outage", 5, 3600);
  count("--after", t.after, "Seconds after it", 5, 3600);
  count("--seed", t.seed, "What decides the clients' moments and the network's latencies", 0,
        std::numeric_limits<std::uint64_t>::max() / 2);
  bool own_budgets = false;
  app.add_flag(
      "--own-budgets", own_budgets,
      "Give each client a budget of its own, which does not help: what is promised of the\n"
      "shared one is broken");
  app.add_option("--csv", csv, "Write every second of both runs to this file")->type_name("FILE");
  app.footer(
      "Examples:\n"
      "  sim_storm --csv storm.csv && python3 tests/sim/storm/plot.py storm.csv > storm.svg\n"
      "  sim_storm --clients 100 --after 20\n"
      "  sim_storm --capacity 12\n\n"
      "Exit codes: 0 nothing broke a promise, 1 something did or could not be written, 2 the\n"
      "command line is wrong.");
  try {
    return cleat::test::with_command_line(app, argc, argv, [&] {
      t.capacity = capacity_each * t.clients;
      t.one_budget = !own_budgets;
      return compare(t, csv);
    });
  } catch (std::exception const& e) {  // a world that is stuck
    std::cerr << "sim_storm: " << e.what() << '\n';
    return 1;
  }
}

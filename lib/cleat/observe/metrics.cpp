#include <cleat/observe/metrics.hpp>

#include <cleat/base/call.hpp>
#include <cleat/base/utf8.hpp>
#include <cleat/observe/log_sink.hpp>
#include <cleat/observe/outcome.hpp>
#include <cleat/observe/unless_it_throws.hpp>

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>
#include <utility>

namespace cleat {
namespace {

using counters = prometheus::Family<prometheus::Counter>;

constexpr std::size_t reasons_max = 32;
constexpr std::string_view unknown = "unknown";
constexpr std::string_view other = "other";

/// What is usually tried again; shown as 0 from the start. Other kinds appear when they happen.
constexpr std::array usual_retries{kind::timed_out, kind::refused, kind::unreachable,
                                   kind::reset,     kind::closed,  kind::rejected};

using reason_text = text<64>;

/// What the gauge of a breaker shows after this; negative if it is not of a breaker's state.
constexpr int breaker_state(action a) noexcept {
  switch (a) {
    case action::breaker_closed:
      return 0;
    case action::breaker_half_opened:
      return 1;
    case action::breaker_opened:
      return 2;
    default:
      return -1;
  }
}

/// A label from a message: "wrong magic" becomes `wrong_magic`.
reason_text to_reason(std::string_view message) noexcept {
  std::array<char, 128> word{};
  std::size_t const n = std::min(message.size(), word.size());
  std::replace_copy(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(n), word.begin(),
                    ' ', '_');
  return reason_text{std::string_view{word.data(), n}};
}

reason_text reason_of(failure const& f) noexcept {
  if (!f.code().failed()) return reason_text{to_string(f.why())};
  std::array<char, 128> buffer{};
  return to_reason(f.code().message(buffer.data(), buffer.size()));
}

/// A label that every reader of the format takes for part of one line.
std::string label(std::string_view words) {
  std::string out;
  while (!words.empty()) {
    std::size_t const n = utf8_length(words);
    std::string_view const character = words.substr(0, n);
    bool const good = n != 0 && (character == "\n" || !steers_terminal(utf8_code_point(character)));
    out += good ? character : utf8_replacement;
    words.remove_prefix(std::max<std::size_t>(n, 1));
  }
  return out;
}

std::string peer_label(std::string_view peer) { return label(text<128>{peer}.view()); }

struct text_hash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const noexcept {
    return std::hash<std::string_view>{}(s);
  }
};

/// What was counted since somebody looked. One addition of whole numbers, where the library's own
/// counters, of floating-point numbers, take a loop and its histograms a lock.
class recent_count {
 public:
  void show_in(prometheus::Counter& c) noexcept { shown_ = &c; }
  void add_one() noexcept { since_.fetch_add(1, std::memory_order_relaxed); }
  void show() {
    auto const n = since_.exchange(0, std::memory_order_relaxed);
    if (n != 0) shown_->Increment(static_cast<double>(n));
  }

 private:
  std::atomic<std::uint64_t> since_ = 0;
  prometheus::Counter* shown_ = nullptr;
};

class recent_latencies {
 public:
  void show_in(prometheus::Histogram& h) noexcept { shown_ = &h; }
  void add(duration d) noexcept {
    auto const at = std::lower_bound(bounds.begin(), bounds.end(), d);
    since_.at(static_cast<std::size_t>(at - bounds.begin()))
        .fetch_add(1, std::memory_order_relaxed);
    sum_.fetch_add(d.count(), std::memory_order_relaxed);
  }
  void show() {
    std::vector<double> each;
    each.reserve(since_.size());
    for (auto& n : since_) {
      each.push_back(static_cast<double>(n.exchange(0, std::memory_order_relaxed)));
    }
    duration const all{sum_.exchange(0, std::memory_order_relaxed)};
    shown_->ObserveMultiple(each, std::chrono::duration<double>(all).count());
  }
  static prometheus::Histogram::BucketBoundaries boundaries() {
    prometheus::Histogram::BucketBoundaries seconds;
    for (duration const d : bounds) seconds.push_back(std::chrono::duration<double>(d).count());
    return seconds;
  }

 private:
  static constexpr std::array<duration, 16> bounds = [] {
    std::array ms{10, 25, 50, 75, 100, 150, 250, 300, 500, 750, 800, 1000, 1500, 2000, 3000, 5000};
    std::array<duration, ms.size()> all{};
    for (std::size_t i = 0; i < ms.size(); ++i) all[i] = std::chrono::milliseconds{ms[i]};
    return all;
  }();

  std::array<std::atomic<std::uint64_t>, bounds.size() + 1> since_{};
  std::atomic<duration::rep> sum_ = 0;
  prometheus::Histogram* shown_ = nullptr;
};

}  // namespace

struct metrics::impl {
  /// Made in full before it is found in the table; never removed. The atomic slots fill as they
  /// are needed.
  struct peer {
    explicit peer(std::string_view n) : name(n) {}

    std::string const name;
    std::array<recent_count, outcome_count> sent{};
    std::array<recent_count, outcome_count> received{};
    recent_latencies latency;
    std::array<std::atomic<prometheus::Counter*>, kind_count> retransmitted{};
    std::array<std::atomic<prometheus::Counter*>, reasons_max + 1> undecoded{};
    std::array<std::atomic<prometheus::Counter*>, action_count> acted{};
    std::atomic<prometheus::Gauge*> breaker = nullptr;
  };

  explicit impl(metrics_options const& o)
      : prefix(o.prefix),
        sent(family(o, "packet_sent_total",
                    "Frames given to the kernel, or not, by device and outcome.")),
        received(family(o, "packet_recv_total",
                        "Frames received, and answers that did not come, by device and outcome.")),
        latency(prometheus::BuildHistogram()
                    .Name(o.prefix + "packet_latency_seconds")
                    .Help("Time from a request written to its answer, by device.")
                    .Register(registry)),
        retransmitted(family(o, "packet_retransmit_total",
                             "Further attempts, by device and by what the one before failed of.")),
        undecoded(family(o, "decode_errors_total",
                         "Bytes that could not be decoded, by device and reason.")),
        acted(
            family(o, "layer_actions_total", "What layers did with calls, by device and action.")),
        breakers(prometheus::BuildGauge()
                     .Name(o.prefix + "breaker_state")
                     .Help("0 if the device's breaker is closed, 1 if half open, 2 if open.")
                     .Register(registry)),
        peers_max_(o.peers_max) {
    reasons_.reserve(reasons_max);
    for (std::string const& r : o.decode_reasons) (void)reason_index(to_reason(r));
    reasons_at_start_ = reasons_.size();
  }

  counters& family(metrics_options const& o, char const* name, char const* help) {
    return prometheus::BuildCounter().Name(o.prefix + name).Help(help).Register(registry);
  }

  peer& of(call const* c) { return of(c != nullptr ? c->peer : std::string_view{}); }

  peer& of(std::string_view name) {
    if (name.empty()) name = unknown;
    if (peer* const p = last_.load(std::memory_order_acquire); p != nullptr && p->name == name) {
      return *p;
    }
    {
      std::shared_lock const lock{mutex_};
      auto const found = peers_.find(name);
      if (found != peers_.end()) return remember(*found->second);
      if (full() && name != unknown && the_others_ != nullptr) return *the_others_;
    }
    std::unique_lock const lock{mutex_};
    auto const found = peers_.find(name);
    if (found != peers_.end()) return remember(*found->second);
    if (name == unknown) return insert(name);
    if (name == other || full()) return others();
    peer& made = insert(name);
    ++own_series_;
    return remember(made);
  }

  void add_log(log_sink const& log) {
    std::lock_guard const lock{logs_mutex_};
    logs_.push_back(&log);
  }

  /// Brings what the library shows up to date.
  void show() {
    show_logs();
    std::shared_lock const lock{mutex_};
    for (auto const& [name, p] : peers_) {
      for (recent_count& c : p->sent) c.show();
      for (recent_count& c : p->received) c.show();
      p->latency.show();
    }
  }

  /// The index of a slot of `undecoded`.
  std::size_t reason_index(reason_text const& r) {
    auto const position = [&] {
      return static_cast<std::size_t>(std::find(reasons_.begin(), reasons_.end(), r) -
                                      reasons_.begin());
    };
    {
      std::shared_lock const lock{mutex_};
      std::size_t const at = position();
      if (at < reasons_.size() || at == reasons_max) return at;
    }
    std::unique_lock const lock{mutex_};
    std::size_t const at = position();
    if (at == reasons_.size() && at < reasons_max) reasons_.push_back(r);
    return at;
  }

  prometheus::Counter& retransmits(peer& p, kind why) {
    auto& slot = p.retransmitted.at(static_cast<std::size_t>(why));
    if (auto* const c = slot.load(std::memory_order_acquire)) return *c;
    auto& made = retransmitted.Add(
        {{"device_id", peer_label(p.name)}, {"reason", std::string{to_string(why)}}});
    slot.store(&made, std::memory_order_release);  // whoever else made it made the same one
    return made;
  }

  prometheus::Counter& decode_errors(peer& p, std::size_t index, std::string_view reason) {
    auto& slot = p.undecoded.at(index);
    if (auto* const c = slot.load(std::memory_order_acquire)) return *c;
    auto& made = undecoded.Add({{"device_id", peer_label(p.name)}, {"reason", label(reason)}});
    slot.store(&made, std::memory_order_release);
    return made;
  }

  prometheus::Counter& actions(peer& p, action what) {
    auto& slot = p.acted.at(static_cast<std::size_t>(what));
    if (auto* const c = slot.load(std::memory_order_acquire)) return *c;
    auto& made =
        acted.Add({{"device_id", peer_label(p.name)}, {"action", std::string{to_string(what)}}});
    slot.store(&made, std::memory_order_release);
    return made;
  }

  void set_breaker(peer& p, int state) {
    if (p.name == other) return;  // several peers', so it would say nothing
    auto* gauge = p.breaker.load(std::memory_order_acquire);
    if (gauge == nullptr) {
      gauge = &breakers.Add({{"device_id", peer_label(p.name)}});
      p.breaker.store(gauge, std::memory_order_release);
    }
    gauge->Set(state);
  }

  std::string const prefix;
  prometheus::Registry registry;
  counters& sent;
  counters& received;
  prometheus::Family<prometheus::Histogram>& latency;
  counters& retransmitted;
  counters& undecoded;
  counters& acted;
  prometheus::Family<prometheus::Gauge>& breakers;

 private:
  void show_logs() {
    std::lock_guard const lock{logs_mutex_};
    std::uint64_t lost = 0;
    for (log_sink const* const each : logs_) lost += each->lost();
    if (lost <= lost_shown_) return;
    prometheus::BuildCounter()
        .Name(prefix + "log_records_dropped_total")
        .Help("Records that a log lost, since where they go was too slow, full or closed.")
        .Register(registry)
        .Add({})
        .Increment(static_cast<double>(lost - std::exchange(lost_shown_, lost)));
  }

  // Under `mutex_`; what inserts, exclusively.
  peer& insert(std::string_view name) {
    auto made = std::make_unique<peer>(name);
    std::string const id = peer_label(name);
    for (std::size_t i = 0; i < outcome_count; ++i) {
      std::string const o{to_string(static_cast<outcome>(i))};
      made->sent.at(i).show_in(sent.Add({{"device_id", id}, {"outcome", o}}));
      made->received.at(i).show_in(received.Add({{"device_id", id}, {"outcome", o}}));
    }
    made->latency.show_in(latency.Add({{"device_id", id}}, recent_latencies::boundaries()));
    for (kind const k : usual_retries) (void)retransmits(*made, k);
    for (std::size_t i = 0; i < reasons_at_start_; ++i) (void)decode_errors(*made, i, reasons_[i]);
    peer& p = *made;
    peers_.emplace(std::string{name}, std::move(made));
    return p;
  }
  peer& others() {
    if (the_others_ == nullptr) the_others_ = &insert(other);
    return *the_others_;
  }
  bool full() const noexcept { return own_series_ >= peers_max_; }
  peer& remember(peer& p) noexcept {
    last_.store(&p, std::memory_order_release);
    return p;
  }

  std::mutex logs_mutex_;
  std::vector<log_sink const*> logs_;
  std::uint64_t lost_shown_ = 0;
  std::size_t const peers_max_;
  std::size_t own_series_ = 0;
  std::shared_mutex mutex_;
  std::unordered_map<std::string, std::unique_ptr<peer>, text_hash, std::equal_to<>> peers_;
  peer* the_others_ = nullptr;
  std::atomic<peer*> last_ = nullptr;
  std::vector<reason_text> reasons_;
  std::size_t reasons_at_start_ = 0;
};

namespace {

void add_one(auto& by_outcome, outcome o) { by_outcome.at(static_cast<std::size_t>(o)).add_one(); }

}  // namespace

metrics::metrics(metrics_options options) : impl_(std::make_unique<impl>(options)) {}
metrics::~metrics() = default;

void metrics::add_peer(std::string_view peer) { (void)impl_->of(peer); }

void metrics::add_log(log_sink const& log) { impl_->add_log(log); }

std::string metrics::exposition() const {
  impl_->show();
  return prometheus::TextSerializer{}.Serialize(impl_->registry.Collect());
}

prometheus::Registry& metrics::registry() noexcept { return impl_->registry; }

void metrics::on(frame_sent const& e) noexcept {
  detail::unless_it_throws([&] { add_one(impl_->of(e.of).sent, outcome_of_sending(e.error)); });
}

void metrics::on(frame_received const& e) noexcept {
  detail::unless_it_throws([&] {
    impl::peer& p = impl_->of(e.of);
    bool const stray = e.as == verdict::late || e.as == verdict::unmatched;
    add_one(p.received, stray || e.error != nullptr ? outcome::error : outcome::success);
    if (e.as == verdict::answer) {
      p.latency.add(e.elapsed);
    }
  });
}

void metrics::on(answer_missing const& e) noexcept {
  detail::unless_it_throws([&] { add_one(impl_->of(&e.of).received, outcome_of(&e.why)); });
}

void metrics::on(retry_scheduled const& e) noexcept {
  detail::unless_it_throws([&] { impl_->retransmits(impl_->of(&e.of), e.why.why()).Increment(); });
}

void metrics::on(decode_failed const& e) noexcept {
  detail::unless_it_throws([&] {
    impl::peer& p = impl_->of(e.of);
    reason_text const reason = reason_of(e.why);
    std::size_t const index = impl_->reason_index(reason);
    impl_->decode_errors(p, index, index < reasons_max ? reason.view() : other).Increment();
    bool const counted_by_the_call = e.of != nullptr && e.lost;
    if (!counted_by_the_call) add_one(p.received, outcome::decode_error);
  });
}

void metrics::on(layer_acted const& e) noexcept {
  detail::unless_it_throws([&] {
    impl::peer& p = impl_->of(&e.of);
    impl_->actions(p, e.what).Increment();
    if (int const state = breaker_state(e.what); state >= 0) impl_->set_breaker(p, state);
  });
}

}  // namespace cleat

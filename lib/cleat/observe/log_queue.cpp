#include <cleat/observe/log_queue.hpp>

#include <pthread.h>
#include <algorithm>
#include <atomic>
#include <utility>

namespace cleat {
namespace {

/// In which a writer that is not stuck sees that its time is over.
constexpr std::chrono::milliseconds grace{100};

/// How often this process, or one that it descends from, is the child of a `fork`.
unsigned generation() noexcept {
  static std::atomic<unsigned> forks{0};
  [[maybe_unused]] static int const registered =
      ::pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });
  return forks.load(std::memory_order_relaxed);
}

}  // namespace

log_queue::log_queue(std::size_t records_max, std::size_t bytes_max,
                     std::chrono::milliseconds patience) noexcept
    : records_max_(records_max),
      bytes_max_(bytes_max),
      patience_(patience),
      born_in_(generation()) {}

log_queue::deadline log_queue::in(std::chrono::milliseconds time) noexcept {
  return std::chrono::steady_clock::now() + time;
}

bool log_queue::has_no_writer() const noexcept { return generation() != born_in_; }

void log_queue::push(line text, time at) noexcept {
  if (has_no_writer()) return;
  bool wake = false;
  {
    std::lock_guard const lock{mutex_};
    if (append(std::move(text), at)) {
      wake = std::exchange(waits_, false);
    } else {
      lose(at);
    }
  }
  if (wake) for_writer_.notify_one();
}

bool log_queue::append(line text, time at) noexcept {
  std::size_t const bytes = text->size();
  if (closed_ || given_up_ || bytes > bytes_max_) return false;
  if (items_.size() >= records_max_ || bytes_ + bytes > bytes_max_) full_ = true;
  if (full_) return false;
  try {
    items_.push_back(item{lost_, std::move(text), at});
  } catch (...) {  // out of memory
    return false;
  }
  lost_ = gap{};
  bytes_ += bytes;
  return true;
}

void log_queue::lose(time at) noexcept {
  if (lost_.records++ == 0) lost_.first = at;
  lost_.last = at;
  ++lost_in_all_;
}

std::uint64_t log_queue::lost() const noexcept {
  if (has_no_writer()) return 0;
  std::lock_guard const lock{mutex_};
  return lost_in_all_;
}

std::optional<log_queue::item> log_queue::try_pop() {
  std::lock_guard const lock{mutex_};
  return take();
}

std::optional<log_queue::item> log_queue::pop() {
  std::unique_lock lock{mutex_};
  for (;;) {
    if (auto taken = take()) return taken;
    if (std::exchange(interrupted_, false)) return std::nullopt;
    waits_ = true;
    for_writer_.wait(lock);
    waits_ = false;
  }
}

std::optional<log_queue::item> log_queue::take() {
  if (given_up_ || is_empty()) return std::nullopt;
  item next;
  if (items_.empty()) {
    next.lost = std::exchange(lost_, {});
  } else {
    next = std::move(items_.front());
    items_.pop_front();
    bytes_ -= next.text->size();
    if (items_.size() <= records_max_ / 2 && bytes_ <= bytes_max_ / 2) full_ = false;
  }
  if (next.text) in_hand_ = next.at;
  writing_ = true;
  moved_at_ = std::chrono::steady_clock::now();
  return next;
}

void log_queue::done() noexcept {
  std::lock_guard const lock{mutex_};
  writing_ = false;
  in_hand_.reset();
  if (is_empty()) for_others_.notify_all();
}

void log_queue::moved() noexcept {
  std::lock_guard const lock{mutex_};
  moved_at_ = std::chrono::steady_clock::now();
}

void log_queue::failed() noexcept {
  std::lock_guard const lock{mutex_};
  ++failures_;
  for_others_.notify_all();
}

void log_queue::give_up() noexcept {
  std::lock_guard const lock{mutex_};
  given_up_ = true;
  if (in_hand_) lose(*std::exchange(in_hand_, std::nullopt));
  for (item const& each : items_) lose(each.at);
  items_.clear();
  bytes_ = 0;
  full_ = false;
  for_others_.notify_all();
}

void log_queue::revive() noexcept {
  std::lock_guard const lock{mutex_};
  given_up_ = false;
  wanted_ = true;
  for_writer_.notify_one();
}

void log_queue::interrupt() noexcept {
  if (has_no_writer()) return;
  std::lock_guard const lock{mutex_};
  interrupted_ = true;
  for_writer_.notify_one();
}

bool log_queue::is_through() const noexcept { return given_up_ || (is_empty() && !writing_); }

template <class Condition>
bool log_queue::wait(std::unique_lock<std::mutex>& lock, deadline until, Condition const& holds) {
  while (!holds()) {
    deadline const end = writing_ ? std::min(until, moved_at_ + patience_) : until;
    if (std::chrono::steady_clock::now() >= end) return false;
    for_others_.wait_until(lock, end);
  }
  return true;
}

bool log_queue::flush(deadline until) {
  if (has_no_writer()) return false;
  std::unique_lock lock{mutex_};
  wanted_ = true;
  for_writer_.notify_one();
  (void)wait(lock, until, [&, before = failures_] { return is_through() || failures_ != before; });
  return is_through();
}

bool log_queue::close(deadline until) {
  if (has_no_writer()) return false;
  std::unique_lock lock{mutex_};
  closed_ = true;
  wanted_ = true;
  for_writer_.notify_one();
  if (wait(lock, until, [&] { return is_through(); })) return true;
  over_ = true;
  return for_others_.wait_for(lock, grace, [&] { return is_through(); });
}

bool log_queue::is_closed() const noexcept {
  std::lock_guard const lock{mutex_};
  return closed_;
}

bool log_queue::is_over() const noexcept {
  std::lock_guard const lock{mutex_};
  return over_;
}

void log_queue::rest(std::chrono::milliseconds at_most) {
  std::unique_lock lock{mutex_};
  for_writer_.wait_for(lock, at_most, [&] { return wanted_; });
  wanted_ = false;
}

}  // namespace cleat

#include "meter.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

namespace {

std::atomic<std::uint64_t> allocated = 0;
std::atomic<std::uint64_t> answered = 0;

void* allocate(std::size_t bytes) noexcept {
  allocated.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(std::max<std::size_t>(bytes, 1));
}

void tell_counts(int) noexcept {
  std::array<char, 64> line{};
  int const n = std::snprintf(line.data(), line.size(), "A %llu %llu\n",
                              static_cast<unsigned long long>(allocated.load()),
                              static_cast<unsigned long long>(answered.load()));
  static_cast<void>(!write(STDOUT_FILENO, line.data(), static_cast<std::size_t>(n)));
}

}  // namespace

// The whole program's, so that a figure of 0 allocations is one.
void* operator new(std::size_t bytes) {
  if (void* const p = allocate(bytes)) return p;
  throw std::bad_alloc{};
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  allocated.fetch_add(1, std::memory_order_relaxed);
  auto const a = static_cast<std::size_t>(alignment);
  if (void* const p = std::aligned_alloc(a, (bytes + a - 1) / a * a)) return p;
  throw std::bad_alloc{};
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

namespace bench {

std::uint64_t allocations() noexcept { return allocated.load(std::memory_order_relaxed); }

void count_answer() noexcept { answered.fetch_add(1, std::memory_order_relaxed); }

void answer_to_signals() noexcept {
  struct sigaction action{};
  action.sa_handler = tell_counts;
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
}

void say(std::string_view line) noexcept {
  std::array<char, 512> whole{};
  std::size_t const n = std::min(line.size(), whole.size() - 1);
  std::memcpy(whole.data(), line.data(), n);
  whole[n] = '\n';
  static_cast<void>(!write(STDOUT_FILENO, whole.data(), n + 1));
}

void say_and_wait(std::string_view line) noexcept {
  say(line);
  char c = 0;
  while (read(STDIN_FILENO, &c, 1) == 1 && c != '\n') {
  }
}

meter::meter(options const& o)
    : warm_ns_(o.warm.count()), measure_ns_(o.measure.count()), most_(o.requests_max) {
  latencies_.reserve(std::size_t{1} << 21U);
}

void meter::begin() noexcept { starts_ = now_ns() + warm_ns_; }

std::int64_t meter::now_ns() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

bool meter::record(std::int64_t began) noexcept {
  std::int64_t const now = now_ns();
  ++total_;
  switch (phase_) {
    case phase::warming:
      if (now < starts_) return true;
      phase_ = phase::measuring;
      say("START");
      allocations_before_ = allocations();
      began_ = now_ns();
      ends_ = began_ + measure_ns_;
      return true;
    case phase::measuring:
      ++measured_;
      if (latencies_.size() < latencies_.capacity())
        latencies_.push_back(static_cast<std::uint32_t>(now - began));
      if (now < ends_ && measured_ < most_) return true;
      phase_ = phase::done;
      ends_ = now;
      allocations_after_ = allocations();
      return false;
    case phase::done:
      break;
  }
  return false;
}

void meter::finish() {
  say_and_wait("END");
  std::sort(latencies_.begin(), latencies_.end());
  auto const quantile = [&](double q) {
    if (latencies_.empty()) return 0.0;
    auto const at = static_cast<std::size_t>(q * static_cast<double>(latencies_.size()));
    return latencies_[std::min(latencies_.size() - 1, at)] / 1000.0;
  };
  double const seconds = static_cast<double>(ends_ - began_) / 1e9;
  auto const n = static_cast<double>(measured_);
  auto const made = static_cast<double>(allocations_after_ - allocations_before_);
  std::array<char, 400> line{};
  std::snprintf(line.data(), line.size(),
                R"(RESULT {"n":%llu,"total":%llu,"secs":%.6f,"rps":%.1f,"p50":%.2f,"p99":%.2f,)"
                R"("p999":%.2f,"allocs":%.3f})",
                static_cast<unsigned long long>(measured_), static_cast<unsigned long long>(total_),
                seconds, n / seconds, quantile(.5), quantile(.99), quantile(.999),
                measured_ == 0 ? 0.0 : made / n);
  say_and_wait(line.data());
  std::_Exit(0);
}

}  // namespace bench

#include "meter.hpp"

#include "allocations.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace peers {

void histogram::add(std::chrono::nanoseconds time) noexcept {
  // Below 2^11 ns a bucket a nanosecond; above, each octave has 2^10 buckets.
  auto const ns = static_cast<std::uint64_t>(std::max<std::int64_t>(time.count(), 0));
  auto const width = static_cast<unsigned>(std::bit_width(ns));
  unsigned const octave = width > bits + 1 ? width - bits - 1 : 0;
  std::size_t const bucket = (std::size_t{octave} << bits) + (ns >> octave);
  ++counts_[std::min(bucket, counts_.size() - 1)];
  ++total_;
}

double histogram::quantile(double part) const noexcept {
  auto const rank = static_cast<std::uint64_t>(part * static_cast<double>(total_));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (seen <= rank) continue;
    std::size_t const octave = i >> bits > 1 ? (i >> bits) - 1 : 0;
    std::size_t const ns = (i - (octave << bits)) << octave;
    return static_cast<double>(ns) / 1000;
  }
  return 0;
}

void meter::begin() {
  say_and_wait("READY\n");
  warm_ = clock::now() + std::chrono::duration_cast<clock::duration>(options_.warm_up);
}

bool meter::count(clock::time_point sent, clock::time_point now) {
  ++total_;
  if (phase_ == phase::measuring) {
    ++requests_;
    times_.add(now - sent);
    if (now >= end_ || requests_ >= options_.requests_max) {
      phase_ = phase::over;
      end_ = now;
      allocations_ = allocations.load(std::memory_order_relaxed) - allocations_;
    }
  } else if (phase_ == phase::warm_up && now >= warm_) {
    phase_ = phase::measuring;
    say("START\n");
    allocations_ = allocations.load(std::memory_order_relaxed);
    start_ = clock::now();
    end_ = start_ + std::chrono::duration_cast<clock::duration>(options_.measured);
  }
  return phase_ != phase::over;
}

void meter::finish() const {
  say_and_wait("END\n");
  double const seconds = std::chrono::duration<double>{end_ - start_}.count();
  auto const requests = static_cast<double>(requests_);
  std::array<char, 512> line{};
  std::snprintf(line.data(), line.size(),
                "RESULT {\"n\":%llu,\"total\":%llu,\"secs\":%.6f,\"rps\":%.1f,\"p50\":%.2f,"
                "\"p99\":%.2f,\"p999\":%.2f,\"allocs\":%.3f}\n",
                static_cast<unsigned long long>(requests_), static_cast<unsigned long long>(total_),
                seconds, requests / seconds, times_.quantile(0.5), times_.quantile(0.99),
                times_.quantile(0.999), static_cast<double>(allocations_) / requests);
  say_and_wait(line.data());
  std::_Exit(0);
}

}  // namespace peers

#pragma once

#include <cleat/base/bytes.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace fuzz {

/// A finding, in a sentence: the fuzzer keeps the input, the replay of the corpus fails.
[[noreturn]] inline void fail(std::string_view sentence) {
  std::fprintf(stderr, "fuzz: %.*s\n", static_cast<int>(sentence.size()), sentence.data());
  std::abort();
}

inline void require(bool holds, std::string_view sentence) {
  if (!holds) fail(sentence);
}

[[nodiscard]] inline cleat::bytes_view bytes_of(std::uint8_t const* data, std::size_t size) {
  return std::as_bytes(std::span{data, size});
}

/// An input that decides what happens, byte by byte. When it is used up, it gives zeros.
class decisions {
 public:
  explicit decisions(cleat::bytes_view from) noexcept : left_(from) {}

  [[nodiscard]] bool empty() const noexcept { return left_.empty(); }

  std::uint8_t byte() noexcept {
    if (left_.empty()) return 0;
    auto const b = std::to_integer<std::uint8_t>(left_.front());
    left_ = left_.subspan(1);
    return b;
  }
  /// In [0, bound).
  std::size_t below(std::size_t bound) noexcept { return byte() % bound; }
  /// In [low, high].
  std::size_t between(std::size_t low, std::size_t high) noexcept {
    return low + below(high - low + 1);
  }
  bool yes() noexcept { return (byte() & 1U) != 0; }
  /// Up to `n` bytes as they stand there.
  cleat::bytes_view take(std::size_t n) noexcept {
    auto const out = left_.first(std::min(n, left_.size()));
    left_ = left_.subspan(out.size());
    return out;
  }
  cleat::bytes_view rest() noexcept { return take(left_.size()); }

 private:
  cleat::bytes_view left_;
};

}  // namespace fuzz

/// What each fuzzer is; 0, or it does not return.
extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size);

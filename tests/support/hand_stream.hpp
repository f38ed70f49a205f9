#pragma once

#include <cleat/base/event.hpp>
#include <cleat/base/task.hpp>
#include <cleat/transport/transport.hpp>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

/// A transport whose other end is the test: it takes as many bytes as it is allowed to take, and says what it is told
/// to say. The wire outlives it.
class hand_stream {
 public:
  class wire {
   public:
    static constexpr std::size_t all = std::numeric_limits<std::size_t>::max();

    explicit wire(cleat::environment::executor_type ex) : executor_(std::move(ex)) {}

    /// The peer says this.
    void say(std::string_view bytes) {
      cleat::append(said_, bytes);
      readable_.set();
    }
    /// The peer says nothing more, for this reason.
    void end(cleat::failure const& why) {
      ends_ = why;
      readable_.set();
    }
    /// The peer takes so many bytes more. At first it takes all.
    void take(std::size_t bytes) {
      takes_ = takes_ > all - bytes ? all : takes_ + bytes;
      writable_.set();
    }
    void take_nothing() noexcept { takes_ = 0; }
    /// Nobody can wait for the peer's bytes any more …
    void fail_readable(cleat::failure const& why) {
      readable_fails_ = why;
      readable_.set();
    }
    /// … or for its taking some.
    void fail_writable(cleat::failure const& why) {
      writable_fails_ = why;
      writable_.set();
    }

    /// What it has taken.
    [[nodiscard]] cleat::bytes_view taken() const noexcept { return taken_; }
    [[nodiscard]] bool is_closed() const noexcept { return closed_; }

   private:
    friend hand_stream;
    cleat::environment::executor_type executor_;
    cleat::byte_buffer said_;
    cleat::byte_buffer taken_;
    std::size_t takes_ = all;
    std::optional<cleat::failure> ends_;
    std::optional<cleat::failure> readable_fails_;
    std::optional<cleat::failure> writable_fails_;
    bool closed_ = false;
    cleat::event readable_;
    cleat::event writable_;
  };

  explicit hand_stream(wire& on) noexcept : wire_(&on) {}

  cleat::task<cleat::result<void>> readable() {
    while (!wire_->closed_ && wire_->said_.empty() && !wire_->ends_) {
      if (wire_->readable_fails_) co_return *wire_->readable_fails_;
      auto const woken = co_await wire_->readable_.wait();
      if (!woken) co_return woken.error();
    }
    co_return cleat::result<void>{};
  }
  cleat::result<std::size_t> read(std::span<std::byte> into) noexcept {
    if (wire_->closed_) return cleat::failure{cleat::kind::shut_down};
    auto& from = wire_->said_;
    if (from.empty() && wire_->ends_) return *wire_->ends_;
    std::size_t const n = std::min(into.size(), from.size());
    std::copy_n(from.begin(), n, into.begin());
    from.erase(from.begin(), from.begin() + static_cast<std::ptrdiff_t>(n));
    return n;
  }
  cleat::task<cleat::result<void>> writable() {
    while (!wire_->closed_ && wire_->takes_ == 0) {
      if (wire_->writable_fails_) co_return *wire_->writable_fails_;
      auto const woken = co_await wire_->writable_.wait();
      if (!woken) co_return woken.error();
    }
    co_return cleat::result<void>{};
  }
  cleat::result<std::size_t> write(std::span<cleat::bytes_view const> gather) noexcept {
    if (wire_->closed_) return cleat::failure{cleat::kind::shut_down};
    std::size_t accepted = 0;
    for (cleat::bytes_view const each : gather) {
      std::size_t const n = std::min(each.size(), wire_->takes_);
      cleat::append(wire_->taken_, each.first(n));
      if (wire_->takes_ != wire::all) wire_->takes_ -= n;
      accepted += n;
    }
    return accepted;
  }
  void close() noexcept {
    wire_->closed_ = true;
    wire_->readable_.set();
    wire_->writable_.set();
  }
  [[nodiscard]] cleat::environment::executor_type const& executor() const noexcept {
    return wire_->executor_;
  }

 private:
  wire* wire_;
};

static_assert(cleat::Transport<hand_stream>);

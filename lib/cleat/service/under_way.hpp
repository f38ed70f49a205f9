#pragma once

#include <cleat/base/call.hpp>
#include <cleat/base/environment.hpp>
#include <cleat/base/in_place.hpp>
#include <cleat/base/result.hpp>

#include <coroutine>
#include <cstddef>
#include <utility>

namespace cleat::detail {

/// What a pipeline, or a box, and its calls share: it lives as long as one of them does. The pipeline
/// is one owner, each call another.
///
/// Thread safety: none.
class pipeline_core {
 public:
  pipeline_core(pipeline_core const&) = delete;
  pipeline_core& operator=(pipeline_core const&) = delete;

  /// The pipeline goes: its calls end as soon as they can, and none begins.
  void close() noexcept {
    if (std::exchange(closed_, true)) return;
    close_service();
    for (link* l = first_; l != nullptr; l = l->after_) l->halt();
  }
  [[nodiscard]] bool closed() const noexcept { return closed_; }

  /// One of the owners.
  class share {
   public:
    explicit share(pipeline_core& of) noexcept : core_(&of) { ++of.owners_; }
    share(share&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
    share& operator=(share&& other) noexcept {
      std::swap(core_, other.core_);
      return *this;
    }
    ~share() {
      if (core_ != nullptr && --core_->owners_ == 0) delete core_;
    }
    [[nodiscard]] pipeline_core* get() const noexcept { return core_; }

   private:
    pipeline_core* core_;
  };

  /// A call between its beginning and its end.
  class link {
   public:
    link() noexcept = default;
    link(link const&) = delete;
    link& operator=(link const&) = delete;
    ~link() { leave(); }

    void enter(pipeline_core& in, environment& chain) noexcept {
      core_ = &in;
      chain_ = &chain;
      after_ = in.first_;
      if (after_ != nullptr) after_->before_ = this;
      in.first_ = this;
    }
    /// Says whether the pipeline went meanwhile.
    bool leave() noexcept {
      if (core_ == nullptr) return false;
      (before_ != nullptr ? before_->after_ : core_->first_) = after_;
      if (after_ != nullptr) after_->before_ = before_;
      before_ = after_ = nullptr;
      core_ = nullptr;
      if (halted_) chain_->go_on();
      return std::exchange(halted_, false);
    }

   private:
    friend pipeline_core;
    void halt() noexcept {
      halted_ = true;
      chain_->halt();
    }

    pipeline_core* core_ = nullptr;
    environment* chain_ = nullptr;
    link* before_ = nullptr;
    link* after_ = nullptr;
    bool halted_ = false;
  };

 protected:
  pipeline_core() noexcept = default;
  virtual ~pipeline_core() = default;

 private:
  /// A service that can be closed tells its calls the reason best.
  virtual void close_service() noexcept = 0;

  std::size_t owners_ = 0;
  link* first_ = nullptr;
  bool closed_ = false;
};

/// The owner whose end is the end of the calls.
class calls_owner {
 public:
  explicit calls_owner(pipeline_core& of) noexcept : core_(of) {}
  calls_owner(calls_owner&&) noexcept = default;
  calls_owner& operator=(calls_owner&& other) noexcept {
    if (this == &other) return *this;
    close();
    core_ = std::move(other.core_);
    return *this;
  }
  ~calls_owner() { close(); }

  void close() noexcept {
    if (core_.get() != nullptr) core_.get()->close();
  }
  /// Null after it was moved from.
  [[nodiscard]] pipeline_core* get() const noexcept { return core_.get(); }

 private:
  pipeline_core::share core_;
};

/// How a call that may begin later reaches the layers of `Owner`, which may be moved or go before.
template <class Owner>
class loan {
 public:
  explicit loan(pipeline_core& of) noexcept : core_(of) {}
  template <class Request>
  auto start(Request&& q, call const& c) const {
    return Owner::begin(*core_.get(), std::forward<Request>(q), c);
  }

 private:
  pipeline_core::share core_;
};

/// Ends the calls of `s`, if it can.
template <class S>
void close(S& s) noexcept {
  if constexpr (requires {
                  { s.close() } noexcept;
                })
    s.close();
}

/// How a call failed whose pipeline went: that is the reason, and not the caller.
[[nodiscard]] inline failure as_shut_down(failure const& f) {
  if (f.why() != kind::cancelled) return f;
  return failure{kind::shut_down, f.sure()}.with_detail(f.detail()).with_attempts(f.attempts());
}

/// A call through a pipeline. Whatever becomes of the pipeline, the call keeps what it needs; it
/// ends as `shut_down` if the pipeline goes before.
template <class Response, class Awaitable>
class under_way final : public in_place {
 public:
  template <class Make>
  under_way(pipeline_core& core, Make const& make) : core_(core), below_(make) {}

  [[nodiscard]] static constexpr bool await_ready() noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> h) {
    if (core_.get()->closed()) return false;  // before it began
    began_ = true;
    link_.enter(*core_.get(), *h.promise().env);
    try {
      return below_.suspend(h);
    } catch (...) {
      link_.leave();
      throw;
    }
  }
  result<Response> await_resume() {
    if (!began_) return failure{kind::shut_down, certainty::not_sent};
    result<Response> r = below_.resume();  // layers may ask whether the chain is halted
    if (!link_.leave() || r) [[likely]]
      return r;
    return as_shut_down(r.error());
  }

 private:
  pipeline_core::share core_;  // stands first: what is below uses it until the end
  held<Awaitable> below_;
  pipeline_core::link link_;
  bool began_ = false;
};

}  // namespace cleat::detail

#pragma once

#include <cleat/base/in_place.hpp>
#include <cleat/base/result.hpp>

#include <coroutine>
#include <cstddef>
#include <utility>

namespace cleat::detail {

/// What a pipeline and its calls share: it lives as long as one of them does. The pipeline is one
/// owner, each call another.
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
    share& operator=(share&&) = delete;
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
    if (!link_.leave()) [[likely]]
      return below_.resume();
    return shut_down(below_.resume());
  }

 private:
  /// The reason is the pipeline's end, and not the caller.
  static result<Response> shut_down(result<Response> r) {
    if (r || r.error().why() != kind::cancelled) return r;
    return failure{kind::shut_down, r.error().sure()}
        .with_detail(r.error().detail())
        .with_attempts(r.error().attempts());
  }

  pipeline_core::share core_;  // stands first: what is below uses it until the end
  held<Awaitable> below_;
  pipeline_core::link link_;
  bool began_ = false;
};

}  // namespace cleat::detail

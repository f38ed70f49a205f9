#pragma once

#include <cleat/base/clock.hpp>
#include <cleat/base/environment.hpp>
#include <cleat/base/one_thread.hpp>
#include <cleat/base/result.hpp>

#include <boost/asio/io_context.hpp>

#include <sys/epoll.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace cleat::detail {

class poller;
class ready_wait_base;

/// A non-blocking descriptor that chains may wait for, one a direction. Owns it.
class pollable {
 public:
  /// `p` lives as long as its context.
  explicit pollable(poller& p, int descriptor = -1) noexcept
      : poller_(p), descriptor_(descriptor) {}
  pollable(pollable const&) = delete;
  pollable& operator=(pollable const&) = delete;
  ~pollable() { close(); }

  /// Takes over what was opened since.
  void adopt(int descriptor) noexcept { descriptor_ = descriptor; }
  /// -1 before it is opened and once it is closed.
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
  [[nodiscard]] poller& of() const noexcept { return poller_; }
  /// Waits that are under way end as `shut_down`.
  void close() noexcept;

 private:
  friend class poller;
  friend class ready_wait_base;

  poller& poller_;
  ready_wait_base* reader_ = nullptr;
  ready_wait_base* writer_ = nullptr;
  int descriptor_;
  std::uint32_t watched_ = 0;  ///< EPOLLIN, EPOLLOUT: what the kernel is asked to tell
  bool known_ = false;         ///< the kernel has it
};

/// What all waits for a descriptor have in common.
class ready_wait_base : public leaf {
 public:
  result<void> await_resume() const noexcept {
    if (ended_) return failure{why_};
    return {};
  }

 protected:
  ready_wait_base(pollable& on, std::uint32_t what) noexcept : on_(&on), what_(what) {}
  ~ready_wait_base() override { leave(); }

  void begin(bool cancelled) override;
  void cancel() noexcept override { end(kind::cancelled); }
  /// Ends the wait early, if it has not ended.
  void end(kind why) noexcept;

 private:
  friend class poller;
  friend class pollable;

  void wake() {
    leave();
    complete();
  }
  void leave() noexcept;
  [[nodiscard]] ready_wait_base*& place() const noexcept {
    return what_ == EPOLLIN ? on_->reader_ : on_->writer_;
  }

  pollable* on_;
  std::uint32_t what_;
  kind why_ = kind::cancelled;
  bool ended_ = false;
};

/// Waits until a descriptor is ready; may wake for nothing.
class ready_wait final : public ready_wait_base {
 public:
  ready_wait(pollable& on, std::uint32_t what) noexcept : ready_wait_base(on, what) {}
};

/// The same, until a deadline; then it fails as `timed_out`.
class timed_ready_wait final : public ready_wait_base {
 public:
  timed_ready_wait(pollable& on, std::uint32_t what, time_point deadline) noexcept
      : ready_wait_base(on, what), deadline_(deadline) {}

 private:
  void begin(bool cancelled) override {
    if (!cancelled) {
      timeout_.set(
          env().executor(), deadline_,
          [](void* self) { static_cast<timed_ready_wait*>(self)->end(kind::timed_out); }, this);
    }
    ready_wait_base::begin(cancelled);
  }

  time_point deadline_;
  timer timeout_;
};

/// Tells which of many descriptors are ready, for a context that one thread runs.
///
/// All of them are in one epoll set of ours, and Asio watches that set: a batch of ready
/// descriptors costs Asio's reactor one event, and a wait that follows a wait costs no system call.
/// (Asio's own wait is one `epoll_ctl` each.) Level-triggered; a descriptor that is ready while
/// nobody waits is no longer watched until somebody does.
class poller final : public boost::asio::execution_context::service {
 public:
  using key_type = poller;
  static boost::asio::execution_context::id id;

  explicit poller(boost::asio::execution_context& context);
  ~poller() override;

  /// The one of this executor's context, or null if it is not the plain executor of an
  /// `io_context` (a strand's chains may be on any thread): then Asio's own waits serve.
  [[nodiscard]] static poller* of(environment::executor_type const& executor) noexcept;

  [[nodiscard]] environment::executor_type executor() const noexcept {
    return context_.get_executor();
  }

 private:
  friend class pollable;
  friend class ready_wait_base;
  using context_type = boost::asio::io_context;
  class set_type;  // apart, since it takes long to compile
  class rearm;

  void shutdown() override;
  /// Asks the kernel to tell of `what` too; false if it cannot.
  [[nodiscard]] bool watch(pollable& p, std::uint32_t what);
  void set_watched(pollable& p, std::uint32_t what) noexcept;
  void forget(pollable& p) noexcept;
  void arm();
  void dispatch();
  void tell(std::size_t place);

  static constexpr std::size_t batch_max = 256;

  context_type& context_;
  one_thread* one_thread_;
  std::unique_ptr<set_type> set_;
  bool armed_ = false;
  std::array<epoll_event, batch_max> batch_;  ///< entries that are gone are null
  std::size_t batch_size_ = 0;
  std::size_t next_ = 0;  ///< of the batch, to be told
};

}  // namespace cleat::detail

#pragma once

#include <cleat/base/one_thread.hpp>
#include <cleat/base/only_in_a_task.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/post.hpp>

#include <coroutine>
#include <cstdint>
#include <source_location>
#include <utility>

namespace cleat {

class environment;
class leaf;
class context_services;

namespace detail {

class chain_link;

/// What every coroutine of a chain has: its place in the chain. Base of all promises.
struct frame {
  environment* env = nullptr;
  frame* parent = nullptr;               ///< who awaits this coroutine; null for the outermost
  std::coroutine_handle<> continuation;  ///< the parent's handle
  std::uint64_t runs_at_start = 0;  ///< `environment::runs` when the parent started this coroutine
  std::source_location at;          ///< where this coroutine last said `co_await`
};

}  // namespace detail

/// What all coroutines of one chain share: the executor, what the chain waits on, whether it was
/// cancelled. It lives in the chain's root (see `spawn`) and is used on the chain's executor only.
class environment {
 public:
  using executor_type = boost::asio::any_io_executor;

  environment(environment const&) = delete;
  environment& operator=(environment const&) = delete;

  [[nodiscard]] executor_type const& executor() const noexcept { return executor_; }
  /// Time and randomness of the chain's context; looked up once a chain.
  [[nodiscard]] context_services& services() {
    if (services_ == nullptr) services_ = &find_services();
    return *services_;
  }

  /// Asks the chain to stop: the operation it waits on is cancelled, and so is every later one,
  /// until the chain ends. Work under a `shield` is left alone. Call it on the chain's executor.
  void cancel() noexcept;

  /// Somebody asked this chain to stop (shielded or not).
  [[nodiscard]] bool cancel_requested() const noexcept { return cancelled_ || halts_ != 0; }
  /// Operations started now complete as cancelled.
  [[nodiscard]] bool cancelled() const noexcept {
    return (cancelled_ || halts_ != 0) && shields_ == 0;
  }

  /// Cancels in the same way, but only until `go_on`: for a part of the chain that has lost what it
  /// needs, while the rest of the chain goes on. Work under a `shield` is left alone.
  void halt() noexcept;
  /// That part has ended. Once for each `halt`.
  void go_on() noexcept { --halts_; }
  [[nodiscard]] bool halted() const noexcept { return halts_ != 0; }

  /// Destroys the whole chain without resuming it: what happens to a coroutine whose Asio handler
  /// is dropped.
  void drop() noexcept {
    dropping_ = true;
    destroy();
  }
  [[nodiscard]] bool dropping() const noexcept { return dropping_; }

  /// Continues the chain at `h` and, if it came to its end, completes it. The environment may be
  /// gone afterwards.
  void resume(std::coroutine_handle<> h) {
    detail::one_thread::turn const here{one_thread_};
    h.resume();
    if (finished_) finish();
  }

  /// The chain goes on in `f`, which no coroutine has told it by itself.
  void goes_on_in(detail::frame const& f) noexcept { innermost_ = &f; }

  /// The innermost suspended coroutine, for `dump_chains`.
  [[nodiscard]] detail::frame const* innermost() const noexcept { return innermost_; }
  [[nodiscard]] leaf const* waiting_on() const noexcept { return leaf_; }

 protected:
  explicit environment(executor_type executor) noexcept : executor_(std::move(executor)) {}
  virtual ~environment() = default;

  void start(std::coroutine_handle<> h, detail::frame& f) {
    f.env = this;
    innermost_ = &f;
    resume(h);
  }

 private:
  friend class detail::chain_link;
  friend class leaf;
  friend class shield;
  template <class T>
  friend class task_awaiter;
  friend struct final_awaiter;

  virtual void finish() = 0;            ///< hands over the outcome and frees the chain
  virtual void destroy() noexcept = 0;  ///< frees the chain, no outcome

  [[nodiscard]] context_services& find_services() const;

  executor_type executor_;
  detail::one_thread* one_thread_ = nullptr;  ///< of its context; null on a strand
  context_services* services_ = nullptr;
  leaf* leaf_ = nullptr;
  detail::frame const* innermost_ = nullptr;
  /// How many times the chain has been suspended at a leaf. A coroutine whose start saw the same
  /// number still has its starter on the stack.
  std::uint64_t runs_ = 0;
  unsigned shields_ = 0;
  unsigned halts_ = 0;
  bool cancelled_ = false;
  bool finished_ = false;
  bool dropping_ = false;
};

/// Where a chain leaves the processor: the innermost awaited thing, that something outside resumes
/// later.
///
/// A leaf lives in the awaiting coroutine's frame. A subclass says in `begin` how the operation is
/// started, in `cancel` how it is stopped early; whatever completes it calls `complete` once, on
/// the chain's executor. Subclasses add `await_resume`, and a destructor that withdraws the
/// operation: a chain may be destroyed while it waits (only ever when its execution context goes
/// away).
class leaf {
 public:
  leaf(leaf const&) = delete;
  leaf& operator=(leaf const&) = delete;

  /// Not there; see `only_in_a_task`.
  template <class Executor>
  auto operator()(detail::awaitable_frame<Executor>*) {
    return detail::only_in_a_task<Executor>::value;
  }

  [[nodiscard]] static constexpr bool await_ready() noexcept { return false; }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> h) {
    detail::frame& f = h.promise();
    env_ = f.env;
    handle_ = h;
    ++env_->runs_;
    env_->leaf_ = this;
    env_->innermost_ = &f;
    state_ = state::starting;
    try {
      begin(env_->cancelled());
    } catch (...) {  // it never waited
      --env_->runs_;
      env_->leaf_ = nullptr;
      throw;
    }
    if (state_ == state::complete) {  // inside its own initiation: never suspended
      --env_->runs_;
      env_->leaf_ = nullptr;
      return false;
    }
    state_ = state::suspended;
    return true;
  }

 protected:
  leaf() noexcept = default;
  virtual ~leaf() {
    if (link_ != nullptr) link_->leaf_ = nullptr;
  }

  /// Starts the operation. With `cancelled` it must complete as cancelled, and start nothing.
  virtual void begin(bool cancelled) = 0;
  /// Stops the operation early if it can be stopped; it still completes, later (`complete_later`,
  /// never inside this call). Called at most once, on the chain's executor, between `begin` and
  /// completion.
  virtual void cancel() noexcept = 0;

  /// The operation is over: the chain goes on, here and now. The leaf may be gone afterwards.
  void complete() {
    if (state_ == state::starting) {
      state_ = state::complete;
      return;
    }
    environment* const env = env_;
    env->leaf_ = nullptr;
    env->resume(handle_);
  }

  /// The same through the executor's queue: for completions that come from inside somebody else's
  /// call.
  void complete_later() {
    if (state_ == state::starting) {
      state_ = state::complete;
      return;
    }
    boost::asio::post(env_->executor(), resumption{*this});
  }

  /// Nobody will ever complete this operation (its context is going away): the chain is destroyed.
  void drop() noexcept {
    if (state_ == state::starting) {
      state_ = state::complete;
      return;
    }
    env_->drop();
  }

  [[nodiscard]] environment& env() const noexcept { return *env_; }

  /// Holds the right to complete a leaf, through every queue that it is moved through. Destroyed
  /// unused, it destroys the chain; if the chain is destroyed first, it is told, and holds nothing.
  class link {
   public:
    explicit link(leaf& l) noexcept : leaf_(&l) { l.link_ = this; }
    link(link&& other) noexcept : leaf_(std::exchange(other.leaf_, nullptr)) {
      if (leaf_ != nullptr) leaf_->link_ = this;
    }
    link& operator=(link&&) = delete;
    ~link() {
      if (leaf_ != nullptr) release()->drop();
    }
    [[nodiscard]] leaf* get() const noexcept { return leaf_; }
    leaf* release() noexcept {
      if (leaf_ != nullptr) leaf_->link_ = nullptr;
      return std::exchange(leaf_, nullptr);
    }

   private:
    friend class leaf;
    leaf* leaf_;
  };

  /// A function object that completes the leaf.
  class resumption {
   public:
    explicit resumption(leaf& l) noexcept : link_(l) {}
    void operator()() {
      if (leaf* const l = link_.release()) l->complete();
    }

   private:
    link link_;
  };

 private:
  friend class environment;

  enum class state : std::uint8_t { idle, starting, complete, suspended };

  environment* env_ = nullptr;
  std::coroutine_handle<> handle_;
  link* link_ = nullptr;
  state state_ = state::idle;
};

inline void environment::cancel() noexcept {
  detail::one_thread::turn const here{one_thread_};
  if (std::exchange(cancelled_, true) || halts_ != 0 || shields_ != 0) return;
  if (leaf_ != nullptr) leaf_->cancel();
}

inline void environment::halt() noexcept {
  detail::one_thread::turn const here{one_thread_};
  if (halts_++ != 0 || cancelled_ || shields_ != 0) return;
  if (leaf_ != nullptr) leaf_->cancel();
}

/// While it lives, cancellation is remembered but stops nothing: for cleanup that has to wait.
/// Get one with `auto guard = co_await this_chain::shield;`.
class [[nodiscard]] shield {
 public:
  explicit shield(environment& env) noexcept : env_(&env) { ++env_->shields_; }
  shield(shield&& other) noexcept : env_(std::exchange(other.env_, nullptr)) {}
  shield& operator=(shield&&) = delete;
  ~shield() {
    if (env_ != nullptr) --env_->shields_;
  }

 private:
  environment* env_;
};

}  // namespace cleat

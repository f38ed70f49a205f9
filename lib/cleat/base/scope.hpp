#pragma once

#include <cleat/base/chains.hpp>
#include <cleat/base/misuse.hpp>
#include <cleat/base/task.hpp>

#include <cstddef>
#include <exception>
#include <optional>
#include <tuple>
#include <utility>

namespace cleat {

/// Chains that belong to the coroutine that made the scope: they run on its executor, beside it,
/// and it waits for them with `join` before the scope ends. Cancelling that coroutine while it
/// joins cancels them.
///
/// ```
/// scope beside{co_await this_chain::environment};
/// beside.spawn(watch());
/// auto const r = co_await work();
/// beside.cancel();
/// co_await beside.join();
/// ```
class scope {
 public:
  class joiner;

  explicit scope(environment& owner) noexcept : owner_(owner) {}
  scope(scope const&) = delete;
  scope& operator=(scope const&) = delete;
  /// Ends the program if chains still run: what they refer to is about to go. (When the execution
  /// context itself goes away, they go here and now.)
  ~scope() {
    if (first_ != nullptr && !owner_.dropping())
      detail::misuse(
          "a scope is destroyed while its chains still run; `co_await` its join() first");
    while (first_ != nullptr) first_->drop();  // they refer to what the owner's frames refer to
  }

  /// Starts `t` here and now.
  void spawn(task<void> t) {
    auto* const m = new member{*this, std::move(t)};
    m->run();
  }

  /// Asks all chains to stop.
  void cancel() noexcept {
    for (member* m = first_; m != nullptr; m = m->after_) m->cancel();
  }

  /// Waits until all chains have ended; rethrows the first exception that escaped one of them.
  [[nodiscard]] joiner join() noexcept;

  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }

 private:
  /// Its owner is there as long as it is, and keeps the event loop running for both.
  class member final : public environment, private detail::chain_link {
   public:
    member(scope& in, task<void>&& t)
        : environment(in.owner_.executor()),
          chain_link(in.owner_.executor(), *this),
          scope_(in),
          after_(in.first_),
          task_(std::move(t)) {
      if (after_ != nullptr) after_->before_ = this;
      in.first_ = this;
    }
    void run() {
      enter();
      start(task_.handle_, task_.handle_.promise());
    }

    static void* operator new(std::size_t bytes) { return detail::frame_memory::allocate(bytes); }
    static void operator delete(void* p, std::size_t bytes) noexcept {
      detail::frame_memory::deallocate(p, bytes);
    }

   private:
    friend class scope;

    void finish() override {
      std::exception_ptr const error = task_.handle_.promise().error();
      scope& in = scope_;
      leave();
      delete this;
      in.ended(error);
    }
    void destroy() noexcept override {
      leave();
      delete this;
    }
    void leave() noexcept {
      if (before_ != nullptr) {
        before_->after_ = after_;
      } else {
        scope_.first_ = after_;
      }
      if (after_ != nullptr) after_->before_ = before_;
    }

    scope& scope_;
    member* before_ = nullptr;
    member* after_;
    task<void> task_;
  };

  void ended(std::exception_ptr const& error);

  environment& owner_;
  member* first_ = nullptr;
  joiner* joiner_ = nullptr;
  std::exception_ptr error_;
};

/// What `co_await scope.join()` waits on.
class scope::joiner final : public leaf {
 public:
  explicit joiner(scope& of) noexcept : scope_(of) {}
  /// Only the owner joins, and it is at one place at a time.
  ~joiner() override { scope_.joiner_ = nullptr; }
  void await_resume() const {
    if (scope_.error_) std::rethrow_exception(scope_.error_);
  }

 private:
  friend class scope;
  void begin(bool cancelled) override {
    if (scope_.empty()) return complete();
    scope_.joiner_ = this;
    if (cancelled) scope_.cancel();
  }
  void cancel() noexcept override { scope_.cancel(); }
  void wake() {
    scope_.joiner_ = nullptr;  // we may be kept longer
    complete();
  }

  scope& scope_;
};

inline scope::joiner scope::join() noexcept { return joiner{*this}; }

inline void scope::ended(std::exception_ptr const& error) {
  if (error && !error_) error_ = error;
  if (empty() && joiner_ != nullptr) joiner_->wake();
}

namespace detail {

template <class T>
task<> keep(task<T> t, std::optional<T>& out) {
  T value = co_await std::move(t);
  out.emplace(std::move(value));
}

}  // namespace detail

/// Runs the tasks beside each other and gives all their values, in their order. Cancelling it
/// cancels them all.
template <class... T>
task<std::tuple<T...>> when_all(task<T>... tasks) {
  environment& env = co_await this_chain::environment;
  std::tuple<std::optional<T>...> values;
  scope beside{env};
  std::apply([&](auto&... out) { (beside.spawn(detail::keep(std::move(tasks), out)), ...); },
             values);
  co_await beside.join();
  co_return std::apply([](auto&... out) { return std::tuple<T...>{*std::move(out)...}; }, values);
}

}  // namespace cleat

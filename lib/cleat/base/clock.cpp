#include <cleat/base/clock.hpp>

#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/wait_traits.hpp>

#include <chrono>
#include <optional>
#include <utility>

namespace cleat {
namespace {

/// Calls at once: what a timer has to say comes on a thread of its context anyway, whatever context that is.
class caller {
 public:
  explicit caller(boost::asio::execution_context& context) noexcept : context_(&context) {}

  [[nodiscard]] boost::asio::execution_context& query(
      boost::asio::execution::context_t) const noexcept {
    return *context_;
  }
  template <class F>
  void execute(F&& f) const {
    std::forward<F>(f)();
  }
  [[maybe_unused]] friend bool operator==(caller const&, caller const&) noexcept = default;

 private:
  boost::asio::execution_context* context_;
};

/// The machine's own time.
class system_source final : public clock::source {
 public:
  system_source(clock& owner, boost::asio::execution_context& context)
      : owner_(owner), context_(context) {}

  [[nodiscard]] time_point now() const noexcept override {
    return std::chrono::steady_clock::now();
  }
  [[nodiscard]] std::chrono::system_clock::time_point wall() const noexcept override {
    return std::chrono::system_clock::now();
  }

  void arm(time_point due) override {
    if (!timer_) timer_.emplace(caller{context_});
    if (due == never) {
      timer_->cancel();
      return;
    }
    timer_->expires_at(due);
    timer_->async_wait([&owner = owner_](boost::system::error_code aborted) {
      if (!aborted) owner.ring_due();
    });
  }

  void close() noexcept override { timer_.reset(); }

 private:
  clock& owner_;
  boost::asio::execution_context& context_;
  using timer_type = boost::asio::basic_waitable_timer<
      std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>, caller>;
  std::optional<timer_type> timer_;
};

}  // namespace

boost::asio::execution_context::id clock::id;

clock::clock(boost::asio::execution_context& context)
    : service(context), source_(std::make_unique<system_source>(*this, context)) {}

clock& clock::of(environment::executor_type const& executor) {
  return boost::asio::use_service<clock>(
      boost::asio::query(executor, boost::asio::execution::context));
}

void clock::set(alarm& a, time_point due) {
  std::unique_lock lock{mutex_};
  if (closed_) return;
  if (a.is_linked()) alarms_.erase(alarms_.iterator_to(a));
  a.due_ = due;
  alarms_.insert(a);
  if (alarms_.begin()->due_ < armed_for_) arm_for_first(lock);
}

bool clock::unset(alarm& a) noexcept {
  std::unique_lock lock{mutex_};
  if (!a.is_linked()) {
    rung_.wait(lock, [&] { return !rings_on_another_thread(a); });
    return false;
  }
  alarms_.erase(alarms_.iterator_to(a));
  // Only an empty set disarms: a wake-up too early costs less than a system call for each alarm that is unset.
  if (alarms_.empty()) arm_for_first(lock);
  return true;
}

void clock::ring_due() {
  std::unique_lock lock{mutex_};
  armed_for_ = never;
  ringer me{std::this_thread::get_id(), ringers_};
  ringers_ = &me;
  time_point const now = source_->now();
  while (!alarms_.empty() && alarms_.begin()->due_ <= now) {
    alarm& a = *alarms_.begin();
    alarms_.erase(alarms_.begin());
    me.rings = &a;
    lock.unlock();
    a.ring();  // may be gone afterwards
    lock.lock();
    me.rings = nullptr;
    rung_.notify_all();
  }
  ringer** link = &ringers_;
  while (*link != &me) link = &(*link)->next;
  *link = me.next;
  arm_for_first(lock);
}

bool clock::rings_on_another_thread(alarm const& a) const noexcept {
  for (ringer const* r = ringers_; r != nullptr; r = r->next) {
    if (r->rings == &a && r->on != std::this_thread::get_id()) return true;
  }
  return false;
}

time_point clock::next_due() const noexcept {
  std::lock_guard const lock{mutex_};
  return alarms_.empty() ? never : alarms_.begin()->due_;
}

void clock::replace(std::unique_ptr<source> with) {
  std::lock_guard const lock{mutex_};
  source_ = std::move(with);
}

void clock::arm_for_first(std::unique_lock<std::mutex>&) {
  time_point const first = alarms_.empty() ? never : alarms_.begin()->due_;
  if (first == armed_for_) return;
  armed_for_ = first;
  source_->arm(first);
}

void clock::shutdown() {
  std::lock_guard const lock{mutex_};
  closed_ = true;
  alarms_.clear();
  armed_for_ = never;
  source_->close();
}

result<void> sleep_until::await_resume() const noexcept {
  if (cancelled_) return failure{boost::asio::error::operation_aborted};
  return {};
}

void sleep_until::begin(bool cancelled) {
  cancelled_ = cancelled;
  if (cancelled) return complete();
  clock_ = &clock::of(env().executor());
  if (due_ <= clock_->now()) return complete();
  clock_->set(*this, due_);
}

void sleep_until::cancel() noexcept {
  cancelled_ = true;
  if (clock_->unset(*this)) complete_later();
}

void sleep_until::ring() noexcept { boost::asio::post(env().executor(), resumption{*this}); }

void timer::set(environment::executor_type const& executor, time_point due, function f,
                void* argument) {
  unset();
  if (due == never) return;
  executor_ = executor;
  function_ = f;
  argument_ = argument;
  clock_ = &clock::of(executor);
  clock_->set(*this, due);
}

void timer::unset() noexcept {
  if (clock_ != nullptr) {
    clock_->unset(*this);
    if (rung_) *rung_ = nullptr;
    rung_.reset();
    clock_ = nullptr;
  }
  executor_ = {};  // we may outlive its context
}

void timer::ring() noexcept {
  rung_ = std::make_shared<timer*>(this);
  boost::asio::post(executor_, [rung = rung_] {
    timer* const self = *rung;
    if (self == nullptr) return;
    self->rung_.reset();
    self->clock_ = nullptr;
    self->function_(self->argument_);
  });
}

}  // namespace cleat

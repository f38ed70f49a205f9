#include <cleat/transport/poller.hpp>

#include <cleat/base/chains.hpp>

#include <boost/asio/error.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/query.hpp>

#include <unistd.h>

#include <chrono>
#include <utility>

namespace cleat::detail {

namespace asio = boost::asio;
using boost::system::error_code;

// ---- a descriptor ---------------------------------------------------------------------------------

void pollable::close() noexcept {
  if (descriptor_ < 0) return;
  poller_.forget(*this);  // closing alone does not: a child process may hold it for a while
  ::close(std::exchange(descriptor_, -1));
  if (reader_ != nullptr) reader_->end(kind::shut_down);
  if (writer_ != nullptr) writer_->end(kind::shut_down);
}

// ---- a wait ---------------------------------------------------------------------------------------

void ready_wait_base::begin(bool cancelled) {
  if (cancelled || on_->descriptor_ < 0) {
    ended_ = true;
    why_ = cancelled ? kind::cancelled : kind::shut_down;
    return complete();
  }
  if (!on_->poller_.watch(*on_, what_)) {
    ended_ = true;
    why_ = kind::resources;
    return complete();
  }
  place() = this;
}

void ready_wait_base::end(kind why) noexcept {
  if (on_ == nullptr || place() != this) return;
  ended_ = true;
  why_ = why;
  leave();
  complete_later();
}

void ready_wait_base::leave() noexcept {
  if (on_ != nullptr && place() == this) place() = nullptr;
  on_ = nullptr;  // it may go before us
}

// ---- all of them ----------------------------------------------------------------------------------

asio::execution_context::id poller::id;

class poller::set_type
    : public asio::posix::basic_stream_descriptor<asio::io_context::executor_type> {
 public:
  using asio::posix::basic_stream_descriptor<
      asio::io_context::executor_type>::basic_stream_descriptor;
};

poller::poller(asio::execution_context& context)
    : service(context),
      context_(static_cast<context_type&>(context)),
      one_thread_(one_thread_of(context_.get_executor())),
      set_(std::make_unique<set_type>(context_, ::epoll_create1(EPOLL_CLOEXEC))) {}

poller::~poller() = default;

poller* poller::of(environment::executor_type const& executor) noexcept {
  if (executor.target<context_type::executor_type>() == nullptr) return nullptr;
  try {
    return &asio::use_service<poller>(asio::query(executor, asio::execution::context));
  } catch (...) {  // no descriptor for a set: Asio's own waits serve, while there are any
    return nullptr;
  }
}

void poller::shutdown() {
  error_code ignored;
  set_->close(ignored);
}

bool poller::watch(pollable& p, std::uint32_t what) {
  if (!armed_) arm();
  if ((p.watched_ & what) != 0) return true;
  // What nobody waits for any more is dropped on this occasion, unless it is usually wanted again.
  std::uint32_t const others = (p.watched_ & EPOLLIN) | (p.writer_ != nullptr ? EPOLLOUT : 0U);
  set_watched(p, others | what);
  return (p.watched_ & what) != 0;
}

void poller::set_watched(pollable& p, std::uint32_t what) noexcept {
  epoll_event e{};
  e.events = what;
  e.data.ptr = &p;
  // Trouble is told by the kernel even if nobody asks: a descriptor that is not watched is taken out.
  int const operation = what == 0 ? EPOLL_CTL_DEL : p.known_ ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (::epoll_ctl(set_->native_handle(), operation, p.descriptor_, &e) != 0) return;
  p.watched_ = what;
  p.known_ = what != 0;
}

void poller::forget(pollable& p) noexcept {
  if (p.known_) set_watched(p, 0);
  // It may be in the batch that is being told.
  for (std::size_t i = 0; i < batch_size_; ++i) {
    if (batch_[i].data.ptr == &p) batch_[i].data.ptr = nullptr;
  }
}

/// Waits for the next batch. This wait keeps no loop running: the chains that wait do that.
void poller::arm() {
  armed_ = true;
  set_->async_wait(set_type::wait_read, [this](error_code code) {
    context_.get_executor().on_work_started();
    if (!code) dispatch();
  });
  context_.get_executor().on_work_finished();
}

/// Whatever escapes from a chain: the rest of the batch, or the next one, is waited for.
class poller::rearm {
 public:
  explicit rearm(poller& p) noexcept : poller_(p) {}
  rearm(rearm const&) = delete;
  rearm& operator=(rearm const&) = delete;
  ~rearm() { poller_.arm(); }

 private:
  poller& poller_;
};

void poller::dispatch() {
  one_thread::turn const here{one_thread_};
  rearm const afterwards{*this};
  // A large batch is a sign of more; others in the queue of the context have waited long enough then.
  constexpr int rounds_max = 4;
  constexpr std::size_t large = 8;
  // So long the timers of the context wait. The rest of the batch comes in its next turn: it is
  // ready, so the set is.
  constexpr std::chrono::milliseconds slice{1};
  using time = std::chrono::steady_clock;  // of the machine, as the descriptors are
  time::time_point until = time::time_point::max();
  for (int round = 0; round < rounds_max; ++round) {
    if (next_ == batch_size_) {
      next_ = batch_size_ = 0;
      int const n = ::epoll_wait(set_->native_handle(), batch_.data(), batch_max, 0);
      if (n <= 0) break;
      batch_size_ = static_cast<std::size_t>(n);
    }
    std::size_t const n = batch_size_ - next_;
    while (next_ < batch_size_) {
      tell(next_++);
      if (next_ == batch_size_) break;
      auto const now = time::now();
      if (until == time::time_point::max()) until = now + slice;
      if (now >= until) return;
    }
    next_ = batch_size_ = 0;
    if (n < large || context_.stopped()) break;
  }
}

void poller::tell(std::size_t place) {
  auto const events = batch_[place].events;
  auto const one = [&](std::uint32_t what, ready_wait_base* pollable::* waiter) {
    auto* const p = static_cast<pollable*>(batch_[place].data.ptr);
    if (p == nullptr || (p->watched_ & what) == 0) return;
    if ((events & (what | EPOLLERR | EPOLLHUP)) == 0) return;
    if (p->*waiter != nullptr) {
      (p->*waiter)->wake();  // the chain goes on, here; the descriptor may be gone afterwards
    } else {
      set_watched(*p, p->watched_ & ~what);
    }
  };
  one(EPOLLOUT, &pollable::writer_);
  one(EPOLLIN, &pollable::reader_);
}

}  // namespace cleat::detail

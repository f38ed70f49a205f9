#include "../meter.hpp"
#include "asio.hpp"
#include "codec.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/system/error_code.hpp>

#include <cstddef>
#include <deque>
#include <exception>
#include <memory>
#include <stdexcept>
#include <unordered_map>
#include <utility>

namespace peers {

namespace {

namespace asio = boost::asio;
using asio::awaitable;
using asio::steady_timer;
using asio::use_awaitable;
using asio::ip::tcp;
using boost::system::error_code;

/// A connection that carries one call at a time.
class connection {
 public:
  explicit connection(asio::io_context& context) : socket_(context), timer_(context) {}

  awaitable<void> connect(tcp::endpoint server) {
    arm();
    co_await socket_.async_connect(server, use_awaitable);
    disarm();
    socket_.set_option(tcp::no_delay{true});
  }

  awaitable<void> call() {
    std::string const id = new_msg_id();
    std::string const request = request_frame(id);
    std::string answer;
    arm();
    try {
      co_await asio::async_write(socket_, asio::buffer(request), use_awaitable);
      answer = co_await read_frame(socket_);
    } catch (boost::system::system_error const&) {
      if (expired_) throw std::runtime_error{no_answer};
      throw;
    }
    disarm();
    if (msg_id_of(answer) != id) throw std::runtime_error{"an answer to something else came"};
  }

  tcp::socket& socket() { return socket_; }

 private:
  void arm() {
    timer_.expires_after(deadline);
    timer_.async_wait([this](error_code error) {
      // It may have been armed again or disarmed since this was put in the queue.
      if (error || timer_.expiry() > clock::now()) return;
      expired_ = true;
      socket_.cancel();
    });
  }
  void disarm() { timer_.expires_at(clock::time_point::max()); }

  tcp::socket socket_;
  steady_timer timer_;
  bool expired_ = false;
};

/// Many calls at a time on one connection. Answers find their calls by msg_id.
class pipeline {
 public:
  explicit pipeline(tcp::socket& socket)
      : socket_(socket), queued_(socket.get_executor(), clock::time_point::max()) {}

  awaitable<void> call() {
    std::string const id = new_msg_id();
    waiting self{steady_timer{socket_.get_executor(), deadline}};
    waiting_.emplace(id, &self);
    queue_.push_back(request_frame(id));
    queued_.cancel_one();
    error_code ignored;  // that it was cancelled, if the answer came
    co_await self.timer.async_wait(asio::redirect_error(use_awaitable, ignored));
    if (!self.answered) throw std::runtime_error{no_answer};
  }

  awaitable<void> write_all() {
    for (;;) {
      while (queue_.empty()) {
        error_code ignored;  // it is always cancelled
        co_await queued_.async_wait(asio::redirect_error(use_awaitable, ignored));
      }
      std::string const frame = std::move(queue_.front());
      queue_.pop_front();
      co_await asio::async_write(socket_, asio::buffer(frame), use_awaitable);
    }
  }

  awaitable<void> read_all() {
    for (;;) {
      std::string const answer = co_await read_frame(socket_);
      auto const found = waiting_.find(msg_id_of(answer));
      if (found == waiting_.end()) throw std::runtime_error{"an answer to something else came"};
      found->second->answered = true;
      found->second->timer.cancel();
      waiting_.erase(found);
    }
  }

 private:
  struct waiting {
    steady_timer timer;
    bool answered = false;
  };

  tcp::socket& socket_;
  steady_timer queued_;  // cancelled when there is something to write
  std::deque<std::string> queue_;
  std::unordered_map<std::string, waiting*> waiting_;
};

class client {
 public:
  client(asio::io_context& context, options const& o)
      : context_(context),
        options_(o),
        server_(asio::ip::address_v4::loopback(), o.port),
        meter_(o) {}

  awaitable<void> run() {
    say_and_wait("INIT\n");
    if (options_.reconnects) {
      co_await run_with_a_connection_each();
    } else {
      co_await open_connections();
      meter_.begin();
      options_.window > 1 ? start_pipelines() : start_connections();
    }
  }

  void start(awaitable<void> what) {
    asio::co_spawn(context_, std::move(what), [](std::exception_ptr error) {
      if (error) std::rethrow_exception(error);
    });
  }

 private:
  awaitable<void> run_with_a_connection_each() {
    meter_.begin();
    bool more = true;
    while (more) {
      auto const began = clock::now();
      {
        connection once{context_};
        co_await once.connect(server_);
        co_await once.call();
      }
      more = meter_.count(began, clock::now());
    }
    meter_.finish();
  }

  awaitable<void> open_connections() {
    for (std::size_t i = 0; i < options_.connections; ++i) {
      connection& c = connections_.emplace_back(context_);
      co_await c.connect(server_);
      if (options_.connections > 1) co_await c.call();  // so that each has been used
    }
  }

  /// Those that are active, evenly among the others.
  connection& active(std::size_t i) {
    return connections_[i * (connections_.size() / options_.active)];
  }

  void start_connections() {
    for (std::size_t i = 0; i < options_.active; ++i) start(repeat(active(i)));
  }

  void start_pipelines() {
    for (std::size_t i = 0; i < options_.active; ++i) {
      pipeline& p = pipelines_.emplace_back(active(i).socket());
      start(p.write_all());
      start(p.read_all());
      for (std::size_t k = 0; k < options_.window; ++k) start(repeat(p));
    }
  }

  template <class Calls>
  awaitable<void> repeat(Calls& calls) {
    bool more = true;
    while (more) {
      auto const began = clock::now();
      co_await calls.call();
      more = meter_.count(began, clock::now());
    }
    meter_.finish();
  }

  asio::io_context& context_;
  options const& options_;
  tcp::endpoint server_;
  meter meter_;
  std::deque<connection> connections_;
  std::deque<pipeline> pipelines_;
};

}  // namespace

void asio_client(options const& o) {
  asio::io_context context{1};
  auto const it = std::make_unique<client>(context, o);
  it->start(it->run());
  if (!o.spins) context.run();
  while (o.spins) context.poll();
}

}  // namespace peers

#include "../allocations.hpp"
#include "limit.hpp"
#include "message.hpp"

#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace peers {

namespace {

constexpr std::size_t receive_bytes = 256 * std::size_t{1024};

// How many times as long as a request its answer can be.
constexpr std::size_t growth = 4;
static_assert(ack_message.bytes <= growth * (header_bytes + 10 + id_bytes));

class server {
 public:
  explicit server(options const& o) : spins_(o.spins), epoll_(::epoll_create1(0)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int const on = 1;
    ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address = loopback(o.port);
    socklen_t length = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    if (epoll_ < 0 || ::bind(listener_, generic, length) != 0 || ::listen(listener_, 4096) != 0 ||
        ::getsockname(listener_, generic, &length) != 0) {
      fail_errno("cannot listen");
    }
    watch(listener_);
    say_listening(ntohs(address.sin_port));
  }

  [[noreturn]] void run() {
    std::array<epoll_event, 512> events{};
    for (;;) {
      int const n =
          ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), spins_ ? 0 : -1);
      for (int i = 0; i < n; ++i) {
        int const ready = events[static_cast<std::size_t>(i)].data.fd;
        if (ready == listener_) {
          accept();
        } else {
          serve(ready);
        }
      }
    }
  }

 private:
  void watch(int socket) const {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = socket;
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event) != 0) fail_errno("epoll_ctl");
  }

  /// One connection; epoll tells of the next one again, which costs less than to ask in vain.
  void accept() {
    int const socket = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK);
    if (socket < 0) return;
    send_without_delay(socket);
    auto const index = static_cast<std::size_t>(socket);
    if (rests_.size() <= index) rests_.resize(index + 1);
    rests_[index].clear();
    watch(socket);
  }

  /// Answers all that has arrived, in one send.
  void serve(int socket) {
    std::string& rest = rests_[static_cast<std::size_t>(socket)];
    std::size_t const kept = rest.copy(in_.data(), rest.size());
    auto const received = ::recv(socket, in_.data() + kept, in_.size() - kept, 0);
    if (received <= 0) {
      bool const later = received < 0 && (errno == EAGAIN || errno == EINTR);
      if (!later) ::close(socket);
      return;
    }

    char const* at = in_.data();
    char const* const end = at + kept + received;
    char* out = out_.data();
    for (;;) {
      found_frame const request = toggle_message.find(at, static_cast<std::size_t>(end - at));
      if (request.bytes == 0) break;
      state_ = !state_;
      add(answers, 1);
      out = ack_message.write(out, request.id);
      at += request.bytes;
    }
    if (at != end || kept > 0) rest.assign(at, end);
    auto const bytes = static_cast<std::size_t>(out - out_.data());
    if (!send_all(socket, out_.data(), bytes)) ::close(socket);
  }

  bool spins_;
  int epoll_;
  int listener_ = -1;
  bool state_ = false;              // of the device
  std::vector<std::string> rests_;  // by socket: the beginning of a frame whose end is on its way
  std::array<char, receive_bytes> in_;
  std::array<char, receive_bytes * growth> out_;
};

}  // namespace

void limit_server(options const& o) {
  auto const it = std::make_unique<server>(o);
  it->run();
}

}  // namespace peers

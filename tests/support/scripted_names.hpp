#pragma once
// Stands in for the system's name lookup: a program that includes this (in one file only) has its
// own `getaddrinfo`.

#include <boost/asio/ip/tcp.hpp>

#include <netdb.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace cleat::test {

/// The names that a test knows. An unknown name does not resolve; a name that hangs resolves when
/// it is let go.
class scripted_names {
 public:
  static scripted_names& instance() {
    static scripted_names all;
    return all;
  }

  /// `name` has these addresses, in this order.
  void resolve(std::string name, std::vector<std::string> addresses) {
    std::lock_guard const lock{mutex_};
    known_[std::move(name)] = entry{0, std::move(addresses), false};
  }
  /// Looking up `name` fails with this `EAI_` code.
  void fail(std::string name, int code) {
    std::lock_guard const lock{mutex_};
    known_[std::move(name)] = entry{code, {}, false};
  }
  /// Looking up `name` takes until `let_go`, and then finds 127.0.0.1.
  void hang(std::string name) {
    std::lock_guard const lock{mutex_};
    known_[std::move(name)] = entry{0, {"127.0.0.1"}, true};
  }
  void let_go() {
    std::lock_guard const lock{mutex_};
    for (auto& [name, e] : known_) e.hangs = false;
    changed_.notify_all();
  }
  /// Waits until so many lookups hang.
  void wait_until_hanging(int n) {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return hanging_ == n; });
  }
  /// How often the system was asked, in all.
  [[nodiscard]] int asked() const noexcept { return asked_; }

  /// What `getaddrinfo` does.
  int look_up(char const* name, addrinfo** found) {
    ++asked_;
    entry e;
    {
      std::unique_lock lock{mutex_};
      auto const& now = known_[name];
      if (now.hangs) {
        ++hanging_;
        changed_.notify_all();
        changed_.wait(lock, [&] { return !now.hangs; });
        --hanging_;
        changed_.notify_all();
      }
      e = now;
    }
    if (e.code != 0) return e.code;
    *found = nullptr;
    addrinfo** end = found;
    for (auto const& address : e.addresses) {
      *end = new node{address};
      end = &(*end)->ai_next;
    }
    return 0;
  }

  /// What `freeaddrinfo` does.
  static void free(addrinfo* a) {
    while (a != nullptr) {
      addrinfo* const next = a->ai_next;
      delete static_cast<node*>(a);
      a = next;
    }
  }

 private:
  struct entry {
    int code = EAI_NONAME;
    std::vector<std::string> addresses;
    bool hangs = false;
  };

  /// One address, with the memory that it lies in.
  class node : public addrinfo {
   public:
    explicit node(std::string const& address) : addrinfo{}, storage_{} {
      boost::asio::ip::tcp::endpoint const e{boost::asio::ip::make_address(address), 0};
      std::memcpy(&storage_, e.data(), e.size());
      ai_family = e.protocol().family();
      ai_socktype = SOCK_STREAM;
      ai_addr = reinterpret_cast<sockaddr*>(&storage_);
      ai_addrlen = static_cast<socklen_t>(e.size());
    }

   private:
    sockaddr_storage storage_;
  };

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, entry> known_;
  int hanging_ = 0;
  std::atomic<int> asked_ = 0;
};

}  // namespace cleat::test

extern "C" int getaddrinfo(char const* name, char const*, addrinfo const*, addrinfo** found) {
  return cleat::test::scripted_names::instance().look_up(name, found);
}
extern "C" void freeaddrinfo(addrinfo* found) { cleat::test::scripted_names::free(found); }

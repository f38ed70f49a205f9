#include <cleat/transport/resolve.hpp>

#include <cleat/base/host_text.hpp>

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>

#include <netdb.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

namespace cleat {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr int lookups_max = 32;
std::atomic<int> lookups_under_way = 0;

struct answer {
  error_code code;
  endpoints found;
};

class lookup_wait;

/// Shared by the chain that waits and the thread that asks. The chain may stop waiting; the thread
/// cannot be stopped.
class lookup : public std::enable_shared_from_this<lookup> {
 public:
  lookup(lookup_wait& by, environment::executor_type const& executor)
      : waits_(&by), executor_(executor) {}

  /// On the thread.
  void end(answer a);
  /// On the chain's executor.
  void forget() noexcept {
    std::lock_guard const lock{mutex_};
    waits_ = nullptr;
    executor_ = {};  // the thread may outlive its context, and a strand's last handle must not
  }

 private:
  std::mutex mutex_;
  lookup_wait* waits_;  ///< while it is set, the executor's context lives
  environment::executor_type executor_;
};

error_code to_error(int code) {
  switch (code) {
    case EAI_SYSTEM:
      return {errno, boost::system::system_category()};
    case EAI_MEMORY:
      return asio::error::no_memory;
    case EAI_NONAME:
    case EAI_NODATA:
      return asio::error::host_not_found;
    case EAI_AGAIN:
      return asio::error::host_not_found_try_again;
    case EAI_FAIL:
      return asio::error::no_recovery;
    default:
      return {code, asio::error::get_addrinfo_category()};
  }
}

/// Asks the system; may take as long as it likes.
answer ask_system(std::string const& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  int code = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (code == EAI_NONAME ||
      code == EAI_ADDRFAMILY) {  // only loopback is configured, or the other family
    hints.ai_flags = 0;
    code = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  }
  if (code != 0) return {to_error(code), {}};
  std::vector<asio::ip::tcp::endpoint> first;
  std::vector<asio::ip::tcp::endpoint> second;
  int const preferred = found->ai_family;
  for (addrinfo const* a = found; a != nullptr; a = a->ai_next) {
    asio::ip::tcp::endpoint e;
    if (a->ai_addrlen > e.capacity()) continue;
    e.resize(a->ai_addrlen);
    std::memcpy(e.data(), a->ai_addr, a->ai_addrlen);
    e.port(port);
    (a->ai_family == preferred ? first : second).push_back(e);
  }
  ::freeaddrinfo(found);
  endpoints by_turns;
  for (std::size_t i = 0; i < std::max(first.size(), second.size()); ++i) {
    if (i < first.size()) by_turns.push_back(first[i]);
    if (i < second.size()) by_turns.push_back(second[i]);
  }
  return {by_turns.empty() ? error_code{asio::error::host_not_found} : error_code{},
          std::move(by_turns)};
}

/// What a chain waits on while a thread asks the system.
class lookup_wait final : public leaf {
 public:
  lookup_wait(std::string const& host, std::uint16_t port, time_point deadline)
      : host_(host), port_(port), deadline_(deadline) {}
  ~lookup_wait() override { forget(); }

  result<endpoints> await_resume() {
    if (why_) return failure{*why_, certainty::not_sent}.with_detail(host_);
    if (answer_.code.failed())
      return failure{answer_.code}.with(certainty::not_sent).with_detail(host_);
    return std::move(answer_.found);
  }

  void answered(answer a) {
    answer_ = std::move(a);
    forget();
    complete();
  }

 private:
  void begin(bool cancelled) override {
    if (cancelled) return end(kind::cancelled);
    if (lookups_under_way.fetch_add(1) >= lookups_max) {
      --lookups_under_way;
      return end(kind::overloaded);
    }
    auto shared = std::make_shared<lookup>(*this, env().executor());
    try {
      std::thread{[shared, host = host_, port = port_] {
        answer a = ask_system(host, port);
        --lookups_under_way;
        shared->end(std::move(a));
      }}.detach();
    } catch (std::system_error const&) {
      --lookups_under_way;
      shared->forget();
      return end(kind::resources);
    }
    lookup_ = std::move(shared);
    timeout_.set(
        env().executor(), deadline_,
        [](void* self) { static_cast<lookup_wait*>(self)->end(kind::timed_out); }, this);
  }
  void cancel() noexcept override {
    if (lookup_) end(kind::cancelled);
  }
  void end(kind why) {
    why_ = why;
    forget();
    complete_later();
  }
  void forget() noexcept {
    timeout_.unset();
    if (lookup_) std::exchange(lookup_, nullptr)->forget();
  }

  std::string const& host_;
  std::uint16_t port_;
  time_point deadline_;
  std::shared_ptr<lookup> lookup_;
  timer timeout_;
  answer answer_;
  std::optional<kind> why_;
};

void lookup::end(answer a) {
  std::lock_guard const lock{mutex_};
  if (waits_ == nullptr) return;
  asio::post(executor_, [self = shared_from_this(), a = std::move(a)]() mutable {
    if (self->waits_ != nullptr) self->waits_->answered(std::move(a));  // both on the executor
  });
}

}  // namespace

task<result<endpoints>> resolve(std::string host, std::uint16_t port, time_point deadline) {
  host_text const text{host};
  if (text.address) co_return endpoints{asio::ip::tcp::endpoint{*text.address, port}};
  if (!text.trouble.empty())
    co_return failure{kind::invalid, certainty::not_sent}.with_detail(text.trouble);

  auto found = co_await lookup_wait{host, port, deadline};
  co_return found;
}

}  // namespace cleat

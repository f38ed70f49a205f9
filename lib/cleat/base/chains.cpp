#include <cleat/base/chains.hpp>

#include <cleat/base/misuse.hpp>
#include <cleat/base/one_thread.hpp>

#include <boost/asio/execution/context.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/system_executor.hpp>
#include <boost/asio/thread_pool.hpp>

#include <mutex>
#include <ostream>
#include <string_view>

namespace cleat {
namespace detail {

class chain_list final : public boost::asio::execution_context::service {
 public:
  using key_type = chain_list;
  static boost::asio::execution_context::id id;

  explicit chain_list(boost::asio::execution_context& context) : service(context) {}

  void add(chain_link& link) {
    std::lock_guard const lock{mutex_};
    link.after_ = first_;
    if (first_ != nullptr) first_->before_ = &link;
    first_ = &link;
    ++size_;
  }

  void remove(chain_link& link) noexcept {
    std::lock_guard const lock{mutex_};
    if (link.before_ != nullptr) {
      link.before_->after_ = link.after_;
    } else {
      first_ = link.after_;
    }
    if (link.after_ != nullptr) link.after_->before_ = link.before_;
    --size_;
  }

  [[nodiscard]] one_thread& watched() noexcept { return one_thread_; }

  std::size_t size() {
    std::lock_guard const lock{mutex_};
    return size_;
  }

  void dump(std::ostream& out) {
    std::lock_guard const lock{mutex_};
    std::size_t number = 0;
    for (chain_link const* link = first_; link != nullptr; link = link->after_) {
      out << "chain " << ++number << " of " << size_
          << (link->env_.waiting_on() == nullptr ? " (running)" : "")
          << (link->env_.cancel_requested() ? " (cancelled)" : "") << '\n';
      std::size_t depth = 0;
      for (frame const* f = link->env_.innermost(); f != nullptr; f = f->parent) {
        std::string_view file = f->at.file_name();
        file.remove_prefix(file.rfind('/') + 1);  // 0 where there is none
        out << "  #" << depth++ << ' ' << f->at.function_name() << " at " << file << ':'
            << f->at.line() << '\n';
      }
    }
  }

 private:
  /// Chains that wait for something other than an Asio operation have nobody else to free them.
  void shutdown() override {
    while (first_ != nullptr) first_->env_.drop();
  }

  std::mutex mutex_;
  chain_link* first_ = nullptr;
  std::size_t size_ = 0;
  one_thread one_thread_;
};

boost::asio::execution_context::id chain_list::id;

namespace {

chain_list& list_of(environment::executor_type const& executor) {
  return boost::asio::use_service<chain_list>(
      boost::asio::query(executor, boost::asio::execution::context));
}

/// Whether work that is given to it may run on any thread of its context, several at a time.
bool is_plain(environment::executor_type const& executor) noexcept {
  return executor.target<boost::asio::io_context::executor_type>() != nullptr ||
         executor.target<boost::asio::thread_pool::executor_type>() != nullptr ||
         executor.target<boost::asio::system_executor>() != nullptr;
}

}  // namespace

one_thread* one_thread_of(environment::executor_type const& executor) {
  return is_plain(executor) ? &list_of(executor).watched() : nullptr;
}

void one_thread::refuse() noexcept {
  misuse(
      "two threads run chains on the plain executor of one execution context at the same time; let "
      "one thread run each "
      "io_context, or spawn on a strand: boost::asio::make_strand(context)");
}

chain_link::chain_link(environment::executor_type const& executor, environment& env)
    : list_(list_of(executor)), env_(env) {
  if (is_plain(executor)) env.one_thread_ = &list_.watched();
}

chain_link::~chain_link() {
  if (entered_) list_.remove(*this);
}

void chain_link::enter() {
  entered_ = true;
  list_.add(*this);
}

}  // namespace detail

std::size_t chain_count(boost::asio::execution_context& context) {
  return boost::asio::use_service<detail::chain_list>(context).size();
}

void dump_chains(boost::asio::execution_context& context, std::ostream& out) {
  boost::asio::use_service<detail::chain_list>(context).dump(out);
}

}  // namespace cleat

#include <cleat/base/turns.hpp>

#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/query.hpp>

namespace cleat {

namespace asio = boost::asio;

namespace detail {

/// The chains of one context that have given way, for a context that one thread runs.
class turns final : public asio::execution_context::service {
 public:
  using key_type = turns;
  static asio::execution_context::id id;

  explicit turns(asio::execution_context& context)
      : service(context), context_(static_cast<asio::io_context&>(context)) {}

  void add(give_way& g) {
    line_.push_back(g);
    if (!posted_) post();
  }
  void remove(give_way& g) noexcept { line_.erase(line_.iterator_to(g)); }

 private:
  void shutdown() override {}

  void post() {
    posted_ = true;
    asio::post(context_.get_executor(), [this] { next(); });
  }

  /// One in each turn of the loop: however many there are, the others wait for one only.
  void next() {
    posted_ = false;
    if (line_.empty()) return;
    give_way& g = line_.front();
    line_.pop_front();
    if (!line_.empty()) post();
    g.complete();
  }

  asio::io_context& context_;
  boost::intrusive::list<give_way> line_;
  bool posted_ = false;
};

asio::execution_context::id turns::id;

}  // namespace detail

give_way::~give_way() {
  if (is_linked()) in_->remove(*this);
}

void give_way::begin(bool /*cancelled*/) {
  auto const& executor = env().executor();
  if (executor.target<asio::io_context::executor_type>() ==
      nullptr) {  // a strand's queue is its own
    asio::post(executor, resumption{*this});
    return;
  }
  in_ = &asio::use_service<detail::turns>(asio::query(executor, asio::execution::context));
  in_->add(*this);
}

}  // namespace cleat

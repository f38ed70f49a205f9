#include <cleat/transport/network.hpp>

#include <cleat/transport/tcp_network.hpp>

#include <boost/asio/execution/context.hpp>
#include <boost/asio/query.hpp>

namespace cleat {

boost::asio::execution_context::id network::id;

network::network(boost::asio::execution_context& context)
    : service(context), model_(std::make_unique<tcp_network>()) {}

network& network::of(environment::executor_type const& executor) {
  return boost::asio::use_service<network>(
      boost::asio::query(executor, boost::asio::execution::context));
}

}  // namespace cleat

#include <cleat/base/entropy.hpp>

#include <boost/asio/execution/context.hpp>
#include <boost/asio/query.hpp>

#include <random>

namespace cleat {

boost::asio::execution_context::id entropy::id;

entropy::entropy(boost::asio::execution_context& context) : service(context) {
  std::random_device device;
  seed(std::uniform_int_distribution<std::uint64_t>{}(device));
}

entropy& entropy::of(environment::executor_type const& executor) {
  return boost::asio::use_service<entropy>(
      boost::asio::query(executor, boost::asio::execution::context));
}

}  // namespace cleat

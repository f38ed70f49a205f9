#include <cleat/base/call.hpp>

#include <cleat/base/entropy.hpp>

#include <boost/asio/execution/context.hpp>
#include <boost/asio/query.hpp>

namespace cleat {

namespace {

context_services& services_of(environment::executor_type const& executor) {
  return boost::asio::use_service<context_services>(
      boost::asio::query(executor, boost::asio::execution::context));
}

}  // namespace

boost::asio::execution_context::id context_services::id;

context_services::context_services(boost::asio::execution_context& context)
    : service(context),
      clock(boost::asio::use_service<cleat::clock>(context)),
      entropy(boost::asio::use_service<cleat::entropy>(context)) {}

context_services& environment::find_services() const { return services_of(executor_); }

call::call(context_services& from) : clock_(&from.clock) {
  auto const [first, a, b] = from.entropy.next<3>();
  operation = first;
  correlation = uuid7{clock_->wall(), a, b};
}

call::call(environment::executor_type const& executor) : call(services_of(executor)) {}

call::call(environment& of) : call(of.services()) {}

}  // namespace cleat

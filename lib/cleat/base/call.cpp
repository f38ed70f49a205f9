#include <cleat/base/call.hpp>

#include <cleat/base/entropy.hpp>

namespace cleat {

call::call(environment::executor_type const& executor) : clock_(&cleat::clock::of(executor)) {
  entropy& random = entropy::of(executor);
  operation = random.next();
  std::uint64_t const a = random.next();
  std::uint64_t const b = random.next();
  correlation = uuid7{clock_->wall(), a, b};
}

}  // namespace cleat

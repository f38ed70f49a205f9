#pragma once

#include <cleat/base/failure.hpp>

#include <boost/system/result.hpp>

namespace cleat {

/// A value or a `failure`. What every operation that a peer or a network can spoil gives back;
/// nothing is thrown unless `value()` is asked of a failure. Discarding one is a compiler warning.
///
/// Implicit from either: `co_return reply;` and `co_return failure{kind::timed_out};` both work.
template <class T>
class [[nodiscard]] result : public boost::system::result<T, failure> {
 public:
  using boost::system::result<T, failure>::result;
};

}  // namespace cleat

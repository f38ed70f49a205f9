#include <cleat/base/failure.hpp>

#include <cleat/base/utf8.hpp>

#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>
#include <boost/throw_exception.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <ostream>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace cleat {

std::string_view to_string(kind k) noexcept {
  switch (k) {
    case kind::timed_out:
      return "timed_out";
    case kind::cancelled:
      return "cancelled";
    case kind::unresolved:
      return "unresolved";
    case kind::refused:
      return "refused";
    case kind::unreachable:
      return "unreachable";
    case kind::reset:
      return "reset";
    case kind::closed:
      return "closed";
    case kind::shut_down:
      return "shut_down";
    case kind::malformed:
      return "malformed";
    case kind::rejected:
      return "rejected";
    case kind::overloaded:
      return "overloaded";
    case kind::resources:
      return "resources";
    case kind::invalid:
      return "invalid";
  }
  return "unknown";
}

std::string_view to_string(certainty c) noexcept {
  switch (c) {
    case certainty::not_sent:
      return "not_sent";
    case certainty::rejected:
      return "rejected";
    case certainty::maybe_executed:
      return "maybe_executed";
  }
  return "unknown";
}

namespace {

kind kind_of(boost::system::error_code const& code) noexcept {
  namespace asio = boost::asio;
  namespace errc = boost::system::errc;
  if (code == errc::operation_canceled) return kind::cancelled;
  if (code == asio::error::eof) return kind::closed;
  if (code == errc::timed_out) return kind::timed_out;
  if (code == errc::connection_refused) return kind::refused;
  if (code == errc::host_unreachable || code == errc::network_unreachable ||
      code == errc::network_down || code == errc::address_not_available) {
    return kind::unreachable;
  }
  if (code == errc::connection_reset || code == errc::broken_pipe ||
      code == errc::connection_aborted || code == errc::not_connected) {
    return kind::reset;
  }
  if (code.category() == asio::error::get_netdb_category() ||
      code.category() == asio::error::get_addrinfo_category()) {
    return kind::unresolved;
  }
  if (code == errc::bad_file_descriptor) return kind::shut_down;
  if (code.category() == boost::system::system_category() ||
      code.category() == boost::system::generic_category() ||
      code.category() == asio::error::get_misc_category()) {
    return kind::resources;
  }
  return kind::malformed;
}

char const* words(kind k) noexcept {
  switch (k) {
    case kind::timed_out:
      return "timed out";
    case kind::cancelled:
      return "cancelled";
    case kind::unresolved:
      return "the name could not be resolved";
    case kind::refused:
      return "connection refused";
    case kind::unreachable:
      return "the peer cannot be reached";
    case kind::reset:
      return "the peer broke the connection";
    case kind::closed:
      return "the peer closed the connection";
    case kind::shut_down:
      return "our side is shut down";
    case kind::malformed:
      return "the answer could not be read";
    case kind::rejected:
      return "the peer rejected the request";
    case kind::overloaded:
      return "a limit was reached";
    case kind::resources:
      return "this machine could not do it";
    case kind::invalid:
      return "the request cannot be sent";
  }
  return "failed";
}

/// Whether the code says more than the kind does: a codec's own errors and the system's do.
bool tells_more(failure const& f) noexcept {
  return f.code().failed() &&
         (f.why() == kind::malformed || f.why() == kind::invalid || f.why() == kind::resources ||
          f.why() == kind::unresolved || f.why() == kind::overloaded);
}

/// "250 ms", "1.5 s", "24.8 days": in the largest unit of which there are two (or in seconds, if
/// there is one), with one digit behind the point, not rounded up.
class shown_wait {
 public:
  explicit shown_wait(failure::duration d) noexcept : ms_(d.count()) {}

  friend std::ostream& operator<<(std::ostream& out, shown_wait w) {
    struct unit {
      std::int64_t ms;
      char const* name;
    };
    constexpr std::array units{unit{86'400'000, " days"}, unit{3'600'000, " h"},
                               unit{60'000, " min"}, unit{1'000, " s"}};
    for (unit const& u : units) {
      if (w.ms_ < 2 * u.ms && u.ms != 1'000) continue;
      if (w.ms_ < u.ms) break;
      std::int64_t const tenths = w.ms_ * 10 / u.ms;
      out << tenths / 10;
      if (tenths % 10 != 0) out << '.' << tenths % 10;
      return out << u.name;
    }
    return out << w.ms_ << " ms";
  }

 private:
  std::int64_t ms_;
};

}  // namespace

failure::failure(boost::system::error_code code) noexcept : code_(code), why_(kind_of(code)) {}

failure failure::with(certainty sure) const noexcept {
  failure f = *this;
  f.certainty_ = sure;
  return f;
}

failure failure::with_detail(std::string_view detail) const noexcept {
  failure f = *this;
  f.detail_.assign(detail);
  return f;
}

failure failure::with_offset(std::size_t offset) const noexcept {
  failure f = *this;
  f.offset_ = offset;
  return f;
}

failure failure::with_retry_after(duration wait) const noexcept {
  failure f = *this;
  f.may_retry_ = true;
  f.retry_after_ms_ = static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(wait.count(), 0, std::numeric_limits<std::uint32_t>::max()));
  return f;
}

failure failure::with_attempts(unsigned n) const noexcept {
  failure f = *this;
  f.attempts_ = static_cast<std::uint16_t>(std::min(n, 65535U));
  return f;
}

std::string failure::message() const {
  std::ostringstream out;
  out << *this;
  return std::move(out).str();
}

std::ostream& operator<<(std::ostream& out, failure const& f) {
  out << words(f.why());
  if (tells_more(f)) out << ": " << printable(f.code().message());
  if (f.attempts() > 1) out << " after " << f.attempts() << " attempts";
  if (!f.detail().empty()) out << " (" << printable(f.detail()) << ')';
  if (f.offset() != failure::no_offset) out << " at byte " << f.offset();
  if (auto const wait = f.retry_after(); wait && wait->count() != 0) {
    out << (f.why() == kind::rejected ? " and asks for a wait of " : ", to be asked again after ")
        << shown_wait{*wait};
  }
  switch (f.sure()) {
    case certainty::not_sent:
      return out << "; nothing was sent";
    case certainty::rejected:
      return out << "; the peer did not act";
    case certainty::maybe_executed:
      return out << "; the peer may have acted";
  }
  return out;
}

namespace {

/// A `system_error` that says our sentence, and does not add its code's words to it ("Success" if
/// there is none).
class thrown_failure : public boost::system::system_error {
 public:
  explicit thrown_failure(failure const& f) : system_error(f.code()), sentence_(f.message()) {}
  [[nodiscard]] char const* what() const noexcept override { return sentence_.what(); }

 private:
  std::runtime_error sentence_;  ///< copies without throwing, as an exception must
};

}  // namespace

void throw_exception_from_error(failure const& f, boost::source_location const& where) {
  boost::throw_with_location(thrown_failure{f}, where);
}

}  // namespace cleat

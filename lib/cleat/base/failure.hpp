#pragma once

#include <cleat/base/text.hpp>

#include <boost/system/error_code.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>

namespace cleat {

/// Why something failed: a closed set to branch on. The open `failure::code` tells the rest.
enum class kind : std::uint8_t {
  timed_out,    ///< a deadline passed
  cancelled,    ///< the caller gave up
  unresolved,   ///< the peer's name has no address
  refused,      ///< nobody accepts connections there
  unreachable,  ///< no way to the peer's network
  reset,        ///< the peer broke the connection
  closed,       ///< the peer closed the connection in good order
  shut_down,    ///< our own side is closing
  malformed,    ///< bytes that the codec cannot read
  rejected,     ///< the peer received the request and answered no
  overloaded,   ///< a limit of ours is reached: pending calls, bytes, retries
  resources,    ///< our own machine: descriptors, memory, ports, permissions
  invalid,      ///< the request itself cannot be sent
};

/// How many values `kind` has.
inline constexpr std::size_t kind_count = static_cast<std::size_t>(kind::invalid) + 1;

/// A stable lower-case word for logs and metric labels, e.g. `timed_out`.
[[nodiscard]] std::string_view to_string(kind k) noexcept;

/// What is known about the operation that failed. In the order of badness: of two attempts the worse one counts.
enum class certainty : std::uint8_t {
  not_sent,        ///< no byte of the request left this process
  rejected,        ///< the peer read the request and did not act on it
  maybe_executed,  ///< it may have been acted on
};

[[nodiscard]] std::string_view to_string(certainty c) noexcept;

/// The worse of two certainties.
[[nodiscard]] constexpr certainty worse(certainty a, certainty b) noexcept { return a < b ? b : a; }

/// A failure as a value: what (`code`, open; `why`, closed), where (`offset`, `detail`) and how certain it is that
/// the operation was *not* carried out. Bounded in size, no heap, copies without throwing.
class failure {
 public:
  using duration = std::chrono::milliseconds;
  static constexpr std::size_t no_offset = static_cast<std::size_t>(-1);

  failure() noexcept = default;

  /// From an error of the system, of Asio or of a codec; `why` is derived from well-known codes, else `malformed`
  /// for foreign categories and `resources` for unknown system errors. The certainty is `maybe_executed` until
  /// somebody who knows better says otherwise.
  explicit failure(boost::system::error_code code) noexcept;

  failure(boost::system::error_code code, kind why, certainty sure) noexcept
      : code_(code), why_(why), certainty_(sure) {}

  /// Without a code of its own: the kind says it all.
  explicit failure(kind why, certainty sure = certainty::maybe_executed) noexcept
      : why_(why), certainty_(sure) {}

  [[nodiscard]] boost::system::error_code code() const noexcept { return code_; }
  [[nodiscard]] kind why() const noexcept { return why_; }
  [[nodiscard]] certainty sure() const noexcept { return certainty_; }
  /// Byte offset in the message where the trouble begins, or `no_offset`.
  [[nodiscard]] std::size_t offset() const noexcept { return offset_; }
  /// The field, the address or the peer's words, as they came; cut to 95 bytes. Show them through
  /// `printable`.
  [[nodiscard]] std::string_view detail() const noexcept { return detail_.view(); }
  /// For `rejected` and `overloaded`: another try is allowed, after this time at the earliest. From
  /// 0 to 2^32 - 1 ms (49.7 days).
  [[nodiscard]] std::optional<duration> retry_after() const noexcept {
    if (!may_retry_) return std::nullopt;
    return duration{retry_after_ms_};
  }
  /// How many attempts this failure sums up (1 unless `retry` made more).
  [[nodiscard]] unsigned attempts() const noexcept { return attempts_; }

  // Builders: each returns the failure with one thing changed.
  [[nodiscard]] failure with(certainty sure) const noexcept;
  [[nodiscard]] failure with_detail(std::string_view detail) const noexcept;
  [[nodiscard]] failure with_offset(std::size_t offset) const noexcept;
  /// A wait out of the range of `retry_after` is held at its edge.
  [[nodiscard]] failure with_retry_after(duration wait) const noexcept;
  [[nodiscard]] failure with_attempts(unsigned n) const noexcept;

  /// One sentence for a person: "timed out after 2 attempts (192.0.2.1:9000); the peer may have acted".
  /// In one line, and safe to show on a terminal: it is `printable`, whatever the peer's words are.
  /// It names the wait that is asked for: "the peer rejected the request (busy) and asks for a wait
  /// of 24.8 days; the peer did not act".
  [[nodiscard]] std::string message() const;

 private:
  boost::system::error_code code_;
  std::size_t offset_ = no_offset;
  std::uint32_t retry_after_ms_ = 0;  ///< if `may_retry_`
  std::uint16_t attempts_ = 1;
  kind why_ = kind::resources;
  certainty certainty_ : 7 = certainty::maybe_executed;
  bool may_retry_ : 1 = false;
  text<95> detail_;
};

/// Writes `f.message()`.
std::ostream& operator<<(std::ostream& out, failure const& f);

/// Throws a `boost::system::system_error` whose `what()` is the whole sentence; what
/// `result::value()` does.
[[noreturn]] void throw_exception_from_error(failure const& f, boost::source_location const& where);

}  // namespace cleat

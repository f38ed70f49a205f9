#pragma once

#include <cleat/base/environment.hpp>
#include <cleat/base/failure.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace cleat::sim {

/// What may fail of a network and of its streams. (`close` cannot.)
enum class io : std::uint8_t { listen, dial, accept, readable, read, writable, write };

inline constexpr std::array ios{io::listen, io::dial,     io::accept, io::readable,
                                io::read,   io::writable, io::write};

/// A word for messages: `writable`.
[[nodiscard]] std::string_view to_string(io o) noexcept;

/// Which operation fails, and how.
class io_fault {
 public:
  io_fault() noexcept {}

  /// Which one, counted from 1 in the order in which they begin; 0: none.
  std::uint64_t nth = 0;

  /// The reason if it is one of a listener or a dialer. An `accept` that fails as `reset` has lost
  /// the connection; otherwise the connection waits for the next one, as it does when the system is
  /// short of descriptors.
  kind listen = kind::resources;
  kind dial = kind::refused;
  kind accept = kind::resources;
  /// The reason if it is one of a stream, and of all that is asked of that stream afterwards. Its
  /// other end is told.
  kind stream = kind::reset;
  /// It does what it should, and says so; only then the stream is broken. (A `listen` fails as
  /// ever.)
  bool afterwards = false;

  /// No read and no write moves more at once: frames are cut wherever that falls.
  std::size_t bytes_at_once = std::numeric_limits<std::size_t>::max();
};

/// Stands in front of a context's network, whatever that is, counts each operation that passes and
/// lets one of them fail, once. A stream with a failed operation is broken, as a real one would be:
/// whoever waits for it is told, nothing passes any more, and its other end comes to its end.
///
/// ```
/// sim::io_fault fault;
/// fault.nth = 7;
/// sim::failing_network io{world.executor(), fault};
/// …                                                  // what is dialled from here on may fail
/// std::cout << io.what() << '\n';                    // "operation 7, a read of dialled stream 1"
/// ```
///
/// It stays in place when this object goes. Thread safety: none.
class failing_network {
 public:
  failing_network(environment::executor_type const& executor, io_fault const& how);

  /// How many operations have begun.
  [[nodiscard]] std::uint64_t passed() const noexcept;
  /// The operation that failed; nothing if it did not come to that.
  [[nodiscard]] std::optional<io> failed() const noexcept;
  /// The same in words.
  [[nodiscard]] std::string what() const;
  /// From here on nothing fails, and nothing is counted. What is broken stays broken.
  void calm() noexcept;

  /// Streams and listeners that nobody has destroyed yet.
  [[nodiscard]] std::size_t open() const noexcept;

 private:
  class state;
  class link;
  class stream;
  class listener;
  class model;

  std::shared_ptr<state> state_;
};

}  // namespace cleat::sim

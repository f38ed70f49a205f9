#pragma once

#include <cleat/base/bytes.hpp>
#include <cleat/base/call.hpp>
#include <cleat/base/task.hpp>

#include <concepts>
#include <cstddef>
#include <span>
#include <string>

namespace cleat {

/// A stream of bytes between two ends, reliable and in order, that costs nothing while idle: it
/// pins no buffer. One waits until it is ready, then moves bytes from or to memory that is lent for
/// the length of that call.
///
/// - `read(into)` takes what is there, at most `into.size()` bytes, and gives their number; 0 when
/// nothing is there
///   yet. At the end of the stream it fails: `closed` (in good order), `reset`, `shut_down` (we
///   closed it). It never waits. Reading into an empty span gives 0.
/// - `readable()` waits until `read` would give something or fail. Spurious wake-ups are allowed.
/// - `write(gather)` hands over as much as is accepted now of all spans in their order and gives
/// the number of
///   bytes; 0 when nothing is accepted yet. It never waits. The spans are not needed afterwards.
/// - `writable()` waits until `write` would accept something or fail.
/// - `close()` ends the stream at once, in both directions. Waits that are under way end,
///   well or as `shut_down` or `cancelled`, and `read` and `write` fail from then on. Closing twice
///   is harmless. The destructor closes.
/// - `executor()` is where the waits complete; all members are used there.
///
/// One chain reads and one writes at a time, and they may do so side by side. A cancelled wait
/// harms nothing: no byte is taken or lost.
///
/// Example: `transport/memory.hpp`. Checked by `conformance/transport.hpp`.
template <class T>
concept Transport = std::movable<T> && requires(T t, T const ct, std::span<std::byte> into,
                                                std::span<bytes_view const> gather) {
  { t.readable() } -> AwaitsTo<result<void>>;
  { t.read(into) } noexcept -> std::same_as<result<std::size_t>>;
  { t.writable() } -> AwaitsTo<result<void>>;
  { t.write(gather) } noexcept -> std::same_as<result<std::size_t>>;
  { t.close() } noexcept;
  { ct.executor() } -> std::convertible_to<environment::executor_type>;
};

/// Makes connections to one peer.
///
/// - `dial(call)` gives a connected stream on the calling chain's executor, or fails: `unresolved`,
/// `refused`,
///   `unreachable`, `timed_out`, `cancelled`, `resources`; always with `certainty::not_sent`. It
///   ends by the call's deadline, whatever it waits for.
/// - `address()` names the peer for people and logs, e.g. `lamp.local:9000`.
template <class D>
concept Dialer = requires(D d, D const cd, call const& c) {
  typename D::stream_type;
  requires Transport<typename D::stream_type>;
  { d.dial(c) } -> AwaitsTo<result<typename D::stream_type>>;
  { cd.address() } -> std::convertible_to<std::string>;
};

/// Accepts connections.
///
/// - `accept()` waits for the next one. Fails as `shut_down` after `close`, `cancelled`, or
/// `resources`; after the
///   last it may be called again (later).
/// - `close()` ends a wait that is under way.
/// - `address()` is where it listens, with the port that the system chose if 0 was asked for.
template <class L>
concept Listener = requires(L l, L const cl) {
  typename L::stream_type;
  requires Transport<typename L::stream_type>;
  { l.accept() } -> AwaitsTo<result<typename L::stream_type>>;
  { l.close() } noexcept;
  { cl.address() } -> std::convertible_to<std::string>;
};

}  // namespace cleat

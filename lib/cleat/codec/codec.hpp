#pragma once

#include <cleat/base/bytes.hpp>
#include <cleat/base/result.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <variant>

namespace cleat {

/// What a decoder says of the bytes before it. Exactly one of four:
/// needs at least `n` more; here is a message, and it used `n` bytes; skip `n` bytes, for this
/// reason; the stream is lost, for this reason.
template <class Message>
class decoded {
 public:
  struct need {
    std::size_t more;
  };
  struct skip {
    std::size_t used;
    failure why;
  };
  struct lost {
    failure why;
  };
  struct item {
    item(Message m, std::size_t n) : message(std::move(m)), used(n) {}
    explicit item(std::size_t n)
      requires std::default_initializable<Message>
        : used(n) {}
    Message message;
    std::size_t used;
  };

  decoded(need n) : state_(n) {}             // NOLINT(google-explicit-constructor)
  decoded(skip s) : state_(std::move(s)) {}  // NOLINT(google-explicit-constructor)
  decoded(lost l) : state_(std::move(l)) {}  // NOLINT(google-explicit-constructor)
  decoded(Message m, std::size_t used) : state_(std::in_place_type<item>, std::move(m), used) {}
  /// A message that is still to be filled in, through `has_item`: what is large is then never moved.
  decoded(std::in_place_t, std::size_t used)
    requires std::default_initializable<Message>
      : state_(std::in_place_type<item>, used) {}

  [[nodiscard]] need const* needs() const noexcept { return std::get_if<need>(&state_); }
  [[nodiscard]] skip const* skips() const noexcept { return std::get_if<skip>(&state_); }
  [[nodiscard]] lost const* is_lost() const noexcept { return std::get_if<lost>(&state_); }
  [[nodiscard]] item* has_item() noexcept { return std::get_if<item>(&state_); }

 private:
  std::variant<need, item, skip, lost> state_;
};

/// Between bytes and messages: pure and incremental. No clock, no network, no state that depends on
/// how the bytes were cut.
///
/// `decode(unread)` looks at all bytes that were received and not yet used, and says what is at
/// their beginning.
/// - It never reads outside `unread` and keeps no reference to it.
/// - `need.more` is at least 1, and small enough that a whole message never waits for bytes behind
/// it.
/// - `item.used` and `skip.used` are at least 1 and at most `unread.size()`.
/// - Empty input needs more. The same bytes give the same messages however they are cut.
/// - A declared length is judged against the limit before anything is allocated.
/// - Errors: `skip` when the framing is intact and one frame is not; `lost` when the next frame
/// cannot be found. The
///   failures are `kind::malformed`, with a code of the codec's own and the offset, counted from
///   the beginning of `unread`. After `lost` the decoder is not called again.
///
/// `encode(message, out)` appends the whole message, or fails (`kind::invalid`) and leaves `out` as
/// it was.
///
/// Cancellation does not apply: nothing waits. Example: `codec/f00d.hpp`.
template <class C>
concept Codec =
    requires(C const codec, bytes_view unread, typename C::message const message, byte_buffer out) {
      requires std::movable<typename C::message>;
      { codec.decode(unread) } -> std::same_as<decoded<typename C::message>>;
      { codec.encode(message, out) } -> std::same_as<result<void>>;
    };

}  // namespace cleat

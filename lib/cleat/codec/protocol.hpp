#pragma once

#include <cleat/base/borrowed_text.hpp>
#include <cleat/base/call.hpp>
#include <cleat/codec/codec.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

namespace cleat {

/// What joins an answer to its request. `space` keeps kinds of keys apart (a receipt's number, a
/// sequence, the state of a target); each codec numbers its own spaces.
class match_key {
 public:
  constexpr match_key() noexcept = default;
  constexpr match_key(std::uint32_t space, std::uint64_t value) noexcept
      : value_(value), space_(space) {}

  /// A key that several requests may carry at once; answers then meet them in the order in which
  /// they were sent. A key that stays the same over the attempts of a call is such a key.
  [[nodiscard]] static constexpr match_key in_order(std::uint32_t space,
                                                    std::uint64_t value = 0) noexcept {
    match_key k{space, value};
    k.shared_ = true;
    return k;
  }

  [[nodiscard]] constexpr bool shared() const noexcept { return shared_; }
  [[nodiscard]] constexpr std::uint64_t value() const noexcept { return value_; }
  [[nodiscard]] constexpr std::uint32_t space() const noexcept { return space_; }
  friend constexpr bool operator==(match_key const& a, match_key const& b) noexcept {
    return a.value_ == b.value_ && a.space_ == b.space_;
  }

 private:
  std::uint64_t value_ = 0;
  std::uint32_t space_ = 0;
  bool shared_ = false;
};

/// Up to four keys, held in place.
class match_keys {
 public:
  static constexpr std::size_t size_max = 4;

  constexpr match_keys() noexcept = default;
  constexpr match_keys(match_key only) noexcept {
    add(only);
  }  // NOLINT(google-explicit-constructor)

  constexpr match_keys& add(match_key k) noexcept {
    if (size_ == size_max) std::abort();  // a protocol's own mistake
    keys_[size_++] = k;
    return *this;
  }
  [[nodiscard]] constexpr match_key const* begin() const noexcept { return keys_.data(); }
  [[nodiscard]] constexpr match_key const* end() const noexcept { return keys_.data() + size_; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }

 private:
  std::array<match_key, size_max> keys_{};
  std::uint8_t size_ = 0;
};

/// What a received message is to the session that received it.
enum class role : std::uint8_t {
  request,   ///< the peer asks us
  progress,  ///< the request with this key goes on
  answer,    ///< the request with this key is over
  push,      ///< nobody asked
};

/// How a received message relates to the requests that wait: its role, and the keys under which it
/// may be awaited, tried in their order.
class relation {
 public:
  constexpr relation(role what, match_keys under = {}) noexcept
      : as(what), keys(under) {}  // NOLINT(*-explicit-*)

  role as;
  match_keys keys;
  /// Also of interest to whoever takes pushes, awaited or not: the report of a state proves a
  /// command and is news.
  bool also_push = false;
  /// A remark for the logs with static lifetime, e.g. "unframed".
  borrowed_text note;
};

/// A request, numbered and ready to be encoded, and the keys under which its answers will come.
template <class Message>
class opened {
 public:
  opened(Message m, match_keys k) : message(std::move(m)), keys(k) {}
  /// Still to be filled in: what is large is then never moved.
  opened()
    requires std::default_initializable<Message>
  {}
  Message message;
  match_keys keys;
};

/// A readable matching key for logs.
using message_id = text<40>;

/// A codec that also knows how messages relate: what a session needs.
///
/// - `open(request, call, number)` makes the message of a request. `number` is new for each request
/// of a session; the
///   session asks again with the next one if a key that is not `shared` is still awaited. Fails
///   with `kind::invalid`.
/// - `relate(message)` says what a received message is to us.
/// - `conclude(message)` turns the final answer into the caller's response, or into the failure
/// that it means
///   (`kind::rejected`, `certainty::rejected`).
/// - `id(message)` is the matching key for people.
///
/// It may also have `keys_of_unreadable(frame)`, which gives the keys of a frame that `decode` skips,
/// if it bears any: the call that awaits an answer under them then fails at once, with the reason
/// why the frame cannot be read. Without it, and for a frame without keys, the frame is passed over.
///
/// All of them are pure. They are called on the session's executor, by its reader: no waiting, no slow
/// work.
template <class P>
concept Protocol =
    Codec<P> && requires(P const p, typename P::request const& request, call const& c,
                         std::uint64_t number, typename P::message message) {
      { p.open(request, c, number) } -> std::same_as<result<opened<typename P::message>>>;
      { p.relate(std::as_const(message)) } -> std::same_as<relation>;
      { p.conclude(std::move(message)) } -> std::same_as<result<typename P::response>>;
      { p.id(std::as_const(message)) } -> std::same_as<message_id>;
    };

}  // namespace cleat

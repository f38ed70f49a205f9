#pragma once

#include <cleat/base/bytes.hpp>
#include <cleat/base/result.hpp>
#include <cleat/codec/codec.hpp>

#include <boost/system/error_code.hpp>

#include <algorithm>
#include <array>
#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

namespace cleat {

/// What can be wrong with a frame. Each text is short and in lower case, as a label of a metric
/// wants it.
enum class f00d_errc {
  wrong_magic = 1,  ///< offset: the first byte that differs
  unknown_version,  ///< offset 2
  oversize,         ///< offset 3: the declared length is over the limit
};

[[nodiscard]] boost::system::error_category const& f00d_category() noexcept;

[[nodiscard]] inline boost::system::error_code make_error_code(f00d_errc e) noexcept {
  return {static_cast<int>(e), f00d_category()};
}

/// What to do with bytes that are not a frame where a frame should begin. Some old devices answer
/// bare bytes.
enum class unframed : std::uint8_t {
  refuse,  ///< the stream is lost: wrong magic
  ack,     ///< exactly the three bytes `ACK` are a message; anything else is lost
  any,     ///< whatever has arrived, up to the next `F0 0D` or the payload limit, is a message
};

/// Settings of a framing.
class f00d_options {
 public:
  static constexpr std::size_t payload_bytes_default = 64 * std::size_t{1024};

  constexpr f00d_options() noexcept = default;
  explicit constexpr f00d_options(std::size_t payload_limit,
                                  unframed mode = unframed::refuse) noexcept
      : payload_bytes_max(payload_limit), bare(mode) {}
  explicit constexpr f00d_options(unframed mode) noexcept : bare(mode) {}

  /// The longest payload, in bytes, both ways.
  std::size_t payload_bytes_max = payload_bytes_default;
  /// What to do with unframed bytes.
  unframed bare = unframed::refuse;
};

/// What stands inside the frames: a message layer.
///
/// - `parse(payload)` reads a message, which is all of the payload. Fails with `kind::malformed`
///   and an offset that counts from the beginning of the payload.
/// - `append(message, out)` writes one behind what `out` holds. May leave half of it there when it
///   fails: the framing takes it back.
template <class P>
concept F00dPayload = requires(P const layer, bytes_view payload, typename P::message const message,
                               byte_buffer out) {
  requires std::movable<typename P::message>;
  { layer.parse(payload) } -> std::same_as<result<typename P::message>>;
  { layer.append(message, out) } -> std::same_as<result<void>>;
};

/// A message layer that can also read into a message that is there already, default-constructed:
/// what is large is then never moved. After an error it may hold anything.
template <class P>
concept InPlacePayload = F00dPayload<P> && std::default_initializable<typename P::message> &&
                         requires(P const layer, bytes_view payload, typename P::message message) {
                           { layer.parse(payload, message) } -> std::same_as<result<void>>;
                         };

/// A message layer that also knows bytes without a frame, which `unframed::ack` and `unframed::any`
/// ask for.
///
/// - `from_unframed(bytes)` makes a message of them; `bytes` is never empty.
/// - `unframed_bytes(message)` gives them back, and nothing for every other message.
template <class P>
concept UnframedPayload =
    F00dPayload<P> && requires(P const layer, bytes_view bytes, typename P::message const message) {
      { layer.from_unframed(bytes) } -> std::same_as<typename P::message>;
      { layer.unframed_bytes(message) } -> std::same_as<std::optional<bytes_view>>;
    };

namespace detail {

/// What every frame begins with: the magic, and the version.
inline constexpr std::array f00d_prefix{std::byte{0xF0}, std::byte{0x0D}, std::byte{0x01}};
inline constexpr std::size_t f00d_header_bytes = f00d_prefix.size() + 4;

[[nodiscard]] constexpr std::array<std::byte, f00d_header_bytes> f00d_header(
    std::size_t payload_bytes) noexcept {
  auto const byte = [&](unsigned shift) {
    return static_cast<std::byte>(payload_bytes >> shift & 0xFFU);
  };
  return {f00d_prefix[0], f00d_prefix[1], f00d_prefix[2], byte(24), byte(16), byte(8), byte(0)};
}

/// What a header says of the payload.
[[nodiscard]] constexpr std::uint32_t f00d_declared(bytes_view header) noexcept {
  auto const byte = [&](std::size_t n) { return std::to_integer<std::uint32_t>(header[n]); };
  return byte(3) << 24U | byte(4) << 16U | byte(5) << 8U | byte(6);
}

/// The payload of the whole frame at the beginning, if there is one.
[[nodiscard]] constexpr std::optional<bytes_view> f00d_whole(bytes_view unread,
                                                             std::size_t bytes_max) noexcept {
  if (unread.size() < f00d_header_bytes) return std::nullopt;
  if (!std::equal(f00d_prefix.begin(), f00d_prefix.end(), unread.begin())) return std::nullopt;
  std::size_t const declared = f00d_declared(unread);
  if (declared > bytes_max || declared > unread.size() - f00d_header_bytes) return std::nullopt;
  return unread.subspan(f00d_header_bytes, declared);
}

struct f00d_need {
  std::size_t more;
};
struct f00d_bare {
  std::size_t bytes;
};
/// What stands at the beginning of some bytes: part of something, unframed bytes, or nothing known.
using f00d_verdict = std::variant<f00d_need, f00d_bare, failure>;

/// Of bytes that do not begin with a whole frame.
[[nodiscard]] f00d_verdict f00d_judge(bytes_view unread, f00d_options const& options);
/// Whether a reader with these options takes `bytes` for one unframed message.
[[nodiscard]] bool f00d_may_write_bare(bytes_view bytes, f00d_options const& options);
[[nodiscard]] failure f00d_oversize(std::size_t payload_bytes, f00d_options const& options);

}  // namespace detail

/// The framing `F0 0D`, version `01`, the payload's length (unsigned, 32 bits, big-endian), the
/// payload. Models `Codec` over a message layer.
///
/// - A frame is judged by its prefix: the first byte that cannot be right is an error, without
///   waiting for more. The length is judged against the limit before anything is allocated.
/// - Wrong magic, unknown version and oversize: `lost`. A payload that the layer cannot parse, in
///   an intact frame: `skip`, with the layer's error and the offset in the frame.
/// - `unframed::ack`: `ACK` is a message as soon as it is there. If other bytes came with it that
///   begin neither a frame nor another `ACK`, then these were not exactly three bytes: `lost`,
///   wrong magic at byte 3. So here, and in `unframed::any`, where what has arrived is the message,
///   it matters how a stream that is not in order was cut.
/// - `encode` writes a message for which the layer has `unframed_bytes` without a frame, if a
///   reader with the same options would take it; else that fails.
///
/// Any number of threads may use one at the same time if they may so use the layer.
template <F00dPayload Payload>
class f00d {
 public:
  using message = typename Payload::message;

  explicit f00d(Payload layer = {},
                f00d_options options = {}) noexcept(std::is_nothrow_move_constructible_v<Payload>)
      : layer_(std::move(layer)), options_(options) {
    if constexpr (!UnframedPayload<Payload>) {
      assert(options.bare == unframed::refuse && "the message layer knows no unframed bytes");
      options_.bare = unframed::refuse;
    }
  }

  [[nodiscard]] f00d_options const& options() const noexcept { return options_; }

  [[nodiscard]] decoded<message> decode(bytes_view unread) const {
    if (auto const payload = detail::f00d_whole(unread, options_.payload_bytes_max)) {
      return decode_payload(*payload);
    }
    return decode_rest(unread);
  }

  [[nodiscard]] result<void> encode(message const& m, byte_buffer& out) const {
    if constexpr (UnframedPayload<Payload>) {
      if (std::optional<bytes_view> const bare = layer_.unframed_bytes(m))
        return encode_bare(*bare, out);
    }
    std::size_t const mark = out.size();
    out.resize(mark + detail::f00d_header_bytes);
    auto written = layer_.append(m, out);
    std::size_t const bytes = out.size() - mark - detail::f00d_header_bytes;
    if (written && bytes > options_.payload_bytes_max)
      written = detail::f00d_oversize(bytes, options_);
    if (!written) {
      out.resize(mark);
      return written;
    }
    auto const header = detail::f00d_header(bytes);
    std::copy(header.begin(), header.end(), out.begin() + static_cast<std::ptrdiff_t>(mark));
    return {};
  }

 private:
  /// Everything but a whole frame.
  [[nodiscard]] decoded<message> decode_rest(bytes_view unread) const {
    auto const verdict = detail::f00d_judge(unread, options_);
    if (auto const* const need = std::get_if<detail::f00d_need>(&verdict)) {
      return typename decoded<message>::need{need->more};
    }
    if constexpr (UnframedPayload<Payload>) {
      if (auto const* const bare = std::get_if<detail::f00d_bare>(&verdict)) {
        return decoded<message>{layer_.from_unframed(unread.first(bare->bytes)), bare->bytes};
      }
    }
    return typename decoded<message>::lost{*std::get_if<failure>(&verdict)};
  }

  [[nodiscard]] decoded<message> decode_payload(bytes_view payload) const {
    std::size_t const used = detail::f00d_header_bytes + payload.size();
    result<message> parsed = layer_.parse(payload);
    if (!parsed) return unreadable(used, parsed.error());
    return {std::move(*parsed), used};
  }

  [[nodiscard]] decoded<message> decode_payload(bytes_view payload) const
    requires InPlacePayload<Payload>
  {
    std::size_t const used = detail::f00d_header_bytes + payload.size();
    decoded<message> step{std::in_place, used};
    auto const read = layer_.parse(payload, step.has_item()->message);
    if (!read) step = unreadable(used, read.error());
    return step;
  }

  [[nodiscard]] static typename decoded<message>::skip unreadable(std::size_t used,
                                                                  failure const& why) {
    std::size_t const inside = why.offset() == failure::no_offset ? 0 : why.offset();
    return {used, why.with_offset(detail::f00d_header_bytes + inside)};
  }

  [[nodiscard]] result<void> encode_bare(bytes_view bare, byte_buffer& out) const {
    if (!detail::f00d_may_write_bare(bare, options_)) {
      return failure{make_error_code(f00d_errc::wrong_magic), kind::invalid, certainty::not_sent}
          .with_detail("an unframed message that its reader would refuse");
    }
    append(out, bare);
    return {};
  }

  [[no_unique_address]] Payload layer_;
  f00d_options options_;
};

}  // namespace cleat

template <>
struct boost::system::is_error_code_enum<cleat::f00d_errc> : std::true_type {};

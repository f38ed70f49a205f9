#pragma once

#include <cleat/codec/protocol.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sweeping {

/// One message of a small protocol that has everything: receipts before answers, refusals, pushes, and so few numbers
/// that they come round while old answers are still on their way.
class parcel {
 public:
  enum class type : std::uint8_t { ask, receipt, answer, refusal, push };

  parcel() noexcept = default;
  parcel(type t, std::uint8_t n, std::uint64_t op, std::uint64_t v,
         std::uint16_t padding = 0) noexcept
      : is(t), number(n), operation(op), value(v), padding_bytes(padding) {}

  type is = type::push;
  std::uint8_t number = 0;
  std::uint64_t operation = 0;
  std::uint64_t value = 0;
  std::uint16_t padding_bytes = 0;  ///< so many bytes follow that mean nothing
};

/// What a caller asks, and what it is answered: `value` + 1, under the operation that it asked with.
class question {
 public:
  explicit question(std::uint64_t v, std::uint16_t padding = 0) noexcept
      : value(v), padding_bytes(padding) {}
  std::uint64_t value;
  std::uint16_t padding_bytes;
};
class reply {
 public:
  reply(std::uint64_t op, std::uint64_t v) noexcept : operation(op), value(v) {}
  std::uint64_t operation;
  std::uint64_t value;
};

/// `F5`, length of the rest (2 bytes), type, number, operation, value, padding. Models `cleat::Protocol`.
class parcel_protocol {
 public:
  using message = parcel;
  using request = question;
  using response = reply;

  static constexpr std::size_t header_bytes = 3;
  static constexpr std::size_t body_bytes_min = 18;
  static constexpr std::size_t body_bytes_max = 400;
  /// Numbers come round after so many.
  static constexpr std::uint64_t numbers = 16;

  [[nodiscard]] cleat::decoded<parcel> decode(cleat::bytes_view unread) const;
  [[nodiscard]] cleat::result<void> encode(parcel const& p, cleat::byte_buffer& out) const;

  [[nodiscard]] cleat::result<cleat::opened<parcel>> open(question const& q, cleat::call const& c,
                                                          std::uint64_t number) const;
  [[nodiscard]] cleat::relation relate(parcel const& p) const noexcept;
  [[nodiscard]] cleat::result<reply> conclude(parcel p) const;
  [[nodiscard]] cleat::message_id id(parcel const& p) const noexcept;
};

}  // namespace sweeping

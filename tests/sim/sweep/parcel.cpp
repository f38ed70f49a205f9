#include "parcel.hpp"

#include <cleat/base/ids.hpp>

#include <chrono>

namespace sweeping {

using cleat::byte_buffer;
using cleat::bytes_view;
using cleat::certainty;
using cleat::failure;
using cleat::kind;

static_assert(cleat::Protocol<parcel_protocol>);

namespace {

constexpr std::byte magic{0xF5};

void put(byte_buffer& out, std::uint64_t value, unsigned bytes) {
  while (bytes-- > 0) out.push_back(static_cast<std::byte>(value >> (8 * bytes)));
}

[[nodiscard]] std::uint64_t get(bytes_view from) noexcept {
  std::uint64_t value = 0;
  for (std::byte const b : from) value = value << 8U | std::to_integer<std::uint64_t>(b);
  return value;
}

}  // namespace

cleat::decoded<parcel> parcel_protocol::decode(bytes_view unread) const {
  using step = cleat::decoded<parcel>;
  failure const malformed{kind::malformed, certainty::maybe_executed};
  if (unread.empty()) return step::need{header_bytes};
  if (unread[0] != magic)
    return step::lost{malformed.with_detail("no parcel begins here").with_offset(0)};
  if (unread.size() < header_bytes) return step::need{header_bytes - unread.size()};
  auto const body = static_cast<std::size_t>(get(unread.subspan(1, 2)));
  if (body < body_bytes_min || body > body_bytes_max)
    return step::lost{malformed.with_detail("length").with_offset(1)};
  std::size_t const whole = header_bytes + body;
  if (unread.size() < whole) return step::need{whole - unread.size()};
  auto const type = std::to_integer<std::uint8_t>(unread[3]);
  if (type > static_cast<std::uint8_t>(parcel::type::push))
    return step::skip{whole, malformed.with_detail("type").with_offset(3)};
  return step{parcel{static_cast<parcel::type>(type), std::to_integer<std::uint8_t>(unread[4]),
                     get(unread.subspan(5, 8)), get(unread.subspan(13, 8)),
                     static_cast<std::uint16_t>(body - body_bytes_min)},
              whole};
}

cleat::result<void> parcel_protocol::encode(parcel const& p, byte_buffer& out) const {
  if (p.padding_bytes > body_bytes_max - body_bytes_min)
    return failure{kind::invalid, certainty::not_sent};
  out.push_back(magic);
  put(out, body_bytes_min + p.padding_bytes, 2);
  put(out, static_cast<std::uint64_t>(p.is), 1);
  put(out, p.number, 1);
  put(out, p.operation, 8);
  put(out, p.value, 8);
  out.resize(out.size() + p.padding_bytes);
  return {};
}

cleat::result<cleat::opened<parcel>> parcel_protocol::open(question const& q, cleat::call const& c,
                                                           std::uint64_t number) const {
  auto const n = static_cast<std::uint8_t>(number % numbers);
  parcel p{parcel::type::ask, n, c.operation, q.value, q.padding_bytes};
  return cleat::opened<parcel>{p, cleat::match_key{1, n}};
}

cleat::relation parcel_protocol::relate(parcel const& p) const noexcept {
  cleat::match_key const key{1, p.number};
  switch (p.is) {
    case parcel::type::ask:
      return cleat::role::request;
    case parcel::type::receipt:
      return {cleat::role::progress, key};
    case parcel::type::answer:
    case parcel::type::refusal:
      return {cleat::role::answer, key};
    case parcel::type::push:
      break;
  }
  return cleat::role::push;
}

cleat::result<reply> parcel_protocol::conclude(parcel p) const {
  if (p.is == parcel::type::answer) return reply{p.operation, p.value};
  failure const refused{kind::rejected, certainty::rejected};
  if (p.value % 2 == 0) return refused;
  return refused.with_retry_after(std::chrono::milliseconds{100});
}

cleat::message_id parcel_protocol::id(parcel const& p) const noexcept {
  return cleat::hex16(p.number).view();
}

}  // namespace sweeping

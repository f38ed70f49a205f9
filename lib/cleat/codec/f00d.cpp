#include <cleat/codec/f00d.hpp>

#include <algorithm>
#include <string>
#include <string_view>

namespace cleat {

namespace {

class f00d_category_type final : public boost::system::error_category {
 public:
  [[nodiscard]] char const* name() const noexcept override { return "cleat.f00d"; }
  [[nodiscard]] std::string message(int value) const override { return words(value); }
  char const* message(int value, char*, std::size_t) const noexcept override {
    return words(value);
  }

 private:
  static char const* words(int value) noexcept {
    switch (static_cast<f00d_errc>(value)) {
      case f00d_errc::wrong_magic:
        return "wrong magic";
      case f00d_errc::unknown_version:
        return "unknown version";
      case f00d_errc::oversize:
        return "oversize";
    }
    return "unknown framing error";
  }
};

constexpr std::array magic{detail::f00d_prefix[0], detail::f00d_prefix[1]};
constexpr std::byte version = detail::f00d_prefix[2];
constexpr std::string_view bare_ack = "ACK";

failure broken(f00d_errc e, std::size_t offset) noexcept {
  return failure{make_error_code(e), kind::malformed, certainty::maybe_executed}.with_offset(
      offset);
}

failure wrong_byte(f00d_errc e, bytes_view unread, std::size_t offset) {
  return broken(e, offset).with_detail("found " + to_hex(unread.subspan(offset, 1)));
}

std::string over_the_limit(std::size_t payload_bytes, std::string_view what,
                           f00d_options const& options) {
  return std::to_string(payload_bytes).append(what).append(", at most ") +
         std::to_string(options.payload_bytes_max);
}

/// How many bytes at the beginning of both are the same.
std::size_t common_prefix(bytes_view a, bytes_view b) noexcept {
  auto const at = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<std::size_t>(at.first - a.begin());
}

/// The bytes are the beginning of `whole`, or begin with it.
bool may_begin(bytes_view bytes, bytes_view whole) noexcept {
  return common_prefix(bytes, whole) == std::min(bytes.size(), whole.size());
}

/// Of the part of a frame, or of what might have been one.
detail::f00d_verdict judge_part(bytes_view unread, f00d_options const& options) {
  std::size_t const same = common_prefix(unread, magic);
  if (same < std::min(unread.size(), magic.size())) {
    return wrong_byte(f00d_errc::wrong_magic, unread, same);
  }
  if (unread.size() > 2 && unread[2] != version) {
    return wrong_byte(f00d_errc::unknown_version, unread, 2);
  }
  if (unread.size() < detail::f00d_header_bytes) {
    return detail::f00d_need{detail::f00d_header_bytes - unread.size()};
  }
  std::size_t const declared = detail::f00d_declared(unread);
  if (declared > options.payload_bytes_max) {
    return broken(f00d_errc::oversize, 3)
        .with_detail(over_the_limit(declared, " bytes declared", options));
  }
  return detail::f00d_need{detail::f00d_header_bytes + declared - unread.size()};
}

detail::f00d_verdict judge_ack(bytes_view unread) {
  bytes_view const ack = as_bytes(bare_ack);
  std::size_t const same = common_prefix(unread, ack);
  if (same < std::min(unread.size(), ack.size())) {
    return wrong_byte(f00d_errc::wrong_magic, unread, same);
  }
  if (unread.size() < ack.size()) return detail::f00d_need{ack.size() - unread.size()};
  bytes_view const behind = unread.subspan(ack.size());
  if (!may_begin(behind, magic) && !may_begin(behind, ack)) {
    return wrong_byte(f00d_errc::wrong_magic, unread, ack.size());
  }
  return detail::f00d_bare{ack.size()};
}

/// Where the next frame begins, or the end.
std::size_t bare_bytes(bytes_view unread, f00d_options const& options) noexcept {
  auto const next = std::search(unread.begin(), unread.end(), magic.begin(), magic.end());
  auto n = static_cast<std::size_t>(next - unread.begin());
  if (n == unread.size() && n > 1 && unread.back() == magic.front())
    --n;  // half of a magic, perhaps
  return std::min(n, std::max<std::size_t>(options.payload_bytes_max, 1));
}

}  // namespace

boost::system::error_category const& f00d_category() noexcept {
  static f00d_category_type const instance;
  return instance;
}

namespace detail {

f00d_verdict f00d_judge(bytes_view unread, f00d_options const& options) {
  switch (options.bare) {
    case unframed::refuse:
      break;
    case unframed::ack:
      if (unread.empty()) return f00d_need{bare_ack.size()};
      if (unread.front() != magic.front()) return judge_ack(unread);
      break;
    case unframed::any:
      if (unread.empty() || (unread.size() == 1 && unread.front() == magic.front())) {
        return f00d_need{1};
      }
      if (!may_begin(unread, magic)) return f00d_bare{bare_bytes(unread, options)};
      break;
  }
  return judge_part(unread, options);
}

bool f00d_may_write_bare(bytes_view bytes, f00d_options const& options) {
  if (f00d_whole(bytes, options.payload_bytes_max)) return false;
  auto const verdict = f00d_judge(bytes, options);
  auto const* const bare = std::get_if<f00d_bare>(&verdict);
  return bare != nullptr && bare->bytes == bytes.size();
}

failure f00d_oversize(std::size_t payload_bytes, f00d_options const& options) {
  return failure{make_error_code(f00d_errc::oversize), kind::invalid, certainty::not_sent}
      .with_detail(over_the_limit(payload_bytes, " bytes", options));
}

}  // namespace detail

}  // namespace cleat

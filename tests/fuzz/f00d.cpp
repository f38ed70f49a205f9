// The framing alone, over a layer that takes any bytes: whatever arrives, however it is cut, the
// promises of codec/codec.hpp hold, and what is allocated is bounded by the limit.
#include "fuzz.hpp"

#include <cleat/codec/f00d.hpp>

#include <new>
#include <string>
#include <vector>

namespace {

std::size_t largest_allocation = 0;

}  // namespace

// Counted here and not by a sanitizer, so that the corpus proves it with every compiler.
void* operator new(std::size_t n) {
  largest_allocation = std::max(largest_allocation, n);
  if (void* const p = std::malloc(n == 0 ? 1 : n)) return p;
  throw std::bad_alloc{};
}
void* operator new(std::size_t n, std::nothrow_t const&) noexcept {
  return std::malloc(n == 0 ? 1 : n);
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace {

using cleat::byte_buffer;
using cleat::bytes_view;
using cleat::failure;
using cleat::unframed;
using fuzz::require;

/// A payload of any bytes, but for one that begins with '!': that cannot be read.
struct chunk {
  byte_buffer bytes;
  bool bare = false;
};

class chunk_layer {
 public:
  using message = chunk;

  [[nodiscard]] cleat::result<chunk> parse(bytes_view payload) const {
    if (!payload.empty() && payload.front() == std::byte{'!'}) {
      return failure{make_error_code(boost::system::errc::bad_message), cleat::kind::malformed,
                     cleat::certainty::maybe_executed}
          .with_offset(payload.size());
    }
    return chunk{{payload.begin(), payload.end()}, false};
  }
  [[nodiscard]] cleat::result<void> append(chunk const& m, byte_buffer& out) const {
    cleat::append(out, m.bytes);
    return {};
  }
  [[nodiscard]] chunk from_unframed(bytes_view bytes) const {
    require(!bytes.empty(), "an unframed message has bytes");
    return {{bytes.begin(), bytes.end()}, true};
  }
  [[nodiscard]] std::optional<bytes_view> unframed_bytes(chunk const& m) const {
    if (!m.bare) return std::nullopt;
    return bytes_view{m.bytes};
  }
};

using codec = cleat::f00d<chunk_layer>;
constexpr std::size_t header_bytes = 7;

/// What came out of a stream, one text each.
struct transcript {
  std::vector<std::string> events;
  bool after_bare = false;
  bool lost = false;
  std::size_t at = 0;    ///< where it ended, or what stands there goes on
  std::size_t more = 0;  ///< needed there
  std::string why;       ///< it was lost

  void bare(bytes_view bytes, bool joined) {
    if (!after_bare || !joined) events.emplace_back("bare ");
    events.back() += cleat::as_text(bytes);
    after_bare = true;
  }
  void add(std::string event) {
    events.push_back(std::move(event));
    after_bare = false;
  }
};

void check_failure(failure const& why, std::size_t size) {
  require(why.why() == cleat::kind::malformed, "an error of decode is malformed");
  require(why.code().failed(), "an error of decode has a code");
  require(why.offset() <= size, "the offset of an error is in the input");
}

/// Writing a message gives the bytes that it was read from; a bare one may be refused.
void check_round_trip(codec const& c, chunk const& m, bytes_view from) {
  byte_buffer out(3, std::byte{0xA5});
  auto const written = c.encode(m, out);
  if (!written) {
    require(m.bare, "a message in a frame can be written again");
    require(written.error().why() == cleat::kind::invalid && out.size() == 3,
            "an encode that fails leaves the buffer as it was");
    return;
  }
  require(std::equal(out.begin() + 3, out.end(), from.begin(), from.end()),
          "writing gives the bytes that were read");
}

/// Decodes what is there until it needs more; gives whether the stream goes on.
bool advance(codec const& c, bytes_view stream, std::size_t& used, std::size_t have,
             transcript& t) {
  for (;;) {
    // A copy that ends where the input ends, for the address sanitizer.
    byte_buffer const unread(stream.begin() + static_cast<std::ptrdiff_t>(used),
                             stream.begin() + static_cast<std::ptrdiff_t>(have));
    std::size_t const size = unread.size();
    largest_allocation = 0;
    auto step = c.decode(unread);
    std::size_t const taken = largest_allocation;
    require(taken <= std::max<std::size_t>(c.options().payload_bytes_max, 512),
            "decode allocates no more than the limit");
    if (auto const* const need = step.needs()) {
      require(need->more >= 1, "need is at least one byte");
      require(size + need->more <= header_bytes + c.options().payload_bytes_max,
              "need is within the limit");
      t.at = used;
      t.more = need->more;
      return true;
    }
    if (auto const* const lost = step.is_lost()) {
      check_failure(lost->why, size);
      t.lost = true;
      t.at = used + lost->why.offset();
      t.more = 0;
      t.why = lost->why.message();
      return false;
    }
    if (auto const* const skip = step.skips()) {
      require(skip->used >= 1 && skip->used <= size, "a skip uses some of the input");
      check_failure(skip->why, skip->used);
      t.add("skip at " + std::to_string(used + skip->why.offset()));
      used += skip->used;
      continue;
    }
    auto* const item = step.has_item();
    require(item != nullptr && item->used >= 1 && item->used <= size,
            "a message uses some of the input");
    require(item->message.bytes.size() <= std::max<std::size_t>(c.options().payload_bytes_max, 3),
            "a payload is within the limit");
    check_round_trip(c, item->message, bytes_view{unread}.first(item->used));
    if (item->message.bare) {
      // Where anything may come unframed, what has arrived is the message: they are taken together.
      t.bare(item->message.bytes, c.options().bare == unframed::any);
    } else {
      t.add(std::string{"frame "}.append(cleat::as_text(item->message.bytes)));
    }
    used += item->used;
  }
}

/// Feeds the stream in pieces; `next()` gives the size of each.
template <class Next>
transcript feed(codec const& c, bytes_view stream, Next next) {
  transcript t;
  std::size_t used = 0;
  std::size_t have = 0;
  while (have < stream.size()) {
    have += std::min<std::size_t>(stream.size() - have, next());
    if (!advance(c, stream, used, have, t)) break;
  }
  return t;
}

/// The same bytes give the same messages however they are cut. Where unframed answers are `ACK` or
/// nothing, a stream that is lost may have given more of them when it came in pieces.
void compare(transcript const& whole, transcript const& cut, unframed mode) {
  require(whole.lost == cut.lost, "a stream is lost however it is cut");
  if (mode == unframed::ack && whole.lost) {
    require(whole.events.size() <= cut.events.size() &&
                std::equal(whole.events.begin(), whole.events.end(), cut.events.begin()),
            "what came before the loss comes however it is cut");
    return;
  }
  require(whole.events == cut.events, "the same bytes give the same messages");
  require(whole.at == cut.at && whole.more == cut.more && whole.why == cut.why,
          "the same bytes end in the same way");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  fuzz::decisions input{fuzz::bytes_of(data, size)};
  auto const mode = static_cast<unframed>(input.below(3));
  std::size_t const limits[] = {0, 1, 2, 3, 16, 200, cleat::f00d_options::payload_bytes_default};
  codec const c{{}, cleat::f00d_options{limits[input.below(std::size(limits))], mode}};
  bytes_view const cuts = input.take(input.below(9));
  bytes_view const stream = input.rest();

  transcript const whole = feed(c, stream, [&] { return stream.size(); });
  compare(whole, feed(c, stream, [] { return std::size_t{1}; }), mode);
  std::size_t at = 0;
  auto const cut_here = [&] {
    return cuts.empty() ? std::size_t{2}
                        : 1 + std::to_integer<std::size_t>(cuts[at++ % cuts.size()]);
  };
  compare(whole, feed(c, stream, cut_here), mode);
  return 0;
}

#pragma once

#include <cleat/base/bytes.hpp>
#include <cleat/codec/codec.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cleat {

// How to check a codec of your own: one test file, with any test framework, under ASan if you can.
//
//     cleat::codec_samples<my_codec::message> samples;
//     samples.good = {...};      // a few messages of every shape: short, long, empty, all fields,
//     no field samples.refused = {...};   // messages that `encode` must refuse, if there are any
//     samples.raw = {...};       // bytes as peers send them, good or broken, if you have some
//     for (std::string const& violation : cleat::check_codec(my_codec{}, samples))
//     report(violation);
//
// No violation: the codec keeps the promises of `codec/codec.hpp` on these samples and on what the
// kit makes of them.

/// What a codec is checked with.
template <class Message>
class codec_samples {
 public:
  /// Messages that can be encoded. The more shapes, the better the check.
  std::vector<Message> good;
  /// Messages that `encode` must refuse.
  std::vector<Message> refused;
  /// Bytes as they might arrive, good or broken. Also the seeds of the garbage.
  std::vector<byte_buffer> raw;
};

/// Settings of the check. The defaults take well under a second for small messages.
class codec_check {
 public:
  /// Where the garbage comes from: one seed, one history.
  std::uint64_t seed = 1;
  /// How many broken streams are tried.
  std::size_t garbage_rounds = 400;
  /// No sound codec asks for more than this at once: its largest message, with what stands around
  /// it.
  std::size_t need_bytes_max = std::size_t{16} << 20U;
  /// The codec may deliver messages that it would not have delivered, had the error behind them
  /// already been there. For formats without any framing only, where it cannot know better.
  bool messages_before_loss = false;
};

namespace detail {

template <Codec C>
class codec_checker {
 public:
  using message = typename C::message;

  codec_checker(C const& codec, codec_samples<message> const& samples, codec_check const& how)
      : codec_(codec), samples_(samples), how_(how), random_(how.seed) {}

  [[nodiscard]] std::vector<std::string> run() {
    check_empty();
    for (std::size_t i = 0; i < samples_.good.size(); ++i) check_encode(i);
    for (std::size_t i = 0; i < samples_.refused.size(); ++i) check_refusal(i);
    // Frames that are wrong alone only confuse when they stand together.
    if (violations_.empty()) check_together();
    if (violations_.empty()) check_raw();
    if (violations_.empty()) check_garbage();
    return std::move(violations_);
  }

 private:
  static constexpr std::size_t guard_bytes = 64;
  static constexpr std::size_t cuts_max = 256;
  static constexpr std::size_t violations_max = 20;

  /// What came out of a stream: per message its encoding, per skipped frame its error, and how it
  /// ended.
  struct transcript {
    std::vector<std::string> events;
    std::string end;

    friend bool operator==(transcript const&, transcript const&) = default;
  };

  void violated(std::string what) {
    if (violations_.size() < violations_max) violations_.push_back(std::move(what));
  }

  void expect(bool good, std::string_view where, std::string_view what) {
    if (!good) violated(std::string{where}.append(": ").append(what));
  }

  [[nodiscard]] static std::string nth(std::string_view what, std::size_t i) {
    return std::string{what}.append(" ").append(std::to_string(i));
  }

  // ---- one call of decode

  [[nodiscard]] static std::string describe(failure const& f) {
    return std::string{f.code().category().name()} + ":" + std::to_string(f.code().value());
  }

  /// Everything about a verdict that must not depend on what stands behind the bytes.
  [[nodiscard]] std::string describe(decoded<message>& d, std::size_t base) const {
    if (auto const* const need = d.needs()) return "need " + std::to_string(need->more);
    if (auto const* const skip = d.skips()) {
      return "skip " + std::to_string(skip->used) + " " + describe(skip->why) + " at " +
             std::to_string(base + skip->why.offset());
    }
    if (auto const* const lost = d.is_lost()) {
      return "lost " + describe(lost->why) + " at " + std::to_string(base + lost->why.offset());
    }
    return "message of " + std::to_string(d.has_item()->used) +
           " bytes: " + encoded(d.has_item()->message);
  }

  [[nodiscard]] std::string encoded(message const& m) const {
    byte_buffer out;
    if (auto const written = codec_.encode(m, out); !written) return "which cannot be encoded";
    return to_hex(out);
  }

  /// Decodes a copy with other bytes behind it: the verdict of an honest codec does not see them.
  [[nodiscard]] std::string with_guard(bytes_view unread, bytes_view behind,
                                       std::byte filler) const {
    byte_buffer copy(unread.begin(), unread.end());
    copy.insert(copy.end(), behind.begin(), behind.end());
    copy.resize(unread.size() + guard_bytes + behind.size(), filler);
    auto d = codec_.decode(bytes_view{copy}.first(unread.size()));
    return describe(d, 0);
  }

  /// `behind`: what really follows in the stream.
  [[nodiscard]] bool reads_beyond(bytes_view unread, bytes_view behind) const {
    std::string const zeros = with_guard(unread, {}, std::byte{0});
    return zeros != with_guard(unread, {}, std::byte{0xFF}) ||
           zeros != with_guard(unread, behind, std::byte{0x55});
  }

  /// One verdict, on a copy with nothing behind it (so that ASan sees every byte too many), and its
  /// bounds.
  [[nodiscard]] decoded<message> decode(bytes_view unread, bytes_view behind,
                                        std::string_view where) {
    if (guarded_ && reads_beyond(unread, behind)) {
      violated(std::string{where} + ": reads bytes beyond `unread`, or is not pure");
      return typename decoded<message>::lost{failure{kind::malformed}};
    }
    std::unique_ptr<std::byte[]> const copy{new std::byte[unread.size()]};  // NOLINT(*-c-arrays)
    if (!unread.empty()) std::memcpy(copy.get(), unread.data(), unread.size());
    auto d = codec_.decode(bytes_view{copy.get(), unread.size()});
    check_bounds(d, unread.size(), where);
    return d;
  }

  void check_bounds(decoded<message>& d, std::size_t size, std::string_view where) {
    if (auto const* const need = d.needs()) {
      expect(need->more >= 1, where, "needs 0 more bytes");
      expect(need->more <= how_.need_bytes_max, where,
             "needs " + std::to_string(need->more) +
                 " more bytes: is the length judged against a limit?");
    } else if (auto const* const skip = d.skips()) {
      expect(skip->used >= 1 && skip->used <= size, where,
             "skips " + std::to_string(skip->used) + " of " + std::to_string(size) + " bytes");
      check_failure(skip->why, size, where);
    } else if (auto const* const lost = d.is_lost()) {
      check_failure(lost->why, size, where);
    } else {
      std::size_t const used = d.has_item()->used;
      expect(
          used >= 1 && used <= size, where,
          "uses " + std::to_string(used) + " of " + std::to_string(size) + " bytes for a message");
    }
  }

  void check_failure(failure const& why, std::size_t size, std::string_view where) {
    expect(why.why() == kind::malformed, where, "an error of decode is not kind::malformed");
    expect(why.code().failed(), where, "an error of decode has no code of its own");
    expect(why.offset() != failure::no_offset, where, "an error of decode has no offset");
    expect(why.offset() == failure::no_offset || why.offset() <= size, where,
           "the offset of an error is outside the bytes");
  }

  // ---- whole streams

  /// Feeds `stream` in pieces: `next(have)` says up to which byte, given that `have` are there.
  template <class Next>
  [[nodiscard]] transcript feed(bytes_view stream, std::string_view where, Next next) {
    transcript t;
    std::size_t used = 0;
    std::size_t have = 0;
    std::size_t const before = violations_.size();
    while (violations_.size() == before) {
      auto d = decode(stream.subspan(used, have - used), stream.subspan(have), where);
      if (violations_.size() != before) break;
      if (auto const* const need = d.needs()) {
        if (have == stream.size()) {
          t.end = "needs " + std::to_string(need->more) + " more at " + std::to_string(used);
          break;
        }
        have = std::clamp(next(have, need->more), have + 1, stream.size());
        continue;
      }
      std::string const said = describe(d, used);
      if (d.is_lost() != nullptr) {
        t.end = said;
        break;
      }
      used += d.skips() != nullptr ? d.skips()->used : d.has_item()->used;
      t.events.push_back(said);
    }
    return t;
  }

  [[nodiscard]] transcript at_once(bytes_view stream, std::string_view where) {
    return feed(stream, where, [&](std::size_t, std::size_t) { return stream.size(); });
  }

  /// Whether another way of cutting gave the same, as far as it must.
  [[nodiscard]] bool agree(transcript const& whole, transcript const& cut, bool in_order) const {
    if (whole == cut) return true;
    if (in_order || !how_.messages_before_loss) return false;
    std::size_t const n = std::min(whole.events.size(), cut.events.size());
    auto const same = static_cast<std::ptrdiff_t>(n);
    return std::equal(whole.events.begin(), whole.events.begin() + same, cut.events.begin()) &&
           whole.end.starts_with("lost") == cut.end.starts_with("lost");
  }

  /// The same bytes give the same messages however they are cut.
  void check_cuts(bytes_view stream, std::string_view where, bool in_order) {
    std::size_t const before = violations_.size();
    transcript const whole = at_once(stream, where);
    if (violations_.size() != before) return;
    auto const compare = [&](transcript const& cut, std::string_view how) {
      if (violations_.size() != before || agree(whole, cut, in_order)) return;
      violated(
          std::string{where}.append(": ").append(how).append(" gives other messages than at once"));
    };
    compare(feed(stream, where, [](std::size_t have, std::size_t) { return have + 1; }),
            "one byte at a time");
    compare(feed(stream, where, [](std::size_t have, std::size_t more) { return have + more; }),
            "as many bytes as needed at a time");
    guarded_ = false;  // these bytes were all looked at, in the same verdicts, a moment ago
    std::size_t const step = stream.size() / cuts_max + 1;
    for (std::size_t cut = 1; cut < stream.size() && violations_.size() == before; cut += step) {
      compare(feed(stream, where,
                   [&](std::size_t have, std::size_t) { return have < cut ? cut : stream.size(); }),
              "cut at byte " + std::to_string(cut));
    }
    guarded_ = true;
  }

  // ---- the promises

  void check_empty() {
    auto const d = decode({}, {}, "empty input");
    expect(d.needs() != nullptr, "empty input", "does not need more");
  }

  void check_encode(std::size_t i) {
    std::string const where = nth("message", i);
    byte_buffer once;
    if (auto const written = codec_.encode(samples_.good[i], once); !written) {
      violated(where + " cannot be encoded: " + written.error().message());
      return;
    }
    expect(!once.empty(), where, "is encoded to nothing");
    expect(appends(samples_.good[i], once), where,
           "encode does not append to what the buffer holds");
    check_prefixes(once, where);
    check_decode(once, where);
    check_cuts(once, where, true);
  }

  [[nodiscard]] bool appends(message const& m, bytes_view expected) const {
    byte_buffer out(5, std::byte{0xA5});
    if (auto const written = codec_.encode(m, out); !written) return false;
    return out.size() == 5 + expected.size() &&
           std::count(out.begin(), out.begin() + 5, std::byte{0xA5}) == 5 &&
           std::equal(expected.begin(), expected.end(), out.begin() + 5);
  }

  /// Part of a message needs more, and never more than the rest of it.
  void check_prefixes(bytes_view whole, std::string_view where) {
    std::size_t const before = violations_.size();
    std::size_t const step = whole.size() / (4 * cuts_max) + 1;
    for (std::size_t n = 0; n < whole.size() && violations_.size() == before; n += step) {
      auto const d = decode(whole.first(n), whole.subspan(n), where);
      if (violations_.size() != before) return;
      std::string const part = std::to_string(n) + " of " + std::to_string(whole.size()) + " bytes";
      if (d.needs() == nullptr) {
        violated(std::string{where} + ": answers before the message is whole, at " + part);
      } else if (d.needs()->more > whole.size() - n) {
        violated(std::string{where} + ": needs " + std::to_string(d.needs()->more) +
                 " more bytes at " + part);
      }
    }
  }

  void check_decode(bytes_view whole, std::string_view where) {
    auto d = decode(whole, {}, where);
    if (d.has_item() == nullptr) {
      violated(std::string{where} + ": what encode wrote is not read as a message");
      return;
    }
    expect(d.has_item()->used == whole.size(), where,
           "uses " + std::to_string(d.has_item()->used) + " of its " +
               std::to_string(whole.size()) + " bytes");
    byte_buffer again;
    bool const written = codec_.encode(d.has_item()->message, again).has_value();
    expect(written && std::equal(again.begin(), again.end(), whole.begin(), whole.end()), where,
           "encode, decode, encode does not give the same bytes");
  }

  void check_refusal(std::size_t i) {
    std::string const where = nth("refused message", i);
    byte_buffer out(5, std::byte{0xA5});
    auto const written = codec_.encode(samples_.refused[i], out);
    expect(!written, where, "is encoded");
    if (written) return;
    expect(written.error().why() == kind::invalid, where,
           "the error of encode is not kind::invalid");
    expect(out == byte_buffer(5, std::byte{0xA5}), where,
           "encode fails and leaves something in the buffer");
  }

  /// All messages in one stream: each uses exactly its own bytes.
  void check_together() {
    byte_buffer stream;
    std::vector<std::size_t> sizes;
    for (message const& m : samples_.good) {
      std::size_t const mark = stream.size();
      bool const written = codec_.encode(m, stream).has_value();
      if (written) sizes.push_back(stream.size() - mark);
    }
    std::size_t used = 0;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      std::string const where = nth("message", i) + " of a stream";
      auto d = decode(bytes_view{stream}.subspan(used), {}, where);
      if (d.has_item() == nullptr || d.has_item()->used != sizes[i]) {
        violated(where + ": does not use exactly its own bytes");
        return;
      }
      used += sizes[i];
    }
    check_cuts(stream, "all messages in one stream", true);
  }

  void check_raw() {
    for (std::size_t i = 0; i < samples_.raw.size(); ++i) {
      check_cuts(samples_.raw[i], nth("raw sample", i), false);
    }
  }

  // ---- garbage

  [[nodiscard]] std::size_t below(std::size_t n) {
    return n == 0 ? 0 : static_cast<std::size_t>(random_() % n);
  }
  [[nodiscard]] std::byte any_byte() { return static_cast<std::byte>(random_() & 0xFFU); }

  [[nodiscard]] byte_buffer noise(std::size_t size) {
    byte_buffer out(size);
    for (std::byte& b : out) b = any_byte();
    return out;
  }

  /// Streams that are in order, to be broken.
  [[nodiscard]] std::vector<byte_buffer> seeds() const {
    std::vector<byte_buffer> all = samples_.raw;
    byte_buffer together;
    for (message const& m : samples_.good) {
      byte_buffer one;
      bool const written = codec_.encode(m, one).has_value();
      if (!written || one.size() > garbage_bytes_max) continue;
      append(together, bytes_view{one});
      all.push_back(std::move(one));
    }
    if (together.size() <= garbage_bytes_max) all.push_back(std::move(together));
    return all;
  }

  void mutate(byte_buffer& stream) {
    std::size_t const times = 1 + below(4);
    for (std::size_t i = 0; i < times; ++i) {
      std::size_t const at = below(stream.size() + 1);
      auto const where = stream.begin() + static_cast<std::ptrdiff_t>(at);
      switch (below(5)) {
        case 0:
          if (at < stream.size()) stream[at] = any_byte();
          break;
        case 1:
          if (at < stream.size()) stream[at] ^= static_cast<std::byte>(1U << below(8));
          break;
        case 2: {
          byte_buffer const more = noise(1 + below(4));
          stream.insert(where, more.begin(), more.end());
          break;
        }
        case 3: {
          auto const rest =
              static_cast<std::ptrdiff_t>(below(std::min<std::size_t>(stream.size() - at, 4) + 1));
          stream.erase(where, where + rest);
          break;
        }
        default:
          stream.resize(at);
      }
    }
  }

  /// Whatever arrives, decoding ends, with errors that have a type and a place.
  void check_garbage() {
    std::vector<byte_buffer> const all = seeds();
    for (std::size_t i = 0; i < how_.garbage_rounds && violations_.empty(); ++i) {
      byte_buffer stream;
      if (all.empty() || i % 8 == 0) {
        std::size_t const size = below(64);
        stream = noise(size);
      } else {
        stream = all[below(all.size())];
        mutate(stream);
      }
      std::string const where =
          nth("garbage", i) + " of seed " + std::to_string(how_.seed) + " (" +
          to_hex(bytes_view{stream}.first(std::min<std::size_t>(stream.size(), 48))) + ")";
      check_some_cuts(stream, where);
    }
  }

  /// At once, one byte at a time, and in two pieces.
  void check_some_cuts(bytes_view stream, std::string_view where) {
    transcript const whole = at_once(stream, where);
    transcript const bytewise =
        feed(stream, where, [](std::size_t have, std::size_t) { return have + 1; });
    std::size_t const cut = below(stream.size() + 1);
    transcript const halves = feed(stream, where, [&](std::size_t have, std::size_t) {
      return have < cut ? cut : stream.size();
    });
    if (!violations_.empty()) return;
    if (!agree(whole, bytewise, false) || !agree(whole, halves, false)) {
      violated(std::string{where} + ": other messages when cut");
    }
  }

  static constexpr std::size_t garbage_bytes_max = 4096;

  C const& codec_;
  codec_samples<message> const& samples_;
  codec_check how_;
  std::mt19937_64 random_;
  std::vector<std::string> violations_;
  bool guarded_ = true;
};

}  // namespace detail

/// Checks every promise of `codec/codec.hpp` and says, in sentences, which are not kept; nothing
/// means all are. Deterministic. Stops early after a violation that would only cause more of them.
template <Codec C>
[[nodiscard]] std::vector<std::string> check_codec(
    C const& codec, codec_samples<typename C::message> const& samples,
    codec_check const& how = {}) {
  return detail::codec_checker<C>{codec, samples, how}.run();
}

}  // namespace cleat

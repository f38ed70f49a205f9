#pragma once

#include "fuzz.hpp"

#include <cleat/codec/protocol.hpp>

#include <functional>
#include <optional>
#include <stdexcept>
#include <utility>

namespace fuzz {

/// What a message of the parley is. Any other byte is where no message can begin.
enum class speech : std::uint8_t {
  ask = 1,  ///< answered by a `reply`, a `refusal`, or the `news` of its topic
  step,     ///< the request with this number, or else the oldest of this topic, goes on
  reply,    ///< the answer to this number
  refusal,  ///< the same, and it is no
  news,     ///< the answer to the oldest of this topic, and also of interest to others
  push,     ///< nobody asked
  mumble,   ///< a frame that cannot be read
};

/// Five bytes and the padding on the wire. Numbers are few, so that they run out.
struct utterance {
  speech what = speech::push;
  std::uint8_t number = 0;
  std::uint8_t topic = 0;
  std::uint8_t tag = 0;
  std::uint8_t padding = 0;  ///< so many bytes follow
};

/// Request and answer as the caller sees them.
struct question {
  /// What is wrong with it, if anything.
  enum class flaw : std::uint8_t { none, cannot_open, cannot_encode, throws };

  question(std::uint8_t about, std::uint8_t id, std::uint8_t bytes, flaw f) noexcept
      : topic(about), tag(id), padding(bytes), wrong(f) {}

  std::uint8_t topic;
  std::uint8_t tag;
  std::uint8_t padding;
  flaw wrong;
};
struct reply {
  std::size_t serial = 0;  ///< which of the received messages it was
};

/// A protocol that has all that a session knows of: numbers, keys in order, progress, news, pushes,
/// requests of the peer, unreadable frames that may bear a number; and whose bytes a fuzzer can guess. It tells `told`
/// what it is asked, in the order of the session's own doing.
class parley {
 public:
  using message = utterance;
  using request = question;
  using response = reply;

  static constexpr std::size_t header_bytes = 5;
  static constexpr std::uint8_t padding_max = 32;
  static constexpr std::size_t frame_bytes_max = header_bytes + padding_max;
  static constexpr std::uint8_t numbers = 8;
  static constexpr std::uint8_t topics = 4;

  /// Such an answer makes `conclude` throw.
  [[nodiscard]] static bool cannot_be_concluded(utterance const& m) noexcept {
    return m.what == speech::refusal && m.tag == 0xFF;
  }

  /// Who watches. `received` gives the message's serial number.
  class listener {
   public:
    virtual void opened(std::uint8_t tag, cleat::match_keys const& keys) = 0;
    virtual void received(utterance const& m, cleat::relation const& r) = 0;
    virtual std::size_t serial() const = 0;

   protected:
    ~listener() = default;
  };

  /// If `mumbles_bear_numbers`, a mumble fails the call whose number it bears.
  explicit parley(listener* told = nullptr, bool mumbles_bear_numbers = false) noexcept
      : told_(told), mumbles_bear_numbers_(mumbles_bear_numbers) {}

  [[nodiscard]] cleat::decoded<message> decode(cleat::bytes_view unread) const {
    using decoded = cleat::decoded<message>;
    auto const at = [&](std::size_t i) { return std::to_integer<std::uint8_t>(unread[i]); };
    if (!unread.empty() && (at(0) < 1 || at(0) > 7)) return decoded::lost{broken(0)};
    if (unread.size() < header_bytes) return decoded::need{header_bytes - unread.size()};
    utterance const m{static_cast<speech>(at(0)), at(1), at(2), at(3), at(4)};
    if (m.padding > padding_max) return decoded::lost{broken(4)};
    std::size_t const bytes = header_bytes + m.padding;
    if (unread.size() < bytes) return decoded::need{bytes - unread.size()};
    if (m.what == speech::mumble) return decoded::skip{bytes, broken(header_bytes)};
    return decoded{m, bytes};
  }

  [[nodiscard]] cleat::result<void> encode(message const& m, cleat::byte_buffer& out) const {
    if (m.padding > padding_max) return unsendable();
    for (auto const b : {static_cast<std::uint8_t>(m.what), m.number, m.topic, m.tag, m.padding}) {
      out.push_back(static_cast<std::byte>(b));
    }
    out.resize(out.size() + m.padding);
    return {};
  }

  [[nodiscard]] cleat::result<cleat::opened<message>> open(request const& q, cleat::call const&,
                                                           std::uint64_t number) const {
    if (q.wrong == question::flaw::cannot_open) return unsendable();
    if (q.wrong == question::flaw::throws) throw std::runtime_error("a protocol that throws");
    utterance m{speech::ask, static_cast<std::uint8_t>(number % numbers), q.topic, q.tag,
                q.padding};
    if (q.wrong == question::flaw::cannot_encode) m.padding = padding_max + 1;
    cleat::match_keys keys;
    if (q.topic != 0) keys.add(by_topic(q.topic));
    if (q.topic != 1) keys.add(by_number(m.number));
    if (told_ != nullptr) told_->opened(q.tag, keys);
    return cleat::opened<message>{m, keys};
  }

  [[nodiscard]] cleat::relation relate(message const& m) const {
    cleat::relation const r = relation_of(m);
    if (told_ != nullptr) told_->received(m, r);
    return r;
  }

  [[nodiscard]] cleat::match_keys keys_of_unreadable(cleat::bytes_view frame) const {
    if (!mumbles_bear_numbers_) return {};
    return by_number(std::to_integer<std::uint8_t>(frame[1]));
  }

  [[nodiscard]] cleat::result<response> conclude(message m) const {
    if (cannot_be_concluded(m)) throw std::runtime_error("cannot conclude");
    std::size_t const serial = told_ != nullptr ? told_->serial() : 0;
    if (m.what != speech::refusal) return reply{serial};
    return cleat::failure{cleat::kind::rejected, cleat::certainty::rejected}.with_offset(serial);
  }

  [[nodiscard]] cleat::message_id id(message const& m) const {
    return cleat::message_id{std::to_string(m.tag)};
  }

 private:
  static cleat::match_key by_number(std::uint8_t n) { return {1, n}; }
  static cleat::match_key by_topic(std::uint8_t t) { return cleat::match_key::in_order(2, t); }

  static cleat::relation relation_of(message const& m) {
    switch (m.what) {
      case speech::ask:
        return cleat::role::request;
      case speech::step: {
        cleat::match_keys keys{by_number(m.number)};
        return {cleat::role::progress, keys.add(by_topic(m.topic))};
      }
      case speech::reply:
      case speech::refusal:
        return {cleat::role::answer, by_number(m.number)};
      case speech::news: {
        cleat::relation r{cleat::role::answer, by_topic(m.topic)};
        r.also_push = true;
        return r;
      }
      case speech::push:
      case speech::mumble:
        break;
    }
    return cleat::role::push;
  }

  static cleat::failure broken(std::size_t offset) {
    return cleat::failure{make_error_code(boost::system::errc::bad_message), cleat::kind::malformed,
                          cleat::certainty::maybe_executed}
        .with_offset(offset);
  }
  static cleat::failure unsendable() {
    return cleat::failure{cleat::kind::invalid, cleat::certainty::not_sent};
  }

  listener* told_;
  bool mumbles_bear_numbers_;
};

static_assert(cleat::Protocol<parley>);

}  // namespace fuzz

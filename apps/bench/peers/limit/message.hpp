#pragma once

#include "../frame.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace peers {

/// 16 hexadecimal digits.
inline constexpr std::size_t id_bytes = 16;
using msg_id = std::array<char, id_bytes>;

[[nodiscard]] constexpr msg_id to_msg_id(std::uint64_t n) {
  msg_id id{};
  for (std::size_t i = id_bytes; i-- > 0; n >>= 4U) id[i] = "0123456789abcdef"[n & 15U];
  return id;
}

/// A frame at the beginning of received bytes.
struct found_frame {
  std::size_t bytes = 0;     ///< 0: it is not all there yet
  char const* id = nullptr;  ///< its msg_id, `id_bytes` long
};

/// Looks for `msg_id` in whatever JSON the frame holds. Ends the program if there is none, or if
/// this is no frame.
[[nodiscard]] found_frame find_any_frame(char const* bytes, std::size_t n);

/// One kind of message: its frame, with everything in it but the msg_id.
template <std::size_t Before, std::size_t After>
class message {
 public:
  static constexpr std::size_t bytes = header_bytes + Before + id_bytes + After;

  /// `before` and `after` are the JSON on both sides of the id; the literals' last 0 is left out.
  consteval message(char const (&before)[Before + 1], char const (&after)[After + 1]) {
    auto const header = header_of(bytes - header_bytes);
    std::copy(header.begin(), header.end(), frame_.begin());
    std::copy_n(before, Before, frame_.begin() + header_bytes);
    std::fill_n(frame_.begin() + id_at, id_bytes, '0');
    std::copy_n(after, After, frame_.begin() + after_at);
  }

  /// Writes the frame to `out` and returns its end.
  char* write(char* out, char const* id) const {
    std::memcpy(out, frame_.data(), bytes);
    std::memcpy(out + id_at, id, id_bytes);
    return out + bytes;
  }

  /// The first frame in `received`: of this kind as we write it, or else, with the spacing of
  /// other programs, any that has a msg_id.
  [[nodiscard]] found_frame find(char const* received, std::size_t n) const {
    bool const ours = n >= bytes && std::memcmp(received, frame_.data(), id_at) == 0 &&
                      std::memcmp(received + after_at, frame_.data() + after_at, After) == 0;
    return ours ? found_frame{bytes, received + id_at} : find_any_frame(received, n);
  }

 private:
  static constexpr std::size_t id_at = header_bytes + Before;
  static constexpr std::size_t after_at = id_at + id_bytes;

  std::array<char, bytes> frame_{};
};

template <std::size_t Before, std::size_t After>
message(char const (&)[Before], char const (&)[After]) -> message<Before - 1, After - 1>;

inline constexpr message toggle_message{R"({"opcode":"toggle","device_id":"DEVICE123","msg_id":")",
                                        R"(","state":true})"};
inline constexpr message ack_message{R"({"opcode":"ack","device_id":"DEVICE123","msg_id":")",
                                     R"(","state":true,"outcome":"success"})"};

}  // namespace peers

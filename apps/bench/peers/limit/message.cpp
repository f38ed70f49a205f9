#include "message.hpp"

#include "../program.hpp"

#include <string_view>

namespace peers {

found_frame find_any_frame(char const* bytes, std::size_t n) {
  if (n < header_bytes) return {};
  auto const payload = payload_bytes_of(bytes);
  if (!payload) fail("what came is no frame of this protocol");
  if (n - header_bytes < *payload) return {};

  constexpr std::string_view key = "\"msg_id\"";
  std::string_view json{bytes + header_bytes, *payload};
  auto const at = json.find(key);
  json.remove_prefix(at == json.npos ? json.size() : at + key.size());
  auto const begin = json.find('"');
  if (begin == json.npos || json.find('"', begin + 1) != begin + 1 + id_bytes) {
    fail("a message without a msg_id of 16 digits came");
  }
  return {header_bytes + *payload, json.data() + begin + 1};
}

}  // namespace peers

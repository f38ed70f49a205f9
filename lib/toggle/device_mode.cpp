#include <toggle/device_mode.hpp>

#include <algorithm>
#include <cstddef>
#include <string>

namespace toggle {

std::string_view to_string(device_mode m) noexcept {
  switch (m) {
    case device_mode::ok:
      return "ok";
    case device_mode::delay:
      return "delay";
    case device_mode::disconnect:
      return "disconnect";
    case device_mode::reject:
      return "reject";
    case device_mode::timeout:
      return "timeout";
    case device_mode::nack:
      return "nack";
    case device_mode::nack_retryable:
      return "nack_retryable";
    case device_mode::garbage:
      return "garbage";
    case device_mode::unframed:
      return "unframed";
    case device_mode::partial:
      return "partial";
    case device_mode::wrong_id:
      return "wrong_id";
    case device_mode::duplicate:
      return "duplicate";
  }
  return "ok";
}

cleat::result<device_mode> parse_device_mode(std::string_view word) {
  for (device_mode const m : device_modes) {
    if (to_string(m) == word) return m;
  }
  return cleat::failure{cleat::kind::invalid, cleat::certainty::not_sent}.with_detail(
      "there is no mode '" + std::string{word} + "'");
}

cleat::result<std::vector<device_mode>> parse_device_script(std::string_view words) {
  std::vector<device_mode> script;
  for (std::size_t begin = 0; begin <= words.size();) {
    std::size_t const end = std::min(words.find(',', begin), words.size());
    auto const mode = parse_device_mode(words.substr(begin, end - begin));
    if (!mode) return mode.error();
    script.push_back(*mode);
    begin = end + 1;
  }
  return script;
}

}  // namespace toggle

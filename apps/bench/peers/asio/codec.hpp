#pragma once

#include <string>
#include <string_view>

/// The messages as Boost.JSON makes and reads them when nothing is tuned: each is a `json::value`
/// that is serialized or parsed.
namespace peers {

/// 16 hexadecimal digits that this program has not used yet.
[[nodiscard]] std::string new_msg_id();

/// The frame of a request to switch the device.
[[nodiscard]] std::string request_frame(std::string_view msg_id);

/// Does what a request asks, and returns the frame of the answer. Throws if it is no such request.
[[nodiscard]] std::string answer_frame(std::string_view request);

/// The msg_id of an answer. Throws if it does not say that it went well.
[[nodiscard]] std::string msg_id_of(std::string_view answer);

}  // namespace peers

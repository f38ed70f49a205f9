#include "codec.hpp"

#include "../allocations.hpp"
#include "../frame.hpp"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <cstdint>
#include <cstdio>
#include <map>
#include <stdexcept>

namespace peers {

namespace json = boost::json;

namespace {

std::string to_frame(json::object const& message) {
  std::string const payload = json::serialize(message);
  frame_header const header = header_of(payload.size());
  std::string frame{header.begin(), header.end()};
  frame += payload;
  return frame;
}

bool& state_of(std::string const& device) {
  static std::map<std::string, bool> states;
  return states[device];
}

}  // namespace

std::string new_msg_id() {
  static std::uint64_t last = 0x5EED'0000'0000'0000;
  std::string id(17, '\0');
  std::snprintf(id.data(), id.size(), "%016llx", static_cast<unsigned long long>(++last));
  id.resize(16);
  return id;
}

std::string request_frame(std::string_view msg_id) {
  json::object request;
  request["opcode"] = "toggle";
  request["device_id"] = "DEVICE123";
  request["msg_id"] = msg_id;
  request["state"] = true;
  return to_frame(request);
}

std::string answer_frame(std::string_view request) {
  json::value const parsed = json::parse(request);
  json::object const& asked = parsed.as_object();
  if (asked.at("opcode").as_string() != "toggle") throw std::runtime_error{"unknown opcode"};
  json::string const& device = asked.at("device_id").as_string();
  bool& state = state_of(std::string{device});
  state = !state;
  add(answers, 1);

  json::object answer;
  answer["opcode"] = "ack";
  answer["device_id"] = device;
  answer["msg_id"] = asked.at("msg_id").as_string();
  answer["state"] = asked.at("state").as_bool();
  answer["outcome"] = "success";
  return to_frame(answer);
}

std::string msg_id_of(std::string_view answer) {
  json::value const parsed = json::parse(answer);
  json::object const& got = parsed.as_object();
  if (got.at("outcome").as_string() != "success") throw std::runtime_error{"the device said no"};
  return std::string{got.at("msg_id").as_string()};
}

}  // namespace peers

#include <toggle/device_ledger.hpp>

#include <cleat/observe/log_line.hpp>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

namespace toggle {

namespace json = boost::json;

cleat::result<device_ledger> device_ledger::open(std::string path) {
  auto file = cleat::line_writer::open(path);
  if (!file)
    return file.error().with_detail("ledger " + path + ": " + file.error().code().message());
  return device_ledger{std::move(*file)};
}

void device_ledger::executed(message const& request, std::chrono::system_clock::time_point at) {
  if (!to_) return;
  json::object entry;
  entry.emplace("ts", cleat::to_rfc3339(at));
  entry.emplace("device_id", request.device_id.value_or(device_name{}).view());
  entry.emplace("msg_id", request.msg_id.view());
  if (request.op_id) {
    entry.emplace("op_id", request.op_id->view());
  } else {
    entry.emplace("op_id", nullptr);
  }
  entry.emplace("state", request.state.value_or(false));
  std::string line;
  cleat::append_json_line(line, entry);
  to_->write(line);
}

}  // namespace toggle

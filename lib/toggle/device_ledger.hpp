#pragma once

#include <cleat/base/result.hpp>
#include <cleat/observe/line_writer.hpp>
#include <toggle/message.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

namespace toggle {

/// What a simulated device did, not what it was asked: a JSON object a line for each execution,
/// appended to a file before it is answered.
///
/// `{"ts":"2026-11-22T16:19:00.123Z","device_id":"DEVICE123","msg_id":"…","op_id":"…","state":true}`;
/// `op_id` is null if the request had none.
///
/// Thread safety: none.
class device_ledger {
 public:
  /// Keeps nothing.
  device_ledger() noexcept = default;

  /// Fails as `resources`, with path and reason in the detail.
  [[nodiscard]] static cleat::result<device_ledger> open(std::string path);

  /// `request` was carried out at this time.
  void executed(message const& request, std::chrono::system_clock::time_point at);

 private:
  explicit device_ledger(cleat::line_writer to)
      : to_(std::make_unique<cleat::line_writer>(std::move(to))) {}

  std::unique_ptr<cleat::line_writer> to_;
};

}  // namespace toggle

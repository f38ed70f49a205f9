#pragma once

#include <cleat/base/result.hpp>
#include <toggle/message.hpp>

#include <chrono>
#include <memory>
#include <string>

namespace toggle {

/// What a simulated device did, not what it was asked: a JSON object a line for each execution,
/// appended to a file before the device acts and answers.
///
/// `{"ts":"2026-11-22T16:19:00.123Z","device_id":"DEVICE123","msg_id":"…","op_id":"…","state":true}`;
/// `op_id` is null if the request had none.
///
/// Thread safety: none.
class device_ledger {
 public:
  /// Keeps nothing.
  device_ledger() noexcept;
  device_ledger(device_ledger&&) noexcept;
  device_ledger& operator=(device_ledger&&) noexcept;
  ~device_ledger();

  /// Makes the file with mode 0600 if need be; waits for the reader of a FIFO. Fails as
  /// `resources`, with path and reason in the detail.
  [[nodiscard]] static cleat::result<device_ledger> open(std::string path);

  /// Notes that `request` is carried out at this time; waits while a FIFO takes nothing. False if
  /// it is not in the file (the disk is full, the FIFO has no reader): then it must not be carried
  /// out. That is told in one sentence on stderr, once for each period of trouble.
  [[nodiscard]] bool note(message const& request, std::chrono::system_clock::time_point at);

 private:
  class file;
  explicit device_ledger(std::unique_ptr<file> to) noexcept;

  std::unique_ptr<file> to_;
};

}  // namespace toggle

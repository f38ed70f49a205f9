#pragma once

#include <cleat/base/bytes.hpp>
#include <cleat/base/call.hpp>
#include <cleat/base/events.hpp>

#include <boost/asio/io_context.hpp>

#include <chrono>
#include <string_view>

/// A call and events of it, made by hand.
struct made_events {
  explicit made_events(std::string_view peer = "DEVICE123") { of.peer = peer; }

  [[nodiscard]] cleat::frame_sent sent(cleat::failure const* error = nullptr) const {
    return {&of, id, frame, error, std::chrono::microseconds{1234}};
  }
  [[nodiscard]] cleat::frame_received received(cleat::verdict as,
                                               cleat::failure const* error = nullptr,
                                               std::string_view note = {}) const {
    bool const stray = as == cleat::verdict::late || as == cleat::verdict::unmatched;
    return {stray ? nullptr : &of, id, frame, as, note, error, std::chrono::milliseconds{60}};
  }
  [[nodiscard]] cleat::answer_missing missing(cleat::failure const& why) const {
    return {of, id, why, std::chrono::milliseconds{1500}};
  }
  [[nodiscard]] cleat::retry_scheduled retry(cleat::failure const& why) const {
    return {of, why, std::chrono::milliseconds{250}};
  }

  boost::asio::io_context context;
  cleat::call of{context.get_executor()};
  std::string_view id = "0123456789abcdef";
  cleat::bytes_view frame = cleat::as_bytes("\xF0\x0D{}");
};

#pragma once

#include <cleat/base/result.hpp>
#include <cleat/observe/metrics.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace cleat {

/// A small HTTP server that shows metrics to a Prometheus: `/metrics`, and `/healthz`, which
/// answers `ok`.
///
/// GET and HEAD only; anything else gets 404 or 405. A target may be absolute
/// (`http://HOST/metrics`), as a scraper behind a proxy's address sends it. One request per
/// connection, of at most 8 KiB; a client that takes more than 5 seconds over something is cut off.
/// 32 connections at a time: when there is one more, the client goes that has been idle longest, so
/// that those who say nothing keep no scraper out; one that is being answered is not idle. It has a thread and an `io_context` of its own, on the machine's time, so that it answers while the
/// program is busy. That thread takes no signals.
///
/// Destroying it closes everything, with clients connected too, and returns at once.
///
/// Thread safety: the const members from any thread.
class metrics_endpoint {
 public:
  /// Listens on `address` (an IPv4 or IPv6 address, or `localhost`, which is 127.0.0.1) and `port`
  /// (0: any free one). `shown` outlives the endpoint.
  ///
  /// Fails as `invalid` if `address` is none, as `resources` if the port is taken, not permitted,
  /// or the address is not this machine's. `failure::detail()` is a sentence that names address and
  /// port. Always `not_sent`.
  [[nodiscard]] static result<metrics_endpoint> open(std::string_view address, std::uint16_t port,
                                                     metrics const& shown);

  metrics_endpoint(metrics_endpoint&&) noexcept;
  metrics_endpoint& operator=(metrics_endpoint&&) noexcept;
  ~metrics_endpoint();

  [[nodiscard]] std::uint16_t port() const noexcept;
  /// As `127.0.0.1:9400` or `[::1]:9400`.
  [[nodiscard]] std::string address() const;

 private:
  struct impl;
  explicit metrics_endpoint(std::unique_ptr<impl> i) noexcept;
  std::unique_ptr<impl> impl_;
};

}  // namespace cleat

#pragma once

#include <cleat/transport/network.hpp>

namespace cleat {

/// The machine's own network.
class tcp_network final : public network::model {
 public:
  task<result<any_stream>> dial(std::string host, std::uint16_t port, tcp_options options,
                                time_point deadline) override;
  result<any_listener> listen(environment::executor_type const& executor, std::string const& host,
                              std::uint16_t port) override;
  result<any_listener> listen_sharing(environment::executor_type const& executor,
                                      std::string const& host, std::uint16_t port) override;

 private:
  static result<any_listener> listen_at(environment::executor_type const& executor,
                                        std::string const& host, std::uint16_t port, bool shared);
};

}  // namespace cleat

#pragma once

#include <cleat/base/scope.hpp>
#include <cleat/service/entry.hpp>
#include <cleat/session/session.hpp>

#include <optional>
#include <string>
#include <utility>

namespace cleat {

/// A service that makes a connection for each call and closes it afterwards: what
/// `per_call<protocol>(dialer)` makes. For devices that expect a connection a request.
template <Protocol P, Dialer D>
class per_call_service
    : public service_entry<per_call_service<P, D>, typename P::request, typename P::response> {
 public:
  using request = typename P::request;
  using response = typename P::response;

  per_call_service(D dialer, P protocol)
      : dialer_(std::move(dialer)), protocol_(std::move(protocol)) {}

  /// How long making the connection may take, name lookup included.
  [[nodiscard]] per_call_service connect_within(duration limit) && {
    connect_limit_ = limit;
    return std::move(*this);
  }
  /// How long sending the request and receiving its answer may take, once connected.
  [[nodiscard]] per_call_service answer_within(duration limit) && {
    answer_limit_ = limit;
    return std::move(*this);
  }

  /// Calls it from a layer (see `service_entry`).
  task<result<response>> start(request q, call c) {
    time_point const began = c.now();
    notify(c.events, attempt_started{c});
    auto r = co_await exchange(std::move(q), c);
    failure const why = r ? failure{} : r.error();
    notify(c.events, attempt_ended{c, r ? nullptr : &why, c.now() - began});
    co_return r;
  }

  [[nodiscard]] std::string describe() const {
    return "per_call(" + std::string{dialer_.address()} + ")";
  }

 private:
  task<result<response>> exchange(request q, call c) {
    time_point const began = c.now();
    call connecting = c;
    if (connect_limit_) connecting.tighten(saturated_add(began, *connect_limit_));
    auto stream = co_await dialer_.dial(connecting);
    if (listens<connect_ended>(c.events)) {
      failure const why = stream ? failure{} : stream.error();
      std::string const address = dialer_.address();
      notify(c.events, connect_ended{c, address, stream ? nullptr : &why, c.now() - began});
    }
    if (!stream) co_return stream.error().with(certainty::not_sent);

    if (answer_limit_) c.tighten(saturated_add(c.now(), *answer_limit_));
    session_options options;
    options.ends_with_call = true;
    options.events = c.events;
    options.peer = c.peer;
    using session_type = session<P, typename D::stream_type>;
    session_type s{std::move(*stream), protocol_, options};
    environment& env = co_await this_chain::environment;
    scope beside{env};
    beside.spawn(run(s));
    typename session_type::exchange asked{s, std::move(q), c, nullptr};
    auto r = co_await std::move(asked);
    s.close();
    auto const guard = co_await this_chain::shield;
    co_await beside.join();
    co_return r;
  }

  template <class Session>
  static task<> run(Session& s) {
    static_cast<void>(co_await s.run());
  }

  D dialer_;
  P protocol_;
  std::optional<duration> connect_limit_;
  std::optional<duration> answer_limit_;
};

/// `per_call<toggle::protocol>(tcp{"192.0.2.1", 9000})`.
template <Protocol P, Dialer D>
[[nodiscard]] per_call_service<P, D> per_call(D dialer, P protocol = P{}) {
  return {std::move(dialer), std::move(protocol)};
}

}  // namespace cleat

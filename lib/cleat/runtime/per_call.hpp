#pragma once

#include <cleat/base/scope.hpp>
#include <cleat/service/entry.hpp>
#include <cleat/session/session.hpp>

#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace cleat {

/// A service that makes a connection for each call and closes it afterwards: what
/// `per_call<protocol>(dialer)` makes. For devices that expect a connection a request.
///
/// A call keeps what it needs of it, so that it may go before its calls; they go on then.
template <Protocol P, Dialer D>
class per_call_service
    : public service_entry<per_call_service<P, D>, typename P::request, typename P::response> {
 public:
  using request = typename P::request;
  using response = typename P::response;

  per_call_service(D dialer, P protocol)
      : parts_(std::make_shared<parts>(std::move(dialer), std::move(protocol))) {}

  per_call_service(per_call_service&&) noexcept = default;
  per_call_service& operator=(per_call_service&&) noexcept = default;

  /// How long making the connection may take, name lookup included.
  [[nodiscard]] per_call_service connect_within(duration limit) && {
    parts_->connect_limit = limit;
    return std::move(*this);
  }
  /// How long sending the request and receiving its answer may take, once connected.
  [[nodiscard]] per_call_service answer_within(duration limit) && {
    parts_->answer_limit = limit;
    return std::move(*this);
  }

  /// Calls it from a layer (see `service_entry`).
  task<result<response>> start(request q, call c) { return attempt(parts_, std::move(q), c); }

  [[nodiscard]] std::string describe() const {
    return "per_call(" + std::string{parts_->dialer.address()} + ")";
  }

 private:
  struct parts {
    parts(D&& d, P&& p) : dialer(std::move(d)), protocol(std::move(p)) {}
    D dialer;
    P protocol;
    std::optional<duration> connect_limit;
    std::optional<duration> answer_limit;
  };

  static task<result<response>> attempt(std::shared_ptr<parts> with, request q, call c) {
    time_point const began = c.now();
    notify(c.events, attempt_started{c});
    auto r = co_await exchange(*with, std::move(q), c);
    failure const why = r ? failure{} : r.error();
    notify(c.events, attempt_ended{c, r ? nullptr : &why, c.now() - began});
    co_return r;
  }

  static task<result<response>> exchange(parts& with, request q, call c) {
    time_point const began = c.now();
    call connecting = c;
    if (with.connect_limit) connecting.tighten(saturated_add(began, *with.connect_limit));
    auto stream = co_await with.dialer.dial(connecting);
    if (listens<connect_ended>(c.events)) {
      failure const why = stream ? failure{} : stream.error();
      std::string const address = with.dialer.address();
      notify(c.events, connect_ended{c, address, stream ? nullptr : &why, c.now() - began});
    }
    if (!stream) co_return stream.error().with(certainty::not_sent);

    if (with.answer_limit) c.tighten(saturated_add(c.now(), *with.answer_limit));
    session_options options;
    options.ends_with_call = true;
    options.events = c.events;
    options.peer = c.peer;
    using session_type = session<P, typename D::stream_type>;
    session_type s{std::move(*stream), with.protocol, options};
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

  std::shared_ptr<parts> parts_;
};

/// `per_call<toggle::protocol>(tcp{"192.0.2.1", 9000})`.
template <Protocol P, Dialer D>
[[nodiscard]] per_call_service<P, D> per_call(D dialer, P protocol = P{}) {
  return {std::move(dialer), std::move(protocol)};
}

}  // namespace cleat

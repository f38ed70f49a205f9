#pragma once

#include <cleat/service/description.hpp>
#include <cleat/service/entry.hpp>
#include <cleat/service/service.hpp>
#include <cleat/service/under_way.hpp>

#include <concepts>
#include <type_traits>
#include <utility>

namespace cleat {

/// Any service with these types: the one type-erased box, for boundaries. Costs an allocation when
/// it is made, and a virtual call and a coroutine frame a call. It may go before its calls, as a
/// pipeline may: they end as `shut_down`. Not to be called after it was moved from.
template <class Request, class Response>
class any_service : public service_entry<any_service<Request, Response>, Request, Response> {
 public:
  using request = Request;
  using response = Response;

  template <Service S>
    requires(!std::same_as<std::remove_cvref_t<S>, any_service> &&
             std::same_as<request_of<S>, Request> && std::same_as<response_of<S>, Response>)
  any_service(S service)  // NOLINT(google-explicit-constructor)
      : model_(*new holder<S>(std::move(service))) {}

  /// Calls it from a layer (see `service_entry`).
  auto start(Request q, call const& c) { return begin(self(), std::move(q), c); }
  /// For a call that may begin later.
  [[nodiscard]] auto lend() noexcept { return detail::loan<any_service>{self()}; }

  /// Ends its calls as its destruction does; none begins any more.
  void close() noexcept { model_.close(); }

  [[nodiscard]] description describe() const { return self().describe(); }

 private:
  friend detail::loan<any_service>;

  class model : public detail::pipeline_core {
   public:
    virtual task<result<Response>> run(Request q, call const& c) = 0;
    [[nodiscard]] virtual description describe() const = 0;
  };

  template <class S>
  class holder final : public model {
   public:
    explicit holder(S service) : service_(std::move(service)) {}
    task<result<Response>> run(Request q, call const& c) override {
      return detail::asked<Response>(detail::outlives{service_}, std::move(q), c);
    }
    [[nodiscard]] description describe() const override { return cleat::describe(service_); }

   private:
    void close_service() noexcept override { detail::close(service_); }

    S service_;
  };

  [[nodiscard]] model& self() const noexcept { return *static_cast<model*>(model_.get()); }

  static auto begin(detail::pipeline_core& in, Request&& q, call const& c) {
    auto const make = [&] { return static_cast<model&>(in).run(std::move(q), c); };
    return detail::under_way<Response, task<result<Response>>>{in, make};
  }

  detail::calls_owner model_;
};

}  // namespace cleat

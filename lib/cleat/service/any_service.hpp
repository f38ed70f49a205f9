#pragma once

#include <cleat/service/description.hpp>
#include <cleat/service/entry.hpp>
#include <cleat/service/service.hpp>

#include <memory>
#include <utility>

namespace cleat {

/// Any service with these types: the one type-erased box, for boundaries. Costs an allocation when
/// it is made, and a virtual call and a coroutine frame a call. Not to be called after it was moved
/// from.
template <class Request, class Response>
class any_service : public service_entry<any_service<Request, Response>, Request, Response> {
 public:
  using request = Request;
  using response = Response;

  template <Service S>
    requires(!std::same_as<std::remove_cvref_t<S>, any_service> &&
             std::same_as<request_of<S>, Request> && std::same_as<response_of<S>, Response>)
  any_service(S service)  // NOLINT(google-explicit-constructor)
      : model_(std::make_unique<holder<S>>(std::move(service))) {}

  /// Calls it from a layer (see `service_entry`).
  task<result<Response>> start(Request q, call const& c) { return model_->run(std::move(q), c); }

  [[nodiscard]] description describe() const { return model_->describe(); }

 private:
  class model {
   public:
    virtual ~model() = default;
    virtual task<result<Response>> run(Request q, call c) = 0;
    [[nodiscard]] virtual description describe() const = 0;
  };

  template <class S>
  class holder final : public model {
   public:
    explicit holder(S service) : service_(std::move(service)) {}
    task<result<Response>> run(Request q, call c) override {
      return detail::asked(service_, std::move(q), c);
    }
    [[nodiscard]] description describe() const override { return cleat::describe(service_); }

   private:
    S service_;
  };

  std::unique_ptr<model> model_;
};

}  // namespace cleat

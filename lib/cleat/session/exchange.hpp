#pragma once

#include <cleat/base/call.hpp>
#include <cleat/base/environment.hpp>
#include <cleat/base/result.hpp>
#include <cleat/codec/protocol.hpp>
#include <cleat/session/slot_table.hpp>

#include <functional>
#include <optional>
#include <utility>

namespace cleat::detail {

/// Marks a slot's owner without its types.
class exchange_base {
 protected:
  exchange_base() = default;
  ~exchange_base() = default;
};

/// What a caller waits on between its request and the answer. Lives in the caller's frame.
template <class Session>
class exchange final : public leaf, public exchange_base {
  using request = typename Session::request;
  using response = typename Session::response;
  using message = typename Session::message;

 public:
  exchange(Session& in, request q, call const& c, std::function<void(message const&)> on_progress)
      : session_(&in), request_(std::move(q)), call_(c), on_progress_(std::move(on_progress)) {}
  ~exchange() {
    // Only with its whole context does a chain go while it waits; the request stays as it is.
    if (session_ == nullptr) return;
    if (slot_ != nullptr) session_->slots_.bury(*slot_);
    if (slot_ == nullptr && !outcome_) std::erase(session_->waiting_, this);
  }

  result<response> await_resume() { return *std::move(outcome_); }

 private:
  friend Session;

  void begin(bool cancelled) override {
    if (cancelled) return finish(failure{kind::cancelled, certainty::not_sent});
    session_->enter(*this);
  }
  void cancel() noexcept override {
    if (session_ != nullptr && !outcome_) session_->give_up(*this);
  }

  void finish(result<response> outcome) {
    outcome_.emplace(std::move(outcome));
    complete();
  }
  void finish_later(result<response> outcome) {
    outcome_.emplace(std::move(outcome));
    complete_later();
  }
  /// The session goes away with the context, before us.
  void orphan() noexcept {
    session_ = nullptr;
    slot_ = nullptr;
  }

  Session* session_;
  request request_;
  call call_;
  std::function<void(message const&)> on_progress_;
  slot* slot_ = nullptr;
  message_id id_;
  time_point began_{};
  std::optional<result<response>> outcome_;
};

}  // namespace cleat::detail

#pragma once

#include <cleat/base/call.hpp>
#include <cleat/base/environment.hpp>
#include <cleat/base/events.hpp>
#include <cleat/base/result.hpp>
#include <cleat/codec/protocol.hpp>
#include <cleat/session/slot_table.hpp>

#include <boost/intrusive/list.hpp>

#include <functional>
#include <optional>
#include <utility>

namespace cleat::detail {

/// Marks a slot's owner without its types, and can stand in line for a slot.
class exchange_base : public boost::intrusive::list_base_hook<> {
 protected:
  exchange_base() = default;
  ~exchange_base() = default;
};

/// Gives the session that a call is to go through when the call begins.
template <class Session>
class session_opener {
 public:
  virtual Session& open(environment& of_caller) = 0;

 protected:
  session_opener() = default;
  session_opener(session_opener&&) = default;
  ~session_opener() = default;
};

/// What a caller waits on between its request and the answer. Lives in the caller's frame.
template <class Session>
class exchange final : public leaf, public exchange_base {
  using request = typename Session::request;
  using response = typename Session::response;
  using message = typename Session::message;

 public:
  exchange(Session& in, request&& q, call const& c, std::function<void(message const&)> on_progress)
      : session_(&in), request_(std::move(q)), call_(c), on_progress_(std::move(on_progress)) {}
  /// One whole attempt, on the session that is open when it begins.
  template <class Request>
  exchange(session_opener<Session>& opener, Request&& q, call const& c)
      : opener_(&opener), request_(std::forward<Request>(q)), call_(c) {}
  ~exchange() override {
    // Only with its whole context does a chain go while it waits; the request stays as it is.
    if (session_ == nullptr) return;
    if (slot_ != nullptr) session_->slots_.bury(*slot_);
    if (is_linked()) session_->stop_waiting(*this);
  }

  result<response> await_resume() { return *std::move(outcome_); }

 private:
  friend Session;

  void begin(bool cancelled) override {
    if (opener_ != nullptr) {
      if (listens<attempt_ended>(call_.events)) attempt_began_ = call_.now();
      notify(call_.events, attempt_started{call_});
    }
    if (cancelled) return finish(failure{kind::cancelled, certainty::not_sent});
    if (opener_ != nullptr) session_ = &opener_->open(env());
    session_->enter(*this);
  }
  void cancel() noexcept override {
    if (session_ != nullptr && !outcome_) session_->give_up(*this);
  }

  void finish(result<response> outcome) {
    set(std::move(outcome));
    complete();
  }
  void finish_later(result<response> outcome) {
    set(std::move(outcome));
    complete_later();
  }
  void set(result<response>&& outcome) {
    outcome_.emplace(std::move(outcome));
    if (opener_ == nullptr || !listens<attempt_ended>(call_.events)) return;
    failure const why = *outcome_ ? failure{} : outcome_->error();
    notify(call_.events,
           attempt_ended{call_, *outcome_ ? nullptr : &why, call_.now() - attempt_began_});
  }
  /// The session goes away with the context, before us.
  void orphan() noexcept {
    session_ = nullptr;
    slot_ = nullptr;
  }

  Session* session_ = nullptr;
  session_opener<Session>* opener_ = nullptr;
  request request_;
  call call_;
  std::function<void(message const&)> on_progress_;
  slot* slot_ = nullptr;
  message_id id_;
  time_point began_{};
  time_point attempt_began_{};
  std::optional<result<response>> outcome_;
};

}  // namespace cleat::detail

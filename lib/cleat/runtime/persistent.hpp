#pragma once

#include <cleat/base/spawn.hpp>
#include <cleat/service/entry.hpp>
#include <cleat/session/session.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>

#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace cleat {

namespace detail {

/// A transport that is still being made: it accepts no byte before it is there.
template <Transport T>
class late_stream {
 public:
  late_stream(std::optional<T>& at, environment::executor_type const& executor)
      : at_(&at), executor_(executor) {}

  // The session waits only when it runs, and it runs only when the stream is there.
  auto readable() { return (*at_)->readable(); }
  auto writable() { return (*at_)->writable(); }
  result<std::size_t> read(std::span<std::byte> into) noexcept { return (*at_)->read(into); }
  result<std::size_t> write(std::span<bytes_view const> gather) noexcept {
    if (!*at_) return std::size_t{0};
    return (*at_)->write(gather);
  }
  void close() noexcept {
    if (*at_) (*at_)->close();
    executor_ = {};  // we may outlive the context
  }
  [[nodiscard]] environment::executor_type const& executor() const noexcept { return executor_; }

 private:
  std::optional<T>* at_;
  environment::executor_type executor_;
};

/// One connection from its dialling to its end. Its chain and its service share it.
template <Protocol P, Dialer D>
class link {
  using stream = typename D::stream_type;

 public:
  using session_type = session<P, late_stream<stream>>;

  link(environment::executor_type const& executor, P protocol, session_options options) {
    conversation_.emplace(late_stream<stream>{stream_, executor}, std::move(protocol), options);
  }

  /// The chain's part in it. A chain that goes before its end goes with its execution context, and
  /// takes with it what that context knows of.
  class hold {
   public:
    explicit hold(std::shared_ptr<link> l) noexcept : link_(std::move(l)) {}
    hold(hold&&) noexcept = default;
    hold& operator=(hold&&) = delete;
    ~hold() {
      if (!link_) return;
      if (!link_->conversation_->ended()) link_->conversation_.reset();
      link_->stream_.reset();
    }
    link* operator->() const noexcept { return link_.get(); }

   private:
    std::shared_ptr<link> link_;
  };

  /// Dials and then speaks until the session ends, whyever.
  static task<> live(hold self, task<> dialling) {
    co_await std::move(dialling);  // in a frame of its own, which goes with it
    if (self->stream_) static_cast<void>(co_await self->conversation().run());
  }

  task<> dial(D dialer, time_point deadline, event_table const* events, std::string_view peer) {
    call dialling{co_await this_chain::executor};
    dialling.tighten(deadline);
    dialling.events = events;
    dialling.peer = peer;
    time_point const began = dialling.now();
    try {
      auto dialled = co_await dialer.dial(dialling);
      // Who closed us may have destroyed those who listen.
      if (takes_calls() && listens<connect_ended>(events)) {
        failure const why = dialled ? failure{} : dialled.error();
        std::string const address = dialer.address();
        notify(events,
               connect_ended{dialling, address, dialled ? nullptr : &why, dialling.now() - began});
      }
      if (!dialled) {
        conversation().close(dialled.error());
      } else {
        stream_.emplace(std::move(*dialled));
      }
    } catch (...) {
      conversation().close(failure{kind::shut_down}.with_detail("the dialer threw"));
      throw;
    }
  }

  [[nodiscard]] bool takes_calls() const noexcept {
    return conversation_ && conversation_->takes_calls();
  }
  [[nodiscard]] session_type& conversation() noexcept { return *conversation_; }

  void close() noexcept {
    if (!conversation_ || conversation_->ended()) return;
    conversation_->close();
    stop_.emit(boost::asio::cancellation_type::all);
  }
  /// What ends the chain.
  [[nodiscard]] boost::asio::cancellation_slot stop() noexcept { return stop_.slot(); }

 private:
  std::optional<stream> stream_;
  std::optional<session_type> conversation_;
  boost::asio::cancellation_signal stop_;
};

}  // namespace detail

/// A service that keeps one connection for all its calls: what `persistent<protocol>(dialer)` makes.
///
/// The first call makes the connection; those that come meanwhile go with it, each by its own
/// deadline. When the connection has ended, those under way fail with the reason, and the next call
/// makes a new one: a `retry` above is what reconnects. Destroying the service closes it. The
/// calls under way fail as `shut_down` then, and the options' events hear nothing more.
///
/// A call costs no coroutine of its own. `attempt_started` and `attempt_ended` frame each call;
/// `connect_ended` goes to the options' events.
template <Protocol P, Dialer D>
class persistent_service
    : public service_entry<persistent_service<P, D>, typename P::request, typename P::response>,
      private detail::session_opener<typename detail::link<P, D>::session_type> {
  using link = detail::link<P, D>;
  using session_type = typename link::session_type;

 public:
  using request = typename P::request;
  using response = typename P::response;

  persistent_service(D dialer, P protocol)
      : dialer_(std::move(dialer)), protocol_(std::move(protocol)) {}
  persistent_service(persistent_service&&) noexcept = default;
  persistent_service& operator=(persistent_service&&) = delete;
  virtual ~persistent_service() { close(); }

  /// How long making the connection may take, name lookup included; 10 s if nothing is said.
  [[nodiscard]] persistent_service connect_within(duration limit) && {
    connect_limit_ = limit;
    return std::move(*this);
  }
  /// The bounds of the session, and who hears of what belongs to no call.
  [[nodiscard]] persistent_service with(session_options options) && {
    options_ = options;
    return std::move(*this);
  }

  /// Calls it from a layer (see `service_entry`).
  auto start(request&& q, call const& c) {
    detail::session_opener<session_type>& opener = *this;
    return typename session_type::exchange{opener, std::move(q), c};
  }
  auto start(request const& q, call const& c) {
    detail::session_opener<session_type>& opener = *this;
    return typename session_type::exchange{opener, q, c};
  }

  /// Closes the connection; its calls end as `shut_down`. The next one would make another.
  void close() noexcept {
    if (link_) link_->close();
  }

  [[nodiscard]] std::string describe() const {
    return "persistent(" + std::string{dialer_.address()} + ")";
  }

 private:
  session_type& open(environment& env) override {
    if (link_ && link_->takes_calls()) return link_->conversation();
    auto const& executor = env.executor();
    link_ = std::make_shared<link>(executor, protocol_, options_);
    auto deadline = saturated_add(clock::of(executor).now(), connect_limit_);
    auto life = link::live(typename link::hold{link_},
                           link_->dial(dialer_, deadline, options_.events, options_.peer));
    auto at_the_end = [executor](std::exception_ptr const& thrown) {
      // A protocol that throws: its callers know already, and so shall whoever runs the loop.
      if (thrown) boost::asio::post(executor, [thrown] { std::rethrow_exception(thrown); });
    };
    spawn(executor, std::move(life),
          boost::asio::bind_cancellation_slot(link_->stop(), std::move(at_the_end)));
    return link_->conversation();
  }

  D dialer_;
  P protocol_;
  session_options options_;
  duration connect_limit_ = std::chrono::seconds{10};
  std::shared_ptr<link> link_;
};

/// `persistent<toggle::protocol>(tcp{"192.0.2.1", 9000})`.
template <Protocol P, Dialer D>
[[nodiscard]] persistent_service<P, D> persistent(D dialer, P protocol = P{}) {
  return {std::move(dialer), std::move(protocol)};
}

}  // namespace cleat

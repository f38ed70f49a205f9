#include "meter.hpp"
#include "roles.hpp"

#include <cleat/base/spawn.hpp>
#include <cleat/observe/log.hpp>
#include <cleat/observe/log_sink.hpp>
#include <cleat/observe/metrics.hpp>
#include <cleat/observe/observe.hpp>
#include <cleat/runtime/server.hpp>
#include <cleat/session/session.hpp>
#include <cleat/transport/network.hpp>
#include <toggle/protocol.hpp>

#include <boost/asio/io_context.hpp>

#include <cstdio>
#include <memory>
#include <string>
#include <utility>

namespace bench {

namespace {

using cleat::result;
using cleat::task;
using toggle::message;

/// A lamp, and whoever wants to hear of what it is asked.
class lamp {
 public:
  explicit lamp(cleat::event_table const* events) noexcept { options_.events = events; }

  task<> converse(cleat::any_stream stream) {
    cleat::session with{std::move(stream), toggle::protocol{}, options_};
    with.serve = [this](message m) { return answer(std::move(m)); };
    static_cast<void>(co_await with.run());
  }

 private:
  task<result<message>> answer(message request) {
    on_ = request.state.value_or(on_);
    count_answer();
    co_return message::ack(request, on_);
  }

  cleat::session_options options_;
  bool on_ = false;
};

task<> listen(cleat::server& s) { static_cast<void>(co_await s.run()); }

}  // namespace

int serve(options const& o) {
  boost::asio::io_context context{1};
  auto const& time = cleat::clock::of(context.get_executor());
  auto sink = cleat::log_sink::open(cleat::log_sink_options{time});
  if (!sink) {
    std::fprintf(stderr, "bench: %s\n", sink.error().message().c_str());
    return 4;
  }
  cleat::metrics metrics;
  cleat::log log{**sink};
  cleat::tee events{metrics, log};

  lamp it{o.bare ? nullptr : &events};
  auto listener = cleat::network::of(context.get_executor())
                      .listen(context.get_executor(), "127.0.0.1", o.port);
  if (!listener) {
    std::fprintf(stderr, "bench: %s\n", listener.error().message().c_str());
    return 4;
  }
  cleat::server server{std::move(*listener),
                       [&it](cleat::any_stream s) { return it.converse(std::move(s)); }};
  cleat::spawn(context.get_executor(), listen(server));
  answer_to_signals();
  say("LISTENING " + std::to_string(server.port()));
  context.run();
  return 0;
}

}  // namespace bench

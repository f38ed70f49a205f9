#include "journal.hpp"
#include "peers/meter.hpp"
#include "roles.hpp"

#include <cleat/middleware/breaker.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/limit.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/rate.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/observe/metrics.hpp>
#include <cleat/runtime/per_call.hpp>
#include <cleat/runtime/persistent.hpp>
#include <cleat/runtime/run.hpp>
#include <cleat/transport/tcp.hpp>
#include <toggle/protocol.hpp>

#include <boost/asio/io_context.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <utility>

namespace bench {

namespace {

using cleat::task;
using namespace std::chrono_literals;

/// One request; a failure ends the program, since nobody here is to fail.
template <class Lamp>
task<> ask_once(Lamp& lamp) {
  auto const r = co_await lamp(toggle::request::turn("DEVICE123", true));
  if (!r) {
    std::fprintf(stderr, "bench: %s\n", r.error().message().c_str());
    std::_Exit(1);
  }
}

template <class Lamp>
task<> ask_again_and_again(Lamp& lamp, peers::meter& m) {
  for (bool more = true; more;) {
    auto const began = peers::clock::now();
    auto const r = co_await lamp(toggle::request::turn("DEVICE123", true));
    if (!r) {
      std::fprintf(stderr, "bench: %s\n", r.error().message().c_str());
      std::_Exit(1);
    }
    more = m.count(began, peers::clock::now());
  }
  m.finish();
}

/// Nothing, so that a service alone can be called like a pipeline.
class passing : public cleat::stage {
 public:
  template <class Request, class Next>
  auto operator()(Request&& q, cleat::call const& c, Next& next) const
      -> decltype(next(std::forward<Request>(q), c)) {
    return next(std::forward<Request>(q), c);
  }
};

/// The workload over lamps that `make` makes.
template <class Make>
task<> work(options const& o, peers::meter& m, Make make) {
  auto const executor = co_await cleat::this_chain::executor;
  using lamp = decltype(make());
  std::deque<lamp> lamps;
  peers::say_and_wait("INIT\n");
  for (std::size_t i = 0; i < o.connections; ++i) {
    lamps.push_back(make());
    if (!o.reconnects) co_await ask_once(lamps.back());
  }
  m.begin();
  std::uint32_t const step = o.connections / o.active;
  for (std::size_t i = 0; i < o.active; ++i) {
    for (std::size_t n = 0; n < o.window; ++n)
      cleat::spawn(executor, ask_again_and_again(lamps[i * step], m));
  }
  static_cast<void>(co_await cleat::sleep_until(cleat::never));
}

}  // namespace

int ask(options const& o) {
  boost::asio::io_context context{1};
  auto const executor = context.get_executor();
  auto sink = open_journal(o, cleat::clock::of(executor));
  if (!sink) {
    std::fprintf(stderr, "bench: %s\n", sink.error().message().c_str());
    return 4;
  }
  peers::meter m{o};
  cleat::metrics metrics;
  cleat::log log{**sink, level_of_good_news(o), level_of_good_news(o)};
  auto observed = cleat::observe(metrics, log);
  auto counted = cleat::observe(metrics);
  auto limit = cleat::deadline(1500ms);
  auto again = cleat::retry(2);
  auto places = cleat::limit(1 << 20);
  auto pace = cleat::rate(1'000'000'000);
  auto fuse = cleat::breaker();
  cleat::tcp const peer{"127.0.0.1", o.port};

  auto const start = [&](auto make) { cleat::spawn(executor, work(o, m, std::move(make))); };
  auto const session = [&] { return cleat::persistent<toggle::protocol>(peer); };
  if (o.reconnects) {
    start([&] {
      return cleat::shared(observed) | cleat::shared(limit) | cleat::shared(again) |
             cleat::per_call<toggle::protocol>(peer);
    });
  } else {
    switch (o.layers) {
      case stack::none:
        start([&] { return passing{} | session(); });
        break;
      case stack::three:
        start([&] {
          return cleat::shared(counted) | cleat::shared(limit) | cleat::shared(again) | session();
        });
        break;
      case stack::six:
        start([&] {
          return cleat::shared(counted) | cleat::shared(limit) | cleat::shared(places) |
                 cleat::shared(again) | cleat::shared(pace) | cleat::shared(fuse) | session();
        });
        break;
      case stack::all:
        start([&] {
          return cleat::shared(observed) | cleat::shared(limit) | cleat::shared(again) | session();
        });
        break;
    }
  }
  cleat::run(context, o.spin);
  return 1;
}

}  // namespace bench

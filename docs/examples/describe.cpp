// Docs: how to compose a pipeline (docs/how-to/compose.md): the whole catalogue in its order, which says what it is as
// text and, with the argument `graph`, in the language of Graphviz.
#include <cleat/middleware/breaker.hpp>
#include <cleat/middleware/canary.hpp>
#include <cleat/middleware/deadline.hpp>
#include <cleat/middleware/fallback.hpp>
#include <cleat/middleware/hedge.hpp>
#include <cleat/middleware/idempotent.hpp>
#include <cleat/middleware/limit.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/rate.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/middleware/shadow.hpp>
#include <cleat/middleware/timeout.hpp>
#include <cleat/service/any_service.hpp>
#include <cleat/sim/world.hpp>

#include <iostream>
#include <memory>
#include <string>
#include <string_view>

using namespace std::chrono_literals;
using cleat::call;
using cleat::result;
using cleat::task;

namespace {

/// A service of one's own says what it is by a member `describe`.
class weather {
 public:
  using request = std::string;
  using response = std::string;

  explicit weather(std::string from) : from_(std::move(from)) {}
  task<result<std::string>> operator()(std::string place, call) {
    co_return place + ": sun, says " + from_;
  }
  [[nodiscard]] std::string describe() const { return "weather(" + from_ + ")"; }

 private:
  std::string from_;
};

struct counter {
  using listens_to = cleat::event_list<cleat::call_ended>;
  void on(cleat::call_ended const&) noexcept { ++calls; }
  int calls = 0;
};

// [catalogue]
auto forecast(counter& counts, std::shared_ptr<cleat::share> part) {
  using namespace cleat;
  auto one = retry(3).per_attempt(1500ms) | hedge().after(200ms) | limit(64).queue(16) | breaker() |
             rate(100) | timeout(1s) | weather{"north"};
  auto two = retry(2) | breaker() | weather{"new"};
  return observe(counts) | deadline(5s) | fallback(std::string{"as yesterday"}) | idempotent() |
         canary(shadow(std::move(one), weather{"copy"}), std::move(two), std::move(part));
}
// [catalogue]

// [boundary]
using any_forecast = cleat::any_service<std::string, std::string>;

any_forecast open(counter& counts) {
  return forecast(counts, std::make_shared<cleat::share>(500));  // 5 %
}
// [boundary]

task<bool> ask(any_forecast& service) {
  auto const r = co_await service("here", call{co_await cleat::this_chain::executor});
  co_return r && r->starts_with("here: sun");
}

}  // namespace

int main(int argc, char** argv) {
  bool const as_graph = argc > 1 && std::string_view{argv[1]} == "graph";
  counter counts;
  cleat::sim::world w{1};
  any_forecast service = open(counts);
  // [describe]
  if (as_graph) {
    std::cout << cleat::to_graphviz(describe(service));
  } else {
    std::cout << describe(service);
  }
  // [describe]
  return w.run(ask(service)) && counts.calls == 1 ? 0 : 1;
}

#define BOOST_TEST_MODULE network
// What stands in for the machine's network is reached through the context, by every dialer.
#include <cleat/base/spawn.hpp>
#include <cleat/transport/memory.hpp>
#include <cleat/transport/network.hpp>
#include <cleat/transport/tcp.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/test/unit_test.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace asio = boost::asio;
using cleat::any_listener;
using cleat::any_stream;
using cleat::certainty;
using cleat::failure;
using cleat::kind;
using cleat::network;
using cleat::result;
using cleat::task;
using cleat::tcp;
using namespace std::chrono_literals;

namespace {

/// What was asked of a network that is none.
class asked {
 public:
  std::string host;
  std::uint16_t port = 0;
  cleat::tcp_options options;
  cleat::time_point deadline;
  /// The far ends of what was dialled.
  std::vector<cleat::memory_stream> far;
};

class pretended final : public network::model {
 public:
  explicit pretended(asked& a) : asked_(a) {}

  task<result<any_stream>> dial(std::string host, std::uint16_t port, cleat::tcp_options options,
                                cleat::time_point deadline) override {
    asked_.host = std::move(host);
    asked_.port = port;
    asked_.options = options;
    asked_.deadline = deadline;
    auto ends = cleat::memory_pair(co_await cleat::this_chain::executor);
    asked_.far.push_back(std::move(ends.second));
    co_return any_stream::of(std::move(ends.first));
  }
  result<any_listener> listen(cleat::environment::executor_type const&, std::string const& host,
                              std::uint16_t) override {
    return failure{kind::resources, certainty::not_sent}.with_detail(host);
  }

 private:
  asked& asked_;
};

}  // namespace

static_assert(cleat::Transport<any_stream>);
static_assert(cleat::Transport<cleat::tcp_stream>);
static_assert(cleat::Transport<cleat::memory_stream>);
static_assert(cleat::Dialer<tcp>);
static_assert(cleat::Listener<any_listener>);
static_assert(!cleat::Transport<tcp>, "an address is no stream");
static_assert(!cleat::Dialer<any_listener>, "whoever accepts does not dial");
static_assert(!cleat::Listener<tcp>, "whoever dials does not accept");
static_assert(!cleat::Transport<std::string>);

BOOST_AUTO_TEST_CASE(each_context_has_one_network_of_its_own) {
  asio::io_context a;
  asio::io_context b;
  BOOST_TEST(&network::of(a.get_executor()) == &network::of(a.get_executor()));
  BOOST_TEST(&network::of(a.get_executor()) != &network::of(b.get_executor()));
}

BOOST_AUTO_TEST_CASE(
    a_dialer_asks_the_network_of_its_chain_for_what_it_was_told_by_the_calls_deadline) {
  asio::io_context context;
  asked a;
  network::of(context.get_executor()).replace(std::make_unique<pretended>(a));
  cleat::call c{context.get_executor()};
  auto const deadline = c.now() + 1h;
  c.tighten(deadline);
  bool done = false;
  auto body = [&]() -> task<> {
    cleat::tcp_options options;
    options.no_delay = false;
    tcp const lamp{"lamp.local", 9000, options};
    auto stream = co_await lamp.dial(c);
    BOOST_REQUIRE(stream.has_value());
    cleat::bytes_view const text = cleat::as_bytes("on");
    BOOST_TEST(stream->write(std::span{&text, 1}).value() == 2U);
    done = true;
  };
  cleat::spawn(context.get_executor(), body());
  context.run();
  BOOST_TEST(done);
  BOOST_TEST(a.host == "lamp.local");
  BOOST_TEST(a.port == 9000);
  BOOST_TEST(!a.options.no_delay);
  BOOST_TEST((a.deadline == deadline));
  BOOST_REQUIRE(a.far.size() == 1U);
  std::string got(2, '\0');
  BOOST_TEST(a.far[0].read(std::as_writable_bytes(std::span{got})).value() == 2U);
  BOOST_TEST(got == "on");
}

BOOST_AUTO_TEST_CASE(listening_asks_the_replaced_network_too) {
  asio::io_context context;
  asked a;
  auto& net = network::of(context.get_executor());
  net.replace(std::make_unique<pretended>(a));
  auto const l = net.listen(context.get_executor(), "192.0.2.1", 9000);
  BOOST_REQUIRE(!l.has_value());
  BOOST_TEST(l.error().detail() == "192.0.2.1");
}

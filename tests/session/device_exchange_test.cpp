#define BOOST_TEST_MODULE device_exchange
// The exchange of a power command as the devices do it (wire reference, section 7.5), with a toy
// codec that keeps its shape and not its bytes: a receipt matched by one key, the acceptance by
// another, the proof by the state of a target; pushes that nobody asked for; both sides number
// their own requests; receipts are given by the reader at once.
#include <cleat/base/spawn.hpp>
#include <cleat/session/session.hpp>
#include <cleat/transport/memory.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/test/unit_test.hpp>

#include <string>
#include <vector>

namespace asio = boost::asio;
using cleat::bytes_view;
using cleat::certainty;
using cleat::failure;
using cleat::kind;
using cleat::match_key;
using cleat::result;
using cleat::role;
using cleat::scope;
using cleat::task;
using namespace std::chrono_literals;

namespace {

enum class op : unsigned char {
  command = 1,  // "73 F8": do this; answered by a receipt, an acceptance, a proof
  taken = 2,    // "73 F9": the bridge took it, or not; itself answered by a receipt
  receipt = 3,  // "7B": the bytes arrived
  event = 4,    // "83": state of a node, in answer to a command or not; answered by `seen`
  seen = 5,     // "88"
  state = 6,    // "43": state of a node, never an answer; answered by `noted`
  noted = 7,    // "48"
};

/// One message: eight bytes on the wire.
struct packet {
  op what = op::command;
  std::uint16_t number = 0;  // each side counts its own
  std::uint16_t sequence = 0;
  std::uint8_t node = 0;
  bool on = false;
  std::uint8_t code = 0;
};

struct power {
  power(std::uint8_t n, bool o) : node(n), on(o) {}
  std::uint8_t node;
  bool on;
};
struct proven {
  proven(std::uint8_t n, bool o) : node(n), on(o) {}
  std::uint8_t node;
  bool on;
};

class toy_base {
 public:
  using message = packet;

  [[nodiscard]] cleat::decoded<packet> decode(bytes_view b) const {
    if (b.size() < 8) return cleat::decoded<packet>::need{8 - b.size()};
    auto const u = [&](std::size_t i) { return std::to_integer<unsigned>(b[i]); };
    packet p;
    p.what = static_cast<op>(u(0));
    p.number = static_cast<std::uint16_t>(u(1) << 8U | u(2));
    p.sequence = static_cast<std::uint16_t>(u(3) << 8U | u(4));
    p.node = static_cast<std::uint8_t>(u(5));
    p.on = u(6) != 0;
    p.code = static_cast<std::uint8_t>(u(7));
    return {p, 8};
  }
  [[nodiscard]] result<void> encode(packet const& p, cleat::byte_buffer& out) const {
    for (unsigned const v :
         {unsigned(p.what), p.number / 256U, p.number % 256U, p.sequence / 256U, p.sequence % 256U,
          unsigned(p.node), unsigned(p.on), unsigned(p.code)}) {
      out.push_back(static_cast<std::byte>(v));
    }
    return {};
  }
  [[nodiscard]] cleat::message_id id(packet const& p) const {
    return cleat::message_id{std::to_string(p.number)};
  }

  static match_key by_number(std::uint16_t n) { return {1, n}; }
  static match_key by_sequence(std::uint16_t s) { return {2, s}; }
  static match_key by_proof(std::uint16_t s) { return {3, s}; }
  static match_key by_state(std::uint8_t node, bool on) {
    return match_key::in_order(4, node * 2U + (on ? 1U : 0U));
  }
};

/// The controller's side: it commands, and awaits the proof.
class controller_side : public toy_base {
 public:
  using request = power;
  using response = proven;

  [[nodiscard]] result<cleat::opened<packet>> open(power const& q, cleat::call const& c,
                                                   std::uint64_t number) const {
    packet p;
    p.number = static_cast<std::uint16_t>(number);
    p.sequence = static_cast<std::uint16_t>(c.operation);  // stable over the attempts
    p.node = q.node;
    p.on = q.on;
    cleat::match_keys keys;
    keys.add(by_number(p.number))
        .add(by_sequence(p.sequence))
        .add(by_proof(p.sequence))
        .add(by_state(q.node, q.on));
    return cleat::opened<packet>{p, keys};
  }
  [[nodiscard]] cleat::relation relate(packet const& p) const {
    switch (p.what) {
      case op::receipt:
        return {role::progress, by_number(p.number)};
      case op::taken:
        return {p.code == 0 ? role::progress : role::answer, by_sequence(p.sequence)};
      case op::event: {
        cleat::match_keys keys;
        cleat::relation r{role::answer, keys.add(by_proof(p.sequence)).add(by_state(p.node, p.on))};
        r.also_push = true;
        return r;
      }
      case op::state: {
        cleat::relation r{role::answer, by_state(p.node, p.on)};
        r.also_push = true;
        return r;
      }
      default:
        return role::push;
    }
  }
  [[nodiscard]] result<proven> conclude(packet p) const {
    if (p.what == op::taken)
      return failure{kind::rejected, certainty::rejected}.with_detail("code " +
                                                                      std::to_string(p.code));
    return proven{p.node, p.on};
  }
};

/// The device's side: it is commanded, and awaits only receipts of what it says itself.
class device_side : public toy_base {
 public:
  using request = packet;
  using response = packet;

  [[nodiscard]] result<cleat::opened<packet>> open(packet const& q, cleat::call const&,
                                                   std::uint64_t number) const {
    packet p = q;
    p.number = static_cast<std::uint16_t>(number);
    if (q.what == op::state)
      return cleat::opened<packet>{p, match_key::in_order(5)};  // has no number of its own
    return cleat::opened<packet>{p, by_number(p.number)};
  }
  [[nodiscard]] cleat::relation relate(packet const& p) const {
    switch (p.what) {
      case op::command:
        return role::request;
      case op::receipt:
      case op::seen:
        return {role::answer, by_number(p.number)};
      case op::noted:
        return {role::answer, match_key::in_order(5)};
      default:
        return role::push;
    }
  }
  [[nodiscard]] result<packet> conclude(packet p) const { return p; }
};

static_assert(cleat::Protocol<controller_side>);
static_assert(cleat::Protocol<device_side>);

using controller = cleat::session<controller_side, cleat::memory_stream>;
using device = cleat::session<device_side, cleat::memory_stream>;

packet of(op what, std::uint16_t sequence, std::uint8_t node, bool on, std::uint8_t code = 0) {
  packet p;
  p.what = what;
  p.sequence = sequence;
  p.node = node;
  p.on = on;
  p.code = code;
  return p;
}

template <class Session>
task<> run_one(Session& s) {
  static_cast<void>(co_await s.run());
}

class fixture {
 public:
  fixture()
      : ends(cleat::memory_pair(context.get_executor())),
        ctl(std::move(ends.first), controller_side{}),
        dev(std::move(ends.second), device_side{}) {
    // Receipts leave at once, whatever anybody else is doing.
    ctl.respond = [this](packet const& p) {
      packet r = p;
      if (p.what == op::taken) r.what = op::receipt;
      if (p.what == op::event) r.what = op::seen;
      if (p.what == op::state) r.what = op::noted;
      if (r.what != p.what) BOOST_TEST(ctl.send(r).has_value());
    };
    dev.respond = [this](packet const& p) {
      if (p.what != op::command) return;
      packet r = p;
      r.what = op::receipt;
      BOOST_TEST(dev.send(r).has_value());
    };
  }

  /// What the device does with a command, after the receipt; set by each test.
  template <class F>
  void device_does(F f) {
    dev.serve = [f](packet p) -> task<result<packet>> {
      co_await f(p);
      co_return failure{kind::invalid};  // everything was said already
    };
  }

  task<result<packet>> say(packet p) {
    auto r = co_await dev.call(p, new_call());
    co_return r;
  }
  cleat::call new_call(std::chrono::nanoseconds limit = 5s) {
    cleat::call c{context.get_executor()};
    c.tighten(c.now() + limit);
    return c;
  }
  void run(task<> body) {
    auto all = [](fixture& f, task<> b) -> task<> {
      cleat::environment& env = co_await cleat::this_chain::environment;
      scope beside{env};
      beside.spawn(run_one(f.ctl));
      beside.spawn(run_one(f.dev));
      co_await std::move(b);
      f.ctl.close();
      f.dev.close();
      co_await beside.join();
    };
    auto done = cleat::spawn(context.get_executor(), all(*this, std::move(body)), asio::use_future);
    context.run();
    done.get();
  }
  auto progress() {
    return
        [this](packet const& p) { steps.push_back(p.what == op::receipt ? "received" : "taken"); };
  }

  asio::io_context context;
  std::pair<cleat::memory_stream, cleat::memory_stream> ends;
  controller ctl;
  device dev;
  std::vector<std::string> steps;
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_command_is_received_then_taken_then_proven_by_the_event_with_its_sequence) {
  fixture f;
  bool both_seen = false;
  f.device_does([&](packet p) -> task<> {
    auto const taken = co_await f.say(of(op::taken, p.sequence, p.node, p.on));
    auto const event = co_await f.say(of(op::event, p.sequence, p.node, p.on));
    both_seen = taken.has_value() && event.has_value();
  });
  auto body = [](fixture& fx) -> task<> {
    auto const r = co_await fx.ctl.call(power{5, true}, fx.new_call(), fx.progress());
    BOOST_REQUIRE(r.has_value());
    BOOST_TEST(r->node == 5);
    BOOST_TEST(r->on);
    BOOST_TEST((fx.steps == std::vector<std::string>{"received", "taken"}));
    auto const news = co_await fx.ctl.next_push(fx.new_call().deadline());
    BOOST_TEST((news && news->what == op::event));
    // Let the device hear the receipt, which left before the caller went on.
    for (int i = 0; i < 4; ++i) co_await asio::post(fx.context, cleat::use_task);
  };
  f.run(body(f));
  BOOST_TEST(both_seen);  // the controller's reader gave both receipts
}

BOOST_AUTO_TEST_CASE(a_command_for_another_node_is_proven_by_a_report_of_that_nodes_state) {
  fixture f;
  f.device_does([&](packet p) -> task<> {
    static_cast<void>(co_await f.say(of(op::taken, p.sequence, p.node, p.on)));
    static_cast<void>(co_await f.say(of(op::state, 0, 9, true)));   // another node
    static_cast<void>(co_await f.say(of(op::state, 0, 7, false)));  // the node, the old state
    static_cast<void>(co_await f.say(of(op::state, 0, 7, true)));   // the proof
  });
  auto body = [](fixture& fx) -> task<> {
    auto const r = co_await fx.ctl.call(power{7, true}, fx.new_call(), fx.progress());
    BOOST_REQUIRE(r.has_value());
    BOOST_TEST((r->node == 7 && r->on));
    std::vector<int> news;
    for (int i = 0; i < 3; ++i) {
      auto const p = co_await fx.ctl.next_push(fx.new_call().deadline());
      if (p) news.push_back(p->node * 10 + (p->on ? 1 : 0));
    }
    BOOST_TEST((news == std::vector<int>{91, 70, 71}));
  };
  f.run(body(f));
}

BOOST_AUTO_TEST_CASE(a_receipt_alone_proves_nothing) {
  fixture f;
  f.device_does([](packet) -> task<> { co_return; });
  auto body = [](fixture& fx) -> task<> {
    auto const r = co_await fx.ctl.call(power{5, true}, fx.new_call(10ms), fx.progress());
    BOOST_TEST((!r && r.error().why() == kind::timed_out &&
                r.error().sure() == certainty::maybe_executed));
    BOOST_TEST((fx.steps == std::vector<std::string>{"received"}));
  };
  f.run(body(f));
}

BOOST_AUTO_TEST_CASE(a_command_that_the_bridge_refuses_is_rejected) {
  fixture f;
  f.device_does([&](packet p) -> task<> {
    static_cast<void>(co_await f.say(of(op::taken, p.sequence, p.node, p.on, 5)));
  });
  auto body = [](fixture& fx) -> task<> {
    auto const r = co_await fx.ctl.call(power{5, true}, fx.new_call());
    BOOST_TEST(
        (!r && r.error().why() == kind::rejected && r.error().sure() == certainty::rejected));
    BOOST_TEST(r.error().detail() == "code 5");
  };
  f.run(body(f));
}

BOOST_AUTO_TEST_CASE(
    news_that_nobody_asked_for_reaches_whoever_wants_it_while_commands_are_under_way) {
  fixture f;
  cleat::event done;
  f.device_does([&](packet p) -> task<> {
    for (std::uint8_t n = 20; n < 25; ++n)
      static_cast<void>(co_await f.say(of(op::event, 9999, n, true)));
    static_cast<void>(co_await f.say(of(op::event, p.sequence, p.node, p.on)));
  });
  auto body = [&](fixture& fx) -> task<> {
    std::vector<int> heard;
    auto listen = [&]() -> task<> {
      while (heard.size() < 6) {
        auto const p = co_await fx.ctl.next_push(fx.new_call().deadline());
        if (!p) break;
        heard.push_back(p->node);
      }
    };
    cleat::environment& env = co_await cleat::this_chain::environment;
    scope beside{env};
    beside.spawn(listen());
    auto const r = co_await fx.ctl.call(power{5, false}, fx.new_call());
    BOOST_TEST(r.has_value());
    co_await beside.join();
    BOOST_TEST((heard == std::vector<int>{20, 21, 22, 23, 24, 5}));
  };
  f.run(body(f));
}

BOOST_AUTO_TEST_CASE(both_sides_use_the_same_numbers_at_once_without_confusion) {
  fixture f;
  f.device_does([&](packet p) -> task<> {
    // The device's own message bears the very number of the command.
    packet mine = of(op::taken, p.sequence, p.node, p.on);
    mine.number = p.number;
    BOOST_TEST(f.dev.send(mine).has_value());
    static_cast<void>(co_await f.say(of(op::event, p.sequence, p.node, p.on)));
  });
  auto body = [](fixture& fx) -> task<> {
    for (int i = 0; i < 20; ++i) {
      auto const r =
          co_await fx.ctl.call(power{static_cast<std::uint8_t>(i), i % 2 == 0}, fx.new_call());
      BOOST_TEST((r && r->node == i));
    }
  };
  f.run(body(f));
}

BOOST_AUTO_TEST_CASE(a_proof_that_comes_too_late_is_not_taken_for_the_next_commands_proof) {
  fixture f;
  cleat::event late;
  int commands = 0;
  f.device_does([&](packet p) -> task<> {
    if (++commands == 1) static_cast<void>(co_await late.wait());
    static_cast<void>(co_await f.say(of(op::event, p.sequence, p.node, p.on)));
  });
  auto body = [&](fixture& fx) -> task<> {
    auto const first = co_await fx.ctl.call(power{5, true}, fx.new_call(5ms));
    BOOST_TEST((!first && first.error().why() == kind::timed_out));
    BOOST_TEST(fx.ctl.unanswered() == 1U);
    auto const second = co_await fx.ctl.call(power{5, false}, fx.new_call());
    BOOST_TEST((second && !second->on));
    late.set();
    auto const third = co_await fx.ctl.call(power{5, false}, fx.new_call());
    BOOST_TEST((third && !third->on));
  };
  f.run(body(f));
}

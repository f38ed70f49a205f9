#define BOOST_TEST_MODULE device
#include <cleat/base/scope.hpp>
#include <cleat/base/spawn.hpp>
#include <cleat/middleware/backoff.hpp>
#include <cleat/middleware/observe.hpp>
#include <cleat/middleware/retry.hpp>
#include <cleat/runtime/per_call.hpp>
#include <cleat/transport/tcp.hpp>
#include <toggle/device.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/test/unit_test.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace asio = boost::asio;
namespace json = boost::json;
using cleat::certainty;
using cleat::failure;
using cleat::kind;
using cleat::task;
using toggle::device;
using toggle::device_mode;
using toggle::device_options;
using toggle::request;
using namespace std::chrono_literals;

namespace {

using reply = cleat::result<toggle::response>;

device_options in_mode(device_mode m) {
  device_options o;
  o.script = {m};
  o.delay = 1ms;
  return o;
}

/// What is under test, and what is done with it: everything by real sockets, on one thread.
class fixture {
 public:
  explicit fixture(device_options o) {
    auto opened = device::open(context.get_executor(), "127.0.0.1", 0, std::move(o));
    BOOST_REQUIRE(opened.has_value());
    it = std::move(*opened);
  }

  void run(task<> body) {
    auto all = [](fixture& f, task<> b) -> task<> {
      cleat::environment& env = co_await cleat::this_chain::environment;
      cleat::scope beside{env};
      beside.spawn(serve(*f.it));
      co_await std::move(b);
      f.it->stop();
      co_await beside.join();
    };
    auto done = cleat::spawn(context.get_executor(), all(*this, std::move(body)), asio::use_future);
    context.run();
    done.get();
    BOOST_TEST(cleat::chain_count(context) == 0U);
  }

  cleat::call new_call() {
    cleat::call c{context.get_executor()};
    c.peer = "DEVICE123";
    return c;
  }

  auto client(cleat::duration limit = 5s, bool op_id = true,
              cleat::unframed bare = cleat::unframed::ack) {
    toggle::protocol const speaks{toggle::protocol_options{op_id, cleat::f00d_options{bare}}};
    return cleat::per_call<toggle::protocol>(cleat::tcp{"127.0.0.1", it->port()}, speaks)
        .answer_within(limit);
  }

  /// One request on a connection of its own.
  task<reply> ask(request q, cleat::duration limit = 5s) {
    auto one = client(limit);
    auto r = co_await one(std::move(q), new_call());
    co_return r;
  }

  asio::io_context context{1};
  std::unique_ptr<device> it;

 private:
  static task<> serve(device& d) { static_cast<void>(co_await d.run()); }
};

/// The answer to "be on" in a mode.
reply answer_of(fixture& f, cleat::duration limit = 5s) {
  reply got{failure{kind::invalid}};
  auto body = [](fixture& fx, reply& out, cleat::duration most) -> task<> {
    out = co_await fx.ask(request::turn("DEVICE123", true), most);
  };
  f.run(body(f, got, limit));
  return got;
}

/// A file that goes with the test.
class scratch_file {
 public:
  scratch_file()
      : path((std::filesystem::temp_directory_path() /
              ("device_test_" + std::to_string(::getpid()) + ".jsonl"))
                 .string()) {
    std::filesystem::remove(path);
  }
  ~scratch_file() { std::filesystem::remove(path); }

  [[nodiscard]] std::vector<json::object> lines() const {
    std::vector<json::object> all;
    std::ifstream in{path};
    for (std::string line; std::getline(in, line);) all.push_back(json::parse(line).as_object());
    return all;
  }

  std::string path;
};

}  // namespace

BOOST_AUTO_TEST_CASE(is_off_at_first_and_does_what_it_is_asked) {
  fixture f{in_mode(device_mode::ok)};
  auto body = [](fixture& fx) -> task<> {
    BOOST_TEST(fx.it->state("DEVICE123").value() == false);
    reply const on = co_await fx.ask(request::turn("DEVICE123", true));
    BOOST_REQUIRE(on.has_value());
    BOOST_TEST(on->state.value());
    BOOST_TEST(fx.it->state("DEVICE123").value());
    reply const status = co_await fx.ask(request::status("DEVICE123"));
    BOOST_REQUIRE(status.has_value());
    BOOST_TEST(status->state.value());
    reply const off = co_await fx.ask(request::turn("DEVICE123", false));
    BOOST_REQUIRE(off.has_value());
    BOOST_TEST(off->state.value() == false);
    BOOST_TEST(fx.it->connections() == 3U);
  };
  f.run(body(f));
}

BOOST_AUTO_TEST_CASE(each_id_has_a_state_of_its_own_and_others_are_unknown) {
  device_options o;
  o.ids = {"LAMP1", "LAMP2"};
  fixture f{o};
  auto body = [](fixture& fx) -> task<> {
    reply const one = co_await fx.ask(request::turn("LAMP2", true));
    BOOST_TEST(one.has_value());
    BOOST_TEST(fx.it->state("LAMP1").value() == false);
    BOOST_TEST(fx.it->state("LAMP2").value());
    reply const none = co_await fx.ask(request::turn("LAMP3", true));
    BOOST_REQUIRE(!none.has_value());
    BOOST_TEST((none.error().why() == kind::rejected));
    BOOST_TEST(none.error().detail() == "unknown device");
    BOOST_TEST(!fx.it->state("LAMP3"));
  };
  f.run(body(f));
}

BOOST_AUTO_TEST_CASE(those_modes_that_answer_well_act) {
  for (device_mode const m : {device_mode::ok, device_mode::delay, device_mode::duplicate}) {
    BOOST_TEST_CONTEXT(to_string(m)) {
      fixture f{in_mode(m)};
      reply const r = answer_of(f);
      BOOST_REQUIRE(r.has_value());
      BOOST_TEST(r->framed);
      BOOST_TEST(f.it->state("DEVICE123").value());
    }
  }
}

BOOST_AUTO_TEST_CASE(delays_its_answer_but_not_its_deed) {
  device_options o = in_mode(device_mode::delay);
  o.delay = 1h;
  fixture f{o};
  reply const r = answer_of(f, 50ms);
  BOOST_REQUIRE(!r.has_value());
  BOOST_TEST((r.error().why() == kind::timed_out));
  BOOST_TEST(f.it->state("DEVICE123").value());
}

BOOST_AUTO_TEST_CASE(an_old_device_answers_ack_without_a_frame) {
  fixture f{in_mode(device_mode::unframed)};
  reply const r = answer_of(f);
  BOOST_REQUIRE(r.has_value());
  BOOST_TEST(!r->framed);
  BOOST_TEST(r->outcome == "ACK");
  BOOST_TEST(f.it->state("DEVICE123").value());
}

BOOST_AUTO_TEST_CASE(those_modes_that_spoil_the_answer_act) {
  std::vector<std::pair<device_mode, kind>> const all{{device_mode::garbage, kind::malformed},
                                                      {device_mode::partial, kind::closed},
                                                      {device_mode::wrong_id, kind::timed_out}};
  for (auto const& [m, why] : all) {
    BOOST_TEST_CONTEXT(to_string(m)) {
      fixture f{in_mode(m)};
      reply const r = answer_of(f, m == device_mode::wrong_id ? 50ms : 5000ms);
      BOOST_REQUIRE(!r.has_value());
      BOOST_TEST((r.error().why() == why), r.error());
      BOOST_TEST((r.error().sure() == certainty::maybe_executed));
      BOOST_TEST(f.it->state("DEVICE123").value());
    }
  }
}

BOOST_AUTO_TEST_CASE(those_modes_that_give_no_answer_do_not_act) {
  for (device_mode const m : {device_mode::disconnect, device_mode::reject, device_mode::timeout}) {
    BOOST_TEST_CONTEXT(to_string(m)) {
      fixture f{in_mode(m)};
      reply const r = answer_of(f, m == device_mode::timeout ? 50ms : 5000ms);
      BOOST_REQUIRE(!r.has_value());
      kind const why = r.error().why();
      BOOST_TEST((m == device_mode::timeout ? why == kind::timed_out
                                            : why == kind::closed || why == kind::reset),
                 r.error());
      BOOST_TEST(f.it->state("DEVICE123").value() == false);
    }
  }
}

BOOST_AUTO_TEST_CASE(those_modes_that_refuse_do_not_act) {
  for (device_mode const m : {device_mode::nack, device_mode::nack_retryable}) {
    BOOST_TEST_CONTEXT(to_string(m)) {
      fixture f{in_mode(m)};
      reply const r = answer_of(f);
      BOOST_REQUIRE(!r.has_value());
      BOOST_TEST((r.error().why() == kind::rejected));
      BOOST_TEST((r.error().sure() == certainty::rejected));
      BOOST_TEST(r.error().retry_after().has_value() == (m == device_mode::nack_retryable));
      BOOST_TEST(f.it->state("DEVICE123").value() == false);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_script_has_a_mode_for_each_connection_and_repeats_the_last) {
  device_options o;
  o.script = {device_mode::nack, device_mode::ok};
  fixture f{o};
  auto body = [](fixture& fx) -> task<> {
    std::string seen;
    for (int i = 0; i < 4; ++i) {
      reply const r = co_await fx.ask(request::status("DEVICE123"));
      seen += r ? 'y' : 'n';
    }
    BOOST_TEST(seen == "nyyy");
  };
  f.run(body(f));
}

BOOST_AUTO_TEST_CASE(does_once_what_is_tried_again_with_the_same_op_id_and_notes_it) {
  scratch_file const file;
  device_options o;
  o.script = {device_mode::partial, device_mode::ok};
  o.ledger = file.path;
  std::vector<std::string> heard;
  o.heard = [&](toggle::device_event const& e) { heard.emplace_back(to_string(e.what)); };
  fixture f{o};
  auto body = [](fixture& fx) -> task<> {
    auto lamp = cleat::retry(2).wait(cleat::backoff::additive(1ms, 1ms)) | fx.client();
    cleat::call const c = fx.new_call();
    reply const r = co_await lamp(request::turn("DEVICE123", true), c);
    BOOST_TEST(r.has_value());
    BOOST_TEST(fx.it->connections() == 2U);
  };
  f.run(body(f));
  std::vector<std::string> const expected{"connected", "asked", "executed", "ended",
                                          "connected", "asked", "repeated", "ended"};
  BOOST_TEST(heard == expected, boost::test_tools::per_element());

  auto const lines = file.lines();
  BOOST_REQUIRE(lines.size() == 1U);
  BOOST_TEST(lines[0].size() == 5U);
  BOOST_TEST(lines[0].at("ts").as_string().ends_with("Z"));
  BOOST_TEST(lines[0].at("device_id").as_string() == "DEVICE123");
  BOOST_TEST(lines[0].at("msg_id").as_string().size() == 16U);
  BOOST_TEST(lines[0].at("op_id").as_string().size() == 16U);
  BOOST_TEST(lines[0].at("state").as_bool());
}

BOOST_AUTO_TEST_CASE(does_again_what_has_no_op_id) {
  scratch_file const file;
  device_options o;
  o.script = {device_mode::partial, device_mode::ok};
  o.ledger = file.path;
  fixture f{o};
  auto body = [](fixture& fx) -> task<> {
    auto lamp = cleat::retry(2).wait(cleat::backoff::additive(1ms, 1ms)) | fx.client(5s, false);
    cleat::call const c = fx.new_call();
    reply const r = co_await lamp(request::turn("DEVICE123", true), c);
    BOOST_TEST(r.has_value());
  };
  f.run(body(f));
  auto const lines = file.lines();
  BOOST_REQUIRE(lines.size() == 2U);
  BOOST_TEST(lines[0].at("op_id").is_null());
  BOOST_TEST(lines[0].at("msg_id") != lines[1].at("msg_id"));
}

BOOST_AUTO_TEST_CASE(remembers_the_last_thousand_operations_and_no_more) {
  scratch_file const file;
  device_options o;
  o.ledger = file.path;
  fixture f{o};
  // One connection, many requests, each an operation of its own; then an old one and a recent one.
  auto body = [](fixture& fx) -> task<> {
    cleat::call c = fx.new_call();
    auto stream = co_await cleat::tcp{"127.0.0.1", fx.it->port()}.dial(c);
    BOOST_REQUIRE(stream.has_value());
    using session = cleat::session<toggle::protocol, cleat::any_stream>;
    session s{std::move(*stream), toggle::protocol{toggle::protocol_options{true}}};
    auto run = [](session& of) -> task<> { static_cast<void>(co_await of.run()); };
    cleat::environment& env = co_await cleat::this_chain::environment;
    cleat::scope beside{env};
    beside.spawn(run(s));
    for (std::uint64_t i = 0; i <= device::operations_max; ++i) {
      c.operation = i;
      reply const r = co_await s.call(request::turn("DEVICE123", true), c);
      BOOST_REQUIRE(r.has_value());
    }
    for (std::uint64_t const again : {std::uint64_t{0}, std::uint64_t{device::operations_max}}) {
      c.operation = again;
      reply const r = co_await s.call(request::turn("DEVICE123", true), c);
      BOOST_REQUIRE(r.has_value());
    }
    s.close();
    co_await beside.join();
  };
  f.run(body(f));
  BOOST_TEST(file.lines().size() == device::operations_max + 2);  // the oldest was forgotten
}

BOOST_AUTO_TEST_CASE(says_why_it_cannot_be_opened) {
  asio::io_context context;
  auto const first = device::open(context.get_executor(), "127.0.0.1", 0);
  BOOST_REQUIRE(first.has_value());
  auto const second = device::open(context.get_executor(), "127.0.0.1", (*first)->port());
  BOOST_REQUIRE(!second.has_value());
  BOOST_TEST((second.error().why() == kind::resources));
  BOOST_TEST(second.error().detail().find("127.0.0.1:") != std::string_view::npos);

  device_options o;
  o.ledger = "/no/such/folder/ledger";
  auto const third = device::open(context.get_executor(), "127.0.0.1", 0, o);
  BOOST_REQUIRE(!third.has_value());
  BOOST_TEST(third.error().detail().find("/no/such/folder/ledger") != std::string_view::npos);
}

BOOST_AUTO_TEST_CASE(does_not_do_what_its_ledger_does_not_take) {
  device_options o;
  o.ledger = "/dev/full";
  std::vector<std::string> heard;
  o.heard = [&](toggle::device_event const& e) { heard.emplace_back(to_string(e.what)); };
  fixture f{o};
  auto body = [](fixture& fx) -> task<> {
    auto lamp = fx.client();
    cleat::call const one = fx.new_call();
    for (int again = 0; again < 2;
         ++again) {  // a refused operation is not one that was carried out
      reply const r = co_await lamp(request::turn("DEVICE123", true), one);
      BOOST_REQUIRE(!r.has_value());
      BOOST_TEST((r.error().why() == kind::rejected));
      BOOST_TEST((r.error().sure() == certainty::rejected));
      BOOST_TEST(r.error().detail().find("ledger") != std::string_view::npos);
    }
    reply const status = co_await fx.ask(request::status("DEVICE123"));
    BOOST_REQUIRE(status.has_value());
    BOOST_TEST(status->state.value() == false);
  };
  f.run(body(f));
  std::erase_if(heard,
                [](std::string const& what) { return what == "connected" || what == "ended"; });
  std::vector<std::string> const expected{"asked", "unrecorded", "asked", "unrecorded", "asked"};
  BOOST_TEST(heard == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(keeps_its_ledger_to_its_owner) {
  scratch_file const file;
  auto const mode = [&] { return std::filesystem::status(file.path).permissions(); };
  mode_t const before = ::umask(0);
  BOOST_TEST(toggle::device_ledger::open(file.path).has_value());
  BOOST_TEST(
      (mode() == (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write)));
  std::filesystem::permissions(file.path, std::filesystem::perms::all);
  BOOST_TEST(toggle::device_ledger::open(file.path).has_value());
  BOOST_TEST((mode() == std::filesystem::perms::all), "an existing file keeps its mode");
  ::umask(before);
}

BOOST_AUTO_TEST_CASE(modes_have_names_both_ways) {
  for (device_mode const m : toggle::device_modes) {
    auto const parsed = toggle::parse_device_mode(to_string(m));
    BOOST_REQUIRE(parsed.has_value());
    BOOST_TEST((*parsed == m));
  }
  BOOST_TEST(!toggle::parse_device_mode("okay"));
  BOOST_TEST(!toggle::parse_device_mode(""));
  auto const script = toggle::parse_device_script("reject,ok");
  BOOST_REQUIRE(script.has_value());
  BOOST_TEST((*script == std::vector{device_mode::reject, device_mode::ok}));
  for (auto const* const wrong : {"", ",", "ok,", ",ok", "ok,,ok", "ok, ok"}) {
    BOOST_TEST(!toggle::parse_device_script(wrong), wrong);
  }
}

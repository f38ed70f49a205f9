// The simulated device, in every mode, with hostile clients on several connections: the device acts
// when its mode says so and not otherwise, its answers are its own, and it ends when it is stopped.
#include "seeded_time.hpp"

#include <cleat/base/event.hpp>
#include <cleat/base/spawn.hpp>
#include <cleat/transport/memory.hpp>
#include <cleat/transport/network.hpp>
#include <toggle/device.hpp>

#include <deque>
#include <memory>
#include <set>
#include <vector>

namespace {

using cleat::any_stream;
using cleat::bytes_view;
using cleat::memory_stream;
using cleat::result;
using cleat::task;
using fuzz::decisions;
using fuzz::require;
using std::chrono::milliseconds;
using toggle::device;
using toggle::device_event;
using toggle::device_mode;
using toggle::message;
using toggle::opcode;

/// Connections that wait to be accepted.
class waiting_room {
 public:
  std::deque<any_stream> streams;
  cleat::event came;
  bool closed = false;
};

class listener final : public cleat::any_listener::model {
 public:
  explicit listener(std::shared_ptr<waiting_room> room) : room_(std::move(room)) {}

  task<result<any_stream>> accept() override {
    auto const room = room_;
    while (room->streams.empty() && !room->closed) {
      auto const woken = co_await room->came.wait();
      if (!woken) co_return woken.error();
    }
    if (room->closed) co_return cleat::failure{cleat::kind::shut_down};
    any_stream next = std::move(room->streams.front());
    room->streams.pop_front();
    co_return next;
  }
  void close() noexcept override {
    room_->closed = true;
    room_->came.set();
  }
  [[nodiscard]] std::string address() const override { return "memory"; }
  [[nodiscard]] std::uint16_t port() const override { return 1; }

 private:
  std::shared_ptr<waiting_room> room_;
};

class memory_network final : public cleat::network::model {
 public:
  explicit memory_network(std::shared_ptr<waiting_room> room) : room_(std::move(room)) {}

  task<result<any_stream>> dial(std::string, std::uint16_t, cleat::tcp_options,
                                cleat::time_point) override {
    co_return cleat::failure{cleat::kind::refused};
  }
  result<cleat::any_listener> listen(cleat::environment::executor_type const&, std::string const&,
                                     std::uint16_t) override {
    return cleat::any_listener{std::make_unique<listener>(room_)};
  }

 private:
  std::shared_ptr<waiting_room> room_;
};

bool acts(device_mode m) {
  switch (m) {
    case device_mode::disconnect:
    case device_mode::reject:
    case device_mode::timeout:
    case device_mode::nack:
    case device_mode::nack_retryable:
      return false;
    default:
      return true;
  }
}

/// What one connection has seen.
class client {
 public:
  explicit client(memory_stream s) : stream(std::move(s)) {}

  memory_stream stream;
  device_mode mode = device_mode::ok;
  cleat::byte_buffer received;
  std::vector<std::string> msg_ids;  ///< of the requests that the device has read
  bool accepted = false;
  bool ended = false;
  bool closed = false;
};

class history {
 public:
  explicit history(decisions& input) : input_(input), room_(std::make_shared<waiting_room>()) {
    auto const executor = time_.context.get_executor();
    cleat::network::of(executor).replace(std::make_unique<memory_network>(room_));
    toggle::device_options o;
    o.ids = {"D", "E"};
    o.script.clear();
    std::size_t const modes = input_.between(1, 3);
    for (std::size_t i = 0; i < modes; ++i) {
      o.script.push_back(toggle::device_modes[input_.below(toggle::device_modes.size())]);
    }
    o.delay = milliseconds{input_.byte()};
    pipe_.buffer_bytes_max = input_.between(1, 256) * 4;
    o.heard = [this](device_event const& e) { heard(e); };
    auto opened = device::open(executor, "memory", 0, std::move(o));
    require(opened.has_value(), "a device opens");
    device_ = std::move(*opened);
    cleat::spawn(executor, device_->run(),
                 [this](std::exception_ptr thrown, cleat::failure const&) {
                   require(thrown == nullptr, "a device does not throw");
                   ended_ = true;
                 });
    time_.poll();
  }

  void play() {
    connect();
    for (int steps = 0; !input_.empty() && steps < 200; ++steps) {
      auto const op = input_.byte();
      step(op & 0x0FU, (op >> 4U) & 3U);
      if ((op & 0x40U) == 0) time_.poll();
      check_states();
    }
    finish();
  }

 private:
  static constexpr std::size_t clients_max = 4;

  void step(unsigned op, std::size_t which) {
    client& c = clients_[which % clients_.size()];
    switch (op) {
      case 0:
        return write(c, input_.take(input_.below(128)));
      case 1:
      case 2:
      case 3:
      case 4:
        return ask(c);
      case 5:
        return frame(c, input_.take(input_.below(128)));
      case 6:
      case 7:
      case 8:
        return read(c, input_.byte() * std::size_t{4});
      case 9:
        return time_.pass(milliseconds{input_.byte()});
      case 10:
        c.stream.close();
        c.closed = true;
        return;
      case 11:
        return connect();
      case 12:
        if (input_.byte() == 0) device_->stop();
        return;
      default:
        return time_.poll();
    }
  }

  // ---- the clients

  void connect() {
    if (clients_.size() >= clients_max) return;
    auto ends = cleat::memory_pair(time_.context.get_executor(), pipe_);
    clients_.emplace_back(std::move(ends.first));
    room_->streams.push_back(any_stream::of(std::move(ends.second)));
    room_->came.set();
  }
  void write(client& c, bytes_view bytes) {
    auto const n = c.stream.write(std::span{&bytes, 1});
    if (!n) require(c.closed || c.ended || ended_, "a stream that lives takes bytes");
  }
  void frame(client& c, bytes_view payload) {
    cleat::byte_buffer out;
    cleat::append(out, cleat::detail::f00d_header(payload.size()));
    cleat::append(out, payload);
    write(c, out);
  }
  void ask(client& c) {
    auto const how = input_.byte();
    std::string_view const id = (how & 1U) != 0 ? "D" : (how & 2U) != 0 ? "E" : "F";
    auto const digits = cleat::hex16(how >> 5U);
    std::string const number{digits.view().substr((how & 4U) != 0 ? 0 : 3)};
    message m =
        (how & 8U) != 0 ? message::turn(id, number, (how & 16U) != 0) : message::status(id, number);
    if ((how & 12U) == 12U) m.op_id.emplace(cleat::hex16(input_.below(4)).view());
    cleat::byte_buffer out;
    require(toggle::protocol{}.encode(m, out).has_value(), "a client can ask");
    write(c, out);
  }
  static void read(client& c, std::size_t at_most) {
    cleat::byte_buffer some(at_most);
    auto const n = c.stream.read(some);
    if (n) cleat::append(c.received, bytes_view{some}.first(*n));
  }

  // ---- what the device tells

  void heard(device_event const& e) {
    require(e.connection >= 1 && e.connection <= clients_.size(), "an event has its connection");
    client& c = clients_[e.connection - 1];
    switch (e.what) {
      case device_event::type::connected:
        require(!c.accepted, "a connection is accepted once");
        c.accepted = true;
        c.mode = e.mode;
        return;
      case device_event::type::ended:
        require(c.accepted && !c.ended, "a connection ends once");
        c.ended = true;
        return;
      case device_event::type::asked:
        require(c.mode != device_mode::reject, "who rejects reads nothing");
        require(e.request->is_request(), "only requests are asked");
        c.msg_ids.emplace_back(e.request->msg_id.view());
        return;
      case device_event::type::executed:
        require(acts(c.mode), "who does not act does not act");
        require(e.request->op == opcode::toggle, "only a toggle is carried out");
        expected_[e.request->device_id->view() == "D" ? 0 : 1] = *e.request->state;
        if (e.request->op_id) {
          auto const one = std::string{e.request->device_id->view()} + '/' +
                           std::string{e.request->op_id->view()};
          require(done_.insert(one).second, "an operation is carried out once");
        }
        return;
      case device_event::type::repeated:
        require(acts(c.mode) && e.request->op_id, "only what bears an op_id is known again");
        return;
      case device_event::type::unrecorded:
        require(false, "without a ledger nothing is kept out of it");
        return;
    }
  }

  void check_states() const {
    require(device_->state("D") == expected_[0] && device_->state("E") == expected_[1],
            "a device is as it was told");
    require(!device_->state("F"), "there is no other");
  }

  // ---- the end

  void finish() {
    time_.pass_all();
    device_->stop();
    time_.poll();
    time_.pass_all();
    require(ended_, "a device that is stopped ends");
    require(cleat::chain_count(time_.context) == 0, "no chain is left");
    for (client& c : clients_) {
      require(c.accepted == c.ended, "what begins ends");
      if (c.closed) continue;
      read(c, pipe_.buffer_bytes_max);
      check_answers(c);
    }
  }

  /// Whole answers to requests that were read, as the mode has them; the last may be cut short.
  static void check_answers(client const& c) {
    if (c.mode == device_mode::garbage) return;
    bool const bare = c.mode == device_mode::unframed;
    cleat::f00d_options const frames{bare ? cleat::unframed::ack : cleat::unframed::refuse};
    toggle::protocol const speaks{toggle::protocol_options{false, frames}};
    std::size_t answers = 0;
    for (bytes_view left{c.received}; !left.empty(); ++answers) {
      auto step = speaks.decode(left);
      auto* const item = step.has_item();
      if (item == nullptr) {
        require(step.needs() != nullptr, "an answer can be read");
        break;
      }
      left = left.subspan(item->used);
      message const& m = item->message;
      require(!m.is_request(), "a device does not ask");
      require(acts(c.mode) || m.op == opcode::nack, "who does not act says no");
      if (m.op == opcode::unframed || c.mode == device_mode::wrong_id) continue;
      std::string const id{m.msg_id.view()};
      require(std::find(c.msg_ids.begin(), c.msg_ids.end(), id) != c.msg_ids.end(),
              "an answer bears the number of a request");
    }
    std::size_t const each = c.mode == device_mode::duplicate ? 2 : 1;
    require(answers <= c.msg_ids.size() * each, "there are no more answers than requests");
    bool const silent = c.mode == device_mode::timeout || c.mode == device_mode::disconnect ||
                        c.mode == device_mode::reject || c.mode == device_mode::partial;
    require(!silent || answers == 0, "who does not answer says nothing whole");
  }

  decisions& input_;
  fuzz::seeded_time time_;
  std::shared_ptr<waiting_room> room_;
  memory_stream::options pipe_;
  std::deque<client> clients_;
  bool expected_[2] = {false, false};
  std::set<std::string> done_;
  bool ended_ = false;
  std::unique_ptr<device> device_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  decisions input{fuzz::bytes_of(data, size)};
  history h{input};
  h.play();
  return 0;
}

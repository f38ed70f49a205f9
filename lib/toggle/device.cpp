#include <toggle/device.hpp>

#include <cleat/base/entropy.hpp>
#include <cleat/base/ids.hpp>
#include <cleat/session/session.hpp>
#include <cleat/transport/network.hpp>

#include <algorithm>
#include <array>
#include <span>
#include <utility>

namespace toggle {

using cleat::any_stream;
using cleat::byte_buffer;
using cleat::bytes_view;
using cleat::certainty;
using cleat::failure;
using cleat::kind;
using cleat::result;
using cleat::task;

std::string_view to_string(device_event::type t) noexcept {
  switch (t) {
    case device_event::type::connected:
      return "connected";
    case device_event::type::asked:
      return "asked";
    case device_event::type::executed:
      return "executed";
    case device_event::type::repeated:
      return "repeated";
    case device_event::type::unrecorded:
      return "unrecorded";
    case device_event::type::ended:
      return "ended";
  }
  return "ended";
}

/// One connection, from its acceptance to its end.
class device::visit {
 public:
  visit(device& of, std::uint64_t number, device_mode mode) noexcept
      : device_(of), number_(number), mode_(mode) {}

  task<> run(any_stream stream) {
    tell(device_event::type::connected);
    switch (mode_) {
      case device_mode::reject:
        stream.close();
        break;
      case device_mode::garbage:
      case device_mode::unframed:
      case device_mode::partial:
        co_await spoil(std::move(stream));
        break;
      default:
        co_await converse(std::move(stream));
    }
    tell(device_event::type::ended);
  }

 private:
  using session = cleat::session<protocol, any_stream>;

  void tell(device_event::type what, message const* about = nullptr) const {
    if (device_.options_.heard) device_.options_.heard({what, number_, mode_, about});
  }

  // ---- what it does with a request -------------------------------------------------------------

  /// Does what is asked and gives the right answer to it.
  message act(message const& request) {
    auto const found = device_.lamps_.find(request.device_id->view());
    if (found == device_.lamps_.end()) return message::nack(request, "unknown device");
    lamp& it = found->second;
    if (request.op == opcode::toggle) {
      if (request.op_id && it.knows(*request.op_id)) {
        tell(device_event::type::repeated, &request);
      } else if (device_.ledger_.note(request, device_.clock_.wall())) {
        it.on = *request.state;
        if (request.op_id) it.remember(*request.op_id);
        tell(device_event::type::executed, &request);
      } else {
        tell(device_event::type::unrecorded, &request);
        return message::nack(request, "its ledger cannot be written");
      }
    }
    return message::ack(request, it.on);
  }

  // ---- by a session: all that can be said in whole frames --------------------------------------

  task<> converse(any_stream stream) {
    session with{std::move(stream), protocol{}};
    with.serve = [this, &with](message m) { return answer(std::move(m), with); };
    static_cast<void>(co_await with.run());
  }

  task<result<message>> answer(message request, session& with) {
    tell(device_event::type::asked, &request);
    failure const silence{kind::cancelled, certainty::rejected};
    switch (mode_) {
      case device_mode::disconnect:
        with.close();
        co_return silence;
      case device_mode::timeout:
        co_return silence;
      case device_mode::nack:
        co_return message::nack(request, "refused by its mode");
      case device_mode::nack_retryable:
        co_return message::nack(request, "busy", true, std::chrono::milliseconds{0});
      default:
        break;
    }
    message reply = act(request);
    if (mode_ == device_mode::delay) {
      auto const waited =
          co_await cleat::sleep_until(device_.clock_.now() + device_.options_.delay);
      if (!waited) co_return waited.error();
    }
    if (mode_ == device_mode::wrong_id) reply.msg_id = other_than(reply.msg_id);
    if (mode_ == device_mode::duplicate) {
      auto const sent = with.send(reply);
      if (!sent) co_return sent.error();
    }
    co_return reply;
  }

  [[nodiscard]] cleat::text<64> other_than(std::string_view msg_id) const {
    auto const number = cleat::parse_hex16(msg_id);
    return cleat::hex16(number.value_or(0) + 1).view();
  }

  // ---- by hand: bytes that no codec would write ------------------------------------------------

  task<> spoil(any_stream stream) {
    protocol const speaks;
    byte_buffer unread;
    for (;;) {
      auto request = co_await next_request(stream, speaks, unread);
      if (!request) co_return;
      tell(device_event::type::asked, &*request);
      message const reply = act(*request);
      byte_buffer out = spoilt(reply, speaks);
      bool const sent = co_await write_all(stream, std::move(out));
      if (!sent || mode_ == device_mode::partial) break;
    }
    stream.close();
  }

  [[nodiscard]] byte_buffer spoilt(message const& reply, protocol const& speaks) const {
    byte_buffer out;
    if (mode_ == device_mode::garbage) {
      auto& random = cleat::entropy::of(device_.executor_);
      std::uint64_t const length = 16 + random.below(49);
      for (std::uint64_t i = 0; i < length; ++i)
        out.push_back(static_cast<std::byte>(random.below(256)));
      return out;
    }
    if (mode_ == device_mode::unframed && reply.op == opcode::ack) {
      cleat::append(out, "ACK");
      return out;
    }
    auto const encoded = speaks.encode(reply, out);
    if (!encoded) return {};  // it cannot: this answers a request that could be read
    if (mode_ == device_mode::partial) out.resize(out.size() / 2);
    return out;
  }

  /// The next request; fails when the connection has ended, or what comes is none.
  task<result<message>> next_request(any_stream& stream, protocol const& speaks,
                                     byte_buffer& unread) {
    for (;;) {
      auto step = speaks.decode(unread);
      if (auto* const item = step.has_item()) {
        message m = std::move(item->message);
        unread.erase(unread.begin(), unread.begin() + static_cast<std::ptrdiff_t>(item->used));
        if (m.is_request()) co_return m;
        continue;
      }
      if (auto const* const skip = step.skips()) {
        unread.erase(unread.begin(), unread.begin() + static_cast<std::ptrdiff_t>(skip->used));
        continue;
      }
      if (auto const* const lost = step.is_lost()) co_return lost->why;
      auto const ready = co_await stream.readable();
      if (!ready) co_return ready.error();
      std::array<std::byte, 4096> some;
      auto const n = stream.read(some);
      if (!n) co_return n.error();
      cleat::append(unread, std::span{some}.first(*n));
    }
  }

  task<bool> write_all(any_stream& stream, byte_buffer bytes) {
    bytes_view left{bytes};
    while (!left.empty()) {
      auto const n = stream.write(std::span{&left, 1});
      if (!n) co_return false;
      left = left.subspan(*n);
      if (left.empty()) break;
      auto const ready = co_await stream.writable();
      if (!ready) co_return false;
    }
    co_return true;
  }

  device& device_;
  std::uint64_t number_;
  device_mode mode_;
};

bool device::lamp::knows(std::string_view op_id) const {
  return known_.contains(std::string{op_id});
}

void device::lamp::remember(std::string_view op_id) {
  known_.emplace(op_id);
  order_.emplace_back(op_id);
  if (order_.size() > operations_max) {
    known_.erase(order_.front());
    order_.pop_front();
  }
}

result<std::unique_ptr<device>> device::open(cleat::environment::executor_type const& executor,
                                             std::string const& address, std::uint16_t port,
                                             device_options options) {
  device_ledger ledger;
  if (!options.ledger.empty()) {
    auto file = device_ledger::open(options.ledger);
    if (!file) return file.error();
    ledger = std::move(*file);
  }
  auto listener = cleat::network::of(executor).listen(executor, address, port);
  if (!listener) return listener.error();
  return std::unique_ptr<device>{
      new device{executor, std::move(*listener), std::move(options), std::move(ledger)}};
}

device::device(cleat::environment::executor_type const& executor, cleat::any_listener listener,
               device_options options, device_ledger ledger)
    : clock_(cleat::clock::of(executor)),
      executor_(executor),
      options_(std::move(options)),
      ledger_(std::move(ledger)),
      server_(std::move(listener), [this](any_stream s) { return serve(std::move(s)); }) {
  for (std::string const& id : options_.ids) lamps_.try_emplace(id);
}

device::~device() = default;

std::optional<bool> device::state(std::string_view id) const {
  auto const found = lamps_.find(id);
  if (found == lamps_.end()) return std::nullopt;
  return found->second.on;
}

task<> device::serve(any_stream stream) {
  std::uint64_t const number = ++connections_;
  std::size_t const place = std::min<std::size_t>(number, options_.script.size()) - 1;
  visit v{*this, number, options_.script[place]};
  co_await v.run(std::move(stream));
}

}  // namespace toggle

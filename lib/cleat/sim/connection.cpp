#include <cleat/sim/connection.hpp>

#include <cleat/base/task.hpp>

#include <algorithm>
#include <string>
#include <utility>

namespace cleat::sim::detail {

using namespace std::chrono_literals;

/// One end in somebody's hands.
class connection::stream final : public any_stream::model {
 public:
  stream(std::shared_ptr<connection> of, std::size_t end) : of_(std::move(of)), end_(end) {
    ++of_->network_.open_ends_;
  }
  stream(stream const&) = delete;
  stream& operator=(stream const&) = delete;
  ~stream() override {
    of_->close(end_);
    --of_->network_.open_ends_;
  }

  task<result<void>> readable() override { return connection::readable(of_, end_); }
  result<std::size_t> read(std::span<std::byte> into) noexcept override {
    return of_->read(end_, into);
  }
  task<result<void>> writable() override { return connection::writable(of_, end_); }
  result<std::size_t> write(std::span<bytes_view const> gather) noexcept override {
    return of_->write(end_, gather);
  }
  void close() noexcept override { of_->close(end_); }
  [[nodiscard]] environment::executor_type executor() const override {
    return of_->executors_[end_];
  }

 private:
  std::shared_ptr<connection> of_;
  std::size_t end_;
};

connection::connection(network& in, environment::executor_type dialler,
                       environment::executor_type listener, std::string host)
    : network_(in),
      executors_{std::move(dialler), std::move(listener)},
      host_(std::move(host)),
      number_(++in.connections_made_) {
  for (std::size_t end : {0U, 1U}) {
    names_[end].assign(host_ + (end == 0 ? "<" : ">") + std::to_string(number_));
    ways_[end].of = this;
    ways_[end].to = end;
  }
  slow_ = network_.random_.chance(network_.conditions_.slow);
  if (slow_) network_.happened(fault::slow, names_[0]);
  network_.alive_.emplace(number_, this);
}

connection::~connection() { network_.alive_.erase(number_); }

any_stream connection::end(std::size_t which) {
  return any_stream{std::make_unique<stream>(shared_from_this(), which)};
}

result<std::size_t> connection::read(std::size_t end, std::span<std::byte> into) {
  if (into.empty()) return std::size_t{0};
  if (!open_[end]) return failure{kind::shut_down};
  way& in = ways_[end];
  if (in.arrived.empty()) {
    if (reset_[end]) return failure{kind::reset};
    if (in.fin) return failure{kind::closed};
    return std::size_t{0};
  }
  time_point const now = network_.clock_->now();
  if (now < in.pause_until) return std::size_t{0};
  std::size_t n = std::min(into.size(), in.arrived.size());
  if (slow_) {
    n = std::min<std::size_t>(n, network_.random_.between(1, 16));
    in.pause_until = now + network_.random_.between(duration{1ms}, duration{20ms});
  }
  std::copy_n(in.arrived.begin(), n, into.begin());
  in.arrived.erase(in.arrived.begin(), in.arrived.begin() + static_cast<std::ptrdiff_t>(n));
  in.outstanding -= n;
  in.may_write.set();
  return n;
}

task<result<void>> connection::readable(std::shared_ptr<connection> self, std::size_t end) {
  way& in = self->ways_[end];
  for (;;) {
    bool const gone = co_await this_chain::cancelled;
    if (gone) co_return failure{kind::cancelled};
    if (!self->open_[end]) break;
    bool const paused = !in.arrived.empty() && self->network_.clock_->now() < in.pause_until;
    if (!paused && (!in.arrived.empty() || self->ended(end))) break;
    auto const woken = co_await in.may_read.wait(paused ? in.pause_until : never);
    if (!woken && woken.error().why() != kind::timed_out) co_return woken.error();
  }
  co_return result<void>{};
}

result<std::size_t> connection::write(std::size_t end, std::span<bytes_view const> gather) {
  if (!open_[end]) return failure{kind::shut_down};
  if (reset_[end]) return failure{kind::reset};
  way& out = ways_[1 - end];
  conditions const& c = network_.conditions_;
  std::size_t const room = c.window_bytes - std::min(c.window_bytes, out.outstanding);
  byte_buffer bytes;
  for (bytes_view const span : gather)
    append(bytes, span.first(std::min(span.size(), room - bytes.size())));
  if (bytes.empty()) return std::size_t{0};

  random& numbers = network_.random_;
  if (numbers.chance(c.short_write) && bytes.size() > 1) {
    network_.happened(fault::short_write, name(end));
    bytes.resize(static_cast<std::size_t>(numbers.between(1, bytes.size() - 1)));
  }
  std::size_t const n = bytes.size();
  network_.note("write", name(end), n, network_.digest(bytes));
  out.outstanding += n;
  if (is_dead()) return n;  // nothing more can go wrong with it
  if (numbers.chance(c.vanish)) {
    network_.happened(fault::vanish, name(end));
    vanish();
    return n;
  }
  bool const breaks = numbers.chance(c.reset);
  bool const before = numbers.chance(0.5);
  if (breaks && before) {
    network_.happened(fault::reset_before, name(end));
    break_off();
    return n;
  }
  duration later{};
  if (numbers.chance(c.join)) {
    network_.happened(fault::join, name(end));
    later += 40ms;
  }
  if (numbers.chance(c.stall)) {
    network_.happened(fault::stall, name(end));
    later += numbers.between(duration{}, c.stall_max);
  }
  std::size_t pieces = 1;
  if (numbers.chance(c.split) && n > 1) {
    network_.happened(fault::split, name(end));
    pieces = static_cast<std::size_t>(numbers.between(2, 4));
  }
  for (; pieces > 1 && bytes.size() > 1; --pieces) {
    auto const cut = static_cast<std::ptrdiff_t>(numbers.between(1, bytes.size() - 1));
    send(out, what::data, byte_buffer(bytes.begin(), bytes.begin() + cut), later);
    bytes.erase(bytes.begin(), bytes.begin() + cut);
  }
  send(out, what::data, std::move(bytes), later);
  if (breaks) {
    network_.happened(fault::reset_after, name(end));
    send(out, what::rst, {});
    send_reset(ways_[end]);
  }
  return n;
}

task<result<void>> connection::writable(std::shared_ptr<connection> self, std::size_t end) {
  way& out = self->ways_[1 - end];
  bool const gone = co_await this_chain::cancelled;
  if (gone) co_return failure{kind::cancelled};
  while (self->open_[end] && !self->reset_[end] &&
         out.outstanding >= self->network_.conditions_.window_bytes) {
    auto const woken = co_await out.may_write.wait();
    if (!woken) co_return woken.error();
  }
  co_return result<void>{};
}

void connection::close(std::size_t end) noexcept {
  if (!open_[end]) return;
  open_[end] = false;
  way& in = ways_[end];
  bool const unread = !in.arrived.empty();
  in.arrived.clear();
  wake(end);
  if (reset_[end]) return;
  network_.note("close", name(end), unread ? 1 : 0);
  // As Linux does: who closes with bytes unread breaks the connection (RFC 2525, 2.17).
  if (unread) {
    send_reset(ways_[1 - end]);
  } else {
    send(ways_[1 - end], what::fin, {});
  }
}

void connection::break_off() {
  for (way& each : ways_) send_reset(each);
}

void connection::vanish() noexcept {
  vanished_ = true;
  for (way& each : ways_) {
    each.flying.clear();
    each.arrival.unset();
  }
}

void connection::crash() {
  crashed_ = true;
  reset_[1] = true;
  ways_[1].arrived.clear();
  for (way& each : ways_) {
    each.flying.clear();
    each.arrival.unset();
  }
  wake(1);
}

void connection::boot() {
  if (!crashed_ || vanished_ || !open_[0]) return;
  if (ways_[1].outstanding > 0) send(ways_[0], what::rst, {});  // it repeats what was not taken
}

void connection::thaw() {
  time_point const soonest = network_.clock_->now() + network_.latency();
  for (way& each : ways_) {
    for (segment& s : each.flying) s.due = std::max(s.due, soonest);
    each.last_due = std::max(each.last_due, soonest);
    arm(each);
  }
}

void connection::stall(duration by) {
  for (way& each : ways_) {
    for (segment& s : each.flying) s.due += by;
    each.last_due = std::max(each.last_due, network_.clock_->now()) + by;
    arm(each);
  }
}

void connection::quicken() {
  slow_ = false;
  for (way& each : ways_) {
    each.pause_until = {};
    each.may_read.set();
  }
}

/// What was sent before a reset may arrive before it, or not at all.
void connection::send_reset(way& on) {
  bool const loses = network_.random_.chance(0.5);
  if (loses) {
    on.flying.clear();
    on.last_due = {};
    on.arrival.unset();
  }
  send(on, what::rst, {});
}

/// Nothing overtakes what flies already.
void connection::send(way& on, what kind, byte_buffer bytes, duration later) {
  if (vanished_) return;
  if (crashed_ && on.to == 0 && kind != what::rst) return;  // nobody is there to send it
  time_point const due = std::max(network_.clock_->now() + network_.latency() + later, on.last_due);
  on.last_due = due;
  on.flying.emplace_back(due, kind, std::move(bytes));
  if (on.flying.size() == 1) arm(on);
}

void connection::arm(way& on) {
  on.arrival.unset();
  if (on.flying.empty()) return;
  on.arrival.set(
      executors_[on.to], on.flying.front().due,
      [](void* self) {
        way& w = *static_cast<way*>(self);
        w.of->arrive(w);
      },
      &on);
}

void connection::arrive(way& on) {
  if (network_.is_cut(host_)) return;  // until it thaws
  time_point const now = network_.clock_->now();
  while (!on.flying.empty() && on.flying.front().due <= now) {
    segment s = std::move(on.flying.front());
    on.flying.pop_front();
    arrive(on, std::move(s));
  }
  arm(on);
}

void connection::arrive(way& on, segment s) {
  std::size_t const end = on.to;
  if (end == 1 && crashed_) {
    // A host that is down says nothing; one that was down does not know this connection.
    if (network_.is_up(host_) && s.is != what::rst) send(ways_[0], what::rst, {});
    return;
  }
  if (reset_[end]) return;
  switch (s.is) {
    case what::data:
      network_.note("arrive", name(end), s.bytes.size());
      if (!open_[end]) return send(ways_[1 - end], what::rst, {});
      append(on.arrived, s.bytes);
      break;
    case what::fin:
      network_.note("end", name(end));
      on.fin = true;
      break;
    case what::rst:
      network_.note("reset", name(end));
      reset_[end] = true;
      ways_[1 - end].may_write.set();
      break;
  }
  on.may_read.set();
}

void connection::wake(std::size_t end) noexcept {
  ways_[end].may_read.set();
  ways_[1 - end].may_write.set();
}

// ---- listening -----------------------------------------------------------------------------------

listening::listening(network& in, environment::executor_type executor, std::string host,
                     std::uint16_t port)
    : network_(in), executor_(std::move(executor)), host_(std::move(host)), port_(port) {
  network_.hosts_[host_].listeners.emplace(port_, this);
}

listening::~listening() { close(); }

task<result<any_stream>> listening::accept() {
  bool const gone = co_await this_chain::cancelled;
  if (gone) co_return failure{kind::cancelled, certainty::not_sent};
  while (open_ && waiting_.empty()) {
    auto const woken = co_await arrived_.wait();
    if (!woken) co_return woken.error().with(certainty::not_sent);
  }
  if (!open_) co_return failure{kind::shut_down, certainty::not_sent};
  any_stream next = std::move(waiting_.front());
  waiting_.pop_front();
  co_return std::move(next);
}

void listening::close() noexcept {
  if (!open_) return;
  open_ = false;
  network_.hosts_[host_].listeners.erase(port_);
  waiting_.clear();
  arrived_.set();
}

std::string listening::address() const { return host_ + ':' + std::to_string(port_); }

}  // namespace cleat::sim::detail

#include <cleat/sim/network.hpp>

#include <cleat/base/task.hpp>
#include <cleat/sim/connection.hpp>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace cleat::sim {

using namespace std::chrono_literals;

std::string_view to_string(fault f) noexcept {
  switch (f) {
    case fault::short_write:
      return "short_write";
    case fault::split:
      return "split";
    case fault::join:
      return "join";
    case fault::stall:
      return "stall";
    case fault::reset_before:
      return "reset_before";
    case fault::reset_after:
      return "reset_after";
    case fault::vanish:
      return "vanish";
    case fault::slow:
      return "slow";
    case fault::refuse:
      return "refuse";
    case fault::hang:
      return "hang";
    case fault::cut:
      return "cut";
    case fault::crash:
      return "crash";
  }
  return "crash";
}

void network::note(std::string_view what, std::string_view who, std::uint64_t a, std::uint64_t b) {
  history_.note(clock_->now() - began_, what, who, a, b);
}

void network::happened(fault f, std::string_view who) {
  ++counts_[static_cast<std::size_t>(f)];
  note(to_string(f), who);
}

std::uint64_t network::digest(bytes_view bytes) noexcept {
  std::uint64_t hash = bytes.size();
  for (std::byte const b : bytes)
    hash = (hash ^ std::to_integer<std::uint64_t>(b)) * 0x100000001B3ULL;
  return mix64(hash);
}

void network::calm() {
  conditions_ = [&] {
    conditions c;
    c.latency_min = conditions_.latency_min;
    c.latency_max = conditions_.latency_max;
    c.window_bytes = conditions_.window_bytes;
    return c;
  }();
  note("calm", "");
  for (auto& [number, connection] : alive_) connection->quicken();
  for (auto& [name, host] : hosts_) {
    host.script.clear();
    heal(name);
    boot(name);
  }
}

void network::script_dials(std::string const& host, std::deque<dial_fate> fates) {
  hosts_[host].script = std::move(fates);
}

void network::cut(std::string const& host) {
  if (std::exchange(hosts_[host].cut, true)) return;
  happened(fault::cut, host);
}

void network::heal(std::string const& host) {
  if (!std::exchange(hosts_[host].cut, false)) return;
  note("heal", host);
  each(host, [](detail::connection& c) { c.thaw(); });
}

void network::crash(std::string const& host) {
  host_state& state = hosts_[host];
  if (std::exchange(state.down, true)) return;
  happened(fault::crash, host);
  each(host, [](detail::connection& c) { c.crash(); });
  while (!state.listeners.empty()) state.listeners.begin()->second->close();
}

void network::boot(std::string const& host) {
  if (!std::exchange(hosts_[host].down, false)) return;
  note("boot", host);
  each(host, [](detail::connection& c) { c.boot(); });
}

bool network::is_up(std::string const& host) const {
  auto const found = hosts_.find(host);
  return found != hosts_.end() && !found->second.down;
}

bool network::is_cut(std::string const& host) const {
  auto const found = hosts_.find(host);
  return found != hosts_.end() && found->second.cut;
}

void network::reset(std::string const& host) {
  note("reset all", host);
  each(host, [](detail::connection& c) { c.break_off(); });
}

void network::vanish(std::string const& host) {
  each(host, [&](detail::connection& c) {
    if (c.is_dead()) return;
    happened(fault::vanish, c.host());
    c.vanish();
  });
}

void network::stall(std::string const& host, duration by) {
  each(host, [&](detail::connection& c) {
    if (c.is_dead()) return;
    happened(fault::stall, c.host());
    c.stall(by);
  });
}

void network::each(std::string const& host, std::function<void(detail::connection&)> const& f) {
  std::vector<std::shared_ptr<detail::connection>> all;  // `f` may end some of them
  for (auto const& [number, connection] : alive_) {
    if (connection->host() != host) continue;
    if (auto kept = connection->weak_from_this().lock()) all.push_back(std::move(kept));
  }
  for (auto const& connection : all) f(*connection);
}

dial_fate network::fate_of_dial(std::string const& host) {
  bool const refused = random_.chance(conditions_.refuse);
  bool const hangs = random_.chance(conditions_.hang);
  if (auto const found = hosts_.find(host); found != hosts_.end()) {
    auto& script = found->second.script;
    if (!script.empty()) {
      dial_fate const next = script.front();
      script.pop_front();
      return next;
    }
  }
  if (refused) return dial_fate::refuse;
  return hangs ? dial_fate::hang : dial_fate::connect;
}

task<result<any_stream>> network::dial(std::string host, std::uint16_t port, time_point deadline) {
  std::string const address = host + ':' + std::to_string(port);
  auto const failed = [&address](kind why) {
    return failure{why, certainty::not_sent}.with_detail(address);
  };
  auto const mine_on = co_await this_chain::executor;
  note("dial", host, port);
  dial_fate const fate = fate_of_dial(host);
  duration const round_trip = 2 * latency();
  if (fate == dial_fate::hang) {
    happened(fault::hang, host);
    auto const waited = co_await sleep_until(deadline);
    if (!waited) co_return waited.error().with(certainty::not_sent);
    co_return failed(kind::timed_out);
  }
  // As TCP: what is not answered is sent again after 1 s, 2 s, 4 s, … (RFC 6298).
  for (duration again = 1s;; again = std::min<duration>(again * 2, 64s)) {
    time_point const sent = clock_->now();
    time_point const heard = saturated_add(sent, round_trip);
    auto waited = co_await sleep_until(std::min(heard, deadline));
    if (!waited) co_return waited.error().with(certainty::not_sent);
    if (heard >= deadline) co_return failed(kind::timed_out);
    auto const found = hosts_.find(host);
    if (found == hosts_.end()) co_return failed(kind::unresolved);
    host_state& state = found->second;
    if (!state.cut && !state.down) {
      auto const listener = state.listeners.find(port);
      if (fate == dial_fate::refuse) happened(fault::refuse, host);
      if (fate == dial_fate::refuse || listener == state.listeners.end())
        co_return failed(kind::refused);
      detail::listening& by = *listener->second;
      if (!by.is_full()) {
        auto const made = std::make_shared<detail::connection>(*this, mine_on, by.executor(), host);
        note("connect", host, connections_made_);
        by.push(made->end(1));
        any_stream mine = made->end(0);
        co_return std::move(mine);
      }
    }
    time_point const next = saturated_add(sent, again);
    waited = co_await sleep_until(std::min(next, deadline));
    if (!waited) co_return waited.error().with(certainty::not_sent);
    if (next >= deadline) co_return failed(kind::timed_out);
  }
}

result<any_listener> network::listen(environment::executor_type const& executor,
                                     std::string const& host, std::uint16_t port) {
  host_state& state = hosts_[host];
  while (port == 0 && state.next_port != 0) {
    if (!state.listeners.contains(state.next_port)) port = state.next_port;
    ++state.next_port;
  }
  failure const cannot{kind::resources, certainty::not_sent};
  if (state.down) return cannot.with_detail(host + " is down");
  if (state.listeners.contains(port)) {
    return cannot.with_detail("the address " + host + ':' + std::to_string(port) +
                              " is already in use");
  }
  note("listen", host, port);
  return any_listener{std::make_unique<detail::listening>(*this, executor, host, port)};
}

}  // namespace cleat::sim

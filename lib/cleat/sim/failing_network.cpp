#include <cleat/sim/failing_network.hpp>

#include <cleat/transport/network.hpp>

#include <algorithm>
#include <utility>

namespace cleat::sim {

std::string_view to_string(io o) noexcept {
  switch (o) {
    case io::listen:
      return "listen";
    case io::dial:
      return "dial";
    case io::accept:
      return "accept";
    case io::readable:
      return "readable";
    case io::read:
      return "read";
    case io::writable:
      return "writable";
    case io::write:
      return "write";
  }
  return "write";
}

/// What all streams and listeners of one network share. They may outlive `failing_network`.
class failing_network::state {
 public:
  explicit state(io_fault const& f) noexcept : fault(f) {}

  /// Counts an operation, and says whether it is the one.
  [[nodiscard]] bool fails(io o, std::string_view of_whom) {
    if (is_calm) return false;
    if (++passed != fault.nth) return false;
    failed = o;
    whose = of_whom;
    return true;
  }

  io_fault fault;
  std::uint64_t passed = 0;
  std::optional<io> failed;
  std::string whose;
  bool is_calm = false;
  std::size_t open = 0;
  std::uint64_t dialled = 0;
  std::uint64_t accepted = 0;
};

/// A stream as its waits see it: they may outlive it, when a whole context goes away.
class failing_network::link {
 public:
  link(std::shared_ptr<state> s, any_stream stream, std::string name)
      : of(std::move(s)), inner(std::move(stream)), name_(std::move(name)) {}

  [[nodiscard]] bool fails(io o) { return of->fails(o, name_); }
  [[nodiscard]] bool is_broken() const noexcept { return broken_; }
  failure break_off() noexcept {
    broken_ = true;
    if (inner) inner->close();
    return why();
  }
  [[nodiscard]] failure why() const noexcept { return failure{of->fault.stream}; }

  std::shared_ptr<state> of;
  std::optional<any_stream> inner;  ///< until the stream is destroyed

 private:
  std::string name_;
  bool broken_ = false;
};

class failing_network::stream final : public any_stream::model {
 public:
  stream(std::shared_ptr<state> const& s, any_stream inner, std::string name)
      : link_(std::make_shared<link>(s, std::move(inner), std::move(name))) {
    ++s->open;
  }
  stream(stream const&) = delete;
  stream& operator=(stream const&) = delete;
  ~stream() override {
    link_->inner.reset();
    --link_->of->open;
  }

  void break_off() noexcept { static_cast<void>(link_->break_off()); }

  task<result<void>> readable() override { return wait(link_, io::readable); }
  task<result<void>> writable() override { return wait(link_, io::writable); }
  result<std::size_t> read(std::span<std::byte> into) noexcept override {
    if (link_->is_broken()) return link_->why();
    bool const fails = link_->fails(io::read);
    bool const afterwards = link_->of->fault.afterwards;
    if (fails && !afterwards) return link_->break_off();
    auto const n = link_->inner->read(into.first(std::min(into.size(), at_once())));
    if (fails) break_off();
    return n;
  }
  result<std::size_t> write(std::span<bytes_view const> gather) noexcept override {
    if (link_->is_broken()) return link_->why();
    bool const fails = link_->fails(io::write);
    bool const afterwards = link_->of->fault.afterwards;
    if (fails && !afterwards) return link_->break_off();
    std::array<bytes_view, 8> some;
    std::size_t spans = 0;
    for (std::size_t room = at_once(); spans < std::min(some.size(), gather.size()); ++spans) {
      some[spans] = gather[spans].first(std::min(gather[spans].size(), room));
      room -= some[spans].size();
    }
    auto const n = link_->inner->write(std::span{some.data(), spans});
    if (fails) break_off();
    return n;
  }
  void close() noexcept override { link_->inner->close(); }
  [[nodiscard]] environment::executor_type executor() const override {
    return link_->inner->executor();
  }

 private:
  [[nodiscard]] std::size_t at_once() const noexcept { return link_->of->fault.bytes_at_once; }

  static task<result<void>> wait(std::shared_ptr<link> on, io what) {
    if (on->is_broken()) co_return on->why();
    bool const fails = on->fails(what);
    if (fails && !on->of->fault.afterwards) co_return on->break_off();
    result<void> ready;
    if (what == io::readable) {
      ready = co_await on->inner->readable();
    } else {
      ready = co_await on->inner->writable();
    }
    if (on->is_broken()) co_return on->why();
    if (fails) static_cast<void>(on->break_off());
    co_return ready;
  }

  std::shared_ptr<link> link_;
};

class failing_network::listener final : public any_listener::model {
 public:
  listener(std::shared_ptr<state> s, any_listener inner)
      : state_(std::move(s)), inner_(std::move(inner)) {
    ++state_->open;
  }
  listener(listener const&) = delete;
  listener& operator=(listener const&) = delete;
  ~listener() override { --state_->open; }

  task<result<any_stream>> accept() override {
    bool const fails = state_->fails(io::accept, "listener");
    io_fault const& fault = state_->fault;
    failure const why{fault.accept, certainty::not_sent};
    if (fails && !fault.afterwards && fault.accept != kind::reset) co_return why;
    auto got = co_await inner_.accept();
    if (!got) co_return got.error();
    if (fails && !fault.afterwards) co_return why;
    auto made = std::make_unique<stream>(state_, std::move(*got),
                                         "accepted stream " + std::to_string(++state_->accepted));
    if (fails) made->break_off();
    co_return any_stream{std::move(made)};
  }
  void close() noexcept override { inner_.close(); }
  [[nodiscard]] std::string address() const override { return inner_.address(); }
  [[nodiscard]] std::uint16_t port() const override { return inner_.port(); }

 private:
  std::shared_ptr<state> state_;
  any_listener inner_;
};

class failing_network::model final : public cleat::network::model {
 public:
  explicit model(std::shared_ptr<state> s) : state_(std::move(s)) {}

  task<result<any_stream>> dial(std::string host, std::uint16_t port, tcp_options options,
                                time_point deadline) override {
    bool const fails = state_->fails(io::dial, "network");
    if (fails && !state_->fault.afterwards) {
      std::string const address = host + ':' + std::to_string(port);
      co_return failure{state_->fault.dial, certainty::not_sent}.with_detail(address);
    }
    auto got = co_await inner->dial(std::move(host), port, options, deadline);
    if (!got) co_return got.error();
    auto made = std::make_unique<stream>(state_, std::move(*got),
                                         "dialled stream " + std::to_string(++state_->dialled));
    if (fails) made->break_off();
    co_return any_stream{std::move(made)};
  }
  result<any_listener> listen(environment::executor_type const& executor, std::string const& host,
                              std::uint16_t port) override {
    if (state_->fails(io::listen, "network"))
      return failure{state_->fault.listen, certainty::not_sent}.with_detail(host);
    auto got = inner->listen(executor, host, port);
    if (!got) return got.error();
    return any_listener{std::make_unique<listener>(state_, std::move(*got))};
  }

  std::unique_ptr<cleat::network::model> inner;

 private:
  std::shared_ptr<state> state_;
};

failing_network::failing_network(environment::executor_type const& executor, io_fault const& how)
    : state_(std::make_shared<state>(how)) {
  auto mine = std::make_unique<model>(state_);
  model& placed = *mine;
  placed.inner = cleat::network::of(executor).replace(std::move(mine));
}

std::uint64_t failing_network::passed() const noexcept { return state_->passed; }

std::optional<io> failing_network::failed() const noexcept { return state_->failed; }

std::string failing_network::what() const {
  if (!state_->failed) return "no operation";
  std::string text = "operation " + std::to_string(state_->fault.nth) + ", a ";
  text += to_string(*state_->failed);
  return text + " of " + state_->whose;
}

void failing_network::calm() noexcept { state_->is_calm = true; }

std::size_t failing_network::open() const noexcept { return state_->open; }

}  // namespace cleat::sim

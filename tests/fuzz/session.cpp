// A session whose peer is hostile: the input decides what the peer writes, takes and breaks, what is
// asked and given up, and how time passes. Nothing waits for ever, nothing goes to the wrong caller,
// nothing is left.
#include "ledger.hpp"
#include "seeded_time.hpp"

#include <cleat/base/spawn.hpp>
#include <cleat/session/session.hpp>
#include <cleat/transport/memory.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>

#include <chrono>

namespace {

using cleat::bytes_view;
using cleat::failure;
using cleat::memory_stream;
using cleat::task;
using fuzz::asked;
using fuzz::decisions;
using fuzz::parley;
using fuzz::question;
using fuzz::require;
using fuzz::seeded_time;
using fuzz::speech;
using fuzz::utterance;
using std::chrono::milliseconds;

namespace asio = boost::asio;

using session = cleat::session<parley, memory_stream>;

/// Looks at what the session tells.
class checked_events final : public cleat::event_table {
 public:
  checked_events() {
    set_self(this);
    set<cleat::frame_sent>([](void const*, cleat::frame_sent const& e) noexcept {
      require(e.error != nullptr || !e.bytes.empty(), "what was sent has bytes");
      if (!e.bytes.empty()) check_frame(e.bytes, e.id);
    });
    set<cleat::frame_received>(
        [](void const*, cleat::frame_received const& e) noexcept { check_frame(e.bytes, e.id); });
    set<cleat::answer_missing>([](void const*, cleat::answer_missing const& e) noexcept {
      require(e.why.sure() == cleat::certainty::maybe_executed, "what is missing was sent");
    });
    set<cleat::decode_failed>([](void const*, cleat::decode_failed const& e) noexcept {
      require(!e.bytes.empty() && e.why.offset() <= e.bytes.size(), "an error has its bytes");
    });
    set<cleat::frames_passed_over>([](void const*, cleat::frames_passed_over const& e) noexcept {
      require(e.more != 0 && e.elapsed >= cleat::duration{}, "a summary tells of something");
    });
    set<cleat::session_ended>([](void const* self, cleat::session_ended const&) noexcept {
      auto& ends = static_cast<checked_events const*>(self)->ends_;
      require(++ends == 1, "a session ends once");
    });
  }

 private:
  static void check_frame(bytes_view bytes, std::string_view id) {
    parley const speaks;
    auto step = speaks.decode(bytes);
    auto* const item = step.has_item();
    require(item != nullptr && item->used == bytes.size(), "an event has one whole frame");
    require(speaks.id(item->message).view() == id, "an event names its frame");
  }

  mutable int ends_ = 0;
};

/// What the input sets before it begins.
class settings {
 public:
  explicit settings(decisions& input) {
    session.calls_max = input.between(1, 8);
    session.waiting_max = input.below(8);
    session.unanswered_max = input.below(8);
    session.requests_max = input.between(1, 4);
    session.pushes_max = input.between(1, 4);
    session.outbound_bytes_max = input.between(8, 255);
    session.write_stall_max = milliseconds{input.between(1, 64) * 100};
    pipe.buffer_bytes_max = input.between(1, 255);
    auto const flags = input.byte();
    mumbles_bear_numbers = (flags & 1U) != 0;
    if ((flags & 64U) != 0) session.stray_frames_max = 1U + (flags >> 7U);
    listens = (flags & 2U) != 0;
    if ((flags & 4U) != 0) pipe.read_bytes_max = 1U + (flags >> 6U);
    runs_at_once = (flags & 8U) == 0;
    dropped = (flags & 48U) == 48U;
  }

  cleat::session_options session;
  memory_stream::options pipe;
  bool listens = false;
  bool mumbles_bear_numbers = false;
  bool runs_at_once = true;
  bool dropped = false;  ///< in the end it all goes away with its context
};

/// One history.
class history {
 public:
  history(decisions& input, settings s)
      : input_(input),
        set_(listening(s)),
        ends_(cleat::memory_pair(time_.context.get_executor(), set_.pipe)),
        session_(std::move(ends_.first), parley{&ledger_, set_.mumbles_bear_numbers},
                 set_.session) {
    ledger_.unreadable_fails_call = set_.mumbles_bear_numbers;
    ledger_.unsent = [this] { return session_.outbound_bytes(); };
    session_.respond = [this](utterance const& m) { respond(m); };
    session_.serve = [this](utterance m) { return serve(m); };
    if (set_.runs_at_once) run();
  }

  void play() {
    for (int steps = 0; !input_.empty() && steps < 200; ++steps) {
      auto const op = input_.byte();
      step(op & 0x1FU);
      if ((op & 0x20U) == 0) time_.poll();
      check_bounds();
    }
    if (!set_.dropped) finish();
  }

 private:
  enum class then : std::uint8_t { nothing, ask_again, close, push, give_up_another };

  static constexpr std::size_t pushes_sent_max = 200;

  class counted {
   public:
    explicit counted(std::size_t& n) noexcept : n_(n) { ++n_; }
    counted(counted const&) = delete;
    counted& operator=(counted const&) = delete;
    ~counted() { --n_; }

   private:
    std::size_t& n_;
  };

  settings listening(settings s) {
    if (s.listens) s.session.events = &events_;
    return s;
  }

  void step(unsigned op) {
    switch (op) {
      case 0:
      case 1:
        return peer_writes(input_.take(input_.below(64)));
      case 2:
      case 3:
      case 4:
      case 5:
        return peer_says(static_cast<speech>(2 + input_.below(6)));
      case 6:
      case 7:
        return peer_says(speech::ask);
      case 8:
      case 9:
        return peer_reads(input_.byte());
      case 10:
      case 11:
      case 12:
      case 13:
        return ask();
      case 14:
      case 15:
        return give_up(input_.byte());
      case 16:
      case 17:
        return time_.pass(milliseconds{input_.byte() * 20});
      case 18:
      case 19:
        return push();
      case 20:
        return listen();
      case 21:
        return listening_.emit(asio::cancellation_type::terminal);
      case 22:
        return run();
      case 23:
        return session_.close();
      case 24:
        return peer_closes();
      case 25:
        return running_.emit(asio::cancellation_type::terminal);
      case 26:
        responds_ = input_.byte();
        return;
      case 27:
      case 28:
        return peer_takes_all();
      default:
        return time_.poll();
    }
  }

  // ---- the peer

  void peer_writes(bytes_view bytes) {
    auto const n = ends_.second.write(std::span{&bytes, 1});
    if (!n) require(peer_closed_ || session_.ended(), "a stream that lives takes bytes");
  }
  void peer_says(speech what) {
    utterance m{what, input_.byte(), input_.byte(), input_.byte(), input_.byte()};
    m.number %= parley::numbers + 1;
    m.topic %= parley::topics;
    m.padding %= parley::padding_max + 1;
    cleat::byte_buffer frame;
    require(parley{}.encode(m, frame).has_value(), "the peer can say it");
    peer_writes(frame);
  }
  void peer_reads(std::size_t n) {
    cleat::byte_buffer some(n);
    auto const got = ends_.second.read(some);
    if (got) cleat::append(wire_, bytes_view{some}.first(*got));
  }
  void peer_takes_all() {
    for (std::size_t before = wire_.size() + 1; before != wire_.size();) {
      before = wire_.size();
      time_.poll();
      peer_reads(4096);
    }
    require(peer_closed_ || !started_ || session_.ended() || session_.outbound_bytes() == 0,
            "a peer that takes everything gets everything");
  }
  void peer_closes() {
    ends_.second.close();
    peer_closed_ = true;
  }

  // ---- those who ask

  void ask() {
    if (ledger_.calls.size() >= fuzz::ledger::calls_max) return;
    std::size_t const tag = ledger_.calls.size();
    asked& c = ledger_.calls.emplace_back();
    c.deadline = time_.now() + milliseconds{input_.byte() * 40};
    auto const topic = static_cast<std::uint8_t>(input_.below(parley::topics));
    auto const padding = static_cast<std::uint8_t>(input_.below(parley::padding_max + 1U));
    auto const how = input_.byte();
    auto const flaw = how < 240 ? question::flaw::none : static_cast<question::flaw>(how & 3U);
    question const q{topic, static_cast<std::uint8_t>(tag), padding, flaw};
    asio::cancellation_signal& signal = callers_.emplace_back();
    auto const left = [](std::exception_ptr const& thrown) {
      require(thrown == nullptr, "a call does not throw");
    };
    cleat::spawn(time_.context.get_executor(), one_call(*this, q, static_cast<then>(how % 5U)),
                 asio::bind_cancellation_slot(signal.slot(), left));
  }

  static task<> one_call(history& h, question q, then next) {
    cleat::call c = h.time_.new_call();
    c.events = h.set_.session.events;
    c.tighten(h.ledger_.calls[q.tag].deadline);
    std::function<void(utterance const&)> hear = [&h, q](utterance const& m) {
      require(m.what == speech::step, "progress is progress");
      require(!h.ledger_.calls[q.tag].outcome, "a call that has ended makes no progress");
    };
    auto outcome = co_await h.session_.call(q, c, std::move(hear));
    asked& mine = h.ledger_.calls[q.tag];
    mine.outcome.emplace(std::move(outcome));
    mine.ended_at = h.time_.now();
    h.go_on(next);
  }

  /// What a caller does that was just answered, inside the reader perhaps.
  void go_on(then next) {
    switch (next) {
      case then::nothing:
        return;
      case then::ask_again:
        return ask();
      case then::close:
        return session_.close();
      case then::push:
        return push();
      case then::give_up_another:
        return give_up(input_.byte());
    }
  }

  void give_up(std::size_t which) {
    if (callers_.empty()) return;
    which %= callers_.size();
    ledger_.cancelled(which);
    callers_[which].emit(asio::cancellation_type::terminal);
  }

  // ---- pushes

  void push() {
    if (pushed_.size() >= pushes_sent_max) return;
    utterance const m{speech::push, 0, 0, static_cast<std::uint8_t>(pushed_.size()),
                      static_cast<std::uint8_t>(input_.below(parley::padding_max + 1U))};
    pushed_.push_back(true);
    bool const sent = session_.send(m).has_value();
    // One that was staged before the session ended inside `send` may have left all the same.
    if (!sent && !session_.ended()) pushed_[m.tag] = false;
  }

  void listen() {
    ++listeners_;
    auto const left = [this](std::exception_ptr thrown) {
      require(thrown == nullptr, "listening does not throw");
      --listeners_;
    };
    auto const deadline = time_.now() + milliseconds{input_.byte() * 40};
    cleat::spawn(time_.context.get_executor(), hear_pushes(*this, deadline),
                 asio::bind_cancellation_slot(listening_.slot(), left));
  }
  static task<> hear_pushes(history& h, cleat::time_point deadline) {
    for (;;) {
      auto const m = co_await h.session_.next_push(deadline);
      if (!m) break;
      require(m->what == speech::push || m->what == speech::news, "only news are heard");
    }
  }

  // ---- what the session asks of us

  /// What the peer says with such a tag has consequences.
  static bool is_odd(utterance const& m) { return m.tag >= 0xF0; }

  void respond(utterance const& m) {
    switch (responds_ % 5U) {
      case 1: {
        utterance const receipt{speech::step, m.number, m.topic, m.tag, 0};
        static_cast<void>(session_.send(receipt).has_value());
        break;
      }
      case 2:
        if (is_odd(m)) session_.close();
        break;
      case 3:
        if (!is_odd(m)) break;
        thrown_ = true;
        throw std::runtime_error("a responder that throws");
      case 4:
        if (is_odd(m)) give_up(m.number);
        break;
      default:
        break;
    }
    if (!session_.ended()) ledger_.responded();
  }

  task<cleat::result<utterance>> serve(utterance m) {
    counted const one{serving_};
    require(serving_ <= set_.session.requests_max, "requests of the peer are bounded");
    utterance answer{speech::reply, m.number, m.topic, m.tag, m.padding};
    if (m.topic == 1) {
      auto const slept = co_await cleat::sleep_until(time_.now() + milliseconds{m.tag * 10});
      if (!slept) co_return slept.error();
    }
    if (m.topic == 2) {
      if (!is_odd(m)) co_return failure{cleat::kind::cancelled};
      answer.padding = parley::padding_max + 1;  // cannot be written
    }
    if (m.topic == 3) {
      ask();
      if (is_odd(m)) {
        thrown_ = true;
        throw std::runtime_error("a server that throws");
      }
    }
    co_return answer;
  }

  void run() {
    if (started_) return;
    started_ = true;
    auto const left = [this](std::exception_ptr thrown, failure const&) {
      if (thrown != nullptr) require(session_.ended(), "what throws ends the session");
      require(!thrown_ || thrown != nullptr, "what is thrown leaves through run");
      ran_ = true;
    };
    cleat::spawn(time_.context.get_executor(), session_.run(),
                 asio::bind_cancellation_slot(running_.slot(), left));
  }

  // ---- what always holds

  void check_bounds() const {
    auto const& o = set_.session;
    require(session_.pending() <= o.calls_max + o.waiting_max, "pending calls are bounded");
    require(session_.ended() || session_.unanswered() <= o.unanswered_max,
            "calls without an answer are bounded");
    // What one read may bring more: a pipe full of the shortest requests, each answered.
    std::size_t const asked_at_once =
        o.requests_max + (set_.pipe.buffer_bytes_max + parley::frame_bytes_max) / 5 + 2;
    require(session_.outbound_bytes() <=
                2 * o.outbound_bytes_max + asked_at_once * parley::frame_bytes_max,
            "outbound bytes are bounded");
  }

  // ---- the end

  void finish() {
    auto const way = input_.below(4);
    if (way == 3) peer_takes_all();
    // Nobody closes: all the same each call ends, by its deadline.
    time_.pass_all();
    require(session_.pending() == 0, "no call is pending after its deadline");
    for (asked const& c : ledger_.calls) require(c.outcome.has_value(), "every call ends");
    check_bounds();

    run();
    time_.poll();
    if (way == 0) running_.emit(asio::cancellation_type::terminal);
    if (way == 1) peer_closes();
    if (way >= 2) session_.close();
    time_.pass_all();
    require(session_.ended(), "a session ends");
    require(ran_, "run ends with its session");
    require(listeners_ == 0, "those who listen are told of the end");
    require(session_.pending() == 0, "nothing is pending after the end");
    require(cleat::chain_count(time_.context) == 0, "no chain is left");

    ledger_.judge_answers();
    if (peer_closed_) return;
    peer_takes_all();
    ledger_.judge_wire(wire_, pushed_);
  }

  decisions& input_;
  std::size_t serving_ = 0;
  seeded_time time_;
  checked_events events_;
  fuzz::ledger ledger_{[this] { return time_.now(); }};
  settings set_;
  // Signals go before the chains that listen to them, as programs have it.
  std::deque<asio::cancellation_signal> callers_;
  asio::cancellation_signal running_;
  asio::cancellation_signal listening_;
  std::pair<memory_stream, memory_stream> ends_;
  session session_;

  cleat::byte_buffer wire_;
  std::vector<bool> pushed_;
  std::size_t listeners_ = 0;
  unsigned responds_ = 0;
  bool peer_closed_ = false;
  bool started_ = false;
  bool ran_ = false;
  bool thrown_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  decisions input{fuzz::bytes_of(data, size)};
  settings const set{input};
  history h{input, set};
  h.play();
  return 0;
}

#pragma once

#include <cleat/base/event.hpp>
#include <cleat/transport/transport.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>

namespace cleat {

/// One end of a connected pair inside the process: bytes written at one end are read at the other,
/// in order, through a buffer of bounded size each way. Both ends belong to one executor.
class memory_stream {
 public:
  struct options {
    /// Bytes that each direction holds before `write` accepts no more.
    std::size_t buffer_bytes_max = 65536;
    /// At most so many bytes a `read`, for tests of reassembly.
    std::size_t read_bytes_max = static_cast<std::size_t>(-1);
  };

  memory_stream(memory_stream&&) noexcept = default;
  memory_stream& operator=(memory_stream&& other) noexcept {
    std::swap(pair_, other.pair_);
    std::swap(end_, other.end_);
    return *this;
  }
  ~memory_stream() { close(); }

  task<result<void>> readable() { return wait(in(), &direction::may_read); }
  result<std::size_t> read(std::span<std::byte> into) noexcept {
    if (into.empty()) return std::size_t{0};
    direction& d = in();
    std::size_t const n = std::min({into.size(), d.bytes.size(), pair_->opts.read_bytes_max});
    if (n == 0 && d.reader_gone) return failure{kind::shut_down};
    if (n == 0 && d.writer_gone) return failure{kind::closed};
    std::copy_n(d.bytes.begin(), n, into.begin());
    d.bytes.erase(d.bytes.begin(), d.bytes.begin() + static_cast<std::ptrdiff_t>(n));
    if (n != 0) d.may_write.set();
    return n;
  }

  task<result<void>> writable() { return wait(out(), &direction::may_write); }
  result<std::size_t> write(std::span<bytes_view const> gather) noexcept {
    direction& d = out();
    if (d.writer_gone) return failure{kind::shut_down};
    if (d.reader_gone) return failure{kind::reset};
    std::size_t accepted = 0;
    for (bytes_view const span : gather) {
      std::size_t const n = std::min(span.size(), pair_->opts.buffer_bytes_max - d.bytes.size());
      append(d.bytes, span.first(n));
      accepted += n;
    }
    if (accepted != 0) d.may_read.set();
    return accepted;
  }

  void close() noexcept {
    if (!pair_) return;
    out().writer_gone = true;
    in().reader_gone = true;
    in().bytes.clear();
    for (direction* const d : {&in(), &out()}) {
      d->may_read.set();
      d->may_write.set();
    }
  }
  [[nodiscard]] environment::executor_type executor() const { return pair_->executor; }

 private:
  friend std::pair<memory_stream, memory_stream> memory_pair(environment::executor_type, options);

  struct direction {
    byte_buffer bytes;
    event may_read;
    event may_write;
    bool writer_gone = false;
    bool reader_gone = false;
  };
  struct shared {
    shared(environment::executor_type ex, options o) : executor(std::move(ex)), opts(o) {}
    environment::executor_type executor;
    options opts;
    direction ways[2];
  };

  memory_stream(std::shared_ptr<shared> pair, std::size_t end) noexcept
      : pair_(std::move(pair)), end_(end) {}

  [[nodiscard]] direction& in() const noexcept { return pair_->ways[end_]; }
  [[nodiscard]] direction& out() const noexcept { return pair_->ways[1 - end_]; }

  task<result<void>> wait(direction& d, event direction::* for_what) {
    auto const keep = pair_;
    bool const gone = co_await this_chain::cancelled;
    if (gone) co_return failure{kind::cancelled};
    bool const reading = for_what == &direction::may_read;
    while (!d.writer_gone && !d.reader_gone &&
           (reading ? d.bytes.empty() : d.bytes.size() >= keep->opts.buffer_bytes_max)) {
      auto const woken = co_await (d.*for_what).wait();
      if (!woken) co_return woken.error();
    }
    co_return result<void>{};
  }

  std::shared_ptr<shared> pair_;
  std::size_t end_;
};

/// Two connected ends.
inline std::pair<memory_stream, memory_stream> memory_pair(environment::executor_type executor,
                                                           memory_stream::options options = {}) {
  auto pair = std::make_shared<memory_stream::shared>(std::move(executor), options);
  return {memory_stream{pair, 0}, memory_stream{pair, 1}};
}

static_assert(Transport<memory_stream>);

}  // namespace cleat

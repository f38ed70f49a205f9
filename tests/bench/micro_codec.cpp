// Codec: a message of the toggled devices to bytes and back, and a long one with escapes.
#include "measured.hpp"

#include <cleat/codec/json.hpp>
#include <toggle/protocol.hpp>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

using cleat::byte_buffer;
using toggle::message;
using toggle::protocol;

message request() { return message::turn(micro::device_id, "8de74d08753f195d", true); }
message ack() { return message::ack(request(), true); }

void encode(benchmark::State& state, message const& m) {
  protocol const codec;
  byte_buffer out;
  micro::measure(state, [&] {
    out.clear();
    benchmark::DoNotOptimize(codec.encode(m, out).has_value());
    benchmark::ClobberMemory();
  });
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(out.size()));
}

void decode(benchmark::State& state, message const& m) {
  protocol const codec;
  byte_buffer bytes;
  if (!codec.encode(m, bytes)) std::abort();
  micro::measure(state, [&] {
    auto step = codec.decode(bytes);
    benchmark::DoNotOptimize(step.has_item());
    benchmark::ClobberMemory();
  });
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes.size()));
}

void open_request(benchmark::State& state) {
  protocol const codec;
  boost::asio::io_context context{1};
  auto const q = toggle::request::turn(micro::device_id, true);
  auto const c = micro::new_call(context);
  std::uint64_t number = 0;
  micro::measure(state, [&] {
    auto made = codec.open(q, c, ++number);
    benchmark::DoNotOptimize(made);
  });
}

/// A report: two fields and many words.
struct report {
  std::int64_t sequence = 0;
  std::string words;

  static constexpr auto json_fields() {
    return std::array{cleat::json_field::of<&report::sequence>("sequence"),
                      cleat::json_field::of<&report::words>("words")};
  }
};

/// About 4 KiB as JSON: a quotation mark, a line's end and an é in every 32 bytes or so.
report long_report() {
  constexpr std::size_t bytes = 4096;
  report r;
  r.sequence = 1234567;
  while (r.words.size() < bytes - 300) r.words += "twenty-four plain bytes \"\n\xC3\xA9";
  return r;
}

void write_long(benchmark::State& state) {
  report const r = long_report();
  byte_buffer out;
  micro::measure(state, [&] {
    out.clear();
    benchmark::DoNotOptimize(cleat::json_write(r, out).has_value());
    benchmark::ClobberMemory();
  });
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(out.size()));
}

/// One allocation is the words themselves.
void read_long(benchmark::State& state) {
  byte_buffer bytes;
  if (!cleat::json_write(long_report(), bytes)) std::abort();
  micro::measure(state, [&] {
    report r;
    benchmark::DoNotOptimize(cleat::json_read(bytes, r).has_value());
    benchmark::ClobberMemory();
  });
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes.size()));
}

}  // namespace

BENCHMARK(open_request)->Name("codec/open_request");
BENCHMARK_CAPTURE(encode, request, request())->Name("codec/encode_request");
BENCHMARK_CAPTURE(decode, ack, ack())->Name("codec/decode_ack");
BENCHMARK_CAPTURE(decode, request, request())->Name("codec/decode_request");
BENCHMARK_CAPTURE(encode, ack, ack())->Name("codec/encode_ack");
BENCHMARK(write_long)->Name("codec/json_write_4KiB_escapes");
BENCHMARK(read_long)->Name("codec/json_read_4KiB_escapes");

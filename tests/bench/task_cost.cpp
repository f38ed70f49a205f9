// What a coroutine layer costs: `task_cost ours|asio DEPTH COUNT` makes COUNT calls through DEPTH
// nested coroutines that give a result<int>, and says how often the heap was asked. Instructions:
// run it under `valgrind --tool=callgrind` with two counts and take the difference. See
// docs/decisions/0001-task.md.
#include <cleat/base/spawn.hpp>
#include <cleat/base/task.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <cstdio>
#include <cstdlib>
#include <new>
#include <string_view>

namespace {
unsigned long allocations = 0;
}

void* operator new(std::size_t n) {
  ++allocations;
  if (void* const p = std::malloc(n)) return p;
  throw std::bad_alloc{};
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace asio = boost::asio;
using cleat::result;

namespace {

cleat::task<result<int>> ours(int depth) {
  if (depth == 1) co_return 1;
  auto r = co_await ours(depth - 1);
  co_return r;
}

asio::awaitable<result<int>> asios(int depth) {
  if (depth == 1) co_return 1;
  auto r = co_await asios(depth - 1);
  co_return r;
}

cleat::task<> call_ours(int depth, long count) {
  for (long i = 0; i < count; ++i) {
    if (i == count / 2) allocations = 0;
    static_cast<void>(co_await ours(depth));
  }
}

asio::awaitable<void> call_asios(int depth, long count) {
  for (long i = 0; i < count; ++i) {
    if (i == count / 2) allocations = 0;
    static_cast<void>(co_await asios(depth));
  }
}

cleat::task<> post_ours(asio::any_io_executor executor, long count) {
  for (long i = 0; i < count; ++i) {
    if (i == count / 2) allocations = 0;
    co_await asio::post(executor, cleat::use_task);
  }
}

asio::awaitable<void> post_asios(asio::any_io_executor executor, long count) {
  for (long i = 0; i < count; ++i) {
    if (i == count / 2) allocations = 0;
    co_await asio::post(executor, asio::use_awaitable);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("usage: task_cost ours|asio DEPTH COUNT   (DEPTH 0: a trip through the executor)\n",
               stderr);
    return 2;
  }
  bool const mine = std::string_view{argv[1]} == "ours";
  int const depth = std::atoi(argv[2]);
  long const count = std::atol(argv[3]);
  asio::io_context context{1};
  auto const executor = context.get_executor();
  if (depth == 0) {
    if (mine) {
      cleat::spawn(executor, post_ours(executor, count));
    } else {
      asio::co_spawn(executor, post_asios(executor, count), asio::detached);
    }
  } else if (mine) {
    cleat::spawn(executor, call_ours(depth, count));
  } else {
    asio::co_spawn(executor, call_asios(depth, count), asio::detached);
  }
  context.run();
  std::printf("%lu allocations in %ld calls\n", allocations, count - count / 2);
}

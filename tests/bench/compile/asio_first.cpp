// What docs/examples/first.cpp does on the wire, with nothing but Asio's own coroutines: what its
// compile time is measured against. See compile_time.py.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <exception>
#include <iostream>
#include <string>

namespace asio = boost::asio;
using asio::use_awaitable;

asio::awaitable<void> switch_on(std::string host, std::string port) {
  auto const executor = co_await asio::this_coro::executor;
  asio::ip::tcp::resolver resolver{executor};
  auto const addresses = co_await resolver.async_resolve(host, port, use_awaitable);
  asio::ip::tcp::socket socket{executor};
  asio::steady_timer deadline{executor, std::chrono::seconds{5}};
  deadline.async_wait([&socket](auto error) {
    if (!error) socket.close();
  });
  co_await asio::async_connect(socket, addresses, use_awaitable);

  std::string const words =
      R"({"opcode":"toggle","device_id":"DEVICE123","msg_id":"0123456789abcdef","state":"on"})";
  std::string frame{"\xF0\x0D"};
  frame += static_cast<char>(words.size() >> 8U);
  frame += static_cast<char>(words.size() & 0xFFU);
  frame += words;
  co_await asio::async_write(socket, asio::buffer(frame), use_awaitable);

  std::array<unsigned char, 4> head{};
  co_await asio::async_read(socket, asio::buffer(head), use_awaitable);
  std::string answer(static_cast<std::size_t>(head[2] << 8U | head[3]), '\0');
  co_await asio::async_read(socket, asio::buffer(answer), use_awaitable);
  deadline.cancel();
  std::cout << answer << '\n';
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  asio::io_context context{1};
  asio::co_spawn(context, switch_on(argv[1], argv[2]), [](std::exception_ptr error) {
    if (error) std::rethrow_exception(error);
  });
  context.run();
}

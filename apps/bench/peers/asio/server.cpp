#include "asio.hpp"
#include "codec.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/write.hpp>

#include <exception>
#include <utility>

namespace peers {

namespace {

namespace asio = boost::asio;
using asio::awaitable;
using asio::use_awaitable;
using asio::ip::tcp;

awaitable<void> serve(tcp::socket client) {
  for (;;) {
    std::string const request = co_await read_frame(client);
    std::string const answer = answer_frame(request);
    co_await asio::async_write(client, asio::buffer(answer), use_awaitable);
  }
}

/// The client has gone, or talks nonsense: its connection ends, and nothing else.
void ended(std::exception_ptr) {}

awaitable<void> accept_all(tcp::acceptor& from) {
  for (;;) {
    tcp::socket client = co_await from.async_accept(use_awaitable);
    client.set_option(tcp::no_delay{true});
    asio::co_spawn(from.get_executor(), serve(std::move(client)), ended);
  }
}

}  // namespace

void asio_server(options const& o) {
  asio::io_context context{1};
  tcp::acceptor acceptor{context, {asio::ip::address_v4::loopback(), o.port}};
  acceptor.listen(4096);
  say_listening(acceptor.local_endpoint().port());
  asio::co_spawn(context, accept_all(acceptor), [](std::exception_ptr error) {
    if (error) std::rethrow_exception(error);
  });
  if (!o.spins) context.run();
  while (o.spins) context.poll();
}

}  // namespace peers

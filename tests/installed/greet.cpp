// A program of somebody who has installed cleat: a task, spawned and awaited.
#include <cleat/base/spawn.hpp>
#include <cleat/base/task.hpp>

#include <boost/asio/io_context.hpp>

#include <exception>
#include <iostream>
#include <string>

namespace {

cleat::task<std::string> greeting(std::string name) { co_return "hello, " + name; }

cleat::task<int> greet() {
  std::string const said = co_await greeting("lamp");
  std::cout << said << '\n';
  co_return static_cast<int>(said.size());
}

}  // namespace

int main() {
  boost::asio::io_context context;
  int length = 0;
  cleat::spawn(context.get_executor(), greet(), [&](std::exception_ptr, int n) { length = n; });
  context.run();
  return length == 11 ? 0 : 1;
}

#define BOOST_TEST_MODULE concepts
// What is a service, and what is not.
#include <cleat/runtime/block_on.hpp>
#include <cleat/service/any_service.hpp>
#include <cleat/service/service.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

using cleat::any_service;
using cleat::call;
using cleat::failure;
using cleat::kind;
using cleat::request_of;
using cleat::response_of;
using cleat::result;
using cleat::Service;
using cleat::task;

namespace {

auto const echo = [](std::string q, call) -> task<result<std::string>> { co_return q; };
using lambda = std::remove_const_t<decltype(echo)>;

/// Says its types as members, and takes requests of several kinds.
class named {
 public:
  using request = std::string;
  using response = std::size_t;
  template <class Q>
  task<result<std::size_t>> operator()(Q q, call) {
    co_return q.size();
  }
};

/// Counts its calls, and so is no constant.
class counting {
 public:
  task<result<int>> operator()(int q, call) {
    calls += q;
    co_return calls;
  }
  int calls = 0;
};

struct without_a_call {
  task<result<int>> operator()(int q) { co_return q; }
};
struct without_a_result {
  task<int> operator()(int q, call) { co_return q; }
};
struct without_a_task {
  result<int> operator()(int q, call) { return q; }
};
struct of_another_response {
  using request = int;
  using response = std::string;
  task<result<int>> operator()(int q, call) { co_return q; }
};
struct without_types {
  template <class Q>
  task<result<int>> operator()(Q, call) {
    co_return 1;
  }
};

}  // namespace

static_assert(Service<lambda>);
static_assert(std::same_as<request_of<lambda>, std::string>);
static_assert(std::same_as<response_of<lambda>, std::string>);
static_assert(Service<named>);
static_assert(Service<counting>);
static_assert(std::same_as<request_of<counting const&>, int>);
static_assert(Service<any_service<int, int>>);

static_assert(!Service<without_a_call>);
static_assert(!Service<without_a_result>);
static_assert(!Service<without_a_task>);
static_assert(!Service<of_another_response>);
static_assert(!Service<without_types>);
static_assert(!Service<int>);

static_assert(std::is_constructible_v<any_service<int, int>, counting>);
static_assert(!std::is_constructible_v<any_service<int, std::string>, counting>);
static_assert(!std::is_constructible_v<any_service<int, int>, without_a_result>);
static_assert(!std::is_copy_constructible_v<any_service<int, int>>);

namespace {

template <class S, class Q>
auto ask(S& service, Q q) {
  auto body = [](S& s, Q what) -> task<result<response_of<S>>> {
    call const c{co_await cleat::this_chain::executor};
    auto r = co_await s(std::move(what), c);
    co_return r;
  };
  return cleat::block_on(body(service, std::move(q)));
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_box_does_what_the_service_inside_does) {
  any_service<int, int> box{counting{}};
  BOOST_TEST(ask(box, 2).value() == 2);
  BOOST_TEST(ask(box, 3).value() == 5);
}

BOOST_AUTO_TEST_CASE(a_box_is_filled_anew_with_another_service_of_the_same_types) {
  any_service<std::string, std::string> box{echo};
  BOOST_TEST(ask(box, std::string{"on"}).value() == "on");
  box = [](std::string, call) -> task<result<std::string>> { co_return failure{kind::refused}; };
  auto const r = ask(box, std::string{"on"});
  BOOST_TEST((!r && r.error().why() == kind::refused));
}

BOOST_AUTO_TEST_CASE(a_box_takes_what_can_only_be_moved) {
  auto holder = [p = std::make_unique<int>(7)](int q, call) -> task<result<int>> {
    co_return q + *p;
  };
  any_service<int, int> box{std::move(holder)};
  any_service<int, int> other{std::move(box)};
  BOOST_TEST(ask(other, 1).value() == 8);
}

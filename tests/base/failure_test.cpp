#define BOOST_TEST_MODULE failure
#include <cleat/base/failure.hpp>
#include <cleat/base/result.hpp>

#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>
#include <boost/test/unit_test.hpp>

#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <type_traits>

namespace asio = boost::asio;
namespace errc = boost::system::errc;
using boost::system::error_code;
using cleat::certainty;
using cleat::failure;
using cleat::kind;
using cleat::result;
using namespace std::chrono_literals;

namespace {

/// The errors of somebody's codec.
class stranger final : public boost::system::error_category {
 public:
  [[nodiscard]] char const* name() const noexcept override { return "stranger"; }
  [[nodiscard]] std::string message(int) const override { return "a strange byte"; }
};
stranger const strange;

kind kind_of(error_code code) { return failure{code}.why(); }

}  // namespace

static_assert(std::is_trivially_copyable_v<failure>);
static_assert(sizeof(failure) <= 136, "it is copied at each boundary");
static_assert(std::is_nothrow_copy_constructible_v<failure>);
static_assert(!std::is_convertible_v<kind, failure>, "a failure is made on purpose");
static_assert(!std::is_convertible_v<error_code, failure>, "a failure is made on purpose");
static_assert(std::is_convertible_v<failure, result<int>>);
static_assert(std::is_convertible_v<int, result<int>>);
static_assert(std::is_convertible_v<failure, result<void>>);

BOOST_AUTO_TEST_CASE(takes_its_kind_from_a_well_known_code) {
  BOOST_TEST((kind_of(asio::error::operation_aborted) == kind::cancelled));
  BOOST_TEST((kind_of(asio::error::eof) == kind::closed));
  BOOST_TEST((kind_of(asio::error::timed_out) == kind::timed_out));
  BOOST_TEST((kind_of(asio::error::connection_refused) == kind::refused));
  BOOST_TEST((kind_of(asio::error::host_unreachable) == kind::unreachable));
  BOOST_TEST((kind_of(asio::error::network_unreachable) == kind::unreachable));
  BOOST_TEST((kind_of(asio::error::network_down) == kind::unreachable));
  BOOST_TEST((kind_of(make_error_code(errc::address_not_available)) == kind::unreachable));
  BOOST_TEST((kind_of(asio::error::connection_reset) == kind::reset));
  BOOST_TEST((kind_of(asio::error::connection_aborted) == kind::reset));
  BOOST_TEST((kind_of(asio::error::broken_pipe) == kind::reset));
  BOOST_TEST((kind_of(asio::error::not_connected) == kind::reset));
  BOOST_TEST((kind_of(asio::error::host_not_found) == kind::unresolved));
  BOOST_TEST((kind_of(asio::error::host_not_found_try_again) == kind::unresolved));
  BOOST_TEST((kind_of(asio::error::no_recovery) == kind::unresolved));
  BOOST_TEST((kind_of(asio::error::service_not_found) == kind::unresolved));
  BOOST_TEST((kind_of(asio::error::bad_descriptor) == kind::shut_down));
}

BOOST_AUTO_TEST_CASE(takes_the_same_kind_from_a_portable_condition_as_from_the_systems_code) {
  BOOST_TEST((kind_of(make_error_code(errc::connection_refused)) == kind::refused));
  BOOST_TEST((kind_of({ECONNREFUSED, boost::system::system_category()}) == kind::refused));
  BOOST_TEST((kind_of({ECANCELED, boost::system::system_category()}) == kind::cancelled));
  BOOST_TEST((kind_of(make_error_code(errc::operation_canceled)) == kind::cancelled));
}

BOOST_AUTO_TEST_CASE(blames_this_machine_for_other_errors_of_the_system) {
  BOOST_TEST((kind_of(asio::error::no_descriptors) == kind::resources));
  BOOST_TEST((kind_of(asio::error::no_memory) == kind::resources));
  BOOST_TEST((kind_of(asio::error::access_denied) == kind::resources));
  BOOST_TEST((kind_of(asio::error::address_in_use) == kind::resources));
  BOOST_TEST((kind_of(asio::error::fd_set_failure) == kind::resources));
  BOOST_TEST((kind_of(make_error_code(errc::no_such_file_or_directory)) == kind::resources));
}

BOOST_AUTO_TEST_CASE(takes_a_foreign_code_for_bytes_that_cannot_be_read) {
  BOOST_TEST((kind_of({1, strange}) == kind::malformed));
}

BOOST_AUTO_TEST_CASE(assumes_the_worst_until_told_otherwise) {
  BOOST_TEST((failure{asio::error::connection_refused}.sure() == certainty::maybe_executed));
  BOOST_TEST((failure{kind::timed_out}.sure() == certainty::maybe_executed));
  failure const known{kind::timed_out, certainty::not_sent};
  BOOST_TEST((known.sure() == certainty::not_sent));
}

BOOST_AUTO_TEST_CASE(the_worse_of_two_certainties_counts_in_any_order) {
  constexpr certainty all[] = {certainty::not_sent, certainty::rejected, certainty::maybe_executed};
  for (int a = 0; a < 3; ++a) {
    for (int b = 0; b < 3; ++b) {
      BOOST_TEST((cleat::worse(all[a], all[b]) == all[std::max(a, b)]));
    }
  }
}

BOOST_AUTO_TEST_CASE(has_a_word_of_its_own_for_each_kind_and_each_certainty) {
  std::set<std::string_view> words;
  for (std::size_t i = 0; i < cleat::kind_count; ++i) {
    words.insert(cleat::to_string(static_cast<kind>(i)));
  }
  BOOST_TEST(words.size() == cleat::kind_count);
  BOOST_TEST(words.count("unknown") == 0U);
  for (auto const word : words) {
    BOOST_TEST(word.find_first_not_of("abcdefghijklmnopqrstuvwxyz_") == std::string_view::npos);
  }
  BOOST_TEST(cleat::to_string(kind::timed_out) == "timed_out");
  BOOST_TEST(cleat::to_string(kind::shut_down) == "shut_down");
  BOOST_TEST(cleat::to_string(certainty::not_sent) == "not_sent");
  BOOST_TEST(cleat::to_string(certainty::rejected) == "rejected");
  BOOST_TEST(cleat::to_string(certainty::maybe_executed) == "maybe_executed");
}

BOOST_AUTO_TEST_CASE(says_each_kind_in_words) {
  auto const words = [](kind k) { return failure{k, certainty::not_sent}.message(); };
  BOOST_TEST(words(kind::timed_out) == "timed out; nothing was sent");
  BOOST_TEST(words(kind::cancelled) == "cancelled; nothing was sent");
  BOOST_TEST(words(kind::unresolved) == "the name could not be resolved; nothing was sent");
  BOOST_TEST(words(kind::refused) == "connection refused; nothing was sent");
  BOOST_TEST(words(kind::unreachable) == "the peer cannot be reached; nothing was sent");
  BOOST_TEST(words(kind::reset) == "the peer broke the connection; nothing was sent");
  BOOST_TEST(words(kind::closed) == "the peer closed the connection; nothing was sent");
  BOOST_TEST(words(kind::shut_down) == "our side is shut down; nothing was sent");
  BOOST_TEST(words(kind::malformed) == "the answer could not be read; nothing was sent");
  BOOST_TEST(words(kind::rejected) == "the peer rejected the request; nothing was sent");
  BOOST_TEST(words(kind::overloaded) == "a limit was reached; nothing was sent");
  BOOST_TEST(words(kind::resources) == "this machine could not do it; nothing was sent");
  BOOST_TEST(words(kind::invalid) == "the request cannot be sent; nothing was sent");
}

BOOST_AUTO_TEST_CASE(says_all_that_it_knows_in_one_sentence) {
  BOOST_TEST(failure{kind::timed_out}.with_attempts(2).with_detail("192.0.2.1:9000").message() ==
             "timed out after 2 attempts (192.0.2.1:9000); the peer may have acted");
  BOOST_TEST(failure{kind::rejected}.with(certainty::rejected).with_detail("too hot").message() ==
             "the peer rejected the request (too hot); the peer did not act");
  failure const unread{error_code{1, strange}};
  BOOST_TEST(
      unread.with_offset(0).with_detail("state").message() ==
      "the answer could not be read: a strange byte (state) at byte 0; the peer may have acted");
}

BOOST_AUTO_TEST_CASE(adds_the_words_of_its_code_only_where_they_say_more_than_the_kind) {
  failure const refused{asio::error::connection_refused};
  BOOST_TEST(refused.message() == "connection refused; the peer may have acted");
  failure const full{error_code{EMFILE, boost::system::system_category()}, kind::resources,
                     certainty::not_sent};
  BOOST_TEST(full.message() ==
             "this machine could not do it: Too many open files; nothing was sent");
}

BOOST_AUTO_TEST_CASE(only_some_kinds_are_told_more_by_a_code) {
  for (std::size_t i = 0; i < cleat::kind_count; ++i) {
    auto const k = static_cast<kind>(i);
    bool const more = k == kind::malformed || k == kind::invalid || k == kind::resources ||
                      k == kind::unresolved || k == kind::overloaded;
    std::string const plain = failure{k, certainty::not_sent}.message();
    std::string const told = failure{error_code{1, strange}, k, certainty::not_sent}.message();
    BOOST_TEST_CONTEXT(cleat::to_string(k)) {
      BOOST_TEST((told.find(": a strange byte;") != std::string::npos) == more);
      BOOST_TEST((told == plain) == !more);
    }
  }
}

BOOST_AUTO_TEST_CASE(is_of_this_machine_and_of_the_worst_certainty_until_it_is_told) {
  failure const f;
  BOOST_TEST((f.why() == kind::resources));
  BOOST_TEST((f.sure() == certainty::maybe_executed));
  BOOST_TEST(!f.code().failed());
  BOOST_TEST(f.offset() == failure::no_offset);
  BOOST_TEST(f.attempts() == 1U);
  BOOST_TEST(f.detail() == "");
  BOOST_TEST(!f.retry_after().has_value());
  BOOST_TEST(f.message() == "this machine could not do it; the peer may have acted");
}

BOOST_AUTO_TEST_CASE(its_builders_change_one_thing_each_and_leave_the_original) {
  failure const before{error_code{7, strange}, kind::rejected, certainty::rejected};
  failure const after =
      before.with_detail("why").with_offset(12).with_retry_after(1500ms).with_attempts(3).with(
          certainty::maybe_executed);
  BOOST_TEST((after.code() == before.code()));
  BOOST_TEST((after.why() == kind::rejected));
  BOOST_TEST(after.detail() == "why");
  BOOST_TEST(after.offset() == 12U);
  BOOST_TEST((after.retry_after() == 1500ms));
  BOOST_TEST(after.attempts() == 3U);
  BOOST_TEST((after.sure() == certainty::maybe_executed));

  BOOST_TEST(before.detail() == "");
  BOOST_TEST(before.offset() == failure::no_offset);
  BOOST_TEST(!before.retry_after().has_value());
  BOOST_TEST(before.attempts() == 1U);
  BOOST_TEST((before.sure() == certainty::rejected));
}

BOOST_AUTO_TEST_CASE(holds_numbers_out_of_range_at_the_edge_of_their_range) {
  failure const f{kind::rejected};
  BOOST_TEST((f.with_retry_after(-5ms).retry_after() == 0ms));
  BOOST_TEST((f.with_retry_after(failure::duration{4'294'967'295}).retry_after() ==
              failure::duration{4'294'967'295}));
  BOOST_TEST((f.with_retry_after(std::chrono::hours{24 * 365}).retry_after() ==
              failure::duration{4'294'967'295}));
  BOOST_TEST((f.with_retry_after(-1ms).retry_after() == 0ms));
  BOOST_TEST((f.with_retry_after(1ms).retry_after() == 1ms));
  BOOST_TEST((f.with_retry_after(failure::duration{4'294'967'294}).retry_after() ==
              failure::duration{4'294'967'294}));
  BOOST_TEST((f.with_retry_after(failure::duration{4'294'967'296}).retry_after() ==
              failure::duration{4'294'967'295}));
  BOOST_TEST(f.with_attempts(1'000'000).attempts() == 65'535U);
  BOOST_TEST(f.with_attempts(65'536).attempts() == 65'535U);
  BOOST_TEST(f.with_attempts(65'535).attempts() == 65'535U);
  BOOST_TEST(f.with_attempts(65'534).attempts() == 65'534U);
}

BOOST_AUTO_TEST_CASE(names_the_wait_that_is_asked_for) {
  failure const no = failure{kind::rejected, certainty::rejected}.with_detail("busy");
  auto const asks = [&](failure::duration wait) { return no.with_retry_after(wait).message(); };
  std::string const before = "the peer rejected the request (busy)";
  std::string const after = "; the peer did not act";
  BOOST_TEST(asks(0ms) == before + after);
  BOOST_TEST(asks(1ms) == before + " and asks for a wait of 1 ms" + after);
  BOOST_TEST(asks(999ms) == before + " and asks for a wait of 999 ms" + after);
  BOOST_TEST(asks(1s) == before + " and asks for a wait of 1 s" + after);
  BOOST_TEST(asks(1549ms) == before + " and asks for a wait of 1.5 s" + after);
  BOOST_TEST(asks(1999ms) == before + " and asks for a wait of 1.9 s" + after);
  BOOST_TEST(asks(119s) == before + " and asks for a wait of 119 s" + after);
  BOOST_TEST(asks(120s - 1ms) == before + " and asks for a wait of 119.9 s" + after);
  BOOST_TEST(asks(120s) == before + " and asks for a wait of 2 min" + after);
  BOOST_TEST(asks(2h - 1ms) == before + " and asks for a wait of 119.9 min" + after);
  BOOST_TEST(asks(2h) == before + " and asks for a wait of 2 h" + after);
  BOOST_TEST(asks(48h - 1ms) == before + " and asks for a wait of 47.9 h" + after);
  BOOST_TEST(asks(48h) == before + " and asks for a wait of 2 days" + after);
  BOOST_TEST(asks(5min) == before + " and asks for a wait of 5 min" + after);
  BOOST_TEST(asks(36h) == before + " and asks for a wait of 36 h" + after);
  BOOST_TEST(asks(failure::duration{2'147'483'647}) ==
             before + " and asks for a wait of 24.8 days" + after);
  BOOST_TEST(asks(failure::duration{4'294'967'295}) ==
             before + " and asks for a wait of 49.7 days" + after);
  BOOST_TEST(
      failure(kind::overloaded, certainty::not_sent)
          .with_detail("breaker open")
          .with_retry_after(700ms)
          .message() ==
      "a limit was reached (breaker open), to be asked again after 700 ms; nothing was sent");
}

BOOST_AUTO_TEST_CASE(cuts_a_long_detail_between_two_characters) {
  BOOST_TEST(failure{kind::invalid}.with_detail(std::string(95, 'x')).detail() ==
             std::string(95, 'x'));
  BOOST_TEST(failure{kind::invalid}.with_detail(std::string(96, 'x')).detail() ==
             std::string(94, 'x') + "~");
  // The euro sign takes three bytes: it would begin at byte 93 and end at 96.
  std::string const euro = std::string(93, 'x') + "\xE2\x82\xAC and more";
  BOOST_TEST(failure{kind::invalid}.with_detail(euro).detail() == std::string(93, 'x') + "~");
}

BOOST_AUTO_TEST_CASE(its_sentence_is_one_line_that_cannot_steer_a_terminal) {
  auto const why = failure{kind::rejected, certainty::rejected}.with_detail(
      "red \x1B[31m\n\xC2\x9B \xE2\x80\xAEgnol oot\xFF");
  std::string const sentence =
      "the peer rejected the request (red ?[31m?? ?gnol oot?); the peer did not act";
  BOOST_TEST(why.message() == sentence);
  std::ostringstream out;
  out << why;
  BOOST_TEST(out.str() == sentence);
  BOOST_CHECK_EXCEPTION(throw_exception_from_error(why, BOOST_CURRENT_LOCATION),
                        boost::system::system_error,
                        [&](auto const& e) { return e.what() == sentence; });
}

BOOST_AUTO_TEST_CASE(a_result_is_made_from_a_value_or_from_a_failure) {
  auto const half = [](int n) -> result<int> {
    if (n % 2 != 0) return failure{kind::invalid, certainty::not_sent}.with_detail("odd");
    return n / 2;
  };
  auto const good = half(8);
  BOOST_REQUIRE(good.has_value());
  BOOST_TEST(*good == 4);
  auto const bad = half(7);
  BOOST_REQUIRE(!bad.has_value());
  BOOST_TEST(bad.error().detail() == "odd");

  result<std::unique_ptr<int>> owner = std::make_unique<int>(3);
  auto const taken = std::move(owner).value();
  BOOST_TEST(*taken == 3);
}

BOOST_AUTO_TEST_CASE(asking_a_failure_for_its_value_throws_its_code_and_exactly_its_sentence) {
  result<int> const refused =
      failure{asio::error::connection_refused}.with(certainty::not_sent).with_detail("[::1]:9");
  BOOST_CHECK_EXCEPTION(
      static_cast<void>(refused.value()), boost::system::system_error, [](auto const& e) {
        BOOST_TEST((e.code() == asio::error::connection_refused));
        BOOST_TEST(e.what() == std::string{"connection refused ([::1]:9); nothing was sent"});
        return true;
      });

  result<void> const late = failure{kind::timed_out};
  BOOST_CHECK_EXCEPTION(late.value(), boost::system::system_error, [](auto const& e) {
    BOOST_TEST(e.what() == std::string{"timed out; the peer may have acted"});
    return true;
  });
}

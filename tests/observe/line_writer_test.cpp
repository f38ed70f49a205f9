#define BOOST_TEST_MODULE line_writer
#include "files.hpp"

#include <cleat/observe/line_writer.hpp>

#include <boost/test/unit_test.hpp>

#include <sys/stat.h>
#include <array>
#include <chrono>
#include <csignal>
#include <optional>
#include <string>

using cleat::line_writer;
using namespace std::chrono_literals;

namespace {

struct fixture {
  line_writer open() const { return line_writer::open(file.string()).value(); }
  void put(std::string const& text) const { std::ofstream{file} << text; }
  [[nodiscard]] mode_t mode() const {
    struct stat is{};
    BOOST_REQUIRE(::stat(file.c_str(), &is) == 0);
    return is.st_mode & 0777U;
  }
  /// The lines on stderr of what `act` does, when no file may grow beyond `bytes`.
  template <class Act>
  std::vector<std::string> when_full(rlim_t bytes, Act const& act) const {
    stderr_caught const said;
    std::signal(SIGXFSZ, SIG_IGN);
    file_size_limit const limit{bytes};
    act();
    return said.lines();
  }

  temporary_directory directory;
  std::filesystem::path file = directory.path / "log";
};

std::string read_some(int from) {
  std::array<char, 100'000> some{};
  ssize_t const n = ::read(from, some.data(), some.size());
  return {some.data(), static_cast<std::size_t>(n < 0 ? 0 : n)};
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(begins_a_line_of_its_own_behind_a_torn_one, fixture) {
  put("whole\ntorn");
  (void)open().write("a\n");
  (void)open().write("b\n");
  BOOST_TEST(lines_of(file) == (std::vector<std::string>{"whole", "torn", "a", "b"}),
             boost::test_tools::per_element());
}

BOOST_FIXTURE_TEST_CASE(does_so_on_a_descriptor_of_somebody_else_too, fixture) {
  put("torn");
  int const fd = ::open(file.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  line_writer{fd, "a file"}.write("a\n");
  ::close(fd);
  BOOST_TEST(lines_of(file) == (std::vector<std::string>{"torn", "a"}),
             boost::test_tools::per_element());
}

BOOST_FIXTURE_TEST_CASE(makes_a_file_that_only_its_owner_reads_and_leaves_others_as_they_are,
                        fixture) {
  (void)open();
  BOOST_TEST(mode() == 0600U);
  BOOST_REQUIRE(::chmod(file.c_str(), 0640) == 0);
  (void)open();
  BOOST_TEST(mode() == 0640U);
}

BOOST_FIXTURE_TEST_CASE(goes_on_in_a_line_of_its_own_when_there_is_room_again, fixture) {
  line_writer to = open();
  to.write("1234\n");
  for (int times = 0; times < 2; ++times) {
    auto const room = static_cast<rlim_t>(std::filesystem::file_size(file)) + 2;
    auto const words = when_full(room, [&] {
      BOOST_TEST(!to.write("abcd\n"));
      BOOST_TEST(to.error() == EFBIG);
      BOOST_TEST(!to.write("efgh\n"));
    });
    BOOST_REQUIRE(words.size() == 1U);
    BOOST_TEST(words.front() ==
               "cannot write the log to " + file.string() + ": File too large; it is tried again");
    BOOST_TEST(to.write("ijkl\n"));
    BOOST_TEST(to.error() == 0);
  }
  BOOST_TEST(lines_of(file) == (std::vector<std::string>{"1234", "ab", "ijkl", "ab", "ijkl"}),
             boost::test_tools::per_element());
}

BOOST_FIXTURE_TEST_CASE(glues_nothing_to_what_another_program_has_torn, fixture) {
  put("full\n");
  line_writer to = open();
  (void)when_full(5, [&] { BOOST_TEST(!to.write("lost\n")); });
  std::ofstream{file, std::ios::app} << "torn";
  BOOST_TEST(to.write("a\n"));
  BOOST_TEST(lines_of(file) == (std::vector<std::string>{"full", "torn", "a"}),
             boost::test_tools::per_element());
}

BOOST_FIXTURE_TEST_CASE(has_a_newline_only_once_if_the_room_ends_behind_it, fixture) {
  put("torn");
  line_writer to = open();
  (void)when_full(5, [&] { BOOST_TEST(!to.write("lost\n")); });
  BOOST_TEST(to.write("a\n"));
  BOOST_TEST(lines_of(file) == (std::vector<std::string>{"torn", "a"}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(stops_where_a_pipe_takes_no_more_and_goes_on_there) {
  int ends[2];
  BOOST_REQUIRE(::pipe(ends) == 0);  // which blocks
  line_writer to{ends[1], "a pipe"};
  std::string const line = std::string(100'000, 'x') + '\n';
  for (int i = 0; i < 100; ++i) {
    BOOST_TEST((to.try_write(line) == line_writer::progress::waiting));
    to.wait(1ms);
  }
  std::string got = read_some(ends[0]);
  BOOST_TEST((got.size() < line.size()));
  while (to.try_write(line) == line_writer::progress::waiting) to.wait(1ms);
  got += read_some(ends[0]);
  BOOST_TEST((got == line));
  ::close(ends[0]);
  BOOST_TEST(to.error() == 0);
  ::close(ends[1]);
}

BOOST_AUTO_TEST_CASE(is_done_for_good_when_nobody_reads) {
  std::signal(SIGPIPE, SIG_IGN);
  int ends[2];
  BOOST_REQUIRE(::pipe(ends) == 0);
  line_writer to{ends[1], "a pipe"};
  ::close(ends[0]);
  BOOST_TEST((to.try_write("a\n") == line_writer::progress::closed));
  BOOST_TEST((to.try_write("b\n") == line_writer::progress::closed));
  BOOST_TEST(to.write("c\n"));
  ::close(ends[1]);
}

BOOST_FIXTURE_TEST_CASE(goes_on_in_another_file_with_the_whole_line, fixture) {
  line_writer to = open();
  (void)when_full(2, [&] { BOOST_TEST(!to.write("abcd\n")); });
  auto const moved = directory.path / "moved";
  std::filesystem::rename(file, moved);
  to.use(to.open_again().value());
  BOOST_TEST(to.write("abcd\n"));
  BOOST_TEST(lines_of(moved) == std::vector<std::string>{"ab"}, boost::test_tools::per_element());
  BOOST_TEST(lines_of(file) == std::vector<std::string>{"abcd"}, boost::test_tools::per_element());
}

BOOST_FIXTURE_TEST_CASE(does_not_wait_for_the_reader_of_a_fifo_when_it_opens_it_again, fixture) {
  BOOST_REQUIRE(::mkfifo(file.c_str(), 0600) == 0);
  int const reader = ::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  line_writer to = open();
  BOOST_TEST(to.write("a\n"));
  ::close(reader);
  auto const again = to.open_again();
  BOOST_REQUIRE(!again);
  BOOST_TEST(again.error().detail().ends_with("/log: No such device or address"));
}

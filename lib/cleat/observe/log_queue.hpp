#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace cleat {

/// The lines that wait to be written to one place: bounded in number and in bytes. Who pushes never
/// waits for who writes: what finds no room is dropped and counted.
///
/// Once something was dropped, there is room again when the queue is half empty, so that a place
/// that is too slow loses records in long pieces and not every second one. Where they are missing
/// stands their number: with the next line that is taken in, or at the end of the queue.
///
/// Thread safety: all members may be called from any thread, but those of the writer by one. In the
/// child of a `fork` there is no writer: there everything is dropped, and nothing waits.
class log_queue {
 public:
  using line = std::shared_ptr<std::string const>;
  using time = std::chrono::system_clock::time_point;
  using deadline = std::chrono::steady_clock::time_point;

  /// Records that were dropped, one behind the other, and when the first and the last happened.
  class gap {
   public:
    std::uint64_t records = 0;
    time first;
    time last;
  };
  class item {
   public:
    gap lost;   ///< before this line
    line text;  ///< null: only the gap
    time at;
  };

  /// `patience` is how long `flush` and `close` wait for a writer that has not moved: a place that
  /// has taken nothing for so long is not waited for.
  log_queue(std::size_t records_max, std::size_t bytes_max,
            std::chrono::milliseconds patience) noexcept;

  /// So long from now.
  [[nodiscard]] static deadline in(std::chrono::milliseconds time) noexcept;

  /// Takes in a line, or drops it. `at` is when what it tells has happened.
  void push(line text, time at) noexcept;
  /// How many records were dropped so far, or given up by the writer.
  [[nodiscard]] std::uint64_t lost() const noexcept;

  /// Asks the writer for a try now. Waits until everything is written, or nobody will ever read it:
  /// true. Until a try has failed, that time, or the end of the patience: false.
  [[nodiscard]] bool flush(deadline until);
  /// Drops what is pushed from now on, and waits until everything is written. At that time, or the
  /// end of the patience, the writer gives up the rest. False if it does not in 0.1 seconds: it is
  /// stuck.
  [[nodiscard]] bool close(deadline until);

  // The writer's members.

  /// Takes the next item out; `done` says that it is written. Nothing, if there is none.
  [[nodiscard]] std::optional<item> try_pop();
  /// The same, but waits for one. Nothing, after an `interrupt`.
  [[nodiscard]] std::optional<item> pop();
  void interrupt() noexcept;
  void done() noexcept;
  /// Some of the item is written.
  void moved() noexcept;
  /// The item that was taken could not be written, and will be tried again.
  void failed() noexcept;
  /// Waits before a further try: so long at most, less if `flush`, `close` or `revive` want one.
  void rest(std::chrono::milliseconds at_most);
  /// What is in it, and what is pushed, is lost: nobody takes it. `revive` ends that.
  void give_up() noexcept;
  void revive() noexcept;
  [[nodiscard]] bool is_closed() const noexcept;
  /// Whether the writer is to give up now.
  [[nodiscard]] bool is_over() const noexcept;

 private:
  [[nodiscard]] bool has_no_writer() const noexcept;
  // Under `mutex_`.
  bool append(line text, time at) noexcept;
  void lose(time at) noexcept;
  std::optional<item> take();
  [[nodiscard]] bool is_empty() const noexcept { return items_.empty() && lost_.records == 0; }
  [[nodiscard]] bool is_through() const noexcept;
  template <class Condition>
  bool wait(std::unique_lock<std::mutex>& lock, deadline until, Condition const& holds);

  std::size_t const records_max_;
  std::size_t const bytes_max_;
  std::chrono::milliseconds const patience_;
  unsigned const born_in_;
  mutable std::mutex mutex_;
  std::condition_variable for_writer_;
  std::condition_variable for_others_;
  std::deque<item> items_;
  std::size_t bytes_ = 0;
  gap lost_;  ///< behind all items
  std::uint64_t lost_in_all_ = 0;
  std::optional<time> in_hand_;  ///< of the record that the writer has taken
  std::uint64_t failures_ = 0;   ///< of the writer's tries
  bool full_ = false;
  bool writing_ = false;  ///< an item was taken and is not done
  bool waits_ = false;    ///< the writer, in `pop`
  bool interrupted_ = false;
  bool wanted_ = false;  ///< a further try
  bool given_up_ = false;
  bool closed_ = false;
  bool over_ = false;
  deadline moved_at_;  ///< the writer, if it is `writing_`
};

}  // namespace cleat

#define BOOST_TEST_MODULE slot_table
#include <cleat/base/clock.hpp>
#include <cleat/session/slot_table.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <list>
#include <new>
#include <optional>
#include <random>
#include <vector>

using cleat::match_key;
using cleat::match_keys;
using cleat::detail::exchange_base;
using cleat::detail::slot;
using cleat::detail::slot_table;
using namespace std::chrono_literals;

namespace {

/// The table asks nothing of those who wait: any address will do.
exchange_base& somebody() {
  alignas(std::max_align_t) static char place[sizeof(std::max_align_t)];
  return *reinterpret_cast<exchange_base*>(place);
}

slot& add(slot_table& t, match_keys const& keys, std::uint64_t begin = 0) {
  return t.add(keys, somebody(), begin, begin + 1);
}

match_keys unique(std::uint64_t n) { return match_key{1, n}; }
match_keys shared(std::uint64_t n) { return match_key::in_order(2, n); }

/// What a table is to do, as plainly as it can be said: everything is searched from the oldest on.
class model {
 public:
  struct one {
    slot* real;
    std::vector<match_key> keys;
    bool buried;
    std::uint64_t begin;
  };

  std::list<one> all;

  [[nodiscard]] slot* find(match_key k) const {
    for (auto const& o : all) {
      if (std::find(o.keys.begin(), o.keys.end(), k) != o.keys.end()) return o.real;
    }
    return nullptr;
  }
  [[nodiscard]] std::size_t buried() const {
    return static_cast<std::size_t>(
        std::count_if(all.begin(), all.end(), [](one const& o) { return o.buried; }));
  }
};

/// A table and its model, side by side.
class both {
 public:
  explicit both(std::uint64_t seed) : random_(seed) {}

  std::size_t below(std::size_t n) { return static_cast<std::size_t>(random_() % n); }
  [[nodiscard]] std::size_t size() const { return model_.all.size(); }

  void add() {
    // Few targets, so that many share a key; numbers close to each other, as sessions give them;
    // now and then none at all.
    match_keys keys;
    std::size_t const n = below(match_keys::size_max + 1);
    for (std::size_t i = 0; i < n; ++i) keys.add(any_key(true));
    auto& s = table_.add(keys, somebody(), next_, next_ + 10);
    model_.all.push_back({&s, {keys.begin(), keys.end()}, false, next_});
    next_ += 10;
  }
  void bury() {
    auto& o = any();
    if (o.buried) return;
    table_.bury(*o.real);
    o.buried = true;
  }
  void remove(std::size_t at) {
    auto const i = std::next(model_.all.begin(), static_cast<std::ptrdiff_t>(at));
    table_.remove(*i->real);
    model_.all.erase(i);
  }
  void find() {
    auto const k = any_key(false);
    BOOST_REQUIRE(table_.find(k) == model_.find(k));
  }
  /// All that can be seen of it.
  void compare() {
    BOOST_REQUIRE(table_.buried() == model_.buried());
    BOOST_REQUIRE(table_.live() == model_.all.size() - model_.buried());
    slot const* at = table_.first();
    slot const* before = nullptr;
    for (auto const& o : model_.all) {
      BOOST_REQUIRE(at == o.real);
      BOOST_REQUIRE(at->before() == before);
      BOOST_REQUIRE(at->begin == o.begin);
      BOOST_REQUIRE((at->by == nullptr) == o.buried);
      BOOST_REQUIRE(at->in_order() == std::any_of(o.keys.begin(), o.keys.end(),
                                                  [](match_key k) { return k.shared(); }));
      for (auto const& k : o.keys) BOOST_REQUIRE(table_.find(k) == model_.find(k));
      before = at;
      at = at->next();
    }
    BOOST_REQUIRE(at == nullptr);
  }

 private:
  model::one& any() {
    return *std::next(model_.all.begin(), static_cast<std::ptrdiff_t>(below(size())));
  }
  match_key any_key(bool fresh) {
    if (below(3) == 0) return match_key::in_order(7, below(5));
    if (fresh) return match_key{1, number_++};
    return match_key{1, below(static_cast<std::size_t>(number_) + 2)};
  }

  std::mt19937_64 random_;
  slot_table table_;
  model model_;
  std::uint64_t next_ = 0;
  std::uint64_t number_ = 0;
};

}  // namespace

BOOST_AUTO_TEST_CASE(is_empty_at_first) {
  slot_table const t;
  BOOST_TEST(t.live() == 0U);
  BOOST_TEST(t.buried() == 0U);
  BOOST_TEST(t.first() == nullptr);
  BOOST_TEST(t.first_unwritten() == nullptr);
  BOOST_TEST(t.find(match_key{1, 1}) == nullptr);
}

BOOST_AUTO_TEST_CASE(finds_a_slot_under_each_of_its_keys_until_it_is_removed) {
  // Few are searched, many are looked up: the same either way.
  for (std::uint64_t const others : {0U, 100U}) {
    slot_table t;
    for (std::uint64_t i = 0; i < others; ++i) add(t, unique(1000 + i));
    match_keys keys;
    for (std::uint32_t space = 1; space <= match_keys::size_max; ++space) keys.add({space, 5});
    slot& s = add(t, keys);
    for (auto const& k : keys) BOOST_TEST(t.find(k) == &s);
    BOOST_TEST(t.find(match_key{5, 5}) == nullptr);
    BOOST_TEST(t.find(match_key{1, 6}) == nullptr);
    t.remove(s);
    for (auto const& k : keys) BOOST_TEST(t.find(k) == nullptr);
    BOOST_TEST(t.live() == others);
  }
}

BOOST_AUTO_TEST_CASE(finds_the_oldest_slot_with_a_shared_key_first) {
  // From few to many while the oldest is there, and back again.
  slot_table t;
  std::vector<slot*> in_order;
  for (std::uint64_t i = 0; i < 200; ++i) {
    in_order.push_back(&add(t, shared(1)));
    add(t, unique(i));
    BOOST_TEST(t.find(match_key::in_order(2, 1)) == in_order.front());
  }
  for (slot* const s : in_order) {
    BOOST_TEST(t.find(match_key::in_order(2, 1)) == s);
    t.remove(*s);
  }
  BOOST_TEST(t.find(match_key::in_order(2, 1)) == nullptr);
}

BOOST_AUTO_TEST_CASE(a_slot_may_carry_one_key_twice) {
  for (std::uint64_t const others : {0U, 100U}) {
    slot_table t;
    for (std::uint64_t i = 0; i < others; ++i) add(t, unique(1000 + i));
    match_keys twice;
    twice.add(match_key::in_order(2, 1)).add(match_key::in_order(2, 1));
    slot& first = add(t, twice);
    slot& second = add(t, twice);
    BOOST_TEST(t.find(match_key::in_order(2, 1)) == &first);
    t.remove(first);
    BOOST_TEST(t.find(match_key::in_order(2, 1)) == &second);
    t.remove(second);
    BOOST_TEST(t.find(match_key::in_order(2, 1)) == nullptr);
  }
}

BOOST_AUTO_TEST_CASE(keys_that_differ_only_in_their_space_or_in_their_value_are_different) {
  slot_table t;
  for (std::uint64_t i = 0; i < 50; ++i) add(t, unique(1000 + i));
  // Their sums are all alike.
  std::vector<slot*> slots;
  for (std::uint32_t space = 10; space < 30; ++space)
    slots.push_back(&add(t, match_key{space, 100 - space}));
  for (std::uint32_t space = 10; space < 30; ++space) {
    BOOST_TEST(t.find(match_key{space, 100 - space}) == slots[space - 10]);
    BOOST_TEST(t.find(match_key{space, 101 - space}) == nullptr);
  }
}

BOOST_AUTO_TEST_CASE(knows_whether_its_answer_may_bear_no_number) {
  slot_table t;
  BOOST_TEST(!add(t, match_keys{}).in_order());
  BOOST_TEST(!add(t, unique(1)).in_order());
  BOOST_TEST(add(t, shared(1)).in_order());
  match_keys either{match_key{1, 2}};
  BOOST_TEST(add(t, either.add(match_key::in_order(2, 1))).in_order());
}

BOOST_AUTO_TEST_CASE(a_buried_slot_is_still_found_and_waits_for_nobody) {
  slot_table t;
  slot& s = add(t, unique(1));
  add(t, unique(2));
  t.bury(s);
  BOOST_TEST(t.live() == 1U);
  BOOST_TEST(t.buried() == 1U);
  BOOST_TEST(t.find(match_key{1, 1}) == &s);
  BOOST_TEST(s.by == nullptr);
  t.remove(s);
  BOOST_TEST(t.live() == 1U);
  BOOST_TEST(t.buried() == 0U);
  BOOST_TEST(t.find(match_key{1, 1}) == nullptr);
}

BOOST_AUTO_TEST_CASE(knows_the_oldest_slot_that_is_not_written) {
  slot_table t;
  std::vector<slot*> all;
  for (std::uint64_t i = 0; i < 20; ++i) all.push_back(&add(t, unique(i), i));
  for (slot* const s : all) {
    BOOST_TEST(t.first_unwritten() == s);
    BOOST_TEST(!s->written());
    s->written_at = cleat::time_point{1h};
    BOOST_TEST(s->written());
  }
  BOOST_TEST(t.first_unwritten() == nullptr);
  slot& last = add(t, unique(20));
  BOOST_TEST(t.first_unwritten() == &last);
  t.remove(last);
  BOOST_TEST(t.first_unwritten() == nullptr);
}

BOOST_AUTO_TEST_CASE(does_with_any_history_what_a_plain_list_does) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    both t{seed};
    std::size_t const most = 1 + t.below(60);
    for (int step = 0; step < 1500; ++step) {
      auto const dice = t.below(100);
      if (t.size() == 0 || (dice < 40 && t.size() < most)) {
        t.add();
      } else if (dice < 50) {
        t.bury();
      } else if (dice < 65) {
        t.remove(0);  // the usual: the oldest is answered first
      } else if (dice < 80) {
        t.remove(t.below(t.size()));
      } else {
        t.find();
      }
      if (step % 50 == 0) t.compare();
    }
    t.compare();
  }
}

BOOST_AUTO_TEST_CASE(grows_to_two_thousand_slots_and_shrinks_again_as_a_plain_list_does) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    both t{seed};
    while (t.size() < 2000) {
      t.add();
      if (t.below(4) == 0) t.bury();
      if (t.below(8) == 0) t.remove(t.below(t.size()));
      if (t.below(4) == 0) t.find();
      if ((t.size() & (t.size() - 1)) == 0) t.compare();  // about when the index grows
    }
    t.compare();
    while (t.size() != 0) {
      t.remove(t.below(2) == 0 ? 0 : t.below(t.size()));
      if (t.below(4) == 0) t.find();
      if (t.size() % 500 == 0) t.compare();
    }
    t.compare();
    for (int i = 0; i < 20; ++i) t.add();  // few again, with the index of many
    t.compare();
  }
}

#include <cleat/sim/history.hpp>

#include <cleat/base/entropy.hpp>

#include <algorithm>
#include <cstdio>
#include <ostream>

namespace cleat::sim {
namespace {

[[nodiscard]] std::uint64_t mixed(std::uint64_t hash, std::string_view s) noexcept {
  for (char const c : s) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return mix64(hash + s.size());
}

}  // namespace

void history::note(duration at, std::string_view what, std::string_view who, std::uint64_t a,
                   std::uint64_t b) {
  record& r = last_[static_cast<std::size_t>(size_ % kept)];
  r.at = at;
  r.what = what;
  r.who = who;
  r.a = a;
  r.b = b;
  ++size_;
  hash_ = mixed(mixed(hash_, what), who);
  for (std::uint64_t const n : {static_cast<std::uint64_t>(at.count()), a, b})
    hash_ = mix64(hash_ ^ n);
  r.hash = hash_;
  if (keeps_all_ && all_.size() < compared) all_.push_back(r);
  if (trace_ != nullptr) write(r, *trace_);
}

void history::write(record const& r, std::ostream& out) {
  std::array<char, 160> line{};
  auto const seconds = static_cast<double>(r.at.count()) / 1e9;
  int const n =
      std::snprintf(line.data(), line.size(), "%14.6f  %-24.*s %-20.*s %016llx %llu\n", seconds,
                    static_cast<int>(r.what.size()), r.what.data(),
                    static_cast<int>(r.who.view().size()), r.who.view().data(),
                    static_cast<unsigned long long>(r.a), static_cast<unsigned long long>(r.b));
  out.write(line.data(), std::clamp<int>(n, 0, static_cast<int>(line.size()) - 1));
}

void history::write_last(std::ostream& out) const {
  std::uint64_t const first = size_ > kept ? size_ - kept : 0;
  for (std::uint64_t i = first; i < size_; ++i)
    write(last_[static_cast<std::size_t>(i % kept)], out);
}

void history::write_difference(history const& second, std::ostream& out) const {
  auto const [one, two] =
      std::ranges::mismatch(all_, second.all_, {}, &record::hash, &record::hash);
  if (one == all_.end() && two == second.all_.end()) return;
  auto const at = one - all_.begin();
  out << "event " << at + 1 << " is the first that differs (of " << size_ << " and " << second.size_
      << ")\n";
  constexpr std::ptrdiff_t shown_before = 5;
  for (auto i = one - std::min(at, shown_before); i != one; ++i) {
    out << "both runs:   ";
    write(*i, out);
  }
  auto const write_or_end = [&out](auto const& of, auto event) {
    if (event == of.end()) {
      out << "nothing more\n";
    } else {
      write(*event, out);
    }
  };
  out << "first run:   ";
  write_or_end(all_, one);
  out << "second run:  ";
  write_or_end(second.all_, two);
}

}  // namespace cleat::sim

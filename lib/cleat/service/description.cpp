#include <cleat/service/description.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <ostream>
#include <sstream>

namespace cleat {
namespace {

/// `indent` stands in front of each line but the first.
void write(std::ostream& out, description const& d, std::string const& indent) {
  out << d.what << '\n';
  description const* straight_on = nullptr;
  for (description const& each : d.below) {
    if (each.as.empty()) straight_on = &each;
  }
  for (description const& each : d.below) {
    if (&each == straight_on) continue;
    std::string const name = each.as.empty() ? "- " : each.as + ": ";
    out << indent << "  " << name;
    write(out, each, indent + std::string(2 + name.size(), ' '));
  }
  if (straight_on != nullptr) {
    out << indent;
    write(out, *straight_on, indent);
  }
}

std::string quoted(std::string_view s) {
  std::string q = "\"";
  for (char const c : s) {
    if (c == '"' || c == '\\') q += '\\';
    q += c == '\n' ? ' ' : c;
  }
  return q + '"';
}

/// Gives the number of the node; `next` is the first that is free.
std::size_t draw(std::ostream& out, description const& d, std::size_t& next) {
  std::size_t const me = next++;
  out << "  n" << me << " [label=" << quoted(d.what) << "];\n";
  for (description const& each : d.below) {
    std::size_t const it = draw(out, each, next);
    out << "  n" << me << " -> n" << it;
    if (!each.as.empty()) out << " [label=" << quoted(each.as) << ']';
    out << ";\n";
  }
  return me;
}

}  // namespace

description description::over(description under, std::string way) && {
  under.as = std::move(way);
  below.push_back(std::move(under));
  return std::move(*this);
}

std::ostream& operator<<(std::ostream& out, description const& d) {
  write(out, d, {});
  return out;
}

std::string to_text(description const& d) {
  std::ostringstream out;
  out << d;
  return std::move(out).str();
}

std::string to_graphviz(description const& d) {
  std::ostringstream out;
  out << "digraph pipeline {\n  rankdir=TB;\n  node [shape=box];\n";
  std::size_t next = 0;
  draw(out, d, next);
  out << "}\n";
  return std::move(out).str();
}

std::string to_text(duration d) {
  struct unit {
    duration::rep nanoseconds;
    char const* name;
  };
  constexpr std::array units{unit{1'000'000'000, " s"}, unit{1'000'000, " ms"}, unit{1'000, " µs"}};
  auto const n = std::chrono::duration_cast<std::chrono::nanoseconds>(d).count();
  for (unit const& u : units) {
    if (n % u.nanoseconds == 0) return std::to_string(n / u.nanoseconds) + u.name;
  }
  return std::to_string(n) + " ns";
}

namespace detail {

std::string short_name(std::string_view pretty) {
  std::size_t const with = pretty.find("T = ");
  if (with == std::string_view::npos) return std::string{pretty};
  std::string_view const name = pretty.substr(with + 4);
  // The last part between `::`, without what stands in brackets. There, compilers write lambdas and
  // namespaces without a name, too.
  std::string part;
  bool function = false;
  int depth = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    char const c = name[i];
    if (std::string_view{"<([{"}.find(c) != std::string_view::npos) {
      if (depth++ == 0) {
        std::string_view const inside = name.substr(i + 1);
        // `middleware` only gives a lambda another name.
        if (part == "middleware") function = inside.find("lambda") != std::string_view::npos;
        if (part.empty()) function = inside.starts_with("lambda");
      }
    } else if (std::string_view{">)]}"}.find(c) != std::string_view::npos) {
      if (depth-- == 0) break;
    } else if (depth == 0 && c == ';') {
      break;
    } else if (depth == 0 && c == ':') {
      part.clear();
      function = false;
    } else if (depth == 0 && c != ' ') {
      part += c;
    }
  }
  return function ? "a function" : part;
}

}  // namespace detail

}  // namespace cleat

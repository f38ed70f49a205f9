#include <common/settings.hpp>

#include <common/duration.hpp>

#include <boost/asio/ip/address.hpp>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <utility>

namespace apps {
namespace {

constexpr std::size_t shown_bytes_max = 60;

/// What a person gave, without what would garble a terminal.
std::string shown(std::string_view value) {
  std::string out;
  for (char const c : value.substr(0, shown_bytes_max)) {
    out += static_cast<unsigned char>(c) < 0x20 || c == '\x7F' ? '?' : c;
  }
  if (value.size() > shown_bytes_max) out += "…";
  return out;
}

bool is_yes(std::string_view word) noexcept {
  return word == "1" || word == "true" || word == "yes" || word == "on";
}
bool is_no(std::string_view word) noexcept {
  return word == "0" || word == "false" || word == "no" || word == "off";
}

constexpr std::size_t column = 32;
constexpr std::size_t help_width = 100;

/// Breaks lines between words.
std::string wrapped(std::string_view words, std::size_t width) {
  std::string out;
  while (words.size() > width) {
    std::size_t const at = words.rfind(' ', width);
    if (at == std::string_view::npos) break;
    out += words.substr(0, at);
    out += '\n';
    words.remove_prefix(at + 1);
  }
  return out += words;
}

class formatter final : public CLI::Formatter {
 public:
  std::string make_option_opts(CLI::Option const* o) const override {
    std::string out;
    if (o->get_type_size() != 0 && !o->get_type_name().empty()) out += " " + o->get_type_name();
    return out;
  }
  std::string make_option_desc(CLI::Option const* o) const override {
    std::string out = o->get_description();
    if (!o->get_default_str().empty()) out += " [" + o->get_default_str() + "]";
    if (!o->get_envname().empty()) out += " {" + o->get_envname() + "}";
    return wrapped(out, help_width - column);
  }
  std::string make_footer(CLI::App const* app) const override {
    return "\n" + app->get_footer() + "\n";
  }
};

}  // namespace

void given::refuse(std::string_view expected) const {
  throw usage_error{origin + " is '" + shown(value) + "'; it should be " + std::string{expected}};
}

settings::settings(std::string name, std::string about) : app_(std::move(about), std::move(name)) {
  auto const format = std::make_shared<formatter>();
  format->column_width(column);
  app_.formatter(format);
  app_.set_help_flag();
}

void settings::value(std::string const& group, std::string const& name, std::string const& variable,
                     std::string const& type, std::string const& about,
                     std::string const& fallback) {
  auto* const o = app_.add_option(name, about);
  o->type_name(type)->group(group)->default_str(fallback);
  o->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  entries_.push_back({o, name, variable});
}

void settings::flag(std::string const& group, std::string const& name, std::string const& variable,
                    std::string const& about) {
  auto* const o = app_.add_flag(name, about);
  o->group(group)->disable_flag_override();
  entries_.push_back({o, name, variable});
}

void settings::optional_value(std::string const& group, std::string const& name,
                              std::string const& type, std::string const& about) {
  auto* const o = app_.add_option(name, about);
  o->type_name(type)->group(group)->expected(0, 1);
  o->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  entries_.push_back({o, name, {}});
}

void settings::values(std::string const& group, std::string const& name, std::string const& type,
                      std::string const& about, std::string const& fallback) {
  auto* const o = app_.add_option(name, about);
  o->type_name(type)->group(group)->default_str(fallback);
  o->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  entries_.push_back({o, name, {}});
}

void settings::footer(std::string text) { app_.footer(std::move(text)); }

std::optional<int> settings::parse(int argc, char const* const* argv, std::string const& version) {
  std::string const about_help = "print this";
  std::string const about_version = "print the version";
  app_.add_flag("-h,--help", about_help)->group("Other");
  app_.add_flag("--version", about_version)->group("Other");
  try {
    app_.parse(argc, argv);
  } catch (CLI::ExtrasError const&) {
    auto const left = app_.remaining();
    if (app_.count("--help") == 0) {
      throw usage_error{"there is no option '" + shown(left.empty() ? "" : left.front()) +
                        "'; see --help"};
    }
  } catch (CLI::ArgumentMismatch const& e) {
    std::string const what = e.what();
    if (auto const end = what.find(" was given a disallowed flag"); end != std::string::npos) {
      throw usage_error{"--" + what.substr(0, end) + " takes no value; see --help"};
    }
    throw usage_error{what.substr(0, what.find(':')) + " needs one value; see --help"};
  } catch (CLI::ParseError const& e) {
    throw usage_error{std::string{e.what()} + "; see --help"};
  }
  if (app_.count("--help") != 0) {
    for (entry const& e : entries_) e.option->envname(e.variable);  // for show: `find` reads them
    std::string help = app_.help();
    for (auto at = help.find("\n\n\n"); at != std::string::npos; at = help.find("\n\n\n")) {
      help.erase(at, 1);
    }
    std::cout << help << std::flush;
    return exit_done;
  }
  if (app_.count("--version") != 0) {
    std::cout << app_.get_name() << ' ' << version << '\n' << std::flush;
    return exit_done;
  }
  return std::nullopt;
}

settings::entry const& settings::at(std::string const& name) const {
  auto const found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](entry const& e) { return e.name == name; });
  if (found == entries_.end()) throw std::logic_error{"no option " + name};
  return *found;
}

bool settings::on_command_line(std::string const& name) const {
  return at(name).option->count() != 0;
}

std::optional<given> settings::find(std::string const& name) const {
  auto const all = find_all(name);
  if (all.empty()) return std::nullopt;
  return all.back();
}

std::vector<given> settings::find_all(std::string const& name) const {
  entry const& e = at(name);
  std::vector<given> all;
  for (std::string const& v : e.option->results()) all.emplace_back(v, name);
  if (!all.empty() || e.variable.empty()) return all;
  char const* const v = std::getenv(e.variable.c_str());  // NOLINT(concurrency-mt-unsafe)
  if (v != nullptr && *v != '\0') all.emplace_back(v, e.variable + " in the environment");
  return all;
}

bool settings::is_set(std::string const& name) const {
  if (on_command_line(name)) return true;
  auto const g = find(name);
  if (!g || is_no(g->value)) return false;
  if (!is_yes(g->value)) g->refuse("1 or 0");
  return true;
}

std::uint32_t settings::number(std::string const& name, std::uint32_t least, std::uint32_t most,
                               std::uint32_t fallback) const {
  auto const g = find(name);
  if (!g) return fallback;
  std::uint32_t n = 0;
  char const* const end = g->value.data() + g->value.size();
  auto const read = std::from_chars(g->value.data(), end, n);
  if (read.ec != std::errc{} || read.ptr != end || n < least || n > most) {
    g->refuse("a number from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return n;
}

std::chrono::nanoseconds settings::time(std::string const& name, std::chrono::nanoseconds least,
                                        std::chrono::nanoseconds most,
                                        std::chrono::nanoseconds fallback) const {
  auto const g = find(name);
  if (!g) return fallback;
  auto const d = parse_duration(g->value);
  if (!d || *d < least || *d > most) {
    g->refuse("a time such as 250ms, 1.5s, 2 (seconds) or 1m, from " + to_words(least) + " to " +
              to_words(most));
  }
  return *d;
}

std::string settings::ip_address(std::string const& name, std::string const& fallback) const {
  auto const g = find(name);
  if (!g) return fallback;
  if (g->value == "localhost") return "127.0.0.1";
  boost::system::error_code wrong;
  auto const address = boost::asio::ip::make_address(g->value, wrong);
  if (wrong) g->refuse("an IPv4 or IPv6 address");
  return address.to_string();
}

void complain(std::string_view program, std::string_view sentence) {
  std::string line{program};
  line += ": ";
  line += sentence;
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace apps

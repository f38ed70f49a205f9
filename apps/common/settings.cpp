#include <common/settings.hpp>

#include <cleat/base/host_text.hpp>
#include <cleat/base/utf8.hpp>
#include <common/duration.hpp>

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <system_error>
#include <utility>

namespace apps {
namespace {

constexpr std::size_t shown_bytes_max = 60;

/// What a person gave, not longer than one reads.
std::string shown(std::string_view value) {
  std::string_view rest = value;
  std::size_t n = 0;
  while (!rest.empty() && n + cleat::utf8_length(rest) <= shown_bytes_max) {
    n += std::max<std::size_t>(cleat::utf8_length(rest), 1);
    rest = value.substr(n);
  }
  return std::string{value.substr(0, n)} + (rest.empty() ? "" : "…");
}

std::string lower(std::string word) {
  std::transform(word.begin(), word.end(), word.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return word;
}

bool is_yes(std::string_view word) noexcept {
  return word == "1" || word == "true" || word == "yes" || word == "on";
}
bool is_no(std::string_view word) noexcept {
  return word == "0" || word == "false" || word == "no" || word == "off";
}

bool is_flag(CLI::Option const& o) noexcept { return o.get_expected_max() == 0; }

/// Whether a word of the command line is an option, and never the value of the one before it.
bool is_option(std::string_view word) noexcept {
  return word.size() > 1 && word[0] == '-' && word[1] != '.' &&
         std::isdigit(static_cast<unsigned char>(word[1])) == 0;
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

std::string given::host() const {
  bool const bracketed = value.size() > 2 && value.front() == '[' && value.back() == ']';
  std::string host = bracketed ? value.substr(1, value.size() - 2) : value;  // as in a URL
  bool const is_v6 = host.find(':') != std::string::npos;
  if (bracketed && !is_v6) refuse("without brackets, which are for IPv6");
  cleat::host_text const text{host};
  if (!text.trouble.empty()) throw usage_error{origin + ": " + text.trouble};
  if (is_v6 && text.address->is_v4()) refuse("written as IPv4: " + text.address->to_string());
  return host;
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
  entries_.push_back({o, name, variable, {}, false});
}

void settings::flag(std::string const& group, std::string const& name, std::string const& variable,
                    std::string const& about) {
  auto* const o = app_.add_flag(name, about);
  o->group(group)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  entries_.push_back({o, name, variable, {}, false});
}

void settings::optional_value(std::string const& group, std::string const& name,
                              std::string const& type, std::string const& about,
                              std::string const& left_out) {
  auto* const o = app_.add_option(name, about);
  o->type_name(type)->group(group)->expected(0, 1);
  o->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  entries_.push_back({o, name, {}, left_out, false});
}

void settings::values(std::string const& group, std::string const& name, std::string const& type,
                      std::string const& about, std::string const& fallback) {
  auto* const o = app_.add_option(name, about);
  o->type_name(type)->group(group)->default_str(fallback);
  o->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  entries_.push_back({o, name, {}, {}, false});
}

void settings::footer(std::string text) { app_.footer(std::move(text)); }

std::optional<int> settings::parse(int argc, char const* const* argv, std::string const& version) {
  std::string const about_help = "print this";
  std::string const about_version = "print the version";
  for (auto* const o :
       {app_.add_flag("-h,--help", about_help), app_.add_flag("--version", about_version)}) {
    o->group("Other")->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  }
  try {
    auto words = without_empty_values(argc, argv);
    std::reverse(words.begin(), words.end());  // as CLI11 wants them
    app_.parse(std::move(words));
  } catch (CLI::ExtrasError const&) {
    auto const left = app_.remaining();
    if (app_.count("--help") == 0) {
      throw usage_error{"there is no option '" + shown(left.empty() ? "" : left.front()) +
                        "'; see --help"};
    }
  } catch (CLI::ArgumentMismatch const& e) {
    std::string const what = e.what();
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
    return show(app_.get_name(), help);
  }
  if (app_.count("--version") != 0) {
    return show(app_.get_name(), app_.get_name() + ' ' + version + '\n');
  }
  return std::nullopt;
}

std::vector<std::string> settings::without_empty_values(int argc, char const* const* argv) {
  std::vector<std::string> rest;
  for (int i = 1; i < argc; ++i) {
    std::string const word{argv[i]};
    std::string const name = word.substr(0, word.find('='));
    bool const has_value = name.size() < word.size();
    if (has_value && (name == "-h" || name == "--help" || name == "--version")) {
      throw usage_error{name + " takes no value; see --help"};
    }
    auto const e = std::find_if(entries_.begin(), entries_.end(),
                                [&](entry const& each) { return each.name == name; });
    bool const known = e != entries_.end();
    bool const may_be_left_out = known && !e->left_out.empty();
    std::string_view const next = i + 1 < argc ? argv[i + 1] : "-";
    if (known && name.size() + 1 == word.size()) {
      e->has_empty_value = true;
    } else if (may_be_left_out && !has_value && next.empty()) {
      e->has_empty_value = true;
      ++i;
    } else if (known && !has_value && !may_be_left_out && !is_flag(*e->option) && is_option(next)) {
      throw usage_error{name + " needs one value; see --help"};
    } else {
      rest.push_back(word);
    }
  }
  return rest;
}

settings::entry const& settings::at(std::string const& name) const {
  auto const found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](entry const& e) { return e.name == name; });
  if (found == entries_.end()) throw std::logic_error{"no option " + name};
  return *found;
}

bool settings::on_command_line(std::string const& name) const {
  entry const& e = at(name);
  if (e.option->count() == 0 && !e.has_empty_value) return false;
  return !is_flag(*e.option) || is_set(name);
}

std::optional<given> settings::find(std::string const& name) const {
  auto const all = find_all(name);
  if (all.empty()) return std::nullopt;
  auto const empty =
      std::find_if(all.begin(), all.end(), [](given const& g) { return g.value.empty(); });
  return empty != all.end() ? *empty : all.back();
}

std::vector<given> settings::find_all(std::string const& name) const {
  entry const& e = at(name);
  std::vector<given> all;
  for (std::string const& v : e.option->results()) {
    all.emplace_back(v.empty() ? e.left_out : v, name);
  }
  if (e.has_empty_value) all.emplace_back("", name);
  if (!all.empty() || e.variable.empty()) return all;
  char const* const v = std::getenv(e.variable.c_str());  // NOLINT(concurrency-mt-unsafe)
  if (v != nullptr && *v != '\0') all.emplace_back(v, e.variable + " in the environment");
  return all;
}

bool settings::is_set(std::string const& name) const {
  auto const g = find(name);
  if (!g || is_no(lower(g->value))) return false;
  if (!is_yes(lower(g->value))) g->refuse("true or false");
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
  cleat::host_text const text{g->host()};
  if (!text.address) g->refuse("an IPv4 or IPv6 address");
  return text.address->to_string();
}

void complain(std::string_view program, std::string_view sentence) {
  std::string line{program};
  line += ": ";
  line += cleat::printable(sentence);
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), stderr);
}

int show(std::string_view program, std::string_view text) {
  while (!text.empty()) {
    auto const n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n >= 0) {
      text.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EPIPE) {
      break;
    } else if (errno == EAGAIN) {  // somebody made it non-blocking
      pollfd writable{STDOUT_FILENO, POLLOUT, 0};
      (void)::poll(&writable, 1, -1);
    } else if (errno != EINTR) {
      complain(program,
               "cannot write to standard output: " + std::generic_category().message(errno));
      return exit_environment;
    }
  }
  return exit_done;
}

}  // namespace apps

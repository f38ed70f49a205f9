#include <cleat/codec/json.hpp>
#include <cleat/codec/json_scanner.hpp>
#include <cleat/codec/json_text.hpp>

#include <boost/json/basic_parser_impl.hpp>

#include <array>
#include <cstdint>
#include <string>

namespace cleat {

namespace {

using boost::system::error_code;

/// Where a text is put together. Kept by the thread so that it is not allocated each time; one for
/// each purpose.
template <class Purpose>
class scratch {
 public:
  static std::string& of_thread() {
    static thread_local std::string buffer;
    return buffer;
  }
  /// What one large message took is not kept for ever.
  static void trim(std::string& buffer) {
    if (buffer.capacity() > kept_bytes_max) std::string{}.swap(buffer);
  }

 private:
  static constexpr std::size_t kept_bytes_max = 4096;
};

/// Texts with escapes, which come in parts.
using text_parts = scratch<class parts_of_a_text>;

/// Takes the parser's events, and puts the values of declared fields where they belong.
class field_reader {
 public:
  static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_object_size = max_array_size;
  static constexpr std::size_t max_string_size = max_array_size;
  static constexpr std::size_t max_key_size = max_array_size;

  field_reader(std::span<json_field const> fields, void* into) : fields_(fields), into_(into) {}

  /// The field that an error is about; null: none.
  [[nodiscard]] json_field const* field() const noexcept { return field_; }
  /// Which member of the message is being read, counted from 0.
  [[nodiscard]] std::size_t member() const noexcept { return members_ - 1; }
  [[nodiscard]] json_field const* first_missing() const noexcept {
    for (std::size_t i = 0; i < fields_.size(); ++i) {
      if (fields_[i].required() && (seen_ >> i & 1U) == 0) return &fields_[i];
    }
    return nullptr;
  }

  static bool on_document_begin(error_code&) { return true; }
  static bool on_document_end(error_code&) { return true; }
  bool on_object_begin(error_code& ec) {
    if (depth_++ == 0) return true;
    return refuse_nested(ec);
  }
  bool on_object_end(std::size_t, error_code&) { return leave(); }
  bool on_array_begin(error_code& ec) {
    if (depth_++ == 0) return fault(ec, json_errc::not_object);
    return refuse_nested(ec);
  }
  bool on_array_end(std::size_t, error_code&) { return leave(); }

  bool on_key_part(std::string_view s, std::size_t, error_code&) {
    if (depth_ == 1) add_to_key(s);
    return true;
  }
  bool on_key(std::string_view s, std::size_t, error_code&) {
    if (depth_ != 1) return true;
    add_to_key(s);
    std::string_view const name{key_.data(), key_size_};
    bool const whole = key_size_ <= key_.size();
    key_size_ = 0;
    ++members_;
    field_ = nullptr;
    for (std::size_t i = 0; whole && i < fields_.size(); ++i) {
      if (fields_[i].name() != name) continue;
      field_ = &fields_[i];
      repeated_ = (seen_ >> i & 1U) != 0;
      seen_ |= std::uint64_t{1} << i;
    }
    return true;
  }

  bool on_string_part(std::string_view s, std::size_t, error_code&) {
    if (wanted()) text_parts::of_thread().append(s);
    return true;
  }
  bool on_string(std::string_view s, std::size_t total, error_code& ec) {
    if (!wanted() || s.size() == total) return value(s, ec);
    std::string& whole = text_parts::of_thread();
    whole.append(s);
    bool const good = value(std::string_view{whole}, ec);
    whole.clear();
    text_parts::trim(whole);
    return good;
  }

  static bool on_number_part(std::string_view, error_code&) { return true; }
  bool on_int64(std::int64_t i, std::string_view, error_code& ec) {
    auto const bits = static_cast<std::uint64_t>(i);
    return value(json_integer{i < 0 ? std::uint64_t{0} - bits : bits, i < 0}, ec);
  }
  bool on_uint64(std::uint64_t u, std::string_view, error_code& ec) {
    return value(json_integer{u, false}, ec);
  }
  bool on_double(double, std::string_view s, error_code& ec) {
    if (s.find_first_of(".eE") == std::string_view::npos) return value(json_overflow{}, ec);
    return wanted() ? mistyped(ec) : value(json_overflow{}, ec);
  }
  bool on_bool(bool b, error_code& ec) { return value(b, ec); }
  bool on_null(error_code& ec) { return value(std::monostate{}, ec); }
  static bool on_comment_part(std::string_view, error_code&) { return true; }
  static bool on_comment(std::string_view, error_code&) { return true; }

 private:
  [[nodiscard]] bool wanted() const noexcept { return depth_ == 1 && field_ != nullptr; }

  static bool fault(error_code& ec, json_errc e) {
    ec = make_error_code(e);
    return false;
  }
  bool mistyped(error_code& ec) const {
    return fault(ec, repeated_ ? json_errc::duplicate_field : json_errc::mistyped_field);
  }
  bool refuse_nested(error_code& ec) {
    if (depth_ != 2 || field_ == nullptr) return true;
    return mistyped(ec);
  }
  bool leave() {
    --depth_;
    return true;
  }
  bool value(json_scalar const& v, error_code& ec) {
    if (depth_ == 0) return fault(ec, json_errc::not_object);
    if (!wanted()) return true;
    if (repeated_) return fault(ec, json_errc::duplicate_field);
    if (auto const wrong = field_->store(into_, v)) return fault(ec, *wrong);
    return true;
  }
  /// A longer key than any name is remembered as too long only.
  void add_to_key(std::string_view s) {
    if (key_size_ + s.size() > key_.size()) {
      key_size_ = key_.size() + 1;
      return;
    }
    s.copy(key_.data() + key_size_, s.size());
    key_size_ += s.size();
  }

  std::span<json_field const> fields_;
  void* into_;
  json_field const* field_ = nullptr;
  std::uint64_t seen_ = 0;
  std::size_t depth_ = 0;
  std::size_t members_ = 0;
  std::size_t key_size_ = 0;
  bool repeated_ = false;  ///< `field_` was there before
  std::array<char, json_field::name_bytes_max> key_{};
};

constexpr std::string_view white_space = " \t\r\n";

/// Where the value of the given member of the outermost object begins. `s` is valid JSON up to
/// there.
std::size_t offset_of_value(std::string_view s, std::size_t member) {
  std::size_t depth = 0;
  std::size_t colons = 0;
  for (std::size_t i = 0; i < s.size(); ++i) {
    switch (s[i]) {
      case '"':
        for (++i; i < s.size() && s[i] != '"'; ++i) {
          if (s[i] == '\\') ++i;
        }
        break;
      case '{':
      case '[':
        ++depth;
        break;
      case '}':
      case ']':
        --depth;
        break;
      case ':':
        if (depth == 1 && colons++ == member) return s.find_first_not_of(white_space, i + 1);
        break;
      default:
        break;
    }
  }
  return 0;
}

/// "state: expected true or false"
std::string explain(json_field const& field, json_errc wrong) {
  std::string out{field.name()};
  switch (wrong) {
    case json_errc::mistyped_field:
    case json_errc::unknown_value:
      return out.append(": expected ").append(field.expected());
    case json_errc::too_long:
      return out.append(": at most ").append(std::to_string(field.limit())).append(" bytes");
    case json_errc::out_of_range:
      return out.append(": beyond ").append(std::to_string(field.limit())).append(" bits");
    default:
      return out;
  }
}

failure read_failure(error_code const& ec, std::string_view s, std::size_t stopped_at,
                     field_reader const& reader) {
  if (ec == boost::json::error::too_deep) {
    return json_failure(json_errc::too_deep, "at most 32 levels", stopped_at);
  }
  if (ec.category() != json_category()) {
    return json_failure(json_errc::malformed, ec.message(), stopped_at);
  }
  auto const wrong = static_cast<json_errc>(ec.value());
  if (wrong == json_errc::not_object) {
    return json_failure(wrong, "", s.find_first_not_of(white_space));
  }
  std::size_t const offset = offset_of_value(s, reader.member());
  return json_failure(wrong, explain(*reader.field(), wrong), offset);
}

/// Boost.JSON judges all of `s`; the values of these fields go into the message.
result<void> judge(std::string_view s, std::span<json_field const> fields, void* into) {
  if (s.empty()) return json_failure(json_errc::malformed, "empty", 0);

  boost::json::parse_options options;
  options.max_depth = json_depth_max;
  boost::json::basic_parser<field_reader> parser{options, fields, into};
  text_parts::of_thread().clear();

  error_code ec;
  std::size_t const used = parser.write_some(false, s.data(), s.size(), ec);
  if (ec.failed()) return read_failure(ec, s, used, parser.handler());
  if (used < s.size()) return json_failure(json_errc::malformed, "more than one value", used);
  if (json_field const* const missing = parser.handler().first_missing()) {
    return json_failure(json_errc::missing_field, missing->name(), s.find_last_of('}'));
  }
  return {};
}

/// Finds what Boost.JSON is not to judge: the members that the message does not declare and, where
/// they are read leniently, its hints. In a copy it puts something of the same length in their place,
/// so that the rest keeps its offsets; hints it reads itself.
class blanker {
 public:
  blanker(std::string_view s, std::span<json_field const> fields, void* into, json_hints hints)
      : s_(s), fields_(fields), into_(into), hints_(hints), copy_(copies::of_thread()) {
    copy_ = s;
  }
  blanker(blanker const&) = delete;
  blanker& operator=(blanker const&) = delete;
  ~blanker() {
    copies::trim(copy_);
    values::trim(values::of_thread());
  }

  /// The copy. Where the structure cannot be followed any further nothing more is replaced in it:
  /// then the judge finds that.
  std::string_view blanked() {
    detail::json_scanner scan{s_};
    if (!scan.take('{')) return copy_;
    do {
      std::string_view name;
      if (!scan.take_name(name)) break;
      scan.skip_space();
      std::size_t const begin = scan.at();
      if (!scan.take_value()) break;
      member(name, scan.since(begin));
    } while (scan.take(','));
    return copy_;
  }

 private:
  using copies = scratch<class copy_of_a_message>;
  using values = scratch<class value_of_a_hint>;

  void member(std::string_view name, std::string_view value) {
    std::size_t const known = find(name);
    bool const declared = known != fields_.size();
    if (declared && (hints_ == json_hints::strict || !fields_[known].is_hint())) return;
    replace(name, '\x7F');  // in no name of a field
    replace(value, ' ');
    replace(value.substr(0, 1), '0');
    if (declared) hint(known, value);
  }

  std::size_t find(std::string_view name) const {
    if (name.find('\\') != std::string_view::npos) {
      name = detail::read_text(name, values::of_thread()).says;
    }
    std::size_t i = 0;
    while (i < fields_.size() && fields_[i].name() != name) ++i;
    return i;
  }

  void replace(std::string_view part, char with) {
    copy_.replace(static_cast<std::size_t>(part.data() - s_.data()), part.size(), part.size(),
                  with);
  }

  /// Takes as much of the value as the member can hold.
  void hint(std::size_t known, std::string_view value) {
    json_field const& field = fields_[known];
    bool const again = (seen_ >> known & 1U) != 0;
    seen_ |= std::uint64_t{1} << known;
    if (again) return field.clear(into_);

    std::string& alone = values::of_thread();
    alone.assign("{\"").append(field.name()).append("\":").append(value) += '}';
    if (judge(alone, {&field, 1}, into_)) return;
    if (value.front() != '"') return field.clear(into_);
    field.store_hint(into_, detail::read_text(value.substr(1, value.size() - 2), alone).says);
  }

  std::string_view s_;
  std::span<json_field const> fields_;
  void* into_;
  json_hints hints_;
  std::string& copy_;
  std::uint64_t seen_ = 0;
};

}  // namespace

namespace detail {

result<void> json_read(bytes_view payload, std::span<json_field const> fields, void* into,
                       json_hints hints) {
  std::string_view const s = as_text(payload);
  auto const read = judge(s, fields, into);
  if (read || s.empty()) return read;
  blanker forgiving{s, fields, into, hints};
  return judge(forgiving.blanked(), fields, into);
}

}  // namespace detail

}  // namespace cleat

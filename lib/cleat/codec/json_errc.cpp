#include <cleat/codec/json_errc.hpp>

#include <string>

namespace cleat {

namespace {

class json_category_type final : public boost::system::error_category {
 public:
  [[nodiscard]] char const* name() const noexcept override { return "cleat.json"; }
  [[nodiscard]] std::string message(int value) const override { return words(value); }
  char const* message(int value, char*, std::size_t) const noexcept override {
    return words(value);
  }

 private:
  static char const* words(int value) noexcept {
    switch (static_cast<json_errc>(value)) {
      case json_errc::malformed:
        return "malformed json";
      case json_errc::not_object:
        return "not an object";
      case json_errc::missing_field:
        return "missing field";
      case json_errc::mistyped_field:
        return "mistyped field";
      case json_errc::duplicate_field:
        return "duplicate field";
      case json_errc::out_of_range:
        return "out of range";
      case json_errc::too_long:
        return "too long";
      case json_errc::unknown_value:
        return "unknown value";
      case json_errc::too_deep:
        return "too deep";
      case json_errc::invalid_utf8:
        return "invalid utf8";
    }
    return "unknown json error";
  }
};

}  // namespace

boost::system::error_category const& json_category() noexcept {
  static json_category_type const instance;
  return instance;
}

}  // namespace cleat

#pragma once

#include <cleat/base/standard.hpp>

#include <compare>
#include <concepts>
#include <cstddef>
#include <ostream>
#include <ranges>
#include <string_view>
#include <type_traits>
#include <utility>

namespace cleat {

/// A view of text that somebody else keeps alive: a `std::string_view` that cannot be made of a
/// temporary string. `c.peer = "room " + std::to_string(7)` would dangle, and does not compile.
///
/// String literals, strings that have a name and other views do. It converts to `std::string_view`
/// and is compared and printed like one.
class borrowed_text {
 public:
  constexpr borrowed_text() noexcept = default;

  /// Explicit for a view, so that `known ? c.peer : view` has one type.
  template <class T>
    requires(std::convertible_to<T, std::string_view> &&
             !std::same_as<std::remove_cvref_t<T>, borrowed_text>)
  constexpr explicit(std::same_as<std::remove_cvref_t<T>, std::string_view>) borrowed_text(T&& text)
      : view_(std::forward<T>(text)) {
    static_assert(
        std::is_lvalue_reference_v<T> || std::is_pointer_v<T> || std::ranges::borrowed_range<T>,
        "this text is kept as a view, and the string here is a temporary that ends before "
        "the view is read: keep it in a std::string that has a name and lives as long as "
        "the call (or the session), and assign that");
  }

  template <std::same_as<std::string_view> View>
  constexpr borrowed_text& operator=(View view) noexcept {
    view_ = view;
    return *this;
  }

  constexpr operator std::string_view() const noexcept { return view_; }
  [[nodiscard]] constexpr std::string_view view() const noexcept { return view_; }

  [[nodiscard]] constexpr bool empty() const noexcept { return view_.empty(); }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return view_.size(); }
  [[nodiscard]] constexpr char const* data() const noexcept { return view_.data(); }
  [[nodiscard]] constexpr auto begin() const noexcept { return view_.begin(); }
  [[nodiscard]] constexpr auto end() const noexcept { return view_.end(); }
  [[nodiscard]] constexpr bool starts_with(std::string_view what) const noexcept {
    return view_.starts_with(what);
  }
  [[nodiscard]] constexpr bool ends_with(std::string_view what) const noexcept {
    return view_.ends_with(what);
  }

  template <std::convertible_to<std::string_view> T>
  friend constexpr bool operator==(borrowed_text a, T const& b) noexcept {
    return a.view_ == std::string_view{b};
  }
  template <std::convertible_to<std::string_view> T>
  friend constexpr std::strong_ordering operator<=>(borrowed_text a, T const& b) noexcept {
    return a.view_ <=> std::string_view{b};
  }
  friend std::ostream& operator<<(std::ostream& out, borrowed_text t) { return out << t.view_; }

 private:
  std::string_view view_;
};

static_assert(std::is_trivially_copyable_v<borrowed_text> &&
              sizeof(borrowed_text) == sizeof(std::string_view));

}  // namespace cleat

// JSON values to write and read. The library that parses the text is large, so only json.cpp
// includes it.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace tilewise::cli {

// Thrown for a value that is missing or has another type than was asked for.
class JsonError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Json {
 public:
  enum class Kind { kScalar, kArray, kObject };
  using Scalar =
      std::variant<std::nullptr_t, bool, std::int64_t, std::uint64_t, double, std::string>;
  using Array = std::vector<Json>;
  struct Member;

  // Implicit constructors, so that plain values may stand where a Json is expected.
  // NOLINTBEGIN(google-explicit-constructor)
  Json() = default;
  Json(std::nullptr_t) {}
  Json(bool value) : scalar_(value) {}
  Json(double value) : scalar_(value) {}
  Json(const char* text) : scalar_(std::string(text)) {}
  Json(std::string_view text) : scalar_(std::string(text)) {}
  Json(std::string text) : scalar_(std::move(text)) {}
  template <std::signed_integral T>
  Json(T value) : scalar_(std::int64_t{value}) {}
  template <std::unsigned_integral T>
  requires(!std::same_as<T, bool>) Json(T value) : scalar_(std::uint64_t{value}) {}
  template <class T>
  Json(const std::vector<T>& list) : kind_(Kind::kArray), values_(list.begin(), list.end()) {}
  // NOLINTEND(google-explicit-constructor)
  // Makes an object, for example from {{"name", 1}, {"other", "text"}}.
  Json(std::initializer_list<Member> members);

  [[nodiscard]] static Json object() { return Json(Kind::kObject); }
  [[nodiscard]] static Json array() { return Json(Kind::kArray); }

  // The member of this name, added if it is missing. A value that is no object becomes one.
  Json& operator[](std::string_view name);
  // Appends to a list. A value that is no list becomes one.
  void push_back(Json value);

  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] bool is_object() const { return kind_ == Kind::kObject; }
  [[nodiscard]] bool is_array() const { return kind_ == Kind::kArray; }
  [[nodiscard]] bool is_string() const { return std::holds_alternative<std::string>(scalar_); }
  [[nodiscard]] bool is_whole() const;

  // An object's names, in the order in which they were set.
  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }
  // The values of an object or a list.
  [[nodiscard]] const Array& values() const { return values_; }
  [[nodiscard]] const Scalar& scalar() const { return scalar_; }
  // The member of this name; nullptr if there is none, or this is no object.
  [[nodiscard]] const Json* find(std::string_view name) const;
  [[nodiscard]] bool contains(std::string_view name) const { return find(name) != nullptr; }

  // at() throws JsonError if the member is missing, get() if the value is no T. T is bool,
  // std::int64_t, std::uint64_t, double, std::string, or a vector of numbers.
  [[nodiscard]] const Json& at(std::string_view name) const;
  template <class T>
  [[nodiscard]] T get() const;

 private:
  explicit Json(Kind kind) : kind_(kind) {}

  Kind kind_ = Kind::kScalar;
  Scalar scalar_;
  std::vector<std::string> names_;  // of an object: one for each value
  Array values_;
};

struct Json::Member {
  std::string name;
  Json value;
};

// Text with two spaces a level, or in one line. Bytes that are not UTF-8 are replaced; infinity and
// NaN become null.
[[nodiscard]] std::string indented_json(const Json& json);
[[nodiscard]] std::string one_line_json(const Json& json);

// Parses a text; nullopt if it is not JSON.
[[nodiscard]] std::optional<Json> parse_json(std::string_view text);

}  // namespace tilewise::cli

#include "cli/core/json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace tilewise::cli {
namespace {

using Text = nlohmann::ordered_json;

Text to_text(const Json& json) {
  if (json.is_array()) {
    Text list = Text::array();
    for (const Json& each : json.values()) list.push_back(to_text(each));
    return list;
  }
  if (json.is_object()) {
    Text object = Text::object();
    for (std::size_t i = 0; i < json.names().size(); ++i) {
      object[json.names()[i]] = to_text(json.values()[i]);
    }
    return object;
  }
  return std::visit([](const auto& value) { return Text(value); }, json.scalar());
}

Json from_text(const Text& text) {
  switch (text.type()) {
    case Text::value_t::boolean:
      return text.get<bool>();
    case Text::value_t::number_integer:
      return text.get<std::int64_t>();
    case Text::value_t::number_unsigned:
      return text.get<std::uint64_t>();
    case Text::value_t::number_float:
      return text.get<double>();
    case Text::value_t::string:
      return text.get<std::string>();
    case Text::value_t::array: {
      Json list = Json::array();
      for (const Text& each : text) list.push_back(from_text(each));
      return list;
    }
    case Text::value_t::object: {
      Json object = Json::object();
      for (const auto& [name, value] : text.items()) object[name] = from_text(value);
      return object;
    }
    default:
      return nullptr;
  }
}

template <class T>
const T& as(const Json::Scalar& value, const char* what) {
  const T* held = std::get_if<T>(&value);
  if (held == nullptr) throw JsonError(std::string("it is no ") + what);
  return *held;
}

std::string dump(const Json& json, int indent) {
  return to_text(json).dump(indent, ' ', false, Text::error_handler_t::replace);
}

template <class T>
std::vector<T> list_of(const Json& json) {
  if (!json.is_array()) throw JsonError("it is no list");
  std::vector<T> list;
  for (const Json& each : json.values()) list.push_back(each.get<T>());
  return list;
}

}  // namespace

Json::Json(std::initializer_list<Member> members) : kind_(Kind::kObject) {
  for (const Member& member : members) (*this)[member.name] = member.value;
}

Json& Json::operator[](std::string_view name) {
  if (kind_ != Kind::kObject) *this = object();
  const auto found = std::find(names_.begin(), names_.end(), name);
  if (found != names_.end()) return values_[static_cast<std::size_t>(found - names_.begin())];
  names_.emplace_back(name);
  return values_.emplace_back();
}

void Json::push_back(Json value) {
  if (kind_ != Kind::kArray) *this = array();
  values_.push_back(std::move(value));
}

bool Json::is_whole() const {
  return std::holds_alternative<std::int64_t>(scalar_) ||
         std::holds_alternative<std::uint64_t>(scalar_);
}

const Json* Json::find(std::string_view name) const {
  const auto found = std::find(names_.begin(), names_.end(), name);
  if (found == names_.end()) return nullptr;
  return &values_[static_cast<std::size_t>(found - names_.begin())];
}

const Json& Json::at(std::string_view name) const {
  const Json* found = find(name);
  if (found == nullptr) throw JsonError("it has no " + std::string(name));
  return *found;
}

template <>
bool Json::get<bool>() const {
  return as<bool>(scalar_, "truth value");
}

template <>
std::string Json::get<std::string>() const {
  return as<std::string>(scalar_, "text");
}

template <>
std::int64_t Json::get<std::int64_t>() const {
  const auto* large = std::get_if<std::uint64_t>(&scalar_);
  if (large != nullptr && *large <= INT64_MAX) return static_cast<std::int64_t>(*large);
  return as<std::int64_t>(scalar_, "whole number");
}

template <>
std::uint64_t Json::get<std::uint64_t>() const {
  const auto* small = std::get_if<std::int64_t>(&scalar_);
  if (small != nullptr && *small >= 0) return static_cast<std::uint64_t>(*small);
  return as<std::uint64_t>(scalar_, "whole number from 0");
}

template <>
double Json::get<double>() const {
  if (const auto* small = std::get_if<std::int64_t>(&scalar_)) return static_cast<double>(*small);
  if (const auto* large = std::get_if<std::uint64_t>(&scalar_)) return static_cast<double>(*large);
  return as<double>(scalar_, "number");
}

template <>
std::vector<std::int64_t> Json::get<std::vector<std::int64_t>>() const {
  return list_of<std::int64_t>(*this);
}

template <>
std::vector<double> Json::get<std::vector<double>>() const {
  return list_of<double>(*this);
}

std::string indented_json(const Json& json) {
  return dump(json, 2);
}

std::string one_line_json(const Json& json) {
  return dump(json, -1);
}

std::optional<Json> parse_json(std::string_view text) {
  const Text parsed = Text::parse(text, nullptr, false);
  if (parsed.is_discarded()) return std::nullopt;
  return from_text(parsed);
}

}  // namespace tilewise::cli

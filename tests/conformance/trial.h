// A case with its memory, for tests of a single property: change a number, make a call, look at the
// bits.
#pragma once

#include <cstdint>
#include <functional>

#include "conformance/call.h"
#include "conformance/case.h"
#include "conformance/setup.h"

namespace tilewise::conformance {

class Trial {
 public:
  explicit Trial(const Case& given) : drawn(given), setup(make_setup(given)) {}

  // Each throws what the library says unless it succeeds, and writes over poison.
  void forward();
  void backward();  // after forward
  void probabilities();

  // Makes the call with its structs changed by `change` beforehand.
  using Change = std::function<void(Request&)>;
  void run(tw_operation operation, const Change& change = {});

  // Element (b, i, h, d) of the results.
  [[nodiscard]] double output(std::int64_t b, std::int64_t i, std::int64_t h, std::int64_t d) const;
  [[nodiscard]] double lse(std::int64_t b, std::int64_t i, std::int64_t h) const;

  Case drawn;
  Setup setup;
};

// Calls visit(b, i, h) for every query row, or key row, of every head.
using VisitRow = std::function<void(std::int64_t, std::int64_t, std::int64_t)>;
void for_each_query(const Case& drawn, const VisitRow& visit);
void for_each_key(const Case& drawn, const VisitRow& visit);

void for_each_element(const Field& field, const std::function<void(const Index&)>& visit);

// Sets every element that counts.
void fill_value(Trial& trial, const std::function<double(const Index& element)>& number);

// The largest difference between two tensors of one shape (0 if both are absent), and whether they
// agree to the bit.
[[nodiscard]] double largest_difference(const Field& a, const Field& b);
[[nodiscard]] bool same_numbers(const Field& a, const Field& b);

// Copies numbers between two tensors of one shape, whatever their strides.
void copy_numbers(const Field& from, Field& to);

}  // namespace tilewise::conformance

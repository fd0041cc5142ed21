// A case with its memory, for tests of a single property: change a number, make a call, compare
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

  // Each makes the call, with a new workspace full of NaN, and throws with the library's sentence
  // if it fails.
  void forward();
  void backward();  // after forward
  void probabilities();

  // Runs an operation after `change` has changed the call's structs.
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

// Sets every element of value that counts.
void fill_value(Trial& trial, const std::function<double(const Index& element)>& number);

// largest_difference is 0 if both tensors are absent. same_numbers compares to the bit.
[[nodiscard]] double largest_difference(const Field& a, const Field& b);
[[nodiscard]] bool same_numbers(const Field& a, const Field& b);

// Copies numbers between two tensors of one shape, whatever their strides.
void copy_numbers(const Field& from, Field& to);

}  // namespace tilewise::conformance

// Calls and loops that tests of single properties share.
#include "conformance/trial.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace tilewise::conformance {
namespace {

std::int64_t extent(const Field& field, int axis) {
  return axis < field.view().rank ? field.size(axis) : 1;
}

void for_each_row(const Case& drawn, const SideCase& side, std::int64_t heads,
                  const VisitRow& visit) {
  for (std::int64_t b = 0; b < drawn.batch; ++b) {
    for (std::int64_t i = 0; i < side.length(b); ++i) {
      for (std::int64_t h = 0; h < heads; ++h) visit(b, i, h);
    }
  }
}

}  // namespace

void Trial::forward() {
  run(TW_FORWARD);
}
void Trial::backward() {
  run(TW_BACKWARD);
}
void Trial::probabilities() {
  run(TW_PROBABILITIES);
}

void Trial::run(tw_operation operation, const Change& change) {
  Request request(drawn, setup);
  if (change) change(request);
  const Outcome outcome = request.run(operation);
  if (outcome.status != TW_OK)
    throw std::runtime_error(drawn.describe() + "\n  " + outcome.message);
}

double Trial::output(std::int64_t b, std::int64_t i, std::int64_t h, std::int64_t d) const {
  return setup.output.read(row_index(drawn.queries, b, i, h, d));
}

double Trial::lse(std::int64_t b, std::int64_t i, std::int64_t h) const {
  return setup.lse.read(lse_index(drawn.queries, b, h, i));
}

void for_each_element(const Field& field, const std::function<void(const Index&)>& visit) {
  for (std::int64_t i = 0; i < extent(field, 0); ++i) {
    for (std::int64_t j = 0; j < extent(field, 1); ++j) {
      for (std::int64_t k = 0; k < extent(field, 2); ++k) {
        for (std::int64_t l = 0; l < extent(field, 3); ++l) visit({i, j, k, l});
      }
    }
  }
}

void for_each_query(const Case& drawn, const VisitRow& visit) {
  for_each_row(drawn, drawn.queries, drawn.heads, visit);
}

void for_each_key(const Case& drawn, const VisitRow& visit) {
  for_each_row(drawn, drawn.keys, drawn.key_heads, visit);
}

void fill_value(Trial& trial, const std::function<double(const Index& element)>& number) {
  for_each_key(trial.drawn, [&](std::int64_t b, std::int64_t j, std::int64_t h) {
    for (std::int64_t d = 0; d < trial.drawn.value_dim; ++d) {
      trial.setup.value.write(row_index(trial.drawn.keys, b, j, h, d), number({b, j, h, d}));
    }
  });
}

double largest_difference(const Field& a, const Field& b) {
  double largest = 0;
  if (a.absent() && b.absent()) return largest;
  for_each_element(a, [&](const Index& index) {
    const double x = a.read(index), y = b.read(index);
    if (x == y) return;
    const double difference = std::fabs(x - y);
    largest = std::isnan(difference) ? std::numeric_limits<double>::infinity()
                                     : std::max(largest, difference);
  });
  return largest;
}

bool same_numbers(const Field& a, const Field& b) {
  bool same = true;
  for_each_element(a, [&](const Index& index) { same = same && a.bits(index) == b.bits(index); });
  return same;
}

void copy_numbers(const Field& from, Field& to) {
  for_each_element(from, [&](const Index& index) { to.write(index, from.read(index)); });
}

}  // namespace tilewise::conformance

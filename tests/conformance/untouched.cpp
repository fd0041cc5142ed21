// Marks what a call may write, and finds other writes.
#include "conformance/untouched.h"

namespace tilewise::conformance {
namespace {

void own_rows(const SideCase& side, std::int64_t b, Field& field) {
  if (field.absent()) return;
  const int rank = field.view().rank;
  for (std::int64_t i = 0; i < side.length(b); ++i) {
    for (std::int64_t h = 0; h < field.size(rank - 2); ++h) {
      for (std::int64_t d = 0; d < field.size(rank - 1); ++d) {
        field.own(row_index(side, b, i, h, d));
      }
    }
  }
}

void own_scores(const Case& drawn, std::int64_t b, Setup& setup) {
  for (std::int64_t h = 0; h < drawn.heads; ++h) {
    for (std::int64_t i = 0; i < drawn.queries.length(b); ++i) {
      setup.lse.own(lse_index(drawn.queries, b, h, i));
      for (std::int64_t j = 0; j < drawn.keys.length(b); ++j) {
        setup.probabilities.own({b, h, i, j});
      }
    }
  }
}

// Owns all elements of a gradient that is written whole.
void own_whole(Field& field) {
  if (field.absent()) return;
  const auto extent = [&](int axis) { return axis < field.view().rank ? field.size(axis) : 1; };
  for (std::int64_t i = 0; i < extent(0); ++i) {
    for (std::int64_t j = 0; j < extent(1); ++j) {
      for (std::int64_t k = 0; k < extent(2); ++k) {
        for (std::int64_t l = 0; l < extent(3); ++l) field.own({i, j, k, l});
      }
    }
  }
}

}  // namespace

void own_outputs(const Case& drawn, Setup& setup) {
  GradientFields& gradients = setup.gradients;
  for (std::int64_t b = 0; b < drawn.batch; ++b) {
    own_rows(drawn.queries, b, setup.output);
    own_rows(drawn.queries, b, gradients.query);
    own_rows(drawn.keys, b, gradients.key);
    own_rows(drawn.keys, b, gradients.value);
    own_scores(drawn, b, setup);
  }
  for (Field* each : {&gradients.bias, &gradients.slopes, &gradients.sinks}) own_whole(*each);
}

void check_untouched(const std::vector<Setup::Named>& outputs, Setup& setup, Report& report) {
  for (const auto& [name, field] : outputs) {
    if (!field->unowned_unchanged()) {
      report.fail(name + " was written where nobody owns it: " + field->describe());
    }
  }
  for (const auto& [name, field] : setup.inputs()) {
    if (!field->unchanged()) report.fail(name + " is an input and was written");
  }
}

}  // namespace tilewise::conformance

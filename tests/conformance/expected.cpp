// Reads sequences out of strided, packed and paged memory, as the header describes it.
#include "conformance/expected.h"

#include <algorithm>

namespace tilewise::conformance {
namespace {

// Sequence b of one tensor as (rows, heads, dim), each element times its factor.
oracle::Tensor read_rows(const Field& field, const SideCase& side, std::int64_t b,
                         const Field& factor, std::int64_t group) {
  const int rank = field.view().rank;
  const std::int64_t heads = field.size(rank - 2), dim = field.size(rank - 1);
  oracle::Tensor rows({side.length(b), heads, dim});
  for (std::int64_t i = 0; i < side.length(b); ++i) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const double scale =
          factor.absent() ? 1 : factor.read(broadcast_index(factor, {b, h / group}));
      for (std::int64_t d = 0; d < dim; ++d) {
        rows.at(i, h, d) = scale * field.read(row_index(side, b, i, h, d));
      }
    }
  }
  return rows;
}

oracle::Tensor read_scores(const Field& field, const Case& drawn, std::int64_t b) {
  if (field.absent()) return {};
  oracle::Tensor scores({drawn.heads, drawn.queries.length(b), drawn.keys.length(b)});
  for (std::int64_t h = 0; h < scores.shape[0]; ++h) {
    for (std::int64_t i = 0; i < scores.shape[1]; ++i) {
      for (std::int64_t j = 0; j < scores.shape[2]; ++j) {
        scores.at(h, i, j) = field.read(broadcast_index(field, {b, h, i, j}));
      }
    }
  }
  return scores;
}

void read_mask(const Case& drawn, const Setup& setup, std::int64_t b, oracle::Attention& problem) {
  problem.band = drawn.mask.band;
  problem.hidden.visible = read_scores(setup.scores.visible, drawn, b);
  const Field& blocks = setup.scores.blocks;
  if (blocks.absent() || problem.queries() == 0 || problem.keys() == 0) return;
  problem.hidden.block_query = drawn.mask.block_query;
  problem.hidden.block_key = drawn.mask.block_key;
  oracle::Tensor& read = problem.hidden.blocks;
  read = oracle::Tensor({drawn.heads, (problem.queries() - 1) / drawn.mask.block_query + 1,
                         (problem.keys() - 1) / drawn.mask.block_key + 1});
  for (std::int64_t h = 0; h < read.shape[0]; ++h) {
    for (std::int64_t i = 0; i < read.shape[1]; ++i) {
      for (std::int64_t j = 0; j < read.shape[2]; ++j) {
        read.at(h, i, j) = blocks.read(broadcast_index(blocks, {b, h, i, j}));
      }
    }
  }
}

void read_score_maps(const Case& drawn, const Setup& setup, std::int64_t b,
                     oracle::Attention& problem) {
  if (drawn.scores.has_scale) problem.scale = drawn.scores.scale;
  problem.softcap = drawn.scores.softcap;
  problem.bias = read_scores(setup.scores.bias, drawn, b);
  const Field& slopes = setup.scores.slopes;
  for (std::int64_t h = 0; h < drawn.heads; ++h) {
    if (!slopes.absent()) {
      problem.slopes.push_back(slopes.read(slopes.view().rank == 2 ? Index{b, h} : Index{h}));
    }
    if (!setup.scores.sinks.absent()) problem.sinks.push_back(setup.scores.sinks.read({h}));
  }
}

oracle::Attention read_problem(const Case& drawn, const Setup& setup, std::int64_t b) {
  const std::int64_t group = drawn.heads / drawn.key_heads;
  oracle::Attention problem;
  problem.query = read_rows(setup.query, drawn.queries, b, setup.scaling.query, group);
  problem.key = read_rows(setup.key, drawn.keys, b, setup.scaling.key, 1);
  problem.value = read_rows(setup.value, drawn.keys, b, setup.scaling.value, 1);
  read_mask(drawn, setup, b, problem);
  read_score_maps(drawn, setup, b, problem);
  if (drawn.dropout.probability > 0) {
    problem.dropout = oracle::Dropout{drawn.dropout.probability, drawn.dropout.seed,
                                      drawn.dropout.offset, b, drawn.dropout.base};
  }
  return problem;
}

}  // namespace

Expected expect_forward(const Case& drawn, const Setup& setup) {
  const Precision precision = precision_of(drawn.dtypes.input, drawn.dtypes.output);
  Expected expected;
  for (std::int64_t b = 0; b < drawn.batch; ++b) {
    ExpectedSequence& sequence = expected.emplace_back();
    sequence.problem = read_problem(drawn, setup, b);
    sequence.result = oracle::forward(sequence.problem);
    sequence.bound = bound_forward(sequence.problem, sequence.result, precision);
  }
  return expected;
}

void expect_gradients(const Case& drawn, const Setup& setup, Expected& expected) {
  const Precision precision = precision_of(drawn.dtypes.input, drawn.dtypes.output);
  const std::int64_t group = drawn.heads / drawn.key_heads;
  for (std::int64_t b = 0; b < drawn.batch; ++b) {
    ExpectedSequence& sequence = expected[static_cast<std::size_t>(b)];
    oracle::Arriving arriving;
    arriving.output =
        read_rows(setup.gradients.output, drawn.queries, b, setup.scaling.output_gradient, group);
    if (!setup.gradients.lse.absent()) {
      arriving.lse = oracle::Tensor({drawn.heads, drawn.queries.length(b)});
      for (std::int64_t h = 0; h < drawn.heads; ++h) {
        for (std::int64_t i = 0; i < drawn.queries.length(b); ++i) {
          arriving.lse.at(h, i) = setup.gradients.lse.read(lse_index(drawn.queries, b, h, i));
        }
      }
    }
    sequence.gradients = oracle::backward(sequence.problem, sequence.result, arriving);
    sequence.gradient_bound =
        bound_gradients(sequence.problem, sequence.result, sequence.gradients, arriving, precision);
  }
}

}  // namespace tilewise::conformance

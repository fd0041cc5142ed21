#include "bench/unfused.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <numeric>
#include <random>

#include "bench/softmax_rows.h"

namespace tilewise::cli {
namespace {

// The most scores of a block, 2 MiB; backward has two blocks.
constexpr std::int64_t kBlockScores = std::int64_t{1} << 19, kMostBlockRows = 512;

void fill(TensorVector<float>& values, std::int64_t count, std::mt19937& engine) {
  std::normal_distribution<float> normal;
  values.resize(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(engine);
}

// Turns the visible scores into exp(score - most) and the others into 0.
struct Softened {
  float most, sum;
};
Softened soften(float* scores, std::int64_t visible, std::int64_t width) {
  const float most = largest(scores, visible);
  const float sum = exponentials(scores, visible, most);
  std::fill(scores + visible, scores + width, 0.0F);
  return {most, sum};
}

}  // namespace

Unfused::Unfused(const PeerCase& wanted, Multiply multiply, Team& team)
    : sizes_(wanted.shape->sizes), is_causal_(wanted.is_causal), multiply_(multiply), team_(team) {
  const auto dim = static_cast<double>(sizes_.dim);
  scale_ = static_cast<float>(wanted.shape->scores.scale.value_or(1 / std::sqrt(dim)));
  const std::int64_t threads = team.size(), heads = sizes_.batch * sizes_.heads;
  // With fewer heads than threads, the rows of a head are divided, too.
  const std::int64_t share = (sizes_.queries * heads + threads - 1) / threads;
  block_rows_ = std::clamp<std::int64_t>(kBlockScores / sizes_.keys, 16, kMostBlockRows);
  block_rows_ = std::max<std::int64_t>(1, std::min({block_rows_, share, sizes_.queries}));
  std::mt19937 engine(1);
  const std::int64_t rows = heads * sizes_.queries;
  const std::int64_t key_rows = sizes_.batch * sizes_.key_heads * sizes_.keys;
  fill(tensors_.query, rows * sizes_.dim, engine);
  fill(tensors_.key, key_rows * sizes_.dim, engine);
  fill(tensors_.value, key_rows * sizes_.value_dim, engine);
  tensors_.output.resize(static_cast<std::size_t>(rows * sizes_.value_dim));
  tensors_.lse.resize(static_cast<std::size_t>(rows));
  if (wanted.operation == TW_BACKWARD) {
    fill(tensors_.output_gradient, rows * sizes_.value_dim, engine);
    tensors_.query_gradient.resize(tensors_.query.size());
    tensors_.key_gradient.resize(tensors_.key.size());
    tensors_.value_gradient.resize(tensors_.value.size());
  }
  const auto scores = static_cast<std::size_t>(2 * block_rows_ * sizes_.keys);
  scratch_.assign(static_cast<std::size_t>(threads), TensorVector<float>(scores));
}

std::int64_t Unfused::visible(std::int64_t row) const {
  return is_causal_ ? std::min(row + 1, sizes_.keys) : sizes_.keys;
}

std::int64_t Unfused::key_head_of(std::int64_t head) const {
  return head / (sizes_.heads / sizes_.key_heads);
}

std::int64_t Unfused::score(const Block& block, float* scores) const {
  const std::int64_t width = visible(block.last - 1), dim = sizes_.dim;
  const std::int64_t row = block.head * sizes_.queries + block.first;
  const float* key = tensors_.key.data() + key_head_of(block.head) * sizes_.keys * dim;
  multiply_({.a = {tensors_.query.data() + row * dim, dim, false},
             .b = {key, dim, true},
             .c = {scores, width, block.rows(), width},
             .inner = dim,
             .alpha = scale_,
             .beta = 0});
  return width;
}

void Unfused::forward_block(const Block& block, float* scores) {
  const std::int64_t width = score(block, scores), dim = sizes_.value_dim, rows = block.rows();
  const std::int64_t row = block.head * sizes_.queries + block.first;
  std::array<float, kMostBlockRows> sums{};
  for (std::int64_t i = 0; i < rows; ++i) {
    const auto [most, sum] = soften(scores + i * width, visible(block.first + i), width);
    sums[static_cast<std::size_t>(i)] = sum;
    tensors_.lse[static_cast<std::size_t>(row + i)] = most + std::log(sum);
  }
  float* output = tensors_.output.data() + row * dim;
  const float* value = tensors_.value.data() + key_head_of(block.head) * sizes_.keys * dim;
  multiply_({.a = {scores, width, false},
             .b = {value, dim, false},
             .c = {output, dim, rows, dim},
             .inner = width,
             .alpha = 1,
             .beta = 0});
  for (std::int64_t i = 0; i < rows; ++i) {
    const float factor = 1 / sums[static_cast<std::size_t>(i)];
    for (std::int64_t d = 0; d < dim; ++d) output[i * dim + d] *= factor;
  }
}

void Unfused::backward_block(const Block& block, float* scores) {
  const std::int64_t width = score(block, scores), rows = block.rows();
  const std::int64_t dim = sizes_.dim, value_dim = sizes_.value_dim;
  const std::int64_t row = block.head * sizes_.queries + block.first;
  const std::int64_t key_row = key_head_of(block.head) * sizes_.keys;
  const float* gradient = tensors_.output_gradient.data() + row * value_dim;
  const float* output = tensors_.output.data() + row * value_dim;
  float* score_gradients = scores + block_rows_ * sizes_.keys;
  multiply_({.a = {gradient, value_dim, false},
             .b = {tensors_.value.data() + key_row * value_dim, value_dim, true},
             .c = {score_gradients, width, rows, width},
             .inner = value_dim,
             .alpha = 1,
             .beta = 0});
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::int64_t seen = visible(block.first + i), at = i * value_dim;
    exponentials(scores + i * width, seen, tensors_.lse[static_cast<std::size_t>(row + i)]);
    std::fill(scores + i * width + seen, scores + (i + 1) * width, 0.0F);
    const float delta =
        std::inner_product(gradient + at, gradient + at + value_dim, output + at, 0.0F);
    scale_shifted(score_gradients + i * width, scores + i * width, width, delta);
  }
  multiply_(
      {.a = {scores, width, true},
       .b = {gradient, value_dim, false},
       .c = {tensors_.value_gradient.data() + key_row * value_dim, value_dim, width, value_dim},
       .inner = rows,
       .alpha = 1,
       .beta = 1});
  multiply_({.a = {score_gradients, width, false},
             .b = {tensors_.key.data() + key_row * dim, dim, false},
             .c = {tensors_.query_gradient.data() + row * dim, dim, rows, dim},
             .inner = width,
             .alpha = scale_,
             .beta = 0});
  multiply_({.a = {score_gradients, width, true},
             .b = {tensors_.query.data() + row * dim, dim, false},
             .c = {tensors_.key_gradient.data() + key_row * dim, dim, width, dim},
             .inner = rows,
             .alpha = scale_,
             .beta = 1});
}

void Unfused::forward() {
  const std::int64_t blocks = (sizes_.queries + block_rows_ - 1) / block_rows_;
  for_each(sizes_.batch * sizes_.heads * blocks, [&](std::int64_t task, float* scores) {
    // Late rows first: they see the most keys, and a long task must not be the last one.
    const std::int64_t first = (blocks - 1 - task % blocks) * block_rows_;
    forward_block({task / blocks, first, std::min(first + block_rows_, sizes_.queries)}, scores);
  });
}

void Unfused::backward() {
  std::fill(tensors_.key_gradient.begin(), tensors_.key_gradient.end(), 0.0F);
  std::fill(tensors_.value_gradient.begin(), tensors_.value_gradient.end(), 0.0F);
  const std::int64_t group = sizes_.heads / sizes_.key_heads;
  // One thread does a whole group of heads, because they add to the same gradients.
  for_each(sizes_.batch * sizes_.key_heads, [&](std::int64_t key_head, float* scores) {
    for (std::int64_t head = key_head * group; head < (key_head + 1) * group; ++head) {
      for (std::int64_t first = 0; first < sizes_.queries; first += block_rows_) {
        backward_block({head, first, std::min(first + block_rows_, sizes_.queries)}, scores);
      }
    }
  });
}

void Unfused::for_each(std::int64_t tasks,
                       const std::function<void(std::int64_t, float*)>& function) {
  std::atomic<std::int64_t> next = 0;
  team_.run([&](int worker) {
    float* scores = scratch_[static_cast<std::size_t>(worker)].data();
    for (std::int64_t task = next++; task < tasks; task = next++) function(task, scores);
  });
}

}  // namespace tilewise::cli

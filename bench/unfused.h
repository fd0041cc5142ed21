// Attention as one writes it over a library of matrix products: product, softmax, product. What
// fused kernels are held against.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "bench/peer.h"
#include "bench/team.h"
#include "cli/core/memory.h"

namespace tilewise::cli {

// cblas_sgemm, row-major: c = alpha a b + beta c.
struct Product {
  struct Operand {
    const float* data;
    std::int64_t stride;
    bool is_transposed;
  };
  struct Result {
    float* data;
    std::int64_t stride, rows, columns;
  };
  Operand a, b;
  Result c;
  std::int64_t inner;
  float alpha, beta;
};
using Multiply = void (*)(const Product& product);

// The tensors of a case in float32, (batch, head, row, dim) without gaps, filled from a normal
// distribution, and both passes over them. Heads are shared out to threads, each product on one.
class Unfused {
 public:
  Unfused(const PeerCase& wanted, Multiply multiply, Team& team);
  void forward();
  void backward();

  struct Tensors {
    TensorVector<float> query, key, value, output, lse, output_gradient;
    TensorVector<float> query_gradient, key_gradient, value_gradient;
  };
  [[nodiscard]] const Tensors& tensors() const { return tensors_; }

 private:
  // Rows `first` to `last` of a query head: so many that their scores stay in a cache.
  struct Block {
    std::int64_t head, first, last;
    [[nodiscard]] std::int64_t rows() const { return last - first; }
  };
  void forward_block(const Block& block, float* scores);
  void backward_block(const Block& block, float* scores);
  // scale * query * key^T of the keys that the block's last row sees; returns how many these are.
  std::int64_t score(const Block& block, float* scores) const;
  [[nodiscard]] std::int64_t visible(std::int64_t row) const;
  [[nodiscard]] std::int64_t key_head_of(std::int64_t head) const;
  // Shares out tasks to the threads, each with room for two blocks of scores.
  void for_each(std::int64_t tasks, const std::function<void(std::int64_t, float*)>& function);

  Sizes sizes_;
  bool is_causal_;
  float scale_;
  std::int64_t block_rows_;
  Multiply multiply_;
  Team& team_;
  Tensors tensors_;
  std::vector<TensorVector<float>> scratch_;  // of each thread
};

}  // namespace tilewise::cli

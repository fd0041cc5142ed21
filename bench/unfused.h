// Attention over a library of matrix products: product, softmax, product. Fused kernels are
// compared with it.
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

// Forward and backward of a case, with float32 tensors (batch, head, row, dim) without gaps, drawn
// from a normal distribution. Each product runs on one thread: threads share out blocks of a head's
// rows in forward, and whole key heads in backward.
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
  // Rows `first` to `last` of a query head, few enough that their scores stay in a cache.
  struct Block {
    std::int64_t head, first, last;
    [[nodiscard]] std::int64_t rows() const { return last - first; }
  };
  void forward_block(const Block& block, float* scores);
  void backward_block(const Block& block, float* scores);
  // scores = scale * query * key^T for the keys that the block's last row sees. Returns their
  // number.
  std::int64_t score(const Block& block, float* scores) const;
  [[nodiscard]] std::int64_t visible(std::int64_t row) const;
  [[nodiscard]] std::int64_t key_head_of(std::int64_t head) const;
  // Runs the tasks on all threads; each thread has memory for two blocks of scores.
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

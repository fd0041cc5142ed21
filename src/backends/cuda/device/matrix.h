// Tensor cores: 16-bit elements as operands of a warp's product (mma.sync). Each lane has a few
// pairs of elements. With g = lane / 4 and t = lane % 4, it has of a 16 x 16 operand
//     pair 0: row g,      columns 2t, 2t + 1      pair 2: row g,      columns 2t + 8, 2t + 9
//     pair 1: row g + 8,  columns 2t, 2t + 1      pair 3: row g + 8,  columns 2t + 8, 2t + 9
// The element with the lower index is the lower half of its pair.
#pragma once

#include "backends/cuda/device/memory.h"
#include "core/dtype.h"

namespace tilewise::cuda {

using core::DType;

struct Fragment {
  uint32 pair[4];
};

// Loads four 8 x 8 matrices from shared memory (ldmatrix). Lane l passes the address of row l % 8
// of matrix l / 8, aligned to 16 bytes. With g = l / 4 and t = l % 4, lane l receives elements (g,
// 2t) and (g, 2t + 1) of matrix m as pair m. All lanes of the warp must take part.
TW_DEVICE Fragment load_matrices(SharedAddress row) {
  Fragment f;
#if defined(TW_ON_DEVICE)
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(f.pair[0]), "=r"(f.pair[1]), "=r"(f.pair[2]), "=r"(f.pair[3])
               : "r"(row.byte));
#else
  emulated::load_matrices(row.byte, false, f.pair);
#endif
  return f;
}

// load_matrices with each matrix transposed: pair m is elements (2t, g) and (2t + 1, g).
TW_DEVICE Fragment load_matrices_transposed(SharedAddress row) {
  Fragment f;
#if defined(TW_ON_DEVICE)
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(f.pair[0]), "=r"(f.pair[1]), "=r"(f.pair[2]), "=r"(f.pair[3])
               : "r"(row.byte));
#else
  emulated::load_matrices(row.byte, true, f.pair);
#endif
  return f;
}

// Transposes a matrix of 8 x 8 elements in registers. Each lane brings (g, 2t) and (g, 2t + 1) and
// gets (2t, g) and (2t + 1, g). All lanes of the warp take part.
TW_DEVICE uint32 transposed(uint32 pair) {
#if defined(TW_ON_DEVICE)
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %0;" : "+r"(pair));
  return pair;
#else
  const int32 g = lane_index() / 4, t = lane_index() % 4, shift = g % 2 * 16;
  const uint32 low = brought_by(8 * t + g / 2, pair) >> shift;
  const uint32 high = brought_by(8 * t + 4 + g / 2, pair) >> shift;
  return (low & 0xFFFFu) | high << 16;
#endif
}

// A lane's part of a product's 16 x 8 right operand. With g = lane / 4 and t = lane % 4, pair[0] is
// elements (2t, g) and (2t + 1, g), pair[1] the two elements 8 rows further down.
struct RightFragment {
  uint32 pair[2];
};

// sums (16 x 8) += left (16 x 16) * right (16 x 8), in float32. With g = lane / 4 and t = lane % 4,
// a lane has the sums (g, 2t), (g, 2t + 1), (g + 8, 2t) and (g + 8, 2t + 1). All lanes of the warp
// must take part.
template <DType type>
TW_DEVICE void multiply(float (&sums)[4], const Fragment& left, RightFragment right) {
  static_assert(type == DType::kFloat16 || type == DType::kBFloat16);
#if defined(TW_ON_DEVICE)
#define TW_MULTIPLY(type_name)                                                      \
  asm("mma.sync.aligned.m16n8k16.row.col.f32." type_name "." type_name              \
      ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"        \
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])                  \
      : "r"(left.pair[0]), "r"(left.pair[1]), "r"(left.pair[2]), "r"(left.pair[3]), \
        "r"(right.pair[0]), "r"(right.pair[1]))
  if constexpr (type == DType::kBFloat16) {
    TW_MULTIPLY("bf16");
  } else {
    TW_MULTIPLY("f16");
  }
#undef TW_MULTIPLY
#else
  emulated::multiply(sums, {type == DType::kBFloat16, left.pair, {right.pair[0], right.pair[1]}});
#endif
}

// Packs two numbers to a pair, each rounded to nearest, ties to even.
template <DType type>
TW_DEVICE uint32 pair_of(float low, float high) {
#if defined(TW_ON_DEVICE)
  uint32 pair;
  if constexpr (type == DType::kBFloat16) {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  }
  return pair;
#else
  const core::SmallFloat format = type == DType::kBFloat16 ? core::kBFloat16 : core::kFloat16;
  return core::encode(format, static_cast<double>(low)) |
         core::encode(format, static_cast<double>(high)) << 16;
#endif
}

}  // namespace tilewise::cuda

#include "python/fast/torch_layout.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace tilewise::fast {
namespace {

constexpr int kRank = 4;

// Sets strides without gaps, from the innermost dimension `order[0]` outwards.
void lay_in_order(const int* order, const std::int64_t* shape, std::int64_t least,
                  std::int64_t* stride) {
  std::int64_t next = 1;
  for (int i = 0; i < kRank; ++i) {
    stride[order[i]] = next;
    next *= std::max(shape[order[i]], least);
  }
}

// Whether a tensor has neither gaps nor elements that share memory.
bool is_dense(const Likeness& like) {
  int order[] = {0, 1, 2, 3};
  const auto stride_of = [&](int i) {
    return like.shape[i] < 2 ? std::numeric_limits<std::int64_t>::max() : like.stride[i];
  };
  std::sort(order, order + kRank, [&](int a, int b) { return stride_of(a) < stride_of(b); });
  std::int64_t next = 1;
  for (const int i : order) {
    if (like.shape[i] == 0) return true;
    if (like.shape[i] > 1 && like.stride[i] != next) return false;
    next *= like.shape[i];
  }
  return true;
}

// Above 0: dimension a comes after b; 0: either may come first, as with strides of zero.
int compare(const Likeness& like, int a, int b) {
  const std::int64_t one = like.stride[a], other = like.stride[b];
  if (one == 0 || other == 0) return 0;
  if (one != other) return one < other ? -1 : 1;
  return like.shape[a] > like.shape[b] ? 1 : 0;
}

// The strides of torch.empty_like.
void lay_as_torch(const Likeness& like, std::int64_t* stride) {
  if (is_dense(like)) {
    std::copy_n(like.stride, kRank, stride);
    return;
  }
  int order[] = {3, 2, 1, 0};
  for (int i = 1; i < kRank; ++i) {
    int moving = i;  // an insertion sort that skips dimensions of which compare() says 0
    for (int before = i - 1; before >= 0; --before) {
      const int found = compare(like, order[before], order[moving]);
      if (found < 0) break;
      if (found == 0) continue;
      std::swap(order[before], order[moving]);
      moving = before;
    }
  }
  lay_in_order(order, like.to, 1, stride);
}

// The strides that torch gives an output whose rows have another length than the query's.
void lay_resized(const Likeness& like, std::int64_t* stride) {
  int order[] = {0, 1, 2, 3};
  const auto stride_of = [&](int i) {
    return like.stride[i] == 0 ? std::numeric_limits<std::int64_t>::max() : like.stride[i];
  };
  std::stable_sort(order, order + kRank, [&](int a, int b) { return stride_of(a) < stride_of(b); });
  lay_in_order(order, like.to, 0, stride);
}

}  // namespace

void lay_rows_first(const Likeness& like, std::int64_t* stride) {
  constexpr int kOrder[] = {3, 1, 2, 0};
  lay_in_order(kOrder, like.to, 1, stride);
}

void lay_alike(const Likeness& like, std::int64_t* stride) {
  if (like.shape[3] == like.to[3])
    lay_as_torch(like, stride);
  else
    lay_resized(like, stride);
  constexpr int kPlain[] = {3, 2, 1, 0};
  if (like.to[3] > 1 && stride[3] != 1) lay_in_order(kPlain, like.to, 1, stride);
}

}  // namespace tilewise::fast

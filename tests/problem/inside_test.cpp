// What is accepted stays inside its memory, whatever was done to it before.
#include <gtest/gtest.h>

#include <iostream>
#include <random>

#include "loaded_calls.h"
#include "problem/place.h"

namespace tilewise {
namespace {

// Random faults in a call. Those that it survives must leave every index inside.
class Fuzz {
 public:
  explicit Fuzz(std::uint64_t seed) : engine_(seed) {}

  std::int64_t from(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(engine_);
  }

  void spoil(Attention& a) {
    const Tensors all = tensors_of(a);
    tw_tensor& t = *all[static_cast<std::size_t>(from(0, std::int64_t(all.size()) - 1))].tensor;
    const int k = static_cast<int>(from(0, 3));
    switch (from(0, 7)) {
      case 0:
        t.shape[k] = number(t.shape[k]);
        break;
      case 1:
      case 2:
        t.stride[k] = number(t.stride[k]);
        break;
      case 3:
        t.byte_offset = 4 * from(-2, 40);
        break;
      case 4:
        t.dtype = static_cast<std::int32_t>(from(1, 9));
        break;
      case 5:
        a.keys.max_length = from(-1, 9);
        break;
      default:
        write_index(a);
    }
  }

 private:
  std::int64_t number(std::int64_t old) {
    constexpr std::int64_t kOdd[] = {INT64_MIN, INT64_MAX, -1, 0, 1, 2, std::int64_t{1} << 40};
    if (from(0, 2) == 0) return kOdd[from(0, 6)];
    return from(0, 3) == 0 ? -old : old + from(-2, 2);
  }

  void write_index(Attention& a) {
    tw_tensor* const some[] = {&a.queries.offsets,  &a.queries.used,     &a.queries.start,
                               &a.keys.offsets,     &a.keys.used,        &a.keys.start,
                               &a.cache.page_table, &a.cache.batch_index};
    tw_tensor& t = *some[from(0, 7)];
    if (t.rank == 0 || !t.data) return;
    if (t.byte_size == 4 * 2 || t.byte_size == 4 * 3) {
      static_cast<std::int32_t*>(t.data)[from(0, 1)] = static_cast<std::int32_t>(from(-1, 12));
    } else {
      static_cast<std::int64_t*>(t.data)[from(0, 1)] = from(-1, 12);
    }
  }

  std::mt19937_64 engine_;
};

// Counts the elements of views that lie outside of all the caller's tensors.
class Inside {
 public:
  explicit Inside(const Tensors& tensors) : tensors_(tensors) {}

  void element(const View& view, int64 offset) {
    const std::byte* at = view.at(offset);
    const std::byte* end = at + core::bytes_of(view.dtype);
    for (const Named& named : tensors_) {
      const auto* begin = static_cast<const std::byte*>(named.tensor->data);
      if (begin <= at && end <= begin + named.tensor->byte_size) return;
    }
    ++outside;
  }

  // A row of a head, from its first element to its last.
  void row(const View& view, const Side& side, const Place& place, int64 h) {
    if (!view) return;
    for (int64 i = 0; i < place.length; ++i) {
      const int64 first = row_of(side, view, place, h, i);
      element(view, first);
      element(view, first + (view.size.column - 1) * view.stride.column);
    }
  }

  int outside = 0;

 private:
  const Tensors& tensors_;
};

void walk_pairs(Inside& inside, const Problem& p, const Place& queries, const Place& keys,
                int64 h) {
  for (const View* view : {&p.mask.visible, &p.scores.bias, &p.gradients.bias}) {
    if (!*view) continue;
    for (int64 i = 0; i < queries.length; ++i)
      for (int64 j = 0; j < keys.length; ++j)
        inside.element(*view, view->offset(queries.sequence, h, i, j));
  }
  for (const View* view : {&p.scores.slopes, &p.scores.sinks, &p.gradients.slopes}) {
    if (*view) inside.element(*view, view->offset(queries.sequence, h, 0, 0));
  }
}

int walk(const Problem& p, const Tensors& tensors) {
  Inside inside(tensors);
  for (int64 b = 0; b < p.shape.batch; ++b) {
    const Place queries = place_of(p.queries, b), keys = place_of(p.keys, b);
    EXPECT_LE(queries.length, p.shape.queries);
    EXPECT_LE(keys.length, p.shape.keys);
    for (int64 h = 0; h < p.shape.heads; ++h) {
      for (const View* view :
           {&p.query, &p.output, &p.lse, &p.gradients.query, &p.gradients.output, &p.gradients.lse})
        inside.row(*view, p.queries, queries, h);
      walk_pairs(inside, p, queries, keys, h);
    }
    for (int64 h = 0; h < p.shape.key_heads; ++h) {
      for (const View* view : {&p.key, &p.value, &p.gradients.key, &p.gradients.value})
        inside.row(*view, p.keys, keys, h);
      for (const View* view : {&p.scaling.query, &p.scaling.key, &p.scaling.value})
        inside.element(*view, view->offset(b, h, 0, 0));
    }
  }
  return inside.outside;
}

TEST(Inside, IsEveryIndexOfAnAcceptedCall) {
  Fuzz fuzz(20240607);
  int accepted = 0, refused = 0;
  for (int k = 0; k < 12000; ++k) {
    Attention call(k % 2 ? TW_BACKWARD : TW_FORWARD);
    fill(call, kSettings[k / 2 % 4]);
    const std::int64_t faults = fuzz.from(1, 3);
    for (std::int64_t fault = 0; fault < faults; ++fault) fuzz.spoil(call);
    if (!call.check().ok()) {
      ++refused;
      continue;
    }
    ++accepted;
    ASSERT_EQ(walk(call.problem, tensors_of(call)), 0) << "case " << k;
  }
  EXPECT_GT(accepted, 1000);
  EXPECT_GT(refused, 5000);
  std::cout << accepted << " of " << accepted + refused << " spoiled calls accepted and walked\n";
}

}  // namespace
}  // namespace tilewise

// The products for a few queries against loops: every count of queries, rows read where they lie
// and rows that are copied, of every type that is read in place.
#include <algorithm>

#include "elements.h"
#include "every_isa.h"

namespace tilewise::cpu {
namespace {

class CpuFew : public EveryIsa {};
TW_ON_EVERY_ISA(CpuFew);

// Small whole numbers, which every type holds: their products are exact in any order.
int number(int64 row, int64 column) {
  return static_cast<int>((row * 7 + column * 5 + row * column) % 9) - 4;
}

// A few queries, or their rows of output, and the room that goes with them.
template <class T>
struct Few {
  Few(const Kernels<T>& kernels, int64 queries, int64 dim)
      : count(queries),
        pitch(core::round_up(dim, kernels.lanes)),
        rows(index(kMostFew * pitch)),
        copies(rows.size()),
        apart(rows.size()) {
    for (int64 q = 0; q < queries; ++q)
      for (int64 c = 0; c < dim; ++c) rows[index(q * pitch + c)] = static_cast<T>(number(c, q));
  }

  FewArgs<T> with(const Rows& of, T factor) {
    return {of, factor, rows.data(), count, pitch, copies.data(), apart.data()};
  }

  int64 count, pitch;
  std::vector<T> rows, copies, apart;
};

struct Form {
  DType dtype;
  int64 count, dim, keys;
  int factor;
};

// The scores of one query.
template <class T>
std::vector<T> scores_of(const Form& form, int64 query) {
  std::vector<T> scores(index(form.keys), T(0));
  for (int64 key = 0; key < form.keys; ++key)
    for (int64 c = 0; c < form.dim; ++c)
      scores[index(key)] += static_cast<T>(number(key, c) * number(c, query) * form.factor);
  return scores;
}

template <class T>
void expect_scores(const Kernels<T>& k, const Form& form) {
  const ElementRows keys(form.keys, form.dim, form.dtype, number);
  Few<T> few(k, form.count, form.dim);
  std::vector<T> scores(index(form.keys * k.pitch)), largest(index(k.pitch));
  const FewArgs<T> args = few.with(keys.rows(), static_cast<T>(form.factor));
  EXPECT_FALSE(k.score_few(args, {{},
                                  nullptr,
                                  form.dim,
                                  {scores.data(), form.keys, 1},
                                  largest.data(),
                                  T(1000000),
                                  {keys.at.data(), form.keys, form.dim}}));
  for (int64 q = 0; q < form.count; ++q) {
    const std::vector<T> want = scores_of<T>(form, q);
    for (int64 j = 0; j < form.keys; ++j)
      ASSERT_EQ(scores[index(j * k.pitch + q)], want[index(j)]) << "key " << j;
    ASSERT_EQ(largest[index(q)], *std::max_element(want.begin(), want.end()));
  }
}

template <class T>
void expect_sums(const Kernels<T>& k, const Form& form) {
  const ElementRows values(form.keys, form.dim, form.dtype, number);
  Few<T> few(k, form.count, form.dim);
  std::vector<T> weights(index(form.keys * k.pitch)), factor(index(k.pitch), T(3));
  for (int64 j = 0; j < form.keys; ++j)
    for (int64 q = 0; q < k.lanes; ++q)
      weights[index(j * k.pitch + q)] = static_cast<T>(number(q, j));
  k.accumulate_few(few.with(values.rows(), static_cast<T>(form.factor)),
                   {weights.data(), form.keys, 1}, factor.data());
  for (int64 q = 0; q < form.count; ++q) {
    for (int64 c = 0; c < form.dim; ++c) {
      int want = 3 * number(c, q);
      for (int64 j = 0; j < form.keys; ++j) want += number(q, j) * number(j, c) * form.factor;
      ASSERT_EQ(few.rows[index(q * few.pitch + c)], static_cast<T>(want)) << "column " << c;
    }
  }
}

template <class T>
void expect_products(const Kernels<T>& k, const Form& form) {
  SCOPED_TRACE(testing::Message() << form.count << " queries, dim " << form.dim << ", " << form.keys
                                  << " keys times " << form.factor);
  expect_scores<T>(k, form);
  expect_sums<T>(k, form);
}

// Steps along a row come with a remainder, and past their sixteenth they begin anew.
template <class T>
void expect_every_form(const Kernels<T>& k, DType dtype) {
  for (int64 count = 1; count <= std::min(kMostFew, k.lanes); ++count)
    for (const int64 dim : {int64{5}, k.lanes, 3 * k.lanes, 8 * k.lanes, 67 * k.lanes})
      for (const int64 keys : {1, 3, 8, 21})
        for (const int factor : {1, 2}) expect_products(k, {dtype, count, dim, keys, factor});
}

TEST_P(CpuFew, MultipliesFloats) {
  for (const DType dtype :
       {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kFloat8E4M3}) {
    SCOPED_TRACE(testing::Message() << "type " << static_cast<int>(dtype));
    expect_every_form(isa().in_float, dtype);
  }
}

TEST_P(CpuFew, MultipliesDoubles) {
  expect_every_form(isa().in_double, DType::kFloat64);
}

}  // namespace
}  // namespace tilewise::cpu

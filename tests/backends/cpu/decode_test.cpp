// The products for a few queries against loops: every count of queries, rows read where they lie
// and rows that are copied, of every type that is read in place; one query's scores side by side.
#include <limits>
#include <string_view>

#include "backends/cpu/forward/task_grid.h"
#include "backends/cpu/passes.h"
#include "elements.h"
#include "every_isa.h"

namespace tilewise::cpu {
namespace {

class CpuDecode : public EveryIsa {};
TW_ON_EVERY_ISA(CpuDecode);

// Small whole numbers, which every type holds: their products are exact in any order.
int number(int64 row, int64 column) {
  return static_cast<int>((row * 7 + column * 5 + row * column) % 9) - 4;
}

struct Form {
  DType dtype;
  int64 count, dim, keys;
  int factor;
  bool in_lanes;  // scores, or else they lie side by side
};

// A few queries of one key head, or their rows of output, and the room that goes with them.
template <class T>
struct DecodeQueries {
  DecodeQueries(const Kernels<T>& kernels, const Form& form)
      : count(form.count),
        pitch(core::round_up(form.dim, kernels.lanes)),
        step(form.in_lanes ? kernels.pitch : 1),
        copied(form.dim != pitch),
        rows(index(kDecode.queries * pitch)),
        columns(rows.size(), kUnset),
        copies(index(kRowsAtOnce * pitch), kUnset),
        scores(index((form.keys + 1) * kernels.pitch), kUnset) {
    for (int64 q = 0; q < count; ++q)
      for (int64 c = 0; c < form.dim; ++c)
        rows[index(q * pitch + c)] = static_cast<T>(number(c, q));
  }

  DecodeArgs<T> with(const Rows& of, T factor) {
    const bool is_copied = copied || factor != 1 || of.dtype == DType::kFloat8E4M3;
    return {of,   factor,       is_copied, count, pitch, columns.data(), scores.data(),
            step, copies.data()};
  }

  // Fills memory that a kernel must not read before it has written it.
  static constexpr T kUnset = std::numeric_limits<T>::quiet_NaN();
  int64 count, pitch, step;
  bool copied;
  std::vector<T> rows, columns, copies, scores;
};

template <class T>
T score_of(const Form& form, int64 key, int64 query) {
  T score = 0;
  for (int64 c = 0; c < form.dim; ++c) score += static_cast<T>(number(key, c) * number(c, query));
  return score;
}

template <class T>
T factor_of_head(const Form& form, int64 head) {
  return static_cast<T>(form.factor == 1 ? 1 : form.factor + head);
}

// Checks the scores of three heads at once, each with its own keys, and all with the same queries.
template <class T>
void expect_scores(const Kernels<T>& k, const Form& form) {
  constexpr int64 kHeads = 3;
  const ElementRows keys(kHeads * form.keys, form.dim, form.dtype, number);
  std::vector<DecodeQueries<T>> queries(kHeads, DecodeQueries<T>(k, form));
  std::vector<DecodeArgs<T>> heads;
  for (int64 h = 0; h < kHeads; ++h) {
    const Rows rows{keys.at.data() + h * form.keys, form.keys, form.dim, form.dtype};
    heads.push_back(queries[index(h)].with(rows, factor_of_head<T>(form, h)));
    // No, half or all rows to prefetch, at 1 to 3 bytes for each element of a row.
    heads.back().prefetch = {rows.at, h * form.keys / 2, (h + 1) * form.dim};
    k.decode.pack(heads.back(), queries[index(h)].rows.data());
  }
  k.decode.score({heads.data(), kHeads});
  for (int64 h = 0; h < kHeads; ++h)
    for (int64 q = 0; q < form.count; ++q)
      for (int64 j = 0; j < form.keys; ++j)
        ASSERT_EQ(heads[index(h)].scores[j * heads[index(h)].step + q],
                  score_of<T>(form, h * form.keys + j, q) * factor_of_head<T>(form, h))
            << "head " << h << ", query " << q << ", key " << j;
}

template <class T>
void expect_sums(const Kernels<T>& k, const Form& form) {
  const ElementRows values(form.keys, form.dim, form.dtype, number);
  DecodeQueries<T> queries(k, form);
  std::vector<T> factor(index(k.pitch), T(3));
  // Behind the last score of a single query there are zeros, up to a multiple of four vectors.
  const int64 all = form.in_lanes ? form.keys : core::round_up(form.keys, 4 * k.lanes);
  for (int64 j = 0; j < all; ++j)
    for (int64 q = 0; q < (form.in_lanes ? k.lanes : 1); ++q)
      queries.scores[index(j * queries.step + q)] =
          static_cast<T>(j < form.keys ? number(q, j) : 0);
  k.decode.accumulate(queries.with(values.rows(), static_cast<T>(form.factor)), factor.data(),
                      queries.rows.data());
  for (int64 q = 0; q < form.count; ++q) {
    for (int64 c = 0; c < form.dim; ++c) {
      int want = 3 * number(c, q);
      for (int64 j = 0; j < form.keys; ++j) want += number(q, j) * number(j, c) * form.factor;
      ASSERT_EQ(queries.rows[index(q * queries.pitch + c)], static_cast<T>(want)) << "column " << c;
    }
  }
}

template <class T>
void expect_products(const Kernels<T>& k, const Form& form) {
  SCOPED_TRACE(testing::Message() << form.count << " queries, dim " << form.dim << ", " << form.keys
                                  << " keys times " << form.factor
                                  << (form.in_lanes ? "" : ", side by side"));
  expect_scores<T>(k, form);
  expect_sums<T>(k, form);
}

// Rows of 5 elements and of 1 to 23 whole vectors, and numbers of keys with and without a
// remainder.
template <class T>
void expect_every_form(const Kernels<T>& k, DType dtype) {
  for (int64 count = 1; count <= std::min(kDecode.queries, k.lanes); ++count)
    for (const int64 dim : {int64{5}, k.lanes, 3 * k.lanes, 8 * k.lanes, 23 * k.lanes})
      for (const int64 keys : {1, 3, 16, 37})
        for (const int factor : {1, 2}) {
          expect_products(k, {dtype, count, dim, keys, factor, true});
          if (count == 1) expect_products(k, {dtype, count, dim, keys, factor, false});
        }
}

// Only the portable set has no kernels for few queries; there such calls take tiles.
TEST_P(CpuDecode, IsOfVectors) {
  const bool portable = std::string_view(isa().name) == "portable";
  in_both([&](const auto& kernels) { EXPECT_EQ(kernels.decode.score == nullptr, portable); });
}

TEST_P(CpuDecode, MultipliesFloats) {
  if (!isa().of_numbers.in_float.decode.score) GTEST_SKIP() << "has none";
  for (const DType dtype :
       {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kFloat8E4M3}) {
    SCOPED_TRACE(testing::Message() << "type " << static_cast<int>(dtype));
    expect_every_form(isa().of_numbers.in_float, dtype);
  }
}

// Rows of gradients: sums of `count` products, written to the rows and not between them.
void expect_rows(const Kernels<float>& k, DType dtype, int64 count, int64 dim) {
  constexpr int64 kRows = 19;
  const int64 pitch = core::round_up(dim, k.lanes);
  ElementRows to(kRows, dim, dtype, [](int64, int64) { return 9; });
  std::vector<float> right(index(kDecode.queries * pitch)), weights(index(kRows * k.pitch));
  for (int64 q = 0; q < count; ++q)
    for (int64 c = 0; c < dim; ++c) right[index(q * pitch + c)] = static_cast<float>(number(q, c));
  for (int64 r = 0; r < kRows; ++r)
    for (int64 q = 0; q < k.lanes; ++q)
      weights[index(r * k.pitch + q)] = static_cast<float>(number(r, q));
  const auto before = to.bytes;
  k.decode.store_gradient({to.rows(), 0.5F, weights.data(), k.pitch, count, {right.data(), pitch}});
  const int64 bytes = core::bytes_of(dtype);
  for (int64 r = 0; r < kRows; ++r) {
    for (int64 c = 0; c < dim; ++c) {
      float want = 0;
      for (int64 q = 0; q < count; ++q) want += static_cast<float>(number(r, q) * number(q, c));
      ASSERT_EQ(tilewise::load<float>(dtype, to.at[index(r)] + c * bytes), want / 2)
          << "row " << r << ", column " << c;
    }
    const int64 gap = (r * (dim + 1) + dim) * bytes;
    for (int64 n = gap; n < gap + bytes; ++n) ASSERT_EQ(to.bytes[index(n)], before[index(n)]);
  }
}

TEST_P(CpuDecode, StoresGradients) {
  const Kernels<float>& k = isa().of_numbers.in_float;
  if (!k.decode.store_gradient) GTEST_SKIP() << "has none";
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16, DType::kFloat16})
    for (const int64 count : {int64{0}, int64{1}, int64{3}, core::smaller(int64{8}, k.lanes)})
      for (const int64 dim : {int64{1}, k.lanes - 1, 2 * k.lanes, 5 * k.lanes + 3})
        expect_rows(k, dtype, count, dim);
}

// The largest score of each lane, and whether one is out of the ordinary, at whichever key.
template <class T>
void expect_survey(const Kernels<T>& k) {
  constexpr int64 kKeys = 5;
  for (int64 at = 0; at < kKeys; ++at) {
    for (const T last : {T(7), T(1000), core::infinity<T>()}) {
      std::vector<T> scores(index(kKeys * k.pitch), T(-2)), largest(index(k.pitch));
      scores[index(at * k.pitch + k.lanes - 1)] = last;
      const bool unusual =
          k.decode.survey({{}, nullptr, 1, {scores.data(), kKeys, 1}, largest.data(), T(100)});
      EXPECT_EQ(unusual, last > 100);
      EXPECT_EQ(largest[0], -2);
      EXPECT_EQ(largest[index(k.lanes - 1)], last);
    }
  }
}

TEST_P(CpuDecode, FindsLargestScores) {
  if (!isa().of_numbers.in_float.decode.score) GTEST_SKIP() << "has none";
  expect_survey(isa().of_numbers.in_float);
  expect_survey(isa().of_numbers.in_double);
}

TEST_P(CpuDecode, MultipliesWherePairsAreMultiplied) {
  if (!isa().of_bfloat16.decode.score) GTEST_SKIP() << "has none";
  expect_every_form(isa().of_bfloat16, DType::kBFloat16);
}

TEST_P(CpuDecode, MultipliesDoubles) {
  if (!isa().of_numbers.in_double.decode.score) GTEST_SKIP() << "has none";
  expect_every_form(isa().of_numbers.in_double, DType::kFloat64);
}

// An instruction set that multiplies pairs and has no kernels for few queries takes those of
// another set, for calls with few queries alone.
TEST_P(CpuDecode, AreBorrowed) {
  if (isa().of_bfloat16.lanes == 0) GTEST_SKIP() << "has no products of pairs";
  Problem p;
  for (View* view : {&p.query, &p.key, &p.value}) view->dtype = DType::kBFloat16;
  p.shape = {1, 1, 100, 4, 4, 64, 64};
  Decided few, many;
  few.isa = many.isa = &isa();
  forward_plan<float>(p, 2, few);
  EXPECT_NE(kernels_for<float>(p, *few.isa).decode.score, nullptr);
  EXPECT_TRUE(kernels_for<float>(p, *few.isa).pairs());
  p.shape.queries = 100;
  forward_plan<float>(p, 2, many);
  EXPECT_EQ(many.isa, &isa());
}

}  // namespace
}  // namespace tilewise::cpu

// The demo's proof: right results pass it, and one wrong element anywhere does not.
#include "cli/proof.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cli/core/element.h"
#include "cli/core/workload.h"

namespace tilewise::cli {
namespace {

Case causal(const std::string& dtype) {
  Case shape;
  shape.dtype = dtype;
  shape.sizes = {.heads = 4,
                 .key_heads = 2,
                 .queries = 70,
                 .keys = 70,
                 .dim = 16,
                 .value_dim = 16,
                 .query_lengths = {},
                 .key_lengths = {}};
  shape.mask.right = 0;
  return shape;
}

void run_both(Call& call) {
  Runner runner;
  for (const tw_operation operation : {TW_FORWARD, TW_BACKWARD}) {
    runner.prepare(operation, call);
    runner.run(operation, call);
  }
}

const std::vector<RowBand> kWhole{{0, 70}};
const std::vector<RowBand> kBands{{0, 8}, {33, 8}, {50, 20}};

TEST(Proof, PassesRightResultsOfEveryType) {
  for (const char* dtype : {"float32", "float64", "float16", "bfloat16"}) {
    Workload work(causal(dtype), true, 3);
    run_both(work.call());
    for (const auto& bands : {kWhole, kBands}) {
      for (const Agreement& one : prove(work.call(), bands)) {
        EXPECT_TRUE(is_exact(one))
            << dtype << " " << one.name << " " << one.worst << " " << one.relative;
        EXPECT_GT(one.elements, 0) << one.name;
      }
    }
  }
}

// Expects that only the result that is wrong is called wrong. So the proof of gradients must not
// use the call's lse or output.
void expect_only_wrong(const Call& call, std::size_t wrong) {
  for (const auto& bands : {kWhole, kBands}) {
    const std::vector<Agreement> all = prove(call, bands);
    for (std::size_t i = 0; i < all.size(); ++i) {
      EXPECT_EQ(is_exact(all[i]), i != wrong) << all[i].name << " when " << wrong << " is wrong";
    }
  }
}

TEST(Proof, FailsOneWrongElementOfEachResult) {
  Workload work(causal("float32"), true, 3);
  run_both(work.call());
  Call& call = work.call();
  tw_tensor* const results[] = {&call.request.output, &call.request.lse, &call.gradients.query,
                                &call.gradients.key, &call.gradients.value};
  for (std::size_t which = 0; which < std::size(results); ++which) {
    const tw_tensor& tensor = *results[which];
    const std::int64_t last = element_count(tensor) - 1;
    const double right = load_element(tensor.dtype, tensor.data, last);
    for (const double wrong : {right + 0.01, std::numeric_limits<double>::quiet_NaN()}) {
      store_element(tensor.dtype, tensor.data, last, wrong);
      expect_only_wrong(call, which);
    }
    store_element(tensor.dtype, tensor.data, last, right);
  }
}

}  // namespace
}  // namespace tilewise::cli

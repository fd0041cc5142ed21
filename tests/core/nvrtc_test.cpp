// Compiles all of core with NVRTC, the GPU's run-time compiler, which has no standard headers: no
// error, no warning, and values that its own static_assert confirms. Needs no GPU.
#include "backends/cuda/compiler/nvrtc.h"

#include <gtest/gtest.h>

#include <cstring>
#include <iostream>
#include <string>
#include <vector>

namespace tilewise::core {
namespace {

class NvrtcTest : public testing::Test {
 protected:
  void SetUp() override {
    const cuda::Surroundings around = cuda::surroundings_of_environment();
    constexpr int kAnyDriver = 99000;
    std::vector<cuda::NvrtcFile> found;
    const Status status = cuda::find_nvrtc(around, kAnyDriver, found);
    ASSERT_TRUE(status.ok() || around.nvrtc.empty()) << status.sentence;
    if (!status.ok()) GTEST_SKIP() << status.sentence;
    file_ = found.front();
    const Status opened = cuda::Nvrtc::open(file_, nvrtc_);
    ASSERT_TRUE(opened.ok()) << opened.sentence;
  }

  Status compile(const std::string& source, const char* architecture, cuda::Compiled& out) const {
    const cuda::Program program{
        .name = "core_test.cu",
        .text = source,
        .options = {"--std=c++20", std::string("--gpu-architecture=") + architecture}};
    return nvrtc_.compile(program, cuda::embedded_sources(), out);
  }

  cuda::NvrtcFile file_;
  cuda::Nvrtc nvrtc_;
};

// Uses the functions of core at run time, for float and double, because NVRTC does not compile
// templates that nobody instantiates.
constexpr const char* kKernel = R"(
#include "core/base.h"
#include "core/dtype.h"
#include "core/mask.h"
#include "core/math.h"
#include "core/philox.h"
#include "core/score.h"
#include "core/softmax.h"

namespace tilewise::core {

static_assert(floor_div(-1, 8) == -1 && ceil_div(9, 8) == 2);
static_assert(intersect({0, 5}, {3, 9}) == Range{3, 5});
static_assert(Band{.queries = 8, .keys = 8, .right = 0}.visible_keys(3).size() == 4);
static_assert(Band{.queries = 8, .keys = 8, .chunk = 4}.cover({0, 4}, {4, 8}) == Cover::kNone);
static_assert(Band{.queries = 8, .keys = 8, .left = 1}.visible_queries(3) == Range{0, 5});
static_assert(philox<10>({{0, 0, 0, 0}}, {{0, 0}}).word[0] == 0x6627e8d5);
static_assert(philox<7>({{0, 0, 0, 0}}, {{0, 0}}).word[3] == 0x4f730a48);
static_assert(Dropout(1, 2, 0).keeps(0, 0, 0, 0) && Dropout(1, 2, 32768).scale() == 2);
static_assert(encode(kFloat16, 1.0) == 0x3C00 && decode(kFloat8E4M3, 0x7E) == 448);
static_assert(encode(kBFloat16, 1.00390625) == 0x3F80 && encode(kFloat8E5M2, 1e9) == 0x7B);
static_assert(bytes_of(DType::kFloat16) == 2 && is_float(DType::kFloat8E5M2));
static_assert(distance(2, 7, 1) == 4 && largest<float>() > 3.4e38f);

template <class T>
__device__ void reals(T* out, const T* in, int64 away) {
  Row<T> row;
  const T factor = raise(row, to_log2(in[0]));
  row.sum += factor + exp2(in[1] - shift(row.max));
  row = merge(row, row_of(in[2]));
  row.sum += weight_in(row, in[1]);
  const Softcap<T> softcap{in[3]};
  const Alibi<T> alibi{in[4]};
  out[0] = lse(row) + running_max(in[5], in[6]);
  out[1] = softcap(in[7]) + softcap.derivative(in[8]) + tanh(in[9]) + log2(in[10]);
  out[2] = alibi(in[11], away) + Alibi<T>::derivative(away) + absolute(in[12]);
  out[3] = infinity<T>() + not_a_number<T>() + largest<T>() + log2e<T>() + ln2<T>();
}

__device__ int64 masks(Band band, BlockMask blocks, Range rows, Range columns) {
  const Cover cover = both(band.cover(rows, columns), blocks.cover(rows, columns));
  const bool visible = band.visible(rows.begin, columns.begin) &&
                       blocks.visible(rows.begin, columns.begin) && rows == columns;
  return static_cast<int64>(cover) + visible + band.keys_of(rows).size() +
         band.queries_of(columns).begin + band.visible_keys(0).empty() +
         band.visible_queries(0).contains(3) + smaller(rows.begin, columns.begin) +
         larger(rows.end, columns.end) + ceil_div(rows.end, 8) + floor_div(rows.begin, 8) +
         intersect(rows, columns).end + distance(rows.begin, rows.end, band.diagonal);
}

__device__ uint32 small_floats(uint32 code, DType dtype) {
  uint32 sum = static_cast<uint32>(bytes_of(dtype)) + is_float(dtype) + is_index(dtype);
  for (SmallFloat format : {kFloat16, kBFloat16, kFloat8E4M3, kFloat8E5M2})
    sum += encode(format, decode(format, code));
  return sum + static_cast<uint32>(power_of_two(static_cast<int32>(code)));
}

extern "C" __global__ void core_test(float* singles, double* doubles, int64* integers, Band band,
                                     BlockMask blocks) {
  const Range rows{integers[0], integers[1]}, columns{integers[2], integers[3]};
  reals(singles, singles, integers[4]);
  reals(doubles, doubles, integers[4]);
  const Dropout dropout(integers[5], integers[6], static_cast<int32>(integers[7])), none;
  integers[0] = masks(band, blocks, rows, columns);
  integers[1] = small_floats(static_cast<uint32>(integers[8]), static_cast<DType>(integers[9]));
  integers[2] = dropout.keeps(1, 2, rows.begin, columns.begin) + none.active();
  doubles[4] = dropout.scale();
  integers[3] = philox<10>({{1, 2, 3, 4}}, {{5, static_cast<uint32>(integers[5])}}).word[1];
}

}  // namespace tilewise::core
)";

TEST_F(NvrtcTest, CompilesAllOfCoreWithoutAWord) {
  std::cout << "NVRTC " << file_.version / 1000 << "." << file_.version / 10 % 100 << "\n";
  for (const char* architecture : {"sm_80", "sm_90"}) {
    cuda::Compiled compiled;
    const Status status = compile(kKernel, architecture, compiled);
    ASSERT_TRUE(status.ok()) << status.sentence;
    EXPECT_EQ(compiled.log, "");
    const std::string cubin(reinterpret_cast<const char*>(compiled.cubin.data()),
                            compiled.cubin.size());
    EXPECT_EQ(cubin.substr(0, 4), "\177ELF");
    EXPECT_NE(cubin.find("core_test"), std::string::npos);
  }
}

// Each header includes what it needs.
TEST_F(NvrtcTest, CompilesEachHeaderAlone) {
  int headers = 0;
  for (const cuda::Source& source : cuda::embedded_sources()) {
    if (std::strncmp(source.name, "core/", 5) != 0) continue;
    cuda::Compiled compiled;
    const std::string include = std::string("#include \"") + source.name + "\"\n";
    const Status status = compile(include, "sm_80", compiled);
    EXPECT_TRUE(status.ok()) << status.sentence;
    EXPECT_EQ(compiled.log, "") << source.name;
    ++headers;
  }
  EXPECT_GE(headers, 7);
}

// The tests above would prove nothing if NVRTC accepted a false static_assert or gave no warnings.
TEST_F(NvrtcTest, RefusesWrongValuesAndWarns) {
  const std::string include = "#include \"core/mask.h\"\nnamespace tilewise::core {\n";
  const std::string wrong = "static_assert(Band{.queries = 2, .keys = 2}.visible(0, 2));\n}\n";
  cuda::Compiled compiled;
  EXPECT_FALSE(compile(include + wrong, "sm_80", compiled).ok());
  const std::string unused = "__global__ void k() { int unused; }\n}\n";
  EXPECT_TRUE(compile(include + unused, "sm_80", compiled).ok());
  EXPECT_NE(compiled.log.find("unused"), std::string::npos);
}

}  // namespace
}  // namespace tilewise::core

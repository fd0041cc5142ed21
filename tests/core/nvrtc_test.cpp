// Compiles all of core with NVRTC, the GPU's run-time compiler, which has no standard headers: no
// error, no warning, and values that its own static_assert confirms. Needs no GPU.
#include <dlfcn.h>
#include <glob.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <type_traits>
#include <vector>

namespace tilewise::core {
namespace {

// All that is used of nvrtc.h: a program is an opaque pointer, a result 0 or an error's number.
using Program = void*;
struct Nvrtc {
  int (*create)(Program*, const char* source, const char* name, int headers,
                const char* const* texts, const char* const* names) = nullptr;
  int (*compile)(Program, int options, const char* const* texts) = nullptr;
  int (*log_size)(Program, size_t*) = nullptr;
  int (*log)(Program, char*) = nullptr;
  int (*cubin_size)(Program, size_t*) = nullptr;
  int (*cubin)(Program, char*) = nullptr;
  int (*destroy)(Program*) = nullptr;
  int (*version)(int* major, int* minor) = nullptr;

  bool load(void* library) {
    const auto find = [library](auto& function, const char* name) {
      function =
          reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
      return function != nullptr;
    };
    return find(create, "nvrtcCreateProgram") && find(compile, "nvrtcCompileProgram") &&
           find(log_size, "nvrtcGetProgramLogSize") && find(log, "nvrtcGetProgramLog") &&
           find(cubin_size, "nvrtcGetCUBINSize") && find(cubin, "nvrtcGetCUBIN") &&
           find(destroy, "nvrtcDestroyProgram") && find(version, "nvrtcVersion");
  }
};

std::vector<std::string> matches(const std::string& pattern) {
  glob_t found{};
  std::vector<std::string> paths;
  if (glob(pattern.c_str(), 0, nullptr, &found) == 0)
    paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  globfree(&found);
  return paths;
}

// Where NVRTC may lie: where the environment says and nowhere else; or where the loader looks, in a
// toolkit, in the packages of a Python.
std::vector<std::string> candidates() {
  if (const char* chosen = std::getenv("TILEWISE_NVRTC")) return {chosen};
  std::vector<std::string> paths;
  for (const char* name : {"libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"}) {
    paths.emplace_back(name);
    for (const char* folder : {"/usr/local/cuda/lib64/", "/usr/local/cuda/lib/"})
      paths.emplace_back(std::string(folder) + name);
  }
  const std::string package = "/lib/python3*/*-packages/nvidia/cu*/lib/libnvrtc.so.1[0-9]";
  const auto environment = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value ? value : "");
  };
  for (const std::string& root : {environment("VIRTUAL_ENV"), environment("HOME") + "/.local",
                                  std::string("/usr/local"), std::string("/usr")}) {
    const auto found = matches(root + package);
    paths.insert(paths.end(), found.begin(), found.end());
  }
  return paths;
}

// NVRTC opens a second library by its bare name when it compiles. The address sanitizer's dlopen
// does not look where NVRTC itself lies, but finds what is open already.
void open_companions(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path();
  if (folder.empty()) return;
  for (const std::string& companion : matches(folder + "/libnvrtc-builtins.so*"))
    dlopen(companion.c_str(), RTLD_NOW | RTLD_LOCAL);
}

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::filesystem::path source_folder() {
#if defined(TILEWISE_SOURCE_DIR)
  return TILEWISE_SOURCE_DIR;
#else
  return std::filesystem::path(__FILE__).parent_path().parent_path().parent_path();
#endif
}

// Every header of src/core by the name that others include it by.
struct Headers {
  std::vector<std::string> names, texts;

  Headers() {
    for (const auto& entry : std::filesystem::directory_iterator(source_folder() / "src/core")) {
      if (entry.path().extension() != ".h") continue;
      names.push_back("core/" + entry.path().filename().string());
      texts.push_back(read(entry.path()));
    }
  }
};

std::vector<const char*> pointers(const std::vector<std::string>& strings) {
  std::vector<const char*> result;
  for (const std::string& string : strings) result.push_back(string.c_str());
  return result;
}

struct Compiled {
  int result = 0;
  std::string log, cubin;
};

class NvrtcTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const std::string& path : candidates()) {
      void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (!library || !nvrtc_.load(library)) continue;
      open_companions(path);
      return;
    }
    ASSERT_EQ(std::getenv("TILEWISE_NVRTC"), nullptr) << "TILEWISE_NVRTC names no NVRTC library.";
    GTEST_SKIP() << "NVRTC was not found; set TILEWISE_NVRTC to the path of a libnvrtc.so to have "
                    "core compiled for the GPU.";
  }

  Compiled compile(const std::string& source, const char* architecture) {
    const auto names = pointers(headers_.names), texts = pointers(headers_.texts);
    Program program = nullptr;
    EXPECT_EQ(nvrtc_.create(&program, source.c_str(), "core_test.cu",
                            static_cast<int>(names.size()), texts.data(), names.data()),
              0);
    const std::string target = std::string("--gpu-architecture=") + architecture;
    const char* const options[] = {"--std=c++20", target.c_str()};
    Compiled compiled;
    compiled.result = nvrtc_.compile(program, 2, options);
    compiled.log = text(program, nvrtc_.log_size, nvrtc_.log);
    if (compiled.result == 0) compiled.cubin = text(program, nvrtc_.cubin_size, nvrtc_.cubin);
    nvrtc_.destroy(&program);
    return compiled;
  }

  const Headers headers_;
  Nvrtc nvrtc_;

 private:
  static std::string text(Program program, int (*size_of)(Program, size_t*),
                          int (*get)(Program, char*)) {
    size_t size = 0;
    EXPECT_EQ(size_of(program, &size), 0);
    std::string result(size, '\0');
    EXPECT_EQ(get(program, result.data()), 0);
    while (!result.empty() && result.back() == '\0') result.pop_back();
    return result;
  }
};

// Uses every function of every header at run time, for float and double, so that none is left out
// as an uninstantiated template.
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
  ASSERT_GE(headers_.names.size(), 7U) << "the headers were looked for in " << source_folder();
  int major = 0, minor = 0;
  ASSERT_EQ(nvrtc_.version(&major, &minor), 0);
  std::cout << "NVRTC " << major << "." << minor << "\n";
  for (const char* architecture : {"sm_80", "sm_90"}) {
    const Compiled compiled = compile(kKernel, architecture);
    ASSERT_EQ(compiled.result, 0) << compiled.log;
    EXPECT_EQ(compiled.log, "");
    EXPECT_EQ(compiled.cubin.substr(0, 4), "\177ELF");
    EXPECT_NE(compiled.cubin.find("core_test"), std::string::npos);
  }
}

// Each header includes what it needs.
TEST_F(NvrtcTest, CompilesEachHeaderAlone) {
  for (const std::string& name : headers_.names) {
    const Compiled compiled = compile("#include \"" + name + "\"\n", "sm_80");
    EXPECT_EQ(compiled.result, 0) << name << ": " << compiled.log;
    EXPECT_EQ(compiled.log, "") << name;
  }
}

// The test above would prove nothing if NVRTC took wrong values or spoke of nothing.
TEST_F(NvrtcTest, RefusesWrongValuesAndWarns) {
  const std::string include = "#include \"core/mask.h\"\nnamespace tilewise::core {\n";
  const std::string wrong = "static_assert(Band{.queries = 2, .keys = 2}.visible(0, 2));\n}\n";
  EXPECT_NE(compile(include + wrong, "sm_80").result, 0);
  const Compiled warned = compile(include + "__global__ void k() { int unused; }\n}\n", "sm_80");
  EXPECT_EQ(warned.result, 0);
  EXPECT_NE(warned.log.find("unused"), std::string::npos);
}

}  // namespace
}  // namespace tilewise::core

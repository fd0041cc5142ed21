// The whole way of a kernel, with NVRTC: compiled, kept, found again, dumped; and what can go
// wrong.
#include "backends/cuda/compiler/find.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "backends/cuda/compiler/disk_cache.h"
#include "backends/cuda/compiler/nvrtc_search.h"
#include "backends/cuda/compiler/pack.h"
#include "kernels.h"
#include "scratch_folder.h"

namespace tilewise::cuda {
namespace {

namespace fs = std::filesystem;

// So that any NVRTC will do.
constexpr int kAnyDriver = 99000;
constexpr Target kAmpere{.major = 8, .driver_version = kAnyDriver};

class FindTest : public testing::Test {
 protected:
  void SetUp() override {
    around_ = surroundings_of_environment();
    around_.cache = root_ / "cache";
    around_.dump = "";
    around_.pack = {};
    std::vector<NvrtcFile> found;
    const Status status = find_nvrtc(around_, kAnyDriver, found);
    ASSERT_TRUE(status.ok() || around_.nvrtc.empty()) << status.sentence;
    if (!status.ok()) GTEST_SKIP() << status.sentence;
    nvrtc_ = found.front();
  }

  Status find(const Variant& variant, Cubin& out) const {
    return find_cubin(variant, kAmpere, around_, out);
  }

  // Where the cubin came from.
  From source() const {
    Cubin cubin;
    const Status status = find(kTinyKernel, cubin);
    EXPECT_TRUE(status.ok()) << status.sentence;
    EXPECT_TRUE(cubin.bytes.size() > 1000 && std::memcmp(cubin.bytes.data(), "\177ELF", 4) == 0);
    return cubin.from;
  }

  ScratchFolder root_;
  Surroundings around_;
  NvrtcFile nvrtc_;
};

TEST_F(FindTest, CompilesOnceAndFindsItInTheCacheFromThenOn) {
  Cubin compiled, kept;
  ASSERT_TRUE(find(kTinyKernel, compiled).ok());
  EXPECT_EQ(compiled.from, From::kNvrtc);
  EXPECT_GT(compiled.seconds, 0);
  EXPECT_GT(compiled.resources.registers, 0);
  EXPECT_EQ(compiled.resources.local_bytes, 0);
  EXPECT_EQ(compiled.resources.spill_bytes, 0);
  ASSERT_TRUE(find(kTinyKernel, kept).ok());
  EXPECT_EQ(kept.from, From::kCache);
  EXPECT_EQ(kept.bytes, compiled.bytes);
  const std::string_view text(reinterpret_cast<const char*>(kept.bytes.data()), kept.bytes.size());
  EXPECT_NE(text.find(kTinyKernel.name), std::string_view::npos);
}

TEST_F(FindTest, KeepsWhatDiffersApart) {
  ASSERT_EQ(source(), From::kNvrtc);
  Variant other = kTinyKernel;
  Cubin cubin;
  other.threads = 128;
  ASSERT_TRUE(find(other, cubin).ok());
  EXPECT_EQ(cubin.from, From::kNvrtc);
  other = kTinyKernel;
  other.body = "*out = 1;";
  ASSERT_TRUE(find(other, cubin).ok());
  EXPECT_EQ(cubin.from, From::kNvrtc);
  for (const Target& target :
       {Target{.major = 9, .driver_version = kAnyDriver},
        Target{.major = 9, .arch_specific = true, .driver_version = kAnyDriver}}) {
    ASSERT_TRUE(find_cubin(kTinyKernel, target, around_, cubin).ok());
    EXPECT_EQ(cubin.from, From::kNvrtc);
  }
  EXPECT_EQ(source(), From::kCache);
  EXPECT_EQ(files_in(around_.cache), 5);
}

TEST_F(FindTest, ReportsLocalAndSharedMemory) {
  Cubin cubin;
  ASSERT_TRUE(find(kLocalKernel, cubin).ok());
  EXPECT_EQ(cubin.resources.local_bytes, 1600);
  EXPECT_EQ(cubin.resources.shared_bytes, 256);
}

TEST_F(FindTest, SaysWhatTheCompilerSaid) {
  Cubin cubin;
  const Status status = find(kWrongKernel, cubin);
  EXPECT_EQ(status.code, TW_FAILED);
  const std::string sentence = status.sentence;
  for (const char* part : {"wrong_test_kernel.cu", "sm_80", "no_such_word", "NVRTC"})
    EXPECT_NE(sentence.find(part), std::string::npos) << part << ": " << sentence;
  EXPECT_EQ(sentence.find('\n'), std::string::npos) << sentence;
  EXPECT_EQ(files_in(around_.cache), 0);
}

TEST_F(FindTest, SaysThatTheCompilerDoesNotKnowTheGpu) {
  Cubin cubin;
  const Target later{.major = 99, .driver_version = kAnyDriver};
  const std::string sentence = find_cubin(kTinyKernel, later, around_, cubin).sentence;
  EXPECT_NE(sentence.find("sm_990"), std::string::npos) << sentence;
}

TEST_F(FindTest, CompilesWhereNoCacheCanBe) {
  put_file(root_ / "file", "");
  fs::create_directories(root_ / "open");
  chmod((root_ / "open").c_str(), 0777);
  fs::create_symlink(root_ / "open", root_ / "link");
  for (const std::string& folder :
       {std::string(), std::string("relative"), root_ / "file", root_ / "file/x", root_ / "open",
        root_ / "link", std::string("/proc/none"), std::string("/"), root_ / ".."}) {
    around_.cache = folder;
    EXPECT_EQ(source(), From::kNvrtc) << folder;
  }
  EXPECT_EQ(files_in(root_ / "open"), 0);
}

TEST_F(FindTest, CompilesAgainWhatIsDamagedAndMendsIt) {
  ASSERT_EQ(source(), From::kNvrtc);
  const std::string file = fs::directory_iterator(around_.cache)->path();
  std::string text = file_text(file);
  text[text.size() / 2] = static_cast<char>(text[text.size() / 2] ^ 4);
  put_file(file, text);
  EXPECT_EQ(source(), From::kNvrtc);
  EXPECT_EQ(source(), From::kCache);
}

TEST_F(FindTest, WorksInManyProcessesAndThreadsAtOnce) {
  constexpr int kProcesses = 3, kThreads = 3;
  pid_t children[kProcesses];
  for (pid_t& child : children) {
    child = fork();
    if (child != 0) continue;
    bool good[kThreads] = {};
    std::vector<std::thread> threads;
    for (bool& one : good)
      threads.emplace_back([this, &one] {
        Cubin cubin;
        one = find(kTinyKernel, cubin).ok() && cubin.bytes.size() > 1000;
      });
    for (std::thread& thread : threads) thread.join();
    _exit(good[0] && good[1] && good[2] ? 0 : 1);
  }
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(files_in(around_.cache), 1);
  EXPECT_EQ(source(), From::kCache);
}

TEST_F(FindTest, LeavesTextPtxAndACubinWithLines) {
  ASSERT_EQ(source(), From::kNvrtc);
  const From before = source();
  ASSERT_EQ(before, From::kCache);
  around_.dump = root_ / "dump";
  EXPECT_EQ(source(), From::kNvrtc) << "what is in the cache knows no lines";
  const std::string stem = root_ / "dump/tiny_test_kernel";
  EXPECT_NE(file_text(stem + ".cu").find("#include \"core/mask.h\""), std::string::npos);
  EXPECT_NE(file_text(stem + ".sm_80.ptx").find(".entry tiny_test_kernel"), std::string::npos);
  const std::string cubin = file_text(stem + ".sm_80.cubin");
  EXPECT_NE(cubin.find(".debug_line"), std::string::npos);
  EXPECT_NE(cubin.find(root_ / "dump/core"), std::string::npos) << "the headers' lines lie there";
  EXPECT_TRUE(fs::exists(root_ / "dump/core/mask.h"));
  EXPECT_EQ(source(), From::kNvrtc) << "a second time all is there already";
  around_.dump = "";
  EXPECT_EQ(source(), From::kCache);
}

// With a folder for dumps a kernel is compiled even if the pack has it.
TEST_F(FindTest, PassesByThePackWhenItDumps) {
  Packed packed{&kTinyKernel, {.major = 8}, {}};
  ASSERT_TRUE(find(kTinyKernel, packed.cubin).ok());
  const std::vector<std::byte> pack = write_pack(std::span(&packed, 1), 12080);
  around_.pack = pack;
  EXPECT_EQ(source(), From::kPack);
  around_.dump = root_ / "dump";
  EXPECT_EQ(source(), From::kNvrtc);
}

TEST_F(FindTest, SaysThatItCannotDump) {
  put_file(root_ / "file", "");
  around_.dump = root_ / "file";
  Cubin cubin;
  const std::string sentence = find(kTinyKernel, cubin).sentence;
  EXPECT_NE(sentence.find("TILEWISE_DUMP is " + (root_ / "file")), std::string::npos) << sentence;
}

// The folder's path becomes part of the text that is compiled.
TEST_F(FindTest, RefusesAFolderForDumpsWhoseNameEndsATextOrALine) {
  for (const char* name : {"a\"b", "a\nb"}) {
    around_.dump = root_ / name;
    Cubin cubin;
    const std::string sentence = find(kTinyKernel, cubin).sentence;
    EXPECT_NE(sentence.find("has a quotation mark or the end of a line in it"), std::string::npos)
        << sentence;
  }
}

TEST_F(FindTest, SaysThatADumpIsLargerThanTheProcessMayWrite) {
  around_.dump = root_ / "dump";
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit{100, 100};
    Cubin cubin;
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(1);
    const std::string sentence = find(kTinyKernel, cubin).sentence;
    _exit(sentence.find("raise its limit (ulimit -f)") != std::string::npos ? 0 : 2);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(FindTest, TakesTheNextWhenOneCannotBeOpened) {
  put_file(root_ / "broken/libnvrtc.so.98", "this is no library");
  put_file(root_ / "broken/libnvrtc.so.19", "this is no library");
  around_.places.insert(around_.places.begin(), root_ / "broken");
  if (around_.nvrtc.empty()) {
    EXPECT_EQ(source(), From::kNvrtc);
    EXPECT_EQ(source(), From::kCache);
  }
  around_.places = {root_ / "broken"};
  around_.nvrtc = "";
  around_.by_name = false;
  around_.cache = "";  // which has it
  Cubin cubin;
  const std::string sentence = find(kTinyKernel, cubin).sentence;
  EXPECT_NE(sentence.find("NVRTC cannot be opened: " + (root_ / "broken")), std::string::npos)
      << sentence;
}

// Neither the file's name nor a second library beside it tells the version, so NVRTC itself is
// asked. The cache then has the kernel.
TEST_F(FindTest, AsksTheLibraryWhereNoFileTellsTheVersion) {
  if (nvrtc_.path.find('/') == std::string::npos) GTEST_SKIP() << "NVRTC was found by name.";
  fs::create_symlink(fs::canonical(nvrtc_.path), root_ / "libnvrtc-renamed.so");
  ASSERT_EQ(source(), From::kNvrtc);
  around_.nvrtc = root_ / "libnvrtc-renamed.so";
  EXPECT_EQ(source(), From::kCache);
}

TEST(Nvrtc, IsNotWhatLacksItsFunctions) {
  Surroundings around;
  around.nvrtc = "libm.so.6";
  Cubin cubin;
  const std::string sentence = find_cubin(kTinyKernel, kAmpere, around, cubin).sentence;
  EXPECT_NE(sentence.find("libm.so.6 is no NVRTC"), std::string::npos) << sentence;
}

TEST_F(FindTest, FindsSeveralAtTheSameTime) {
  Variant other = kTinyKernel;
  other.threads = 128;
  const Variant* variants[] = {&kTinyKernel, &other, &kTinyKernel, &kLocalKernel};
  Cubin cubins[4];
  const Status status = find_cubins(variants, kAmpere, around_, cubins);
  ASSERT_TRUE(status.ok()) << status.sentence;
  EXPECT_EQ(cubins[0].bytes, cubins[2].bytes);
  EXPECT_NE(cubins[0].bytes, cubins[1].bytes);
  EXPECT_EQ(cubins[3].resources.local_bytes, 1600);
  EXPECT_EQ(files_in(around_.cache), 3);
  variants[2] = &kWrongKernel;
  const std::string sentence = find_cubins(variants, kAmpere, around_, cubins).sentence;
  EXPECT_NE(sentence.find("wrong_test_kernel"), std::string::npos) << sentence;
}

}  // namespace
}  // namespace tilewise::cuda

// Where a call gets its kernels: the pack, the cache or NVRTC, here the one of fake_nvrtc.cpp. What
// Stock says of it is what a call does.
#include "backends/cuda/compiler/stock.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "backends/cuda/compiler/find.h"
#include "backends/cuda/compiler/program.h"
#include "kernels.h"
#include "scratch_folder.h"

namespace tilewise::cuda {
namespace {

constexpr Target kHopper{.major = 9, .driver_version = 12080};
constexpr const Variant* kBoth[] = {&kTinyKernel, &kLocalKernel};

class StockTest : public testing::Test {
 protected:
  void SetUp() override {
    around_.by_name = false;
    around_.cache = root_ / "cache";
  }

  void install_nvrtc() { install("", "12.8"); }

  // Into a folder of its own, with the second library of that version. See fake_nvrtc.cpp for what
  // the folder's name means.
  std::string install(const std::string& folder, const char* builtins,
                      const char* from = TILEWISE_FAKE_NVRTC) {
    const std::string place = folder.empty() ? root_.path() : root_ / folder;
    std::filesystem::create_directories(place);
    std::filesystem::copy_file(from, place + "/libnvrtc.so.12");
    if (*builtins) put_file(place + "/libnvrtc-builtins.so." + builtins, "");
    around_.places.push_back(place);
    return place + "/libnvrtc.so.12";
  }

  // The same with a file that is no library.
  void install_rubbish(const std::string& folder, const char* builtins) {
    put_file(root_ / "rubbish", "this is no library");
    install(folder, builtins, (root_ / "rubbish").c_str());
  }

  Status find(const Variant& variant, Cubin& cubin) const {
    return find_cubin(variant, kHopper, around_, cubin);
  }

  // As if it had been compiled by that NVRTC.
  void keep(const Variant& variant) {
    std::vector<NvrtcFile> files;
    ASSERT_TRUE(find_nvrtc(around_, 12080, files).ok());
    const CacheKey key = cache_key_of(program_of(variant, kHopper), files.front());
    ASSERT_TRUE(DiskCache(around_.cache).store(key, some_cubin()));
  }

  void pack(const Variant& variant, bool is_ptx = false) {
    Packed item{&variant, {.major = is_ptx ? 8 : 9}, some_cubin()};
    item.cubin.is_ptx = is_ptx;
    pack_ = write_pack(std::span(&item, 1), 12080);
    around_.pack = pack_;
  }

  static Cubin some_cubin() {
    Cubin cubin;
    cubin.bytes.assign(100, std::byte{1});
    return cubin;
  }

  std::string only_file() const {
    return std::filesystem::directory_iterator(around_.cache)->path().filename();
  }

  std::string origin() const { return Stock(around_, 12080).origin(kBoth, kHopper); }

  ScratchFolder root_;
  Surroundings around_;
  std::vector<std::byte> pack_;
};

TEST_F(StockTest, SaysThatThereIsNothingAndWhatToInstall) {
  const Stock stock(around_, 12080);
  Cubin cubin;
  EXPECT_FALSE(stock.find(kTinyKernel, kHopper, cubin));
  EXPECT_EQ(stock.nvrtc(kHopper), "");
  EXPECT_NE(stock.why_not_compiled(kHopper).find("pip install"), std::string::npos);
  const std::string text = origin();
  EXPECT_EQ(text.find("2 cannot be had, so that the call fails. NVRTC, "), 0U) << text;
  EXPECT_NE(text.find("pip install nvidia-cuda-nvrtc-cu12"), std::string::npos) << text;
  EXPECT_FALSE(std::filesystem::exists(around_.cache)) << "it was only looked at";
}

TEST_F(StockTest, SaysThatTheBuildLeftOutAPack) {
  const std::string line = "tilewise pack of other kernels\n";
  around_.pack = std::as_bytes(std::span(line));
  EXPECT_TRUE(origin().ends_with(
      "; the build left out a pack of other kernels: run ./dev pack and build again"))
      << origin();
}

TEST_F(StockTest, NamesNvrtcByVersionAndPath) {
  install_nvrtc();
  const std::string nvrtc = "12.8 (" + (root_ / "libnvrtc.so.12") + ")";
  EXPECT_EQ(Stock(around_, 12080).nvrtc(kHopper), nvrtc);
  EXPECT_EQ(origin(), "2 that NVRTC " + nvrtc + " compiles at the first call, to be kept in " +
                          around_.cache);
  around_.cache = "";
  EXPECT_NE(origin().find("first call of each process: there is no cache. "), std::string::npos)
      << origin();
  around_.dump = root_ / "dump";
  EXPECT_NE(origin().find("TILEWISE_DUMP"), std::string::npos) << origin();
}

TEST_F(StockTest, FindsWhatIsInTheCache) {
  install_nvrtc();
  keep(kTinyKernel);
  Cubin cubin;
  const Stock stock(around_, 12080);
  ASSERT_TRUE(stock.find(kTinyKernel, kHopper, cubin));
  EXPECT_EQ(cubin.from, From::kCache);
  EXPECT_FALSE(stock.find(kLocalKernel, kHopper, cubin));
  const std::string text = origin();
  EXPECT_EQ(text.find("1 in the cache " + around_.cache + ", compiled by NVRTC 12.8 ("), 0U)
      << text;
  EXPECT_NE(text.find("; 1 that NVRTC 12.8 ("), std::string::npos) << text;
}

TEST_F(StockTest, FindsWhatIsInThePackFirst) {
  install_nvrtc();
  keep(kTinyKernel);
  pack(kTinyKernel);
  Cubin cubin;
  ASSERT_TRUE(Stock(around_, 12080).find(kTinyKernel, kHopper, cubin));
  EXPECT_EQ(cubin.from, From::kPack);
  EXPECT_EQ(origin().find("1 in the library's pack; 1 that NVRTC"), 0U) << origin();
}

TEST_F(StockTest, TakesPtxOnlyWhereThereIsNoNvrtc) {
  pack(kTinyKernel, true);
  Cubin cubin;
  ASSERT_TRUE(Stock(around_, 12080).find(kTinyKernel, kHopper, cubin));
  EXPECT_TRUE(cubin.is_ptx);
  EXPECT_NE(origin().find("as PTX, which the driver compiles"), std::string::npos) << origin();
  install_nvrtc();
  EXPECT_FALSE(Stock(around_, 12080).find(kTinyKernel, kHopper, cubin));
}

// If the NVRTC here does not know the GPU, a call takes PTX of the pack, and Stock says so.
TEST_F(StockTest, TakesPtxWhereNvrtcDoesNotKnowTheGpu) {
  const Target newer{.major = 10, .minor = 3, .driver_version = 13000};
  install_nvrtc();
  pack(kTinyKernel, true);
  Cubin told, found;
  const Stock stock(around_, 13000);
  ASSERT_TRUE(stock.find(kTinyKernel, newer, told));
  EXPECT_TRUE(told.is_ptx);
  ASSERT_TRUE(find_cubin(kTinyKernel, newer, around_, found).ok()) << "it opened the file";
  EXPECT_TRUE(found.is_ptx);
  EXPECT_FALSE(stock.find(kLocalKernel, newer, told));
  const std::string why = stock.why_not_compiled(newer);
  EXPECT_EQ(why, "NVRTC 12.8 (" + (root_ / "libnvrtc.so.12") +
                     ") does not know sm_103: install a newer one, from 12.9 on, that is not newer "
                     "than the driver.");
  EXPECT_EQ(stock.origin(kBoth, newer),
            "1 in the library's pack as PTX, which the driver compiles; 1 cannot be had, so that "
            "the call fails. " +
                why);
  EXPECT_NE(std::string(find_cubin(kLocalKernel, newer, around_, found).sentence).find(why),
            std::string::npos);
  // With a folder for dumps nothing is taken from the pack.
  around_.dump = root_ / "dump";
  EXPECT_FALSE(find_cubin(kTinyKernel, newer, around_, found).ok());
}

TEST_F(StockTest, SaysThatThePackIsNewerThanTheDriver) {
  Packed item{&kTinyKernel, {.major = 9}, some_cubin()};
  pack_ = write_pack(std::span(&item, 1), 13000);
  around_.pack = pack_;
  const std::string why =
      "The pack was compiled by NVRTC 13.0, and a driver of CUDA 12.8 cannot load that. ";
  EXPECT_NE(origin().find(why), std::string::npos) << origin();
  Cubin cubin;
  const std::string said = find_cubin(kTinyKernel, kHopper, around_, cubin).sentence;
  EXPECT_NE(said.find(why + "NVRTC, the GPU's"), std::string::npos) << said;
}

// The file's name says no version. The library says it once it is open.
TEST_F(StockTest, TakesNoUnnamedVersionThatIsNewerThanTheDriver) {
  const std::string file = root_ / "thirteen/libnvrtc.so";
  std::filesystem::create_directories(root_ / "thirteen");
  std::filesystem::copy_file(TILEWISE_FAKE_NVRTC, file);
  around_.nvrtc = file;
  Cubin cubin;
  const std::string why = "NVRTC 13.0 (" + file + ") is newer than the driver";
  const std::string said = find_cubin(kTinyKernel, kHopper, around_, cubin).sentence;
  EXPECT_NE(said.find(why), std::string::npos) << said;
  const Stock stock(around_, 12080);
  EXPECT_EQ(stock.why_not_compiled(kHopper).find(why), 0U) << stock.why_not_compiled(kHopper);
}

// An NVRTC without its second library can be opened, but compiles nothing.
TEST_F(StockTest, TakesTheNextWhereTheSecondLibraryIsMissing) {
  install("alone", "");
  const std::string whole = install("whole", "");
  Cubin cubin;
  EXPECT_EQ(Stock(around_, 12080).nvrtc(kHopper), "12.8 (" + whole + ")");
  const Status status = find(kTinyKernel, cubin);
  EXPECT_TRUE(status.ok()) << status.sentence;
  around_.places.pop_back();
  const std::string why = "compiles nothing without libnvrtc-builtins.so.12.8";
  const std::string said = find(kLocalKernel, cubin).sentence;
  EXPECT_NE(said.find(why), std::string::npos) << said;
  const std::string told = origin();
  EXPECT_NE(told.find("1 cannot be had, so that the call fails. NVRTC 12.8 ("), std::string::npos)
      << told;
  EXPECT_NE(told.find(why), std::string::npos) << told;
  // Then a call takes PTX, and Stock says so.
  pack(kLocalKernel, true);
  ASSERT_TRUE(Stock(around_, 12080).find(kLocalKernel, kHopper, cubin));
  EXPECT_TRUE(cubin.is_ptx);
}

TEST_F(StockTest, TakesTheNextWhereOneFailsForItsOwnReasons) {
  install("unwilling", "12.8");
  Cubin cubin;
  EXPECT_NE(std::string(find(kTinyKernel, cubin).sentence).find("(error 11)"), std::string::npos);
  const std::string willing = install("willing", "12.8");
  EXPECT_EQ(Stock(around_, 12080).nvrtc(kHopper), "12.8 (" + willing + ")");
  const Status status = find(kTinyKernel, cubin);
  EXPECT_TRUE(status.ok()) << status.sentence;
}

// If a good NVRTC follows a bad one, the good one is taken, and Stock reports nothing of the other.
TEST_F(StockTest, ForgetsWhatWasWrongWithTheOneBefore) {
  install_rubbish("first", "");
  const std::string good = install("second", "");
  const std::string nvrtc = "12.8 (" + good + ")";
  EXPECT_EQ(Stock(around_, 12080).nvrtc(kHopper), nvrtc);
  EXPECT_EQ(Stock(around_, 12080).why_not_compiled(kHopper), "");
  EXPECT_EQ(origin().find("2 that NVRTC " + nvrtc + " compiles"), 0U) << origin();
}

// By its name it is the newest. Then the cache has what the next one compiled.
TEST_F(StockTest, CountsNoneThatDoesNotOpen) {
  install_rubbish("newest", "12.9");
  const std::string nvrtc = "12.8 (" + install("next", "12.8") + ")";
  EXPECT_EQ(Stock(around_, 12080).nvrtc(kHopper), nvrtc);
  Cubin cubin;
  for (const From from : {From::kNvrtc, From::kCache}) {
    ASSERT_TRUE(find(kTinyKernel, cubin).ok());
    EXPECT_EQ(cubin.from, from);
    ASSERT_TRUE(Stock(around_, 12080).find(kTinyKernel, kHopper, cubin));
    EXPECT_EQ(cubin.from, From::kCache);
  }
  EXPECT_EQ(origin().find("1 in the cache " + around_.cache + ", compiled by NVRTC " + nvrtc), 0U)
      << origin();
}

// The second library of another release lies beside it.
TEST_F(StockTest, AsksTheLibraryItselfForItsVersion) {
  const std::string file = install("mixed", "12.9");
  EXPECT_EQ(Stock(around_, 12080).nvrtc(kHopper), "12.8 (" + file + ")");
  Cubin cubin;
  ASSERT_TRUE(find(kTinyKernel, cubin).ok());
  EXPECT_EQ(file_text(around_.cache + "/" + only_file()).empty(), false);
  EXPECT_NE(only_file().find("-12080-"), std::string::npos) << only_file();
  ASSERT_TRUE(Stock(around_, 12080).find(kTinyKernel, kHopper, cubin));
}

// Compiled on another machine, or by a package that is gone.
TEST_F(StockTest, TakesFromTheCacheWhatNoNvrtcHereHasCompiled) {
  install_nvrtc();
  Cubin cubin;
  ASSERT_TRUE(find(kTinyKernel, cubin).ok());
  around_.places.clear();
  pack(kTinyKernel, true);
  ASSERT_TRUE(Stock(around_, 13000).find(kTinyKernel, kHopper, cubin));
  EXPECT_EQ(cubin.from, From::kCache);
  const Status status = find(kTinyKernel, cubin);
  ASSERT_TRUE(status.ok()) << status.sentence;
  EXPECT_EQ(cubin.from, From::kCache);
  EXPECT_EQ(origin().find("1 in the cache " + around_.cache +
                          ", compiled by NVRTC 12.8, which is not here; 1 cannot be had"),
            0U)
      << origin();
  // A driver that cannot load it does not get it.
  Target older = kHopper;
  older.driver_version = 11080;
  EXPECT_FALSE(find_cubin(kTinyKernel, older, around_, cubin).ok());
}

// Opening a pipe would wait for somebody to write.
TEST_F(StockTest, OpensNoPipe) {
  const std::string file = install("piped", "");
  ASSERT_EQ(mkfifo((root_ / "piped/libnvrtc-builtins.so.12.8").c_str(), 0600), 0);
  EXPECT_EQ(Stock(around_, 12080).nvrtc(kHopper), "12.8 (" + file + ")");
}

// An interrupted installation leaves such files, and the loader would end the process.
TEST_F(StockTest, OpensNoNvrtcThatIsCutShort) {
  const std::string file = root_ / "cut/libnvrtc.so.12";
  std::filesystem::create_directories(root_ / "cut");
  std::filesystem::copy_file(TILEWISE_FAKE_NVRTC, file);
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 8);
  around_.places = {root_ / "cut"};
  Cubin cubin;
  const std::string said = find_cubin(kTinyKernel, kHopper, around_, cubin).sentence;
  EXPECT_NE(said.find(file + " is cut short or no file: install it again."), std::string::npos)
      << said;
}

// No file's name says the version, so the library would have to. But it is no library.
TEST_F(StockTest, PassesByWhatCannotBeOpened) {
  put_file(root_ / "libnvrtc.so.12", "this is no library");
  around_.places = {root_.path()};
  const Stock stock(around_, 12080);
  EXPECT_EQ(stock.nvrtc(kHopper), "");
  EXPECT_NE(stock.why_not_compiled(kHopper).find("cannot be opened"), std::string::npos);
}

}  // namespace
}  // namespace tilewise::cuda

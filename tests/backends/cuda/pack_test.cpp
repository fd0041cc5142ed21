#include "backends/cuda/compiler/pack.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "backends/cuda/compiler/find.h"
#include "backends/cuda/compiler/sources.h"
#include "kernels.h"

namespace tilewise::cuda {
namespace {

Target gpu(int major, int minor, bool arch_specific = false, int driver_version = 13000) {
  return {.major = major,
          .minor = minor,
          .arch_specific = arch_specific,
          .driver_version = driver_version};
}

// Bytes of a pack's head, and where it has the hash of its sources.
constexpr std::size_t kHead = 128, kSources = 48;

// No cubin, but bytes that tell which of the pack they are.
Packed item(const Variant& variant, Target target, const char* text, bool is_ptx = false) {
  Packed made{&variant, target, {}};
  const auto* bytes = reinterpret_cast<const std::byte*>(text);
  made.cubin.bytes.assign(bytes, bytes + std::strlen(text) + 1);
  made.cubin.is_ptx = is_ptx;
  made.cubin.resources.registers = 40;
  return made;
}

class PackTest : public testing::Test {
 protected:
  std::string found(Target target, Form form = Form::kCubin,
                    const Variant& variant = kTinyKernel) const {
    Cubin cubin;
    if (!Pack(bytes_).find(variant, target, form, cubin)) return "nothing";
    EXPECT_EQ(cubin.from, From::kPack);
    EXPECT_EQ(cubin.is_ptx, form == Form::kPtx);
    EXPECT_EQ(cubin.resources.registers, 40);
    return reinterpret_cast<const char*>(cubin.bytes.data());
  }

  std::vector<Packed> items_{
      item(kTinyKernel, gpu(8, 0), "80"),        item(kTinyKernel, gpu(9, 0), "90"),
      item(kTinyKernel, gpu(9, 0, true), "90a"), item(kTinyKernel, gpu(10, 0), "100"),
      item(kTinyKernel, gpu(12, 0), "120"),      item(kTinyKernel, gpu(8, 0), "ptx", true),
      item(kLocalKernel, gpu(8, 0), "local"),    item(kTinyKernel, gpu(8, 6), "86")};
  std::vector<std::byte> bytes_ = write_pack(items_, 12080);
};

TEST_F(PackTest, GivesTheNewestCubinThatRunsOnTheGpu) {
  EXPECT_EQ(found(gpu(8, 0)), "80");
  EXPECT_EQ(found(gpu(8, 6)), "86");
  EXPECT_EQ(found(gpu(8, 9)), "86");
  EXPECT_EQ(found(gpu(9, 0)), "90");
  EXPECT_EQ(found(gpu(10, 3)), "100");
  EXPECT_EQ(found(gpu(12, 1)), "120");
  EXPECT_EQ(found(gpu(8, 0), Form::kCubin, kLocalKernel), "local");
}

// A kernel for bfloat16 is stored as its differences from the one for float16, in whatever order
// the two come.
TEST_F(PackTest, SqueezesKernelsForBothHalfTypesTogether) {
  Variant narrow = kTinyKernel, wide = kTinyKernel;
  narrow.name = "of_float16_64", wide.name = "of_bfloat16_64";
  std::string text;
  for (int i = 0; i < 4000; ++i) text += static_cast<char>('a' + i * i % 7 * (i % 11) % 26);
  const std::string other = "b" + text.substr(1);
  const Packed both[] = {item(wide, gpu(9, 0), other.c_str()),
                         item(narrow, gpu(9, 0), text.c_str()),
                         item(wide, gpu(8, 0), other.c_str())};
  const auto squeezed = [&](std::size_t first, std::size_t count) {
    return write_pack(std::span(both).subspan(first, count), 12080).size();
  };
  EXPECT_LT(squeezed(0, 2), squeezed(1, 1) + 400);
  bytes_ = write_pack(both, 12080);
  EXPECT_EQ(found(gpu(9, 0), Form::kCubin, narrow), text);
  EXPECT_EQ(found(gpu(9, 0), Form::kCubin, wide), other);
  EXPECT_EQ(found(gpu(8, 0), Form::kCubin, wide), other);
}

TEST_F(PackTest, GivesNoCubinOfAnotherMajor) {
  EXPECT_EQ(found(gpu(11, 0)), "nothing");
  EXPECT_EQ(found(gpu(7, 5)), "nothing");
  EXPECT_EQ(found(gpu(13, 0)), "nothing");
}

TEST_F(PackTest, GivesWhatIsForOneGpuToThatOneAlone) {
  EXPECT_EQ(found(gpu(9, 0, true)), "90a");
  EXPECT_EQ(found(gpu(8, 0, true)), "nothing");
  EXPECT_EQ(found(gpu(10, 0, true)), "nothing");
}

TEST_F(PackTest, GivesPtxToEveryLaterGpu) {
  EXPECT_EQ(found(gpu(13, 0), Form::kPtx), "ptx");
  EXPECT_EQ(found(gpu(8, 0), Form::kPtx), "ptx");
  EXPECT_EQ(found(gpu(7, 5), Form::kPtx), "nothing");
}

TEST_F(PackTest, GivesNothingThatTheDriverCannotLoad) {
  bytes_ = write_pack(items_, 13000);
  EXPECT_EQ(found(gpu(9, 0, false, 12080)), "nothing");
  EXPECT_EQ(found(gpu(9, 0, false, 13000)), "90");
  bytes_ = write_pack(items_, 12080);
  EXPECT_EQ(found(gpu(9, 0, false, 12020)), "90") << "an older minor loads a cubin";
  EXPECT_EQ(found(gpu(13, 0, false, 12020), Form::kPtx), "nothing") << "but no newer PTX";
}

// The text of a kernel changed since the pack was made.
TEST_F(PackTest, GivesNoCubinOfAnotherText) {
  Variant changed = kTinyKernel;
  changed.body = "*out = 0;";
  EXPECT_EQ(found(gpu(9, 0), Form::kCubin, changed), "nothing");
  changed = kTinyKernel;
  changed.threads = 128;
  EXPECT_EQ(found(gpu(9, 0), Form::kCubin, changed), "nothing");
}

TEST_F(PackTest, GivesNoWrongByteOfADamagedPack) {
  const std::vector<std::byte> whole = bytes_;
  int unharmed = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    bytes_[at] ^= std::byte{1};
    const std::string got = found(gpu(9, 0));
    EXPECT_TRUE(got == "nothing" || got == "90") << "byte " << at << ": " << got;
    unharmed += got == "90";
    bytes_[at] = whole[at];
  }
  // A kernel is found as long as the head, the index and its own bytes are whole.
  const PackEntry own = Pack(whole).entries()[1];
  EXPECT_EQ(own.major, 9);
  EXPECT_GE(unharmed,
            static_cast<int>(whole.size() - kHead - sizeof own * items_.size() - own.bytes));
}

TEST_F(PackTest, IsEmptyWhenOneBitOfItsIndexIsChanged) {
  const std::size_t index = kHead + sizeof(PackEntry) * items_.size();
  for (std::size_t at = 0; at < index; ++at) {
    bytes_[at] ^= std::byte{1};
    EXPECT_TRUE(Pack(bytes_).entries().empty()) << "byte " << at;
    bytes_[at] ^= std::byte{1};
  }
}

TEST_F(PackTest, IsEmptyWhenItIsCutShort) {
  for (std::size_t bytes = 0; bytes < bytes_.size(); bytes += 7)
    EXPECT_TRUE(Pack(std::span(bytes_).first(bytes)).entries().empty()) << bytes;
  EXPECT_EQ(Pack(bytes_).entries().size(), items_.size());
  EXPECT_EQ(Pack(bytes_).nvrtc_version(), 12080);
}

// cmake/take_pack.cmake compares these, and leaves a line where they differ.
TEST_F(PackTest, CarriesTheHashOfItsSources) {
  const std::string held(reinterpret_cast<const char*>(bytes_.data()) + kSources, 64);
  EXPECT_EQ(held, packed_hash());
  EXPECT_NE(held, embedded_hash());
  EXPECT_FALSE(Pack(bytes_).is_of_others());
  EXPECT_FALSE(Pack({}).is_of_others());
  const std::string line = "tilewise pack of other kernels\n";
  const Pack left_out(std::as_bytes(std::span(line)));
  EXPECT_TRUE(left_out.is_of_others());
  EXPECT_TRUE(left_out.entries().empty());
}

TEST_F(PackTest, IsEmptyWhenItsSourcesAreOthers) {
  bytes_ = write_pack(items_, 12080);
  bytes_[kSources] ^= std::byte{1};
  const std::size_t end = kHead + sizeof(PackEntry) * items_.size();
  const Digest digest = Sha256().add(bytes_.data() + kSources, end - kSources).digest();
  std::memcpy(bytes_.data() + 16, digest.data(), digest.size());
  EXPECT_TRUE(Pack(bytes_).is_of_others());
  EXPECT_TRUE(Pack(bytes_).entries().empty());
  EXPECT_EQ(found(gpu(9, 0)), "nothing");
}

TEST_F(PackTest, IsLookedAtFirstAndNeedsNoNvrtc) {
  Surroundings around;
  around.by_name = false;
  around.pack = bytes_;
  Cubin cubin;
  ASSERT_TRUE(find_cubin(kTinyKernel, gpu(9, 0), around, cubin).ok());
  EXPECT_EQ(cubin.from, From::kPack);
  EXPECT_FALSE(cubin.is_ptx);
  ASSERT_TRUE(find_cubin(kTinyKernel, gpu(13, 0), around, cubin).ok());
  EXPECT_TRUE(cubin.is_ptx);
  const Status status = find_cubin(kWrongKernel, gpu(9, 0), around, cubin);
  EXPECT_EQ(status.code, TW_FAILED);
  const std::string sentence = status.sentence;
  EXPECT_NE(sentence.find("wrong_test_kernel for sm_90"), std::string::npos) << sentence;
  EXPECT_NE(sentence.find("pip install"), std::string::npos) << sentence;
}

// The pack that this library was built with, if any, has every variant for each of its GPUs.
TEST(BuiltInPack, HoldsEveryVariantForItsTargets) {
  const Pack pack(built_in_pack());
  for (const PackEntry& entry : pack.entries()) {
    for (const Variant& variant : packed_variants()) {
      Cubin cubin;
      const Target asked = gpu(entry.major, entry.minor);
      EXPECT_TRUE(pack.find(variant, asked, entry.is_ptx ? Form::kPtx : Form::kCubin, cubin))
          << variant.name << " is missing for sm_" << entry.major << entry.minor
          << ": make the pack again with ./dev pack";
    }
  }
}

TEST(Variants, HaveNamesOfTheirOwn) {
  std::set<std::string> names;
  for (const Variant& variant : packed_variants()) {
    EXPECT_TRUE(names.insert(variant.name).second) << variant.name;
    EXPECT_LT(std::strlen(variant.name), sizeof PackEntry::name);
    EXPECT_TRUE(std::string(variant.name).starts_with("tilewise_")) << variant.name;
  }
  EXPECT_GE(names.size(), 17U);
}

}  // namespace
}  // namespace tilewise::cuda

#include "backends/cuda/compiler/sources.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>

#include "backends/cuda/compiler/sha256.h"
#include "scratch_folder.h"

namespace tilewise::cuda {
namespace {

namespace fs = std::filesystem;

fs::path source_root() {
  return fs::path(TILEWISE_SOURCE_DIR) / "src";
}

std::set<std::string> headers_below(const std::string& folder) {
  std::set<std::string> names;
  if (!fs::exists(source_root() / folder)) return names;
  for (const auto& entry : fs::recursive_directory_iterator(source_root() / folder))
    if (entry.path().extension() == ".h")
      names.insert(fs::relative(entry.path(), source_root()).string());
  return names;
}

TEST(Sources, AreAllHeadersThatAKernelMayInclude) {
  std::set<std::string> wanted = headers_below("core"), embedded;
  wanted.merge(headers_below("backends/cuda/device"));
  wanted.merge(headers_below("backends/cuda/kernels"));
  for (const Source& source : embedded_sources()) embedded.insert(source.name);
  EXPECT_EQ(embedded, wanted);
  EXPECT_TRUE(embedded.contains("core/mask.h"));
}

TEST(Sources, AreTheFilesByteByByte) {
  for (const Source& source : embedded_sources())
    EXPECT_EQ(source.text, file_text(source_root() / source.name)) << source.name;
}

TEST(Sources, HaveTheHashOfAllTheirNamesAndTexts) {
  std::string all;
  for (const Source& source : embedded_sources())
    all += std::string(source.name) + "\n" + source.text;
  EXPECT_EQ(embedded_hash(), hexadecimal(Sha256().add(all.data(), all.size()).digest()));
}

}  // namespace
}  // namespace tilewise::cuda

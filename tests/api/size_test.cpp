// The library stays small: 4 MB, and with the kernels that it may carry 12.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "tilewise/tilewise.hpp"

namespace tilewise {
namespace {

constexpr std::uintmax_t kMegabyte = 1000 * 1000;

// The size of the pack in the library that this program runs with.
std::uintmax_t pack_bytes() {
  std::string json;
  EXPECT_TRUE(kernels(json, {"tilewise_plain_merge", "sm_80", 12080}, TW_JSON).ok());
  const std::string pack = "\"pack\": {", bytes = "\"bytes\": ";
  const std::size_t begin = json.find(pack);
  return begin == std::string::npos
             ? 0
             : std::strtoull(json.c_str() + json.find(bytes, begin) + bytes.size(), nullptr, 10);
}

TEST(Library, IsSmall) {
#if !defined(NDEBUG)
  GTEST_SKIP() << "Only what is released has to be.";
#endif
  const std::uintmax_t all = std::filesystem::file_size(TILEWISE_SHARED_LIBRARY);
  EXPECT_LE(all, 12 * kMegabyte);
  EXPECT_LE(all - pack_bytes(), 4 * kMegabyte);
}

}  // namespace
}  // namespace tilewise

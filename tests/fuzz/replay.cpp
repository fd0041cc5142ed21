// Runs files through a fuzz target without a fuzzer: each argument is a file, or a folder of them.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

void replay(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), {});
  // Said first, so that a crash has a name.
  std::printf("%s\n", path.c_str());
  std::fflush(stdout);
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

}  // namespace

int main(int count, char** words) {
  int files = 0;
  for (int n = 1; n < count; ++n) {
    if (!std::filesystem::is_directory(words[n])) {
      replay(words[n]);
      ++files;
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(words[n])) {
      replay(entry.path());
      ++files;
    }
  }
  if (files == 0)
    std::fputs("There is nothing to replay: name files or a folder of them.\n", stderr);
  return files > 0 ? 0 : 1;
}

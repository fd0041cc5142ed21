// The functions about the GPU's kernels. The environment is read once, so each test has a process
// of its own, with a cache of its own and no NVRTC but where it says so.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "tilewise/tilewise.hpp"

namespace tilewise {
namespace {

namespace fs = std::filesystem;

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class Kernels : public testing::Test {
 protected:
  Kernels() : folder_(testing::TempDir() + "/tilewise-kernels-XXXXXX") {
    if (!mkdtemp(folder_.data())) std::abort();
  }
  ~Kernels() override { fs::remove_all(folder_); }

  std::string cache() const { return folder_ + "/cache"; }

  // What `body` returns in a child.
  std::string in_child(const std::function<std::string()>& body) const {
    const std::string file = folder_ + "/said";
    const pid_t child = fork();
    if (child == 0) {
      setenv("TILEWISE_CACHE", cache().c_str(), 1);
      setenv("TILEWISE_NVRTC", "/nowhere/libnvrtc.so.12", 1);
      std::ofstream(file) << body();
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return "the child died";
    std::ifstream said(file);
    return {std::istreambuf_iterator<char>(said), std::istreambuf_iterator<char>()};
  }

  std::string folder_;
};

TEST_F(Kernels, AreListed) {
  const KernelChoice forward{"*_forward_*", "sm_90", 12080};
  const auto listed = [&](tw_format format) {
    return in_child([&] {
      std::string text;
      const Status status = kernels(text, forward, format);
      return status.ok() ? text : status.message;
    });
  };
  const std::string text = listed(TW_TEXT), json = listed(TW_JSON);
  EXPECT_TRUE(has(text, "NVRTC   none. TILEWISE_NVRTC names /nowhere/libnvrtc.so.12")) << text;
  EXPECT_TRUE(has(text, "\ntilewise_plain_forward_float ")) << text;
  EXPECT_FALSE(has(text, "merge")) << text;
  EXPECT_TRUE(has(json, "\"variant\": \"tilewise_plain_forward_double\", \"arch\": \"sm_90\""))
      << json;
  EXPECT_FALSE(fs::exists(cache())) << "a look makes no folder";
}

TEST_F(Kernels, TextIsCutToFitAndCounted) {
  EXPECT_EQ(in_child([] {
              std::size_t needed = 0;
              char text[10] = "", none[1] = {'x'};
              if (tw_kernels(nullptr, TW_TEXT, text, sizeof text, &needed, nullptr, 0) != TW_OK)
                return "refused";
              if (needed < 500 || std::string(text) != "NVRTC   n") return "not cut";
              const tw_status status = tw_kernels(nullptr, TW_TEXT, none, 0, nullptr, nullptr, 0);
              return status == TW_OK && none[0] == 'x' ? "good" : "wrote";
            }),
            "good");
}

TEST_F(Kernels, AreRefusedByASentence) {
  EXPECT_EQ(in_child([]() -> std::string {
              std::size_t needed = 42;
              char text[] = "as before", message[200];
              tw_kernel_choice choice{};
              const auto said = [&](tw_status wanted, const char* part) {
                const tw_status status = tw_kernels(&choice, TW_TEXT, text, sizeof text, &needed,
                                                    message, sizeof message);
                return status == wanted && has(message, part) && needed == 42 &&
                       std::string(text) == "as before";
              };
              if (!said(TW_INVALID, "sizeof(tw_kernel_choice)")) return message;
              choice.size = sizeof choice;
              choice.names = "nobody";
              if (!said(TW_INVALID, "'nobody'")) return message;
              choice.names = nullptr;
              choice.architectures = "sm_70";
              if (!said(TW_UNSUPPORTED, "sm_70")) return message;
              return "good";
            }),
            "good");
}

TEST_F(Kernels, AreNotBuiltWithoutACompiler) {
  const std::string said = in_child([] {
    std::string told;
    const auto tell = [](void* host, std::int64_t done, std::int64_t total, const char*) {
      *static_cast<std::string*>(host) += std::to_string(done) + "/" + std::to_string(total) + " ";
      return 1;
    };
    const Status status = build_kernels({"tilewise_plain_merge", "sm_80", 12080}, tell, &told);
    return told + status.message;
  });
  // A library that carries a pack has nothing to build.
  EXPECT_TRUE(said == "0/1 1/1 " || has(said, "0/1 TILEWISE_NVRTC names /nowhere/")) << said;
}

TEST_F(Kernels, TakeOneMoreFolderThatMayHaveNvrtc) {
  fs::create_directories(folder_ + "/site/nvidia/cuda_nvrtc/lib");
  std::ofstream(folder_ + "/site/nvidia/cuda_nvrtc/lib/libnvrtc.so.12") << "this is no library";
  EXPECT_EQ(in_child([&]() -> std::string {
              unsetenv("TILEWISE_NVRTC");
              if (add_nvrtc_folder("site").code != TW_INVALID) return "relative";
              if (add_nvrtc_folder(nullptr).code != TW_INVALID) return "null";
              if (!add_nvrtc_folder((folder_ + "/site").c_str()).ok()) return "refused";
              // A newer NVRTC of the machine may be found instead, because there is no driver to
              // limit it.
              std::string text;
              setenv("LD_LIBRARY_PATH", "", 1);
              if (!kernels(text, {"*plain_merge", "sm_90", 12080}).ok()) return "not listed";
              return has(text, "/site/nvidia/cuda_nvrtc/lib") || has(text, "NVRTC   12.") ? "good"
                                                                                          : text;
            }),
            "good");
}

TEST_F(Kernels, AreClearedAndNothingElse) {
  const auto cleared = [&] {
    return in_child([] {
      std::int64_t removed = -1;
      const Status status = clear_kernels(&removed);
      return status.ok() ? std::to_string(removed) : status.message + " " + std::to_string(removed);
    });
  };
  EXPECT_EQ(cleared(), "0") << "there is no folder yet";
  fs::create_directories(cache());
  chmod(cache().c_str(), 0700);
  std::ofstream(cache() + "/" + std::string(64, 'a') + "-12080-7.cubin") << "kept";
  std::ofstream(cache() + "/mine.txt") << "the user's";
  EXPECT_EQ(cleared(), "1");
  EXPECT_TRUE(fs::exists(cache() + "/mine.txt"));
  chmod(cache().c_str(), 0755);
  const std::string refused = cleared();
  EXPECT_TRUE(has(refused, "chmod 700") && refused.ends_with(" 0")) << refused;
}

}  // namespace
}  // namespace tilewise

// Makes the pack: compiles each variant for each target, on a machine that needs no GPU, and writes
// each kernel's registers, memory and compile time to OUTPUT.json.
//
// Usage: tilewise_pack OUTPUT --keep FOLDER [--check] [--if-found] [--jobs N] [--arch sm_80,sm_90].
//   --keep      where kernels are kept, so that the next run compiles what has changed
//   --check     fail on a warning, on too large a pack, and on a kernel that spills or has local
//               memory beyond its architecture's limit, or takes too long to compile
//   --if-found  where there is no NVRTC, say so and leave an empty pack
//
// NVRTC 12 compiles one program at a time in a process, so there is a process a job.
#include "backends/cuda/compiler/pack.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <new>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "backends/cuda/compiler/disk_cache.h"
#include "backends/cuda/compiler/surroundings.h"
#include "problem/structs.h"

namespace tilewise::cuda {
namespace {

// In processor seconds: twice what the longest kernel takes on an idle core, since other cores are
// slower or shared.
constexpr double kLongestCompile = 8;

// Up to the newest architecture that kernels were timed on, none may spill or have local memory.
// For newer ones some do, 156 bytes at most with NVRTC 12.8 and 13.2: docs/kernels/sm80-log.md.
constexpr int kTimedMajor = 9, kMostSpilledLater = 160;

// So that the library stays within 21 MB with the pack of all kernels; without one it may have 4.
constexpr std::size_t kMostBytes = 18 << 20;

// The newest driver of CUDA 12 that there may be, and the oldest NVRTC that knows all targets.
constexpr int kPinnedMajor = 12990, kOldestNvrtc = 12080;

// A driver so new that it accepts every NVRTC. TILEWISE_NVRTC may name which one to use.
constexpr int kAnyDriver = 99000;

struct Arguments {
  std::string output, keep, architectures;
  bool check = false, if_found = false;
  int jobs = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
};

// What there is to compile, and where it is kept.
struct Compilation {
  bool check;
  const DiskCache& kept;
  std::vector<Packed*> left;
};

// Is the target one of "sm_80,sm_90"? An empty list has all.
bool is_wanted(const Target& target, const std::string& list) {
  return list.empty() || ("," + list + ",").find("," + architecture(target, Form::kCubin) + ",") !=
                             std::string::npos;
}

bool is_known(const std::string& list) {
  std::string known = ",";
  for (const Target& target : kPackedTargets) known += architecture(target, Form::kCubin) + ",";
  std::istringstream words(list);
  for (std::string word; std::getline(words, word, ',');)
    if (known.find("," + word + ",") == std::string::npos) return false;
  return true;
}

std::vector<Packed> items_of(std::span<const Variant> variants, const std::string& architectures) {
  std::vector<Packed> items;
  for (const Variant& variant : variants) {
    for (const Target& target : kPackedTargets)
      if (is_wanted(target, architectures)) items.push_back({&variant, target, {}});
    items.push_back({&variant, kPackedPtx, {}});
    items.back().cubin.is_ptx = true;
  }
  return items;
}

Program program_of(const Packed& item) {
  return cuda::program_of(*item.variant, item.target,
                          item.cubin.is_ptx ? Form::kPtx : Form::kCubin);
}

// The processor's time, which does not depend on what else the machine does.
double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Compiles, and once more if that took longer than kLongestCompile; the shorter time counts.
// Processor time leaves other programs out, but one on the same core still lengthens it.
Status compile_timed(const Nvrtc& nvrtc, const Program& program, Compiled& compiled) {
  double least = 1e9;
  for (int attempt = 0; attempt < 2 && least > kLongestCompile; ++attempt) {
    const double begin = processor_seconds();
    TW_TRY(nvrtc.compile(program, embedded_sources(), compiled));
    least = std::min(least, processor_seconds() - begin);
  }
  compiled.seconds = least;
  return {};
}

// NVRTC makes the PTX of a target on the way to its cubin.
bool gives_ptx(const Packed& item) {
  return !item.cubin.is_ptx &&
         architecture(item.target, Form::kPtx) == architecture(kPackedPtx, Form::kPtx);
}

void set_ptx(const Compiled& compiled, Packed& item) {
  const auto* text = reinterpret_cast<const std::byte*>(compiled.ptx.c_str());
  item.cubin.bytes.assign(text, text + compiled.ptx.size() + 1);
}

// Compiles the item; if gives_ptx(item), `ptx` gets the PTX that NVRTC made on the way.
bool compile(const Nvrtc& nvrtc, bool check, Packed& item, Packed& ptx) {
  Compiled compiled;
  const Status status = compile_timed(nvrtc, program_of(item), compiled);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.sentence);
    return false;
  }
  if (!compiled.log.empty()) {
    std::fprintf(stderr, "%s", compiled.log.c_str());
    if (check) return false;
  }
  item.cubin.resources = compiled.resources;
  item.cubin.seconds = compiled.seconds;
  if (item.cubin.is_ptx) {
    set_ptx(compiled, item);
    return true;
  }
  item.cubin.bytes = std::move(compiled.cubin);
  if (!gives_ptx(item)) return true;
  ptx = {item.variant, kPackedPtx, {}};
  ptx.cubin.is_ptx = true;
  set_ptx(compiled, ptx);
  return true;
}

bool keep(const DiskCache& kept, const NvrtcFile& file, const Packed& item) {
  if (kept.store(cache_key_of(program_of(item), file), item.cubin)) return true;
  std::fprintf(stderr, "%s cannot be kept.\n", item.variant->name);
  return false;
}

// The work of one process: takes items by `next`, compiles them and keeps the kernels. Returns the
// exit status.
int work(NvrtcFile file, const Compilation& all, std::atomic<std::size_t>& next) {
  Nvrtc nvrtc;
  const Status opened = Nvrtc::open(file, nvrtc);
  if (!opened.ok()) {
    std::fprintf(stderr, "%s\n", opened.sentence);
    return 1;
  }
  bool good = true;
  for (std::size_t i = next++; i < all.left.size(); i = next++) {
    Packed& item = *all.left[i];
    Packed ptx;
    good = compile(nvrtc, all.check, item, ptx) && keep(all.kept, file, item) &&
           (!ptx.variant || keep(all.kept, file, ptx)) && good;
  }
  return good ? 0 : 1;
}

// A number that several processes count up.
class Shared {
 public:
  Shared()
      : memory_(mmap(nullptr, sizeof(Number), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                     -1, 0)),
        number_(memory_ == MAP_FAILED ? nullptr : new (memory_) Number(0)) {}
  ~Shared() {
    if (number_) munmap(memory_, sizeof(Number));
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  using Number = std::atomic<std::size_t>;
  Number* number() const { return number_; }

 private:
  void* memory_;
  Number* number_;
};

bool compile_all(const NvrtcFile& file, const Compilation& all, int jobs) {
  const Shared next;
  if (!next.number()) return false;
  std::vector<pid_t> workers;
  for (int i = 0; i < jobs && i < static_cast<int>(all.left.size()); ++i) {
    const pid_t worker = fork();
    if (worker == 0) std::_Exit(work(file, all, *next.number()));
    if (worker > 0) workers.push_back(worker);
  }
  bool good = !workers.empty() || all.left.empty();
  for (const pid_t worker : workers) {
    int status = 0;
    good = waitpid(worker, &status, 0) == worker && status == 0 && good;
  }
  return good;
}

// Takes what an earlier run has kept and compiles the rest. What took too long is measured again.
bool fill(const NvrtcFile& file, const Arguments& arguments, std::vector<Packed>& items) {
  const DiskCache kept(arguments.keep);
  if (!kept.usable()) {
    std::fprintf(stderr, "%s\n", kept.why_not().c_str());
    return false;
  }
  const auto take = [&](Packed& item) {
    return kept.load(cache_key_of(program_of(item), file), item.cubin);
  };
  std::vector<Packed*> missing;
  for (Packed& item : items)
    if (!take(item) || item.cubin.seconds > kLongestCompile) missing.push_back(&item);
  Compilation all{arguments.check, kept, {}};
  const auto is_given = [&](const Packed& item) {
    return item.cubin.is_ptx && std::any_of(missing.begin(), missing.end(), [&](Packed* other) {
             return other->variant == item.variant && gives_ptx(*other);
           });
  };
  for (Packed* item : missing)
    if (!is_given(*item)) all.left.push_back(item);
  std::printf("pack: %zu kernels, %zu of them to compile by NVRTC %d.%d\n", items.size(),
              all.left.size(), file.version / 1000, file.version / 10 % 100);
  std::fflush(stdout);
  return compile_all(file, all, arguments.jobs) &&
         std::all_of(missing.begin(), missing.end(), [&](Packed* item) { return take(*item); });
}

// One sentence for each kernel that must not be as it is.
int complaints(const std::vector<Packed>& items, std::size_t bytes) {
  int count = bytes > kMostBytes;
  if (count > 0)
    std::fprintf(stderr, "The pack has %zu bytes; %zu are allowed.\n", bytes, kMostBytes);
  const auto complain = [&](const Packed& item, const char* what, double amount, const char* unit) {
    ++count;
    std::fprintf(stderr, "%s for %s %s %.4g %s.\n", item.variant->name,
                 architecture(item.target, Form::kCubin).c_str(), what, amount, unit);
  };
  for (const Packed& item : items) {
    if (item.cubin.is_ptx) continue;
    const Resources& takes = item.cubin.resources;
    if (takes.registers < 0)
      complain(item, "has no report of ptxas:", takes.registers, "registers");
    const int allowed = item.target.major <= kTimedMajor ? 0 : kMostSpilledLater;
    if (takes.spill_bytes > allowed) complain(item, "spills", takes.spill_bytes, "bytes");
    if (takes.local_bytes > allowed)
      complain(item, "has local memory, for which the driver would wait at its first launch:",
               takes.local_bytes, "bytes");
    if (item.cubin.seconds > kLongestCompile)
      complain(item, "compiles for", item.cubin.seconds,
               ("s; " + std::to_string(kLongestCompile).substr(0, 3) + " are allowed").c_str());
  }
  return count;
}

bool write_report(const std::vector<Packed>& items, const std::string& path) {
  std::FILE* report = std::fopen(path.c_str(), "w");
  if (!report) return false;
  const char* between = "[\n";
  for (const Packed& item : items) {
    const Resources& takes = item.cubin.resources;
    const bool known = takes.shared_bytes >= 0;
    const int shared = known ? takes.shared_bytes + item.variant->dynamic_shared_bytes : -1;
    const std::string arch =
        architecture(item.target, item.cubin.is_ptx ? Form::kPtx : Form::kCubin);
    std::fprintf(report,
                 "%s  {\"variant\": \"%s\", \"arch\": \"%s\", \"registers\": %d, \"spill_bytes\": "
                 "%d, \"local_bytes\": %d, \"shared_bytes\": %d, \"compile_seconds\": %.3f, "
                 "\"cubin_bytes\": %zu}",
                 between, item.variant->name, arch.c_str(), takes.registers, takes.spill_bytes,
                 takes.local_bytes, shared, item.cubin.seconds, item.cubin.bytes.size());
    between = ",\n";
  }
  std::fprintf(report, "%s]\n", items.empty() ? "[" : "\n");
  return std::fclose(report) == 0;
}

bool write(const std::vector<std::byte>& pack, const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  const bool written = file && std::fwrite(pack.data(), 1, pack.size(), file) == pack.size();
  return file && std::fclose(file) == 0 && written;
}

bool read_arguments(int count, char** texts, Arguments& arguments) {
  for (int i = 1; i < count; ++i) {
    const std::string_view text = texts[i];
    if (text == "--check") {
      arguments.check = true;
    } else if (text == "--if-found") {
      arguments.if_found = true;
    } else if (text == "--jobs" && i + 1 < count) {
      arguments.jobs = std::atoi(texts[++i]);
    } else if (text == "--keep" && i + 1 < count) {
      arguments.keep = texts[++i];
    } else if (text == "--arch" && i + 1 < count) {
      arguments.architectures = texts[++i];
    } else if (!text.starts_with("-") && arguments.output.empty()) {
      arguments.output = text;
    } else {
      return false;
    }
  }
  if (arguments.keep.empty() || arguments.output.empty()) return false;
  arguments.keep = std::filesystem::absolute(arguments.keep);
  arguments.output = std::filesystem::absolute(arguments.output);
  return arguments.jobs > 0 && is_known(arguments.architectures);
}

// The newest of CUDA 12, since every driver can load what that makes; else the newest of all.
Status find_compiler(NvrtcFile& file) {
  std::vector<NvrtcFile> files;
  Status found = find_nvrtc(surroundings(), kPinnedMajor, files);
  if (!found.ok()) found = find_nvrtc(surroundings(), kAnyDriver, files);
  if (!found.ok()) return found;
  file = files.front();
  Nvrtc opened;
  if (!file.exact) TW_TRY(Nvrtc::open(file, opened));
  const Status loaded = check_driver(file, kPinnedMajor);
  if (!loaded.ok())
    std::fprintf(stderr,
                 "pack: drivers of CUDA 12 will not load this pack, for NVRTC %d.%d (%s) is newer: "
                 "pip install nvidia-cuda-nvrtc-cu12 for one that all drivers load.\n",
                 file.version / 1000, file.version / 10 % 100, file.path.c_str());
  if (file.version >= kOldestNvrtc) return {};
  return failed("NVRTC %d.%d (%s) is too old: 12.8 is the oldest that knows sm_120.",
                file.version / 1000, file.version / 10 % 100, file.path.c_str());
}

// Leaves a pack without kernels.
int leave_out(const Arguments& arguments, const char* why) {
  std::printf(
      "pack: the library is built WITHOUT kernels for GPUs; NVRTC will compile them on the user's "
      "machine. %s\n",
      why);
  return write({}, arguments.output) ? 0 : 1;
}

int make(const Arguments& arguments) {
  std::error_code made;
  std::filesystem::create_directories(std::filesystem::path(arguments.output).parent_path(), made);
  NvrtcFile file;
  const Status found = find_compiler(file);
  if (!found.ok() && arguments.if_found) return leave_out(arguments, found.sentence);
  if (!found.ok()) {
    std::fprintf(stderr, "%s\n", found.sentence);
    return 1;
  }
  std::vector<Packed> items = items_of(packed_variants(), arguments.architectures);
  if (!fill(file, arguments, items)) {
    std::fprintf(stderr, "The pack was not made.\n");
    return 1;
  }
  const auto pack = write_pack(items, file.version);
  const int wrong = arguments.check ? complaints(items, pack.size()) : 0;
  if (!write(pack, arguments.output) || !write_report(items, arguments.output + ".json")) {
    std::fprintf(stderr, "%s cannot be written.\n", arguments.output.c_str());
    return 1;
  }
  std::printf("pack: %zu kernels for %zu variants, %zu bytes, %d complaints\n", items.size(),
              packed_variants().size(), pack.size(), wrong);
  return wrong > 0 ? 1 : 0;
}

}  // namespace
}  // namespace tilewise::cuda

// The backend's sources ask for the library's pack. This program, which makes it, has none.
std::span<const std::byte> tilewise::cuda::built_in_pack() {
  return {};
}

int main(int count, char** texts) {
  tilewise::cuda::Arguments arguments;
  if (tilewise::cuda::read_arguments(count, texts, arguments))
    return tilewise::cuda::make(arguments);
  std::fprintf(stderr,
               "usage: tilewise_pack OUTPUT --keep FOLDER [--check] [--if-found] [--jobs N] "
               "[--arch LIST]\n");
  return 2;
}

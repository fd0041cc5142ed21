// Makes the pack: compiles each variant for each target, on a machine that needs no GPU, and says
// what each kernel takes. Usage: tilewise_pack OUTPUT [--check] [--jobs N]. --check: fail on a
// warning and on a kernel that spills, has local memory or takes more than 3 s. Beside OUTPUT lies
// OUTPUT.json.
//
// NVRTC 12 compiles one program at a time in a process, so there is a process a job.
#include "backends/cuda/compiler/pack.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "backends/cuda/compiler/surroundings.h"

namespace tilewise::cuda {
namespace {

constexpr double kLongestCompile = 3;  // seconds

// So that any NVRTC will do: which is right is for TILEWISE_NVRTC to say.
constexpr int kAnyDriver = 99000;

struct Arguments {
  std::string output;
  bool check = false;
  int jobs = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
};

struct Worker {
  pid_t process = 0;
  std::FILE* results = nullptr;  // a sealed cubin after another, each after its place and length
};

struct Place {
  std::size_t item, bytes;
};

std::vector<Packed> items_of(std::span<const Variant> variants) {
  std::vector<Packed> items;
  for (const Variant& variant : variants) {
    for (const Target& target : kPackedTargets) items.push_back({&variant, target, {}});
    items.push_back({&variant, kPackedPtx, {}});
    items.back().cubin.is_ptx = true;
  }
  return items;
}

Program program_of(const Packed& item) {
  return cuda::program_of(*item.variant, item.target,
                          item.cubin.is_ptx ? Form::kPtx : Form::kCubin);
}

bool compile(const Nvrtc& nvrtc, bool check, Packed& item) {
  Compiled compiled;
  const Status status = nvrtc.compile(program_of(item), embedded_sources(), compiled);
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
  if (!item.cubin.is_ptx) {
    item.cubin.bytes = std::move(compiled.cubin);
    return true;
  }
  const auto* text = reinterpret_cast<const std::byte*>(compiled.ptx.c_str());
  item.cubin.bytes.assign(text, text + compiled.ptx.size() + 1);
  return true;
}

// Every `jobs`th item from `first` on. The exit status.
int work(NvrtcFile file, std::vector<Packed>& items, std::size_t first, const Arguments& arguments,
         std::FILE* results) {
  Nvrtc nvrtc;
  const Status opened = Nvrtc::open(file, nvrtc);
  if (!opened.ok()) {
    std::fprintf(stderr, "%s\n", opened.sentence);
    return 1;
  }
  bool good = true;
  for (std::size_t i = first; i < items.size(); i += static_cast<std::size_t>(arguments.jobs)) {
    if (!compile(nvrtc, arguments.check, items[i])) {
      good = false;
      continue;
    }
    const auto sealed = seal(items[i].cubin, key_of(program_of(items[i])));
    const Place place{i, sealed.size()};
    good = std::fwrite(&place, sizeof place, 1, results) == 1 &&
           std::fwrite(sealed.data(), sealed.size(), 1, results) == 1 && good;
  }
  return std::fflush(results) == 0 && good ? 0 : 1;
}

bool gather(const Worker& worker, std::vector<Packed>& items) {
  int status = 0;
  if (waitpid(worker.process, &status, 0) < 0 || status != 0) return false;
  std::rewind(worker.results);
  Place place{};
  while (std::fread(&place, sizeof place, 1, worker.results) == 1) {
    std::vector<std::byte> sealed(place.bytes);
    Packed& item = items[place.item];
    if (std::fread(sealed.data(), sealed.size(), 1, worker.results) != 1 ||
        !unseal(sealed, key_of(program_of(item)), item.cubin))
      return false;
  }
  std::fclose(worker.results);
  return true;
}

bool compile_all(const NvrtcFile& file, std::vector<Packed>& items, const Arguments& arguments) {
  std::vector<Worker> workers(static_cast<std::size_t>(arguments.jobs));
  for (std::size_t i = 0; i < workers.size(); ++i) {
    workers[i].results = std::tmpfile();
    if (!workers[i].results) return false;
    workers[i].process = fork();
    if (workers[i].process == 0) std::_Exit(work(file, items, i, arguments, workers[i].results));
  }
  bool good = true;
  for (const Worker& worker : workers) good = gather(worker, items) && good;
  return good;
}

// One sentence for each kernel that must not be as it is.
int complaints(const std::vector<Packed>& items) {
  int count = 0;
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
    if (takes.spill_bytes > 0) complain(item, "spills", takes.spill_bytes, "bytes");
    if (takes.local_bytes > 0)
      complain(item, "has local memory, for which the driver would wait at its first launch:",
               takes.local_bytes, "bytes");
    if (item.cubin.seconds > kLongestCompile)
      complain(item, "compiles for", item.cubin.seconds, "s; 3 are allowed");
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
                 "\"bytes\": %zu}",
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
    } else if (text == "--jobs" && i + 1 < count) {
      arguments.jobs = std::atoi(texts[++i]);
    } else if (!text.starts_with("-") && arguments.output.empty()) {
      arguments.output = text;
    } else {
      return false;
    }
  }
  return !arguments.output.empty() && arguments.jobs > 0;
}

int make(const Arguments& arguments) {
  std::vector<NvrtcFile> files;
  const Status found = find_nvrtc(surroundings(), kAnyDriver, files);
  if (!found.ok()) {
    std::fprintf(stderr, "%s\n", found.sentence);
    return 1;
  }
  std::vector<Packed> items = items_of(packed_variants());
  if (!compile_all(files.front(), items, arguments)) {
    std::fprintf(stderr, "The pack was not made.\n");
    return 1;
  }
  const int wrong = arguments.check ? complaints(items) : 0;
  const auto pack = write_pack(items, files.front().version);
  if (!write(pack, arguments.output) || !write_report(items, arguments.output + ".json")) {
    std::fprintf(stderr, "%s cannot be written.\n", arguments.output.c_str());
    return 1;
  }
  std::printf("pack: %zu kernels for %zu variants, %zu bytes, NVRTC %d.%d, %d complaints\n",
              items.size(), packed_variants().size(), pack.size(), files.front().version / 1000,
              files.front().version / 10 % 100, wrong);
  return wrong > 0 ? 1 : 0;
}

}  // namespace
}  // namespace tilewise::cuda

int main(int count, char** texts) {
  tilewise::cuda::Arguments arguments;
  if (tilewise::cuda::read_arguments(count, texts, arguments))
    return tilewise::cuda::make(arguments);
  std::fprintf(stderr, "usage: tilewise_pack OUTPUT [--check] [--jobs N]\n");
  return 2;
}

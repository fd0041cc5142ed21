#include "backends/cuda/compiler/stock.h"

#include <vector>

#include "backends/cuda/compiler/program.h"

namespace tilewise::cuda {
namespace {

std::string described(const NvrtcFile& file) {
  return std::to_string(file.version / 1000) + "." + std::to_string(file.version / 10 % 100) +
         " (" + file.path + ")";
}

std::string counted(int count, const std::string& what) {
  return count > 0 ? std::to_string(count) + " " + what : "";
}

}  // namespace

Stock::Stock(const Surroundings& around, int driver_version)
    : around_(around), pack_(around.pack), cache_(around.cache, Missing::kLeave) {
  std::vector<NvrtcFile> files;
  Status status = find_nvrtc(around, driver_version, files);
  for (NvrtcFile& file : files) {
    // Where no file beside it tells the version, the library itself does.
    Nvrtc opened;
    status = file.exact ? Status{} : Nvrtc::open(file, opened);
    if (!status.ok()) continue;
    file_ = file;
    nvrtc_ = described(file);
    break;
  }
  if (nvrtc_.empty()) why_no_nvrtc_ = status.sentence;
}

bool Stock::find(const Variant& variant, const Target& target, Cubin& out) const {
  if (!around_.dump.empty()) return false;
  if (pack_.find(variant, target, Form::kCubin, out)) return true;
  if (nvrtc_.empty()) return pack_.find(variant, target, Form::kPtx, out);
  return cache_.load(key_of(program_of(variant, target), file_), out);
}

std::string Stock::origin_of_missing(int missing) const {
  if (missing == 0) return "";
  if (nvrtc_.empty())
    return std::to_string(missing) + " cannot be had, so that the call fails. " + why_no_nvrtc_;
  const std::string by = std::to_string(missing) + " that NVRTC " + nvrtc_ + " compiles ";
  if (!around_.dump.empty()) return by + "in each process, since TILEWISE_DUMP is set";
  const std::string why_not = cache_.usable() ? cache_.why_not_kept() : "";
  if (!why_not.empty()) return by + "at the first call of each process: " + why_not;
  if (cache_.usable() || cache_.is_absent())
    return by + "at the first call, to be kept in " + around_.cache;
  return by + "at the first call of each process: there is no cache. " + cache_.why_not();
}

std::string Stock::origin(std::span<const Variant* const> variants, const Target& target) const {
  int packed = 0, as_ptx = 0, cached = 0, missing = 0;
  for (const Variant* variant : variants) {
    Cubin cubin;
    const bool found = find(*variant, target, cubin);
    int& of = !found                       ? missing
              : cubin.from == From::kCache ? cached
              : cubin.is_ptx               ? as_ptx
                                           : packed;
    ++of;
  }
  std::string text;
  for (const std::string& part :
       {counted(packed, "in the library's pack"),
        counted(as_ptx, "in the library's pack as PTX, which the driver compiles"),
        counted(cached, "in the cache " + around_.cache + ", compiled by NVRTC " + nvrtc_),
        origin_of_missing(missing)})
    if (!part.empty()) text += (text.empty() ? "" : "; ") + part;
  if (pack_.is_of_others())
    text += "; the build left out a pack of other kernels: run ./dev pack and build again";
  return text;
}

}  // namespace tilewise::cuda

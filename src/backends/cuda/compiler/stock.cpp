#include "backends/cuda/compiler/stock.h"

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
    if (!file.exact) status = Nvrtc::open(file, opened);
    if (status.ok()) status = check_driver(file, driver_version);
    if (status.ok()) files_.push_back(file);
  }
  if (files_.empty())
    why_no_nvrtc_ = status.sentence;
  else
    nvrtc_ = described(files_.front());
}

// The one that a call would take.
const NvrtcFile* Stock::nvrtc_for(const Target& target) const {
  for (const NvrtcFile& file : files_)
    if (check_target(file, target).ok()) return &file;
  return nullptr;
}

std::string Stock::why_not_compiled(const Target& target) const {
  if (files_.empty()) return why_no_nvrtc_;
  return nvrtc_for(target) ? "" : check_target(files_.front(), target).sentence;
}

bool Stock::find(const Variant& variant, const Target& target, Cubin& out) const {
  if (!around_.dump.empty()) return false;
  if (pack_.find(variant, target, Form::kCubin, out)) return true;
  const NvrtcFile* nvrtc = nvrtc_for(target);
  if (!nvrtc) return pack_.find(variant, target, Form::kPtx, out);
  return cache_.load(key_of(program_of(variant, target), *nvrtc), out);
}

std::string Stock::origin_of_missing(int missing, const Target& target) const {
  if (missing == 0) return "";
  const NvrtcFile* nvrtc = nvrtc_for(target);
  if (!nvrtc)
    return std::to_string(missing) + " cannot be had, so that the call fails. " +
           pack_.why_too_new(target.driver_version) + why_not_compiled(target);
  const std::string by =
      std::to_string(missing) + " that NVRTC " + described(*nvrtc) + " compiles ";
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
        counted(cached, "in the cache " + around_.cache + ", compiled by NVRTC " +
                            (cached > 0 ? described(*nvrtc_for(target)) : "")),
        origin_of_missing(missing, target)})
    if (!part.empty()) text += (text.empty() ? "" : "; ") + part;
  if (pack_.is_of_others())
    text += "; the build left out a pack of other kernels: run ./dev pack and build again";
  return text;
}

}  // namespace tilewise::cuda

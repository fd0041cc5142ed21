#include "backends/cuda/compiler/stock.h"

#include <mutex>
#include <set>

#include "backends/cuda/compiler/program.h"

namespace tilewise::cuda {
namespace {

// A library without a path is on another machine that shares the cache.
std::string described(const NvrtcFile& file) {
  const std::string version =
      std::to_string(file.version / 1000) + "." + std::to_string(file.version / 10 % 100);
  return version + (file.path.empty() ? ", which is not here" : " (" + file.path + ")");
}

std::string counted(int count, const std::string& what) {
  return count > 0 ? std::to_string(count) + " " + what : "";
}

}  // namespace

Stock::Stock(const Surroundings& around, int driver_version)
    : around_(around),
      pack_(around.pack),
      cache_(around, Missing::kLeave),
      compilers_(around, driver_version) {}

// Whether the library compiles an empty program for the target; an NVRTC without its builtins
// library does not. Success is remembered for the life of the process. Failure is remembered by
// this Stock alone, so that a later one tries again: the user may have repaired the installation.
Status Stock::try_out(const Nvrtc& nvrtc, const NvrtcFile& file, const Target& target) const {
  static std::mutex mutex;
  static auto& good = *new std::set<std::pair<std::string, std::string>>;
  const std::pair asked(file.path, architecture(target, Form::kCubin));
  if (const auto known = failed_.find(asked); known != failed_.end()) return known->second;
  const std::lock_guard lock(mutex);
  if (good.contains(asked)) return {};
  Program nothing;
  nothing.name = "nothing.cu";
  nothing.options = program_of(packed_variants().front(), target).options;
  Compiled compiled;
  Status status = nvrtc.compile(nothing, {}, compiled);
  if (!status.ok()) status.code = TW_UNSUPPORTED;
  if (status.ok())
    good.insert(asked);
  else
    failed_.emplace(asked, status);
  return status;
}

Status Stock::walk(const Program& program, const Target& target, const DiskCache& cache,
                   Cubin& kept, Stop& stop) const {
  const Compilers::Use use = [&](const Nvrtc& nvrtc, const NvrtcFile& file) {
    return try_out(nvrtc, file, target);
  };
  return compilers_.walk({program, target, cache, use}, kept, stop);
}

// The library that would compile for the target.
Status Stock::choose(const Target& target, NvrtcFile& file) const {
  const DiskCache none("");
  Cubin kept;
  Stop stop;
  const Status status = walk({}, target, none, kept, stop);
  file = stop.nvrtc;
  return status;
}

std::string Stock::nvrtc(const Target& target) const {
  NvrtcFile file;
  return choose(target, file).ok() ? described(file) : "";
}

std::string Stock::why_not_compiled(const Target& target) const {
  NvrtcFile file;
  return choose(target, file).sentence;
}

Stock::Found Stock::look(const Variant& variant, const Target& target, Cubin& out) const {
  Found found;
  const bool dumps = !around_.dump.empty();
  found.is_there = !dumps && pack_.find(variant, target, Form::kCubin, out);
  if (found.is_there) return found;
  const DiskCache none("");
  found.why_not = walk(program_of(variant, target), target, dumps ? none : cache_, out, found.stop);
  found.is_there =
      found.stop.at == Stop::At::kCache || (found.stop.at == Stop::At::kNowhere && !dumps &&
                                            pack_.find(variant, target, Form::kPtx, out));
  return found;
}

bool Stock::find(const Variant& variant, const Target& target, Cubin& out) const {
  return look(variant, target, out).is_there;
}

std::string Stock::origin_of_missing(int missing, const Found& found, const Target& target) const {
  if (missing == 0) return "";
  if (found.stop.at == Stop::At::kNowhere)
    return std::to_string(missing) + " cannot be had, so that the call fails. " +
           pack_.why_too_new(target.driver_version) + found.why_not.sentence;
  const std::string by =
      std::to_string(missing) + " that NVRTC " + described(found.stop.nvrtc) + " compiles ";
  if (!around_.dump.empty()) return by + "in each process, since TILEWISE_DUMP is set";
  const std::string why_not = cache_.usable() ? cache_.why_not_kept() : "";
  if (!why_not.empty()) return by + "at the first call of each process: " + why_not;
  if (cache_.usable() || cache_.is_absent())
    return by + "at the first call, to be kept in " + around_.cache;
  return by + "at the first call of each process: there is no cache. " + cache_.why_not();
}

std::string Stock::origin(std::span<const Variant* const> variants, const Target& target) const {
  int packed = 0, as_ptx = 0, cached = 0, missing = 0;
  Found of_cached, of_missing;
  const auto place_of = [&](const Found& found, const Cubin& cubin) -> int& {
    if (!found.is_there) return missing;
    if (cubin.from == From::kCache) return cached;
    return cubin.is_ptx ? as_ptx : packed;
  };
  for (const Variant* variant : variants) {
    Cubin cubin;
    const Found found = look(*variant, target, cubin);
    int& place = place_of(found, cubin);
    ++place;
    if (&place == &cached) of_cached = found;
    if (&place == &missing) of_missing = found;
  }
  std::string text;
  for (const std::string& part :
       {counted(packed, "in the library's pack"),
        counted(as_ptx, "in the library's pack as PTX, which the driver compiles"),
        counted(cached, "in the cache " + around_.cache + ", compiled by NVRTC " +
                            described(of_cached.stop.nvrtc)),
        origin_of_missing(missing, of_missing, target)})
    if (!part.empty()) text += (text.empty() ? "" : "; ") + part;
  if (pack_.is_of_others())
    text += "; the build left out a pack of other kernels: run ./dev pack and build again";
  return text;
}

}  // namespace tilewise::cuda

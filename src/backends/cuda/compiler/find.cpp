#include "backends/cuda/compiler/find.h"

#include <exception>
#include <vector>

#include "backends/cuda/compiler/at_once.h"
#include "backends/cuda/compiler/disk_cache.h"
#include "backends/cuda/compiler/dump.h"
#include "backends/cuda/compiler/pack.h"
#include "problem/structs.h"

namespace tilewise::cuda {
namespace {

// One search: what is wanted, and how it is made.
struct Search {
  const Surroundings& around;
  const Target& target;
  Program program;
  std::string arch;

  Status compile(const Nvrtc& nvrtc, Cubin& out) const;
  Status try_one(NvrtcFile& file, const DiskCache& cache, Cubin& out, bool& is_usable) const;
  Status ask_nvrtc(Cubin& out, bool& is_asked) const;
};

Status Search::compile(const Nvrtc& nvrtc, Cubin& out) const {
  Compiled compiled;
  const Status status = around.dump.empty()
                            ? nvrtc.compile(program, embedded_sources(), compiled)
                            : compile_in(around.dump, nvrtc, program, arch, compiled);
  if (!status.ok()) return status;
  out.bytes = std::move(compiled.cubin);
  out.is_ptx = false;
  out.from = From::kNvrtc;
  out.resources = compiled.resources;
  out.seconds = compiled.seconds;
  return {};
}

// Looks into the cache before 100 MB are opened, where the version is known without that.
Status Search::try_one(NvrtcFile& file, const DiskCache& cache, Cubin& out, bool& is_usable) const {
  is_usable = false;
  TW_TRY(check_target(file, target));
  const bool looked = file.exact;
  if (looked && cache.load(key_of(program, file), out)) {
    is_usable = true;
    return {};
  }
  Nvrtc nvrtc;
  const int version = file.version;
  TW_TRY(Nvrtc::open(file, nvrtc));
  TW_TRY(check_target(file, target));
  const Digest key = key_of(program, file);
  is_usable = true;
  if ((!looked || version != file.version) && cache.load(key, out)) return {};
  const Status status = compile(nvrtc, out);
  is_usable = status.code != TW_UNSUPPORTED;
  if (status.ok()) out.is_kept = cache.store(key, out);
  return status;
}

// A library that is of no use gives way to the next. Was one of use?
Status Search::ask_nvrtc(Cubin& out, bool& is_asked) const {
  std::vector<NvrtcFile> files;
  TW_TRY(find_nvrtc(around, target.driver_version, files));
  const DiskCache cache(around.dump.empty() ? around.cache : "");
  Status first;
  for (NvrtcFile& file : files) {
    const Status status = try_one(file, cache, out, is_asked);
    if (is_asked) return status;
    if (first.ok()) first = status;
  }
  return first;
}

Status find_anywhere(const Variant& variant, const Target& target, const Surroundings& around,
                     Cubin& out) {
  const Pack pack(around.pack);
  if (around.dump.empty() && pack.find(variant, target, Form::kCubin, out)) return {};
  const Search search{around, target, program_of(variant, target),
                      architecture(target, Form::kCubin)};
  bool is_asked = false;
  const Status status = search.ask_nvrtc(out, is_asked);
  if (status.ok() || (around.dump.empty() && pack.find(variant, target, Form::kPtx, out)))
    return {};
  if (is_asked) return status;
  const std::string too_new = pack.why_too_new(target.driver_version);
  return failed("The library holds no kernel %s for %s. %s%s", variant.name, search.arch.c_str(),
                too_new.c_str(), status.sentence);
}

}  // namespace

Status find_cubin(const Variant& variant, const Target& target, const Surroundings& around,
                  Cubin& out) {
  try {
    return find_anywhere(variant, target, around, out);
  } catch (const std::exception& error) {
    return failed("There is no memory to find or compile the kernel %s (%s).", variant.name,
                  error.what());
  }
}

Status find_cubins(std::span<const Variant* const> variants, const Target& target,
                   const Surroundings& around, std::span<Cubin> out) {
  try {
    std::vector<Status> said(variants.size());
    at_once(variants.size(),
            [&](std::size_t i) { said[i] = find_cubin(*variants[i], target, around, out[i]); });
    for (const Status& status : said) TW_TRY(status);
    return {};
  } catch (const std::exception& error) {
    return failed("There is no memory to find or compile kernels (%s).", error.what());
  }
}

}  // namespace tilewise::cuda

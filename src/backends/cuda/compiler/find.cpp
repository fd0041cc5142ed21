#include "backends/cuda/compiler/find.h"

#include <exception>
#include <vector>

#include "backends/cuda/compiler/at_once.h"
#include "backends/cuda/compiler/compilers.h"
#include "backends/cuda/compiler/disk_cache.h"
#include "backends/cuda/compiler/dump.h"
#include "backends/cuda/compiler/pack.h"
#include "problem/structs.h"

namespace tilewise::cuda {
namespace {

// One search: which kernel, and how it is made.
struct Search {
  const Surroundings& around;
  const Target& target;
  Program program;
  std::string arch;

  Status compile(const Nvrtc& nvrtc, Cubin& out) const;
  Status ask(const Compilers& compilers, Cubin& out, Stop& stop) const;
};

// What all searches of one call share.
struct Places {
  const Surroundings& around;
  const Target& target;
  const Compilers compilers;
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

Status Search::ask(const Compilers& compilers, Cubin& out, Stop& stop) const {
  const DiskCache cache(around.dump.empty() ? around.cache : "");
  const Compilers::Use make = [&](const Nvrtc& nvrtc, const NvrtcFile& file) {
    const Status status = compile(nvrtc, out);
    if (status.ok()) out.is_kept = cache.store(cache_key_of(program, file), out);
    return status;
  };
  return compilers.walk({program, target, cache, make}, out, stop);
}

Status find_anywhere(const Variant& variant, const Places& places, Cubin& out) {
  const auto& [around, target, compilers] = places;
  const Pack pack(around.pack);
  if (around.dump.empty() && pack.find(variant, target, Form::kCubin, out)) return {};
  const Search search{around, target, program_of(variant, target),
                      architecture(target, Form::kCubin)};
  Stop stop;
  const Status status = search.ask(compilers, out, stop);
  if (status.ok() || (around.dump.empty() && pack.find(variant, target, Form::kPtx, out)))
    return {};
  if (stop.at == Stop::At::kNvrtc) return status;
  const std::string too_new = pack.why_too_new(target.driver_version);
  return failed("The library holds no kernel %s for %s. %s%s", variant.name, search.arch.c_str(),
                too_new.c_str(), status.sentence);
}

Status find_safely(const Variant& variant, const Places& places, Cubin& out) {
  try {
    return find_anywhere(variant, places, out);
  } catch (const std::exception& error) {
    return failed("There is no memory to find or compile the kernel %s (%s).", variant.name,
                  error.what());
  }
}

}  // namespace

Status find_cubin(const Variant& variant, const Target& target, const Surroundings& around,
                  Cubin& out) {
  return find_safely(variant, {around, target, {around, target.driver_version}}, out);
}

Status find_cubins(std::span<const Variant* const> variants, const Target& target,
                   const Surroundings& around, std::span<Cubin> out) {
  try {
    const Places places{around, target, {around, target.driver_version}};
    std::vector<Status> said(variants.size());
    at_once(variants.size(),
            [&](std::size_t i) { said[i] = find_safely(*variants[i], places, out[i]); });
    for (const Status& status : said) TW_TRY(status);
    return {};
  } catch (const std::exception& error) {
    return failed("There is no memory to find or compile kernels (%s).", error.what());
  }
}

}  // namespace tilewise::cuda

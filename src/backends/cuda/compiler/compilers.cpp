#include "backends/cuda/compiler/compilers.h"

#include <utility>

#include "problem/structs.h"

namespace tilewise::cuda {

Compilers::Compilers(const Surroundings& around, int driver_version)
    : around_(around), driver_version_(driver_version) {}

void Compilers::search() const {
  std::vector<NvrtcFile> files;
  why_none_ = find_nvrtc(around_, driver_version_, files);
  for (NvrtcFile& file : files) candidates_.emplace_back(std::move(file));
}

// Looks into the cache before opening the library, which has 100 MB. The version in candidate.named
// may be guessed from the path. If it is wrong, nothing is found, and the cache is asked again with
// the version that the open library tells.
Status Compilers::ask(Candidate& candidate, const Question& question, Cubin& kept, Stop& stop) {
  TW_TRY(check_target(candidate.named, question.target));
  const CacheKey guess = cache_key_of(question.program, candidate.named);
  if (question.cache.load(guess, kept)) {
    stop = {Stop::At::kCache, candidate.named};
    return {};
  }
  std::call_once(candidate.once,
                 [&] { candidate.status = Nvrtc::open(candidate.opened, candidate.nvrtc); });
  TW_TRY(candidate.status);
  TW_TRY(check_target(candidate.opened, question.target));
  const CacheKey key = cache_key_of(question.program, candidate.opened);
  if (key != guess && question.cache.load(key, kept)) {
    stop = {Stop::At::kCache, candidate.opened};
    return {};
  }
  const Status status = question.use(candidate.nvrtc, candidate.opened);
  if (status.code != TW_UNSUPPORTED) stop = {Stop::At::kNvrtc, candidate.opened};
  return status;
}

Status Compilers::walk(const Question& question, Cubin& kept, Stop& stop) const {
  std::call_once(searched_, [this] { search(); });
  stop = {};
  Status first = why_none_;
  for (Candidate& candidate : candidates_) {
    const Status status = ask(candidate, question, kept, stop);
    if (stop.at != Stop::At::kNowhere) return status;
    if (first.ok()) first = status;
  }
  CacheKey key;
  if (!question.cache.load_any(key_of(question.program), driver_version_, kept, key)) return first;
  stop.at = Stop::At::kCache;
  stop.nvrtc.version = key.nvrtc_version;
  return {};
}

}  // namespace tilewise::cuda

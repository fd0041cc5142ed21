// What `tilewise kernels` and its C functions do: list the library's kernels, say where a call
// would find each, and compile them ahead of the first call.
#pragma once

#include <string>
#include <vector>

#include "backends/cuda/compiler/surroundings.h"
#include "backends/cuda/compiler/variant.h"
#include "problem/structs.h"
#include "problem/text.h"

namespace tilewise::cuda {

// Each of these kernels for each of these targets.
struct Selection {
  std::vector<const Variant*> variants;
  // Shell patterns. Kernels with features compiled in are listed if the cache has them and a
  // pattern matches.
  std::vector<std::string> patterns;
  std::string listed_alone;  // a pattern that only kernels with features match, which build refuses
  std::vector<Target> targets;  // all for the same driver
  int driver_version = 0;
};

// Fails with a sentence if the choice's names, architectures or driver are impossible.
Status select(const tw_kernel_choice& choice, Selection& out);

void list_kernels(const Selection& selection, const Surroundings& around, tw_format format,
                  Text& text);

// Called before the first kernel and after each. Returning 0 stops the build.
struct Progress {
  tw_progress call = nullptr;
  void* host = nullptr;
};

// Compiles into the disk cache, or with TILEWISE_DUMP into the folder that it names.
Status build_kernels(const Selection& selection, const Surroundings& around,
                     const Progress& progress);

// Empties the disk cache.
Status clear_kernels(const Surroundings& around, core::int64& removed);

}  // namespace tilewise::cuda

// The library's kernels as a person asks about them: which there are, where a call would find each,
// and making them before the first call.
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
  // What of those with features compiled in is listed where it is kept: names as of a shell.
  std::vector<std::string> patterns;
  std::vector<Target> targets;  // of one driver
  int driver_version = 0;
};

// Of a choice whose names, architectures or driver cannot be, a sentence says why not.
Status select(const tw_kernel_choice& choice, Selection& out);

void list_kernels(const Selection& selection, const Surroundings& around, tw_format format,
                  Text& text);

// Called before the first and after each; 0 stops.
struct Progress {
  tw_progress call = nullptr;
  void* host = nullptr;
};

// Fills the disk cache, or with TILEWISE_DUMP the folder that it names.
Status build_kernels(const Selection& selection, const Surroundings& around,
                     const Progress& progress);

// Empties the disk cache.
Status clear_kernels(const Surroundings& around, core::int64& removed);

}  // namespace tilewise::cuda

// How many processors a container may use.
#pragma once

namespace tilewise {

// No limit: more processors than any machine has.
inline constexpr int kUnlimitedProcessors = 1 << 20;

// The processors that this process may use by its control group and those around it, of version 2
// or 1, whichever rules processors. Paths are looked up under `root`, which is "" except in tests.
// Allocates no memory.
int allowed_by_control_groups(const char* root);

}  // namespace tilewise

// How many processors a container may use.
#pragma once

namespace tilewise {

// No limit: more processors than any machine has.
inline constexpr int kUnlimitedProcessors = 1 << 20;

// The processors that this process may use: the least limit of its control groups, of version 1 and
// 2, and of those around them. Paths are looked up under `root`, which is "" except in tests.
// Allocates no memory.
int allowed_by_control_groups(const char* root);

}  // namespace tilewise

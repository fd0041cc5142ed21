// How many processors a container may use.
#pragma once

namespace tilewise {

// More processors than there are.
inline constexpr int kUnlimitedProcessors = 1 << 20;

// The least that a control group of this process, or one around it, leaves it: of version 2 or 1,
// whichever rules processors. Files are looked for under `root`, which is "" but in tests. Takes no
// memory.
int allowed_by_control_groups(const char* root);

}  // namespace tilewise

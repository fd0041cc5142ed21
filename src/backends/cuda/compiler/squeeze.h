// Compresses the pack (LZ77): bytes that occurred before are replaced by their distance and length.
// A cubin of 80 KB becomes 35; gzip -9 would make it 22, but is no part of the library.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace tilewise::cuda {

// Repetitions may also refer to `known`, which `expand` must be given as well.
std::vector<std::byte> squeeze(std::span<const std::byte> plain,
                               std::span<const std::byte> known = {});

// Returns false if the input does not expand to exactly `bytes` bytes. Safe for any input.
bool expand(std::span<const std::byte> squeezed, std::size_t bytes,
            std::span<const std::byte> known, std::vector<std::byte>& out);

}  // namespace tilewise::cuda

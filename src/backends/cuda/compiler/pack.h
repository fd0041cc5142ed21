// Cubins that were compiled ahead of time, on a machine that needs no GPU, and are built into the
// library: an index, then the cubins, each with a hash of its own (sealed.h) and compressed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "backends/cuda/compiler/program.h"
#include "backends/cuda/compiler/sealed.h"

namespace tilewise::cuda {

// The targets for which the pack holds each variant. PTX is for future GPUs.
inline constexpr Target kPackedTargets[] = {
    {.major = 8}, {.major = 9}, {.major = 10}, {.major = 12}};
inline constexpr Target kPackedPtx{.major = 8};

struct PackEntry {
  char name[80];  // of the variant
  std::int32_t major, minor, arch_specific, is_ptx;
  std::uint64_t offset, bytes;  // of its cubin in the pack
  std::uint64_t sealed_bytes;   // of the cubin after expansion

  Target target() const {
    return {.major = major, .minor = minor, .arch_specific = arch_specific != 0};
  }
};

// An entry to be written to a pack.
struct Packed {
  const Variant* variant = nullptr;
  Target target;
  Cubin cubin;
};

std::vector<std::byte> write_pack(std::span<const Packed> items, int nvrtc_version);

// Reads a pack. A damaged pack, or one of another library, appears empty.
class Pack {
 public:
  explicit Pack(std::span<const std::byte> bytes);

  const std::vector<PackEntry>& entries() const { return entries_; }
  int nvrtc_version() const { return nvrtc_version_; }

  // The pack was made from other kernels than this library's; the build left it out.
  bool is_of_others() const { return is_of_others_; }

  // There are bytes, but neither a pack of others nor an intact one. Nothing of them is used.
  bool is_damaged() const { return is_damaged_; }

  // "The pack was compiled by NVRTC 13.0, and a driver of CUDA 12.8 cannot load that. "; empty if
  // the driver can.
  std::string why_too_new(int driver_version) const;

  // Finds a cubin that runs on the target: of the same major version, and of the same or an older
  // minor version. With Form::kPtx, finds PTX for the target or an older GPU, which the driver
  // compiles.
  bool find(const Variant& variant, const Target& target, Form form, Cubin& out) const;

 private:
  bool take(const Variant& variant, const PackEntry& entry, Cubin& out) const;
  bool expand_entry(const PackEntry& entry, std::vector<std::byte>& sealed) const;

  std::span<const std::byte> bytes_;
  std::vector<PackEntry> entries_;
  int nvrtc_version_ = 0;
  bool is_of_others_ = false, is_damaged_ = false;
};

// Empty if the library was built without a pack.
std::span<const std::byte> built_in_pack();

}  // namespace tilewise::cuda

#include "backends/cuda/compiler/sealed.h"

#include <cmath>
#include <cstdint>
#include <cstring>

namespace tilewise::cuda {
namespace {

constexpr char kMagic[16] = "tilewise cubin1";

struct Seal {
  char magic[16];
  Digest digest;  // of everything after it
  Digest key;
  std::int32_t is_ptx;
  std::int32_t registers, spill_bytes, local_bytes, shared_bytes;
  std::int32_t microseconds;
  std::uint64_t bytes;  // after the seal
};
static_assert(sizeof(Seal) == 112, "no byte of it may be left to chance");

constexpr std::size_t kHashed = offsetof(Seal, key);

Digest digest_of(std::span<const std::byte> sealed) {
  return Sha256().add(sealed.data() + kHashed, sealed.size() - kHashed).digest();
}

}  // namespace

std::vector<std::byte> seal(const Cubin& cubin, const Digest& key) {
  Seal head{};
  std::memcpy(head.magic, kMagic, sizeof kMagic);
  head.key = key;
  head.is_ptx = cubin.is_ptx;
  head.registers = cubin.resources.registers;
  head.spill_bytes = cubin.resources.spill_bytes;
  head.local_bytes = cubin.resources.local_bytes;
  head.shared_bytes = cubin.resources.shared_bytes;
  head.microseconds = static_cast<std::int32_t>(std::lround(cubin.seconds * 1e6));
  head.bytes = cubin.bytes.size();
  std::vector<std::byte> sealed(sizeof head + cubin.bytes.size());
  std::memcpy(sealed.data(), &head, sizeof head);
  if (!cubin.bytes.empty())
    std::memcpy(sealed.data() + sizeof head, cubin.bytes.data(), cubin.bytes.size());
  const Digest digest = digest_of(sealed);
  std::memcpy(sealed.data() + offsetof(Seal, digest), digest.data(), digest.size());
  return sealed;
}

bool unseal(std::span<const std::byte> bytes, const Digest& key, Cubin& out) {
  Seal head;
  if (bytes.size() < sizeof head) return false;
  std::memcpy(&head, bytes.data(), sizeof head);
  if (std::memcmp(head.magic, kMagic, sizeof kMagic) != 0 || head.key != key) return false;
  if (head.bytes == 0 || head.bytes != bytes.size() - sizeof head) return false;
  if (head.digest != digest_of(bytes)) return false;
  out.bytes.assign(bytes.begin() + sizeof head, bytes.end());
  out.is_ptx = head.is_ptx != 0;
  out.resources = {.registers = head.registers,
                   .spill_bytes = head.spill_bytes,
                   .local_bytes = head.local_bytes,
                   .shared_bytes = head.shared_bytes};
  out.seconds = head.microseconds * 1e-6;
  return true;
}

}  // namespace tilewise::cuda

#include "backends/cuda/compiler/pack.h"

#include <cstdio>
#include <cstring>
#include <string_view>

#include "backends/cuda/compiler/sources.h"
#include "backends/cuda/compiler/squeeze.h"

namespace tilewise::cuda {
namespace {

// cmake/take_pack.cmake knows this string and the offset of the sources' hash. If the pack is
// damaged or was made from other kernels, that script embeds kOfOthers instead of it.
constexpr char kMagic[16] = "tilewise pack 3";
constexpr std::string_view kOfOthers = "tilewise pack of other kernels\n";

struct PackHead {
  char magic[16];
  Digest digest;     // of the rest of the header and of the index
  char sources[64];  // packed_hash()
  std::uint32_t entries;
  std::int32_t nvrtc_version;
  std::uint64_t bytes;  // of the whole pack
};
static_assert(sizeof(PackHead) == 128 && sizeof(PackEntry) == 120);
static_assert(offsetof(PackHead, sources) == 48);

constexpr std::size_t kHashed = offsetof(PackHead, sources);

Digest digest_of(const std::byte* pack, std::size_t entries) {
  const std::size_t end = sizeof(PackHead) + entries * sizeof(PackEntry);
  return Sha256().add(pack + kHashed, end - kHashed).digest();
}

// Whether the entry runs on the target.
bool runs_on(const PackEntry& entry, const Target& target) {
  if (entry.arch_specific || target.arch_specific)
    return entry.arch_specific && target.arch_specific && entry.major == target.major &&
           entry.minor == target.minor;
  if (entry.is_ptx) return entry.major * 10 + entry.minor <= target.major * 10 + target.minor;
  return entry.major == target.major && entry.minor <= target.minor;
}

// "12.8" of 12080.
std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version / 10 % 100);
}

// Whether the driver loads what this NVRTC made. PTX must not be newer than the driver at all.
bool loads(const PackEntry& entry, int nvrtc_version, int driver_version) {
  return entry.is_ptx ? nvrtc_version <= driver_version
                      : nvrtc_version / 1000 <= driver_version / 1000;
}

// A kernel for bfloat16 is compressed relative to its twin for float16, which differs little.
// Returns the twin's name, or nothing.
std::string twin_of(std::string name) {
  const std::size_t place = name.find("bfloat16");
  if (place == std::string::npos) return "";
  return name.erase(place, 1);
}

bool are_alike(const PackEntry& a, const PackEntry& b) {
  return a.major == b.major && a.minor == b.minor && a.arch_specific == b.arch_specific &&
         a.is_ptx == b.is_ptx;
}

// The twin's entry, which is itself compressed without a twin.
const PackEntry* twin_of(std::span<const PackEntry> entries, const PackEntry& entry) {
  const std::string name = twin_of(std::string(entry.name));
  if (name.empty()) return nullptr;
  for (const PackEntry& other : entries)
    if (are_alike(other, entry) && name == other.name) return &other;
  return nullptr;
}

}  // namespace

std::vector<std::byte> write_pack(std::span<const Packed> items, int nvrtc_version) {
  std::vector<PackEntry> entries;
  std::vector<std::vector<std::byte>> sealed;
  for (const auto& [variant, target, cubin] : items) {
    const Form form = cubin.is_ptx ? Form::kPtx : Form::kCubin;
    sealed.push_back(seal(cubin, key_of(program_of(*variant, target, form))));
    PackEntry& entry = entries.emplace_back();
    std::snprintf(entry.name, sizeof entry.name, "%s", variant->name);
    entry.major = target.major, entry.minor = target.minor;
    entry.arch_specific = target.arch_specific, entry.is_ptx = cubin.is_ptx;
    entry.sealed_bytes = sealed.back().size();
  }
  std::vector<std::byte> pack(sizeof(PackHead) + items.size() * sizeof(PackEntry));
  for (std::size_t i = 0; i < entries.size(); ++i) {
    PackEntry& entry = entries[i];
    const PackEntry* twin = twin_of(entries, entry);
    const auto squeezed =
        twin ? squeeze(sealed[i], sealed[static_cast<std::size_t>(twin - entries.data())])
             : squeeze(sealed[i]);
    entry.offset = pack.size(), entry.bytes = squeezed.size();
    std::memcpy(pack.data() + sizeof(PackHead) + i * sizeof entry, &entry, sizeof entry);
    pack.insert(pack.end(), squeezed.begin(), squeezed.end());
  }
  PackHead head{};
  std::memcpy(head.magic, kMagic, sizeof kMagic);
  std::memcpy(head.sources, packed_hash(), sizeof head.sources);
  head.entries = static_cast<std::uint32_t>(items.size());
  head.nvrtc_version = nvrtc_version;
  head.bytes = pack.size();
  std::memcpy(pack.data(), &head, sizeof head);
  const Digest digest = digest_of(pack.data(), items.size());
  std::memcpy(pack.data() + offsetof(PackHead, digest), digest.data(), digest.size());
  return pack;
}

Pack::Pack(std::span<const std::byte> bytes) : bytes_(bytes) {
  PackHead head;
  is_of_others_ = bytes.size() == kOfOthers.size() &&
                  std::memcmp(bytes.data(), kOfOthers.data(), bytes.size()) == 0;
  is_damaged_ = !bytes.empty() && !is_of_others_;
  if (bytes.size() < sizeof head) return;
  std::memcpy(&head, bytes.data(), sizeof head);
  if (std::memcmp(head.magic, kMagic, sizeof kMagic) != 0 || head.bytes != bytes.size()) return;
  if (head.entries > (bytes.size() - sizeof head) / sizeof(PackEntry)) return;
  if (head.digest != digest_of(bytes.data(), head.entries)) return;
  is_damaged_ = false;
  is_of_others_ = std::memcmp(head.sources, packed_hash(), sizeof head.sources) != 0;
  if (is_of_others_) return;
  nvrtc_version_ = head.nvrtc_version;
  entries_.resize(head.entries);
  if (head.entries > 0)
    std::memcpy(entries_.data(), bytes.data() + sizeof head, head.entries * sizeof(PackEntry));
}

std::string Pack::why_too_new(int driver_version) const {
  if (entries_.empty() || nvrtc_version_ / 1000 <= driver_version / 1000) return "";
  return "The pack was compiled by NVRTC " + version_text(nvrtc_version_) +
         ", and a driver of CUDA " + version_text(driver_version) + " cannot load that. ";
}

bool Pack::expand_entry(const PackEntry& entry, std::vector<std::byte>& sealed) const {
  if (entry.offset > bytes_.size() || entry.bytes > bytes_.size() - entry.offset) return false;
  std::vector<std::byte> known;
  const PackEntry* twin = twin_of(entries_, entry);
  if (twin && !expand_entry(*twin, known)) return false;
  return expand(bytes_.subspan(entry.offset, entry.bytes), entry.sealed_bytes, known, sealed);
}

bool Pack::take(const Variant& variant, const PackEntry& entry, Cubin& out) const {
  std::vector<std::byte> sealed;
  if (!expand_entry(entry, sealed)) return false;
  const Form form = entry.is_ptx ? Form::kPtx : Form::kCubin;
  if (!unseal(sealed, key_of(program_of(variant, entry.target(), form)), out)) return false;
  out.from = From::kPack;
  return true;
}

bool Pack::find(const Variant& variant, const Target& target, Form form, Cubin& out) const {
  const PackEntry* best = nullptr;
  for (const PackEntry& entry : entries_) {
    if (std::strncmp(entry.name, variant.name, sizeof entry.name) != 0) continue;
    if ((entry.is_ptx != 0) != (form == Form::kPtx) || !runs_on(entry, target)) continue;
    if (!loads(entry, nvrtc_version_, target.driver_version)) continue;
    const auto age = [](const PackEntry& of) { return of.major * 10 + of.minor; };
    if (!best || age(entry) > age(*best)) best = &entry;
  }
  return best && take(variant, *best, out);
}

}  // namespace tilewise::cuda

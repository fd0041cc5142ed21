// Resolves the C interface's choice of kernels.
#include <fnmatch.h>

#include <algorithm>
#include <cstring>

#include "backends/cuda/catalog.h"
#include "backends/cuda/compiler/pack.h"
#include "backends/cuda/driver/driver.h"
#include "backends/cuda/featured.h"

namespace tilewise::cuda {
namespace {

// Newer than any driver, so that every NVRTC is acceptable.
constexpr int kAnyDriver = 99000;

// The words of a comma-separated list, without empty ones.
std::vector<std::string> words_of(const char* list) {
  std::vector<std::string> words;
  for (const char* end = list; list && *list; list = *end ? end + 1 : end) {
    end = list + std::strcspn(list, ",");
    if (end > list) words.emplace_back(list, end);
  }
  return words;
}

bool names_a_featured(const std::string& pattern) {
  const std::vector<Featured> all = every_featured();
  return std::any_of(all.begin(), all.end(), [&](const Featured& each) {
    return fnmatch(pattern.c_str(), kernel_name(each).c_str(), 0) == 0;
  });
}

// Selects kernels by the comma-separated `names`: shell patterns such as "*forward*" for the
// kernels that the pack may have, or full names of featured kernels. Featured kernels that match a
// pattern are only listed, if the cache has them (out.patterns).
Status select_variants(const char* names, Selection& out) {
  const std::vector<std::string> words = words_of(names);
  for (const std::string& name : words) {
    const std::size_t before = out.variants.size();
    for (const Variant& variant : packed_variants())
      if (fnmatch(name.c_str(), variant.name, 0) == 0) out.variants.push_back(&variant);
    Featured featured;
    const bool is_new = out.variants.size() == before && find_featured(name, featured);
    const int place = is_new ? place_of(featured) : -1;
    if (place >= 0) out.variants.push_back(&featured_variant(place));
    out.patterns.push_back(name);
    if (out.variants.size() > before) continue;
    out.listed_alone = name;
    if (!names_a_featured(name))
      return invalid("There is no kernel '%.80s': `tilewise kernels list` names all %zu.",
                     name.c_str(), packed_variants().size());
  }
  if (words.empty()) out.patterns.emplace_back("*");
  if (words.empty())
    for (const Variant& variant : packed_variants()) out.variants.push_back(&variant);
  std::sort(out.variants.begin(), out.variants.end());
  out.variants.erase(std::unique(out.variants.begin(), out.variants.end()), out.variants.end());
  return {};
}

void add_target(int architecture, Selection& out) {
  const Target target{.major = architecture / 10,
                      .minor = architecture % 10,
                      .arch_specific = false,
                      .driver_version = out.driver_version};
  const auto is_same = [&](const Target& other) {
    return other.major == target.major && other.minor == target.minor;
  };
  if (std::none_of(out.targets.begin(), out.targets.end(), is_same)) out.targets.push_back(target);
}

Status select_architecture(const std::string& name, Selection& out) {
  const std::string digits = name.starts_with("sm_") ? name.substr(3) : "";
  const bool is_number = (digits.size() == 2 || digits.size() == 3) && digits[0] != '0' &&
                         digits.find_first_not_of("0123456789") == std::string::npos;
  if (!is_number)
    return invalid("'%.40s' is no architecture: give it as sm_80, sm_90 or sm_120.", name.c_str());
  const int architecture = std::stoi(digits);
  if (architecture < kOldestArchitecture)
    return unsupported("%s is too old: sm_80 (Ampere) is the oldest that runs.", name.c_str());
  add_target(architecture, out);
  return {};
}

// Does not create a context, which nobody has asked for.
void select_gpus(const Calls* calls, Selection& out) {
  int count = 0;
  if (!calls || calls->device_count(&count) != kOk) return;
  for (int index = 0; index < count; ++index) {
    Ordinal device = 0;
    int major = 0, minor = 0;
    if (calls->device_get(&device, index) == kOk &&
        calls->device_attribute(&major, kMajor, device) == kOk &&
        calls->device_attribute(&minor, kMinor, device) == kOk &&
        major * 10 + minor >= kOldestArchitecture)
      add_target(major * 10 + minor, out);
  }
}

}  // namespace

Status select(const tw_kernel_choice& choice, Selection& out) {
  if (choice.driver_version != 0 &&
      (choice.driver_version < kOldestDriver || choice.driver_version > kAnyDriver))
    return invalid(
        "driver_version is %d: give 12040 for a driver of CUDA 12.4 (12.0 is the oldest), "
        "or 0.",
        choice.driver_version);
  TW_TRY(select_variants(choice.names, out));
  const std::vector<std::string> architectures = words_of(choice.architectures);
  const Calls* calls = nullptr;
  // With both given, no driver is needed.
  const bool asks_driver = architectures.empty() || choice.driver_version == 0;
  const bool has_driver = asks_driver && open_driver(calls).ok();
  out.driver_version = choice.driver_version != 0 ? choice.driver_version
                       : has_driver               ? calls->version
                                                  : kAnyDriver;
  for (const std::string& name : architectures) TW_TRY(select_architecture(name, out));
  if (architectures.empty()) select_gpus(has_driver ? calls : nullptr, out);
  if (out.targets.empty())
    for (const Target& target : kPackedTargets) add_target(target.major * 10 + target.minor, out);
  return {};
}

}  // namespace tilewise::cuda

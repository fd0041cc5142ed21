#include "backends/cuda/compiler/program.h"

#include "tilewise/tilewise.h"

namespace tilewise::cuda {
namespace {

// Increment when the meaning of a key changes.
constexpr int kKeyForm = 1;

Sha256 inputs_of(const Program& program) {
  constexpr int kVersion[] = {kKeyForm, TW_VERSION_MAJOR, TW_VERSION_MINOR, TW_VERSION_PATCH};
  Sha256 inputs;
  inputs.add(kVersion, sizeof kVersion).add_text(embedded_hash());
  inputs.add_text(program.name).add_text(program.text);
  for (const std::string& option : program.options) inputs.add_text(option);
  return inputs;
}

}  // namespace

std::string architecture(const Target& target, Form form) {
  return (form == Form::kPtx ? "compute_" : "sm_") +
         std::to_string(target.major * 10 + target.minor) + (target.arch_specific ? "a" : "");
}

Program program_of(const Variant& variant, const Target& target, Form form) {
  std::string bounds = std::to_string(variant.threads);
  if (variant.blocks > 0) bounds += ", " + std::to_string(variant.blocks);
  Program program;
  program.name = std::string(variant.name) + ".cu";
  program.text = std::string("#include \"") + variant.include + "\"\n\n" +
                 "extern \"C\" __global__ void __launch_bounds__(" + bounds + ")\n    " +
                 variant.name + "(" + variant.parameters + ") {\n  " + variant.body + "\n}\n";
  // ptxas's report costs nothing and does not change the cubin.
  program.options = {"--std=c++20", "--gpu-architecture=" + architecture(target, form),
                     "--ptxas-options=-v"};
  return program;
}

Digest key_of(const Program& program) {
  return inputs_of(program).digest();
}

CacheKey cache_key_of(const Program& program, const NvrtcFile& nvrtc) {
  return {key_of(program), nvrtc.version, nvrtc.bytes};
}

Digest CacheKey::digest() const {
  const long long compiler[] = {nvrtc_version, nvrtc_bytes};
  return Sha256().add(program.data(), program.size()).add(compiler, sizeof compiler).digest();
}

}  // namespace tilewise::cuda

# Puts the text of headers into one C++ file, from which the library hands them to NVRTC. Run as
#   cmake -DROOT=src -DNAMES=core/base.h,core/mask.h -DPACKED=backends/cuda/variants.cpp
#         -DVERSION=1.2.3 -DOUTPUT=file.cpp -P embed.cmake
# PACKED are the other files from which a pack's kernels follow: they are hashed, and left here.
string(REPLACE "," ";" names "${NAMES}")
set(entries)
set(hashed)
foreach(name IN LISTS names)
  file(READ ${ROOT}/${name} text)
  string(FIND "${text}" ")tilewise\"" end_mark)
  if(NOT end_mark EQUAL -1)
    message(FATAL_ERROR "${name} holds the mark at which its embedded text would end.")
  endif()
  # The longest literal for which clang gives no warning.
  string(LENGTH "${text}" length)
  if(length GREATER 65535)
    message(FATAL_ERROR "${name} has ${length} bytes; a literal holds 65535: split the file.")
  endif()
  string(APPEND entries "    {\"${name}\", R\"tilewise(${text})tilewise\"},\n")
  string(APPEND hashed "${name}\n${text}")
endforeach()
string(SHA256 hash "${hashed}")
string(APPEND hashed "${VERSION}\n")
string(REPLACE "," ";" packed "${PACKED}")
foreach(name IN LISTS packed)
  file(READ ${ROOT}/${name} text)
  string(APPEND hashed "${name}\n${text}")
endforeach()
string(SHA256 packed_hash "${hashed}")
# cmake/take_pack.cmake reads the second hash from the first line.
file(WRITE ${OUTPUT} "// Made by cmake/embed.cmake from headers of src. Its packs: ${packed_hash}
#include \"backends/cuda/compiler/sources.h\"

namespace tilewise::cuda {
namespace {

constexpr Source kSources[] = {
${entries}};

}  // namespace

std::span<const Source> embedded_sources() {
  return kSources;
}

const char* embedded_hash() {
  return \"${hash}\";
}

const char* packed_hash() {
  return \"${packed_hash}\";
}

}  // namespace tilewise::cuda
")

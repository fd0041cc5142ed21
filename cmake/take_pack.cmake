# Takes a pack that was made before into the build, if it is of the kernels that the library has.
# Run as
#   cmake -DPACK=made.pack -DSOURCES=cuda_sources.cpp -DIS_NAMED=OFF -DOUTPUT=taken.pack
#         -P take_pack.cmake
# None of the cubins of a pack of other kernels would be used. It is left out, which a warning here
# and `tilewise kernels list` say; if the user has named the pack, the build stops.
file(STRINGS ${SOURCES} first LIMIT_COUNT 1)
if(NOT first MATCHES "Its packs: ([0-9a-f]+)$")
  message(FATAL_ERROR "${SOURCES} does not say which packs are its own.")
endif()
set(wanted ${CMAKE_MATCH_1})

# The head of src/backends/cuda/compiler/pack.cpp: 16 bytes of name, 32 of a digest, the hash, two
# numbers of 4 bytes, the first of which counts kernels, and how many bytes the pack has, in 8, the
# lowest first. The digest is that of what follows it, with the index: 120 bytes for each kernel.
# Each kernel behind the index is compressed and has a digest of its own, which the library checks.
file(READ ${PACK} name LIMIT 15)
file(READ ${PACK} held OFFSET 48 LIMIT 64)
# CMake ends what it reads with a new line.
string(STRIP "${name}" name)
string(STRIP "${held}" held)
file(SIZE ${PACK} bytes)
# The number of `bytes` bytes at `offset`.
function(read_number offset bytes variable)
  file(READ ${PACK} digits OFFSET ${offset} LIMIT ${bytes} HEX)
  string(REGEX MATCHALL ".." digits "${digits}")
  list(REVERSE digits)
  list(JOIN digits "" digits)
  math(EXPR number "0x0${digits}")
  set(${variable} ${number} PARENT_SCOPE)
endfunction()
read_number(112 4 kernels)
math(EXPR hashed "80 + 120 * ${kernels}")
file(READ ${PACK} said_digest OFFSET 16 LIMIT 32 HEX)
get_filename_component(folder ${OUTPUT} DIRECTORY)
file(MAKE_DIRECTORY ${folder})
execute_process(COMMAND tail -c +49 ${PACK} COMMAND head -c ${hashed} OUTPUT_FILE ${OUTPUT}.index)
file(SHA256 ${OUTPUT}.index digest)
file(REMOVE ${OUTPUT}.index)

set(wrong)
if(NOT name STREQUAL "tilewise pack 3" OR NOT held STREQUAL wanted)
  set(wrong "was made of other kernels than the library's")
elseif(NOT digest STREQUAL said_digest)
  set(wrong "is damaged (its index has another hash than it says)")
else()
  read_number(120 8 said_bytes)
  if(NOT bytes EQUAL said_bytes)
    set(wrong "is damaged (it has ${bytes} bytes and speaks of ${said_bytes})")
  endif()
endif()
if(bytes EQUAL 0 OR NOT wrong)
  file(COPY_FILE ${PACK} ${OUTPUT})
  file(TOUCH ${OUTPUT})
  return()
endif()
set(said "The pack ${PACK} ${wrong}")
if(IS_NAMED)
  message(FATAL_ERROR "${said}: make it again (./dev pack makes build/pack/tilewise.pack), or set \
TILEWISE_PACK to AUTO, ON or OFF.")
endif()
message("WARNING: ${said} and is LEFT OUT: NVRTC will compile them on the user's machine. To have \
them in the library, run ./dev pack and build again.")
file(WRITE ${OUTPUT} "tilewise pack of other kernels\n")

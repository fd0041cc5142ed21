# Takes a pack that was made before into the build, if it is of the kernels that the library has.
# Run as
#   cmake -DPACK=made.pack -DSOURCES=cuda_sources.cpp -DIS_NAMED=OFF -DOUTPUT=taken.pack
#         -P take_pack.cmake
# One of other kernels would be dead weight, since none of its cubins is used. It is left out and
# that is said, here and by `tilewise explain`; where somebody has named it, the build stops.
file(STRINGS ${SOURCES} first LIMIT_COUNT 1)
if(NOT first MATCHES "Its packs: ([0-9a-f]+)$")
  message(FATAL_ERROR "${SOURCES} does not say which packs are its own.")
endif()
set(wanted ${CMAKE_MATCH_1})

# The head of src/backends/cuda/compiler/pack.cpp: 16 bytes of name, 32 of a digest, the hash, two
# numbers of 4 bytes, and how many bytes the pack has, in 8, the lowest first.
file(READ ${PACK} name LIMIT 15)
file(READ ${PACK} held OFFSET 48 LIMIT 64)
# CMake ends what it reads with a new line.
string(STRIP "${name}" name)
string(STRIP "${held}" held)
file(SIZE ${PACK} bytes)
file(READ ${PACK} digits OFFSET 120 LIMIT 8 HEX)
set(said_bytes 0)
if(digits MATCHES "^(..)(..)(..)(..)(..)(..)(..)(..)$")
  set(high ${CMAKE_MATCH_8}${CMAKE_MATCH_7}${CMAKE_MATCH_6}${CMAKE_MATCH_5})
  math(EXPR said_bytes "0x${high}${CMAKE_MATCH_4}${CMAKE_MATCH_3}${CMAKE_MATCH_2}${CMAKE_MATCH_1}")
endif()
set(is_ours OFF)
if(name STREQUAL "tilewise pack 3" AND held STREQUAL wanted)
  set(is_ours ON)
endif()
if(bytes EQUAL 0 OR (is_ours AND bytes EQUAL said_bytes))
  get_filename_component(folder ${OUTPUT} DIRECTORY)
  file(MAKE_DIRECTORY ${folder})
  file(COPY_FILE ${PACK} ${OUTPUT})
  file(TOUCH ${OUTPUT})
  return()
endif()
set(said "The pack ${PACK} was made of other kernels than the library's")
if(is_ours)
  set(said "The pack ${PACK} is damaged (it has ${bytes} bytes and speaks of ${said_bytes})")
endif()
if(IS_NAMED)
  message(FATAL_ERROR "${said}: make it again (./dev pack makes build/pack/tilewise.pack), or set \
TILEWISE_PACK to AUTO, ON or OFF.")
endif()
message("WARNING: ${said} and is LEFT OUT: NVRTC will compile them on the user's machine. To have \
them in the library, run ./dev pack and build again.")
file(WRITE ${OUTPUT} "tilewise pack of other kernels\n")

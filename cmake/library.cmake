# The library, shared and static, from one set of objects. Tests that look behind the C face link
# the objects, because the shared library hides all but tw_*.
find_package(Threads REQUIRED)
include(${CMAKE_CURRENT_LIST_DIR}/instruction_sets.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/cuda.cmake)

# Only files of isa/ are compiled for an instruction set. They are optimised in every build that may
# run on other machines: without inlining they would hold copies of functions of shared headers, and
# the linker could take such a copy, with its instructions, for the whole program. `speed` is below.
function(tilewise_instruction_set name)
  if(name IN_LIST tilewise_left_out)
    string(TOUPPER TILEWISE_WITHOUT_${name} definition)
    set_property(SOURCE ${isa_folder}/isa.cpp APPEND PROPERTY COMPILE_DEFINITIONS ${definition})
    return()
  endif()
  set(flags ${speed} -ffp-contract=fast -Wno-psabi ${ARGN})
  # The address sanitizer's stack does not align vectors of 64 bytes and more. Memory of the heap,
  # which is where tiles lie, stays watched.
  if(CMAKE_CXX_FLAGS MATCHES "-fsanitize=[a-z,]*address")
    if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
      list(APPEND flags --param=asan-stack=0)
    else()
      list(APPEND flags -mllvm -asan-stack=0)
    endif()
    # The address sanitizer sees most bad accesses that these checks of the other one look for.
    # Without them a set takes two thirds of the time to compile.
    list(APPEND flags -fno-sanitize=null,object-size,pointer-overflow)
  endif()
  set_source_files_properties(${isa_folder}/${name}.cpp PROPERTIES COMPILE_OPTIONS "${flags}")
  list(APPEND tilewise_instruction_sets ${name})
  set(tilewise_instruction_sets ${tilewise_instruction_sets} PARENT_SCOPE)
endfunction()

# With the address sanitizer avx512_bf16.cpp takes 66 s to compile at -O3, and 11 at -O1.
set(speed -O3)
if(TILEWISE_INSTRUCTION_SETS STREQUAL widest AND CMAKE_CXX_FLAGS MATCHES "-fsanitize=")
  set(speed -O1)
endif()
set(isa_folder ${PROJECT_SOURCE_DIR}/src/backends/cpu/isa)
set(tilewise_instruction_sets)
tilewise_instruction_set(portable)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  # A processor without PREFETCHW runs it as a no-op, so no check at run time asks for -mprfchw.
  set(avx512 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c -mprfchw
      -mprefer-vector-width=512)
  tilewise_instruction_set(avx2 -mavx2 -mfma -mf16c -mprfchw)
  tilewise_instruction_set(avx512 ${avx512})
  tilewise_instruction_set(avx512_bf16 ${avx512} -mavx512bf16)
  tilewise_instruction_set(amx_bf16 ${avx512} -mavx512bf16 -mamx-tile -mamx-bf16)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  tilewise_instruction_set(neon)
endif()

# Every source below src/ belongs to the library, of isa/ only those of this processor.
# CONFIGURE_DEPENDS makes each build look for new files.
file(GLOB_RECURSE tilewise_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*.cpp)
list(FILTER tilewise_sources EXCLUDE REGEX "/backends/cpu/isa/|/pack_data\\.cpp$")
list(TRANSFORM tilewise_instruction_sets PREPEND ${isa_folder}/ OUTPUT_VARIABLE isa_sources)
list(TRANSFORM isa_sources APPEND .cpp)
# These take longest and are begun first, so that no core waits for the last of them.
list(PREPEND tilewise_sources ${isa_sources} ${isa_folder}/isa.cpp)
list(APPEND tilewise_sources ${embedded_sources})
file(GLOB_RECURSE tilewise_private_headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*.h)
file(GLOB tilewise_public_headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/tilewise/*.h
     ${PROJECT_SOURCE_DIR}/include/tilewise/*.hpp)

# The headers are a header set, so that the target all_verify_interface_header_sets compiles each
# of them alone.
add_library(tilewise_objects OBJECT ${tilewise_sources})
target_sources(
  tilewise_objects
  PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include
         FILES ${tilewise_private_headers} ${tilewise_public_headers})
set_target_properties(tilewise_objects PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
target_compile_features(tilewise_objects PUBLIC cxx_std_20)
target_link_libraries(tilewise_objects PUBLIC Threads::Threads ${CMAKE_DL_LIBS})
tilewise_compile_options(tilewise_objects)

tilewise_pack_program()
tilewise_add_pack()

set(all_objects $<TARGET_OBJECTS:tilewise_objects> $<TARGET_OBJECTS:tilewise_pack_data>)
add_library(tilewise SHARED ${all_objects})
add_library(tilewise_static STATIC ${all_objects})
# A wheel opens its library by path and cannot hold links, so there the name is plain.
if(NOT SKBUILD)
  set_target_properties(tilewise PROPERTIES VERSION ${PROJECT_VERSION}
                                            SOVERSION ${PROJECT_VERSION_MAJOR})
endif()
set_target_properties(tilewise_static PROPERTIES OUTPUT_NAME tilewise)
foreach(library tilewise tilewise_static)
  add_library(tilewise::${library} ALIAS ${library})
  target_sources(
    ${library} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include
                      FILES ${tilewise_public_headers})
  target_link_libraries(${library} PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
  set_target_properties(${library} PROPERTIES LINKER_LANGUAGE CXX)
endforeach()

# Hidden visibility does not hide instantiations of the standard library's templates; this does.
if(LINUX)
  set(export_map ${PROJECT_SOURCE_DIR}/cmake/exports.map)
  target_link_options(tilewise PRIVATE -Wl,--version-script=${export_map})
  set_target_properties(tilewise PROPERTIES LINK_DEPENDS ${export_map})
endif()

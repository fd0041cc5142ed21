# What the CUDA backend carries in the library: the text of its kernels, from which NVRTC compiles,
# and the pack of cubins where there is one. No toolkit is needed.
set(TILEWISE_PACK AUTO CACHE STRING "Cubins in the library. ON: made by this build, where NVRTC is \
found. AUTO: those that ./dev pack has made, if it has. OFF: none. Or the path of a pack")
set(TILEWISE_PACK_ARCHITECTURES "" CACHE STRING
    "What ON makes them for, as sm_80,sm_90; empty: all that are known")

set(cuda_folder ${PROJECT_SOURCE_DIR}/src/backends/cuda)
file(GLOB core_headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/src
     ${PROJECT_SOURCE_DIR}/src/core/*.h)
file(GLOB_RECURSE device_headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/src
     ${cuda_folder}/device/*.h ${cuda_folder}/kernels/*.h)
set(embedded_names ${core_headers} ${device_headers})
# A pack's kernels depend on these, too: on the list of variants, and on the text made of each.
file(GLOB packed_names CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/src
     ${cuda_folder}/variants*.cpp ${cuda_folder}/compiler/program.cpp)
set(packed_files ${packed_names})
list(TRANSFORM packed_files PREPEND ${PROJECT_SOURCE_DIR}/src/)
list(JOIN packed_names , packed_names)
list(TRANSFORM embedded_names PREPEND ${PROJECT_SOURCE_DIR}/src/ OUTPUT_VARIABLE embedded_files)
list(JOIN embedded_names , embedded_names)
set(embedded_sources ${PROJECT_BINARY_DIR}/embedded/cuda_sources.cpp)
add_custom_command(
  OUTPUT ${embedded_sources}
  COMMAND ${CMAKE_COMMAND} -DROOT=${PROJECT_SOURCE_DIR}/src -DNAMES=${embedded_names}
          -DPACKED=${packed_names} -DVERSION=${PROJECT_VERSION} -DOUTPUT=${embedded_sources}
          -P ${CMAKE_CURRENT_LIST_DIR}/embed.cmake
  DEPENDS ${CMAKE_CURRENT_LIST_DIR}/embed.cmake ${embedded_files} ${packed_files}
  COMMENT "Embedding the text of the GPU's kernels"
  VERBATIM)

# The program that makes the pack. It is linked with all of the library's objects but the pack.
function(tilewise_pack_program)
  add_executable(tilewise_pack EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/tools/pack.cpp
                                                $<TARGET_OBJECTS:tilewise_objects>)
  tilewise_compile_options(tilewise_pack)
  target_include_directories(tilewise_pack PRIVATE ${PROJECT_SOURCE_DIR}/src
                                                   ${PROJECT_SOURCE_DIR}/include)
  target_link_libraries(tilewise_pack PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
  # g++ 13 warns falsely that a vector frees memory which is not on the heap.
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 13)
    target_compile_options(tilewise_pack PRIVATE -Wno-free-nonheap-object)
  endif()
  set_target_properties(tilewise_pack PROPERTIES RUNTIME_OUTPUT_DIRECTORY
                                                 ${PROJECT_BINARY_DIR}/bin)
endfunction()

# Copies a pack that was made before into the build, and sets `variable` to the copy. If the pack's
# kernels are not those of the library, the copy is empty; with `is_named`, because the user named
# this pack, it is an error instead.
function(tilewise_take_pack pack is_named variable)
  set(script ${PROJECT_SOURCE_DIR}/cmake/take_pack.cmake)
  set(taken ${PROJECT_BINARY_DIR}/pack/taken.pack)
  add_custom_command(
    OUTPUT ${taken}
    COMMAND ${CMAKE_COMMAND} -DPACK=${pack} -DSOURCES=${embedded_sources} -DIS_NAMED=${is_named}
            -DOUTPUT=${taken} -P ${script}
    DEPENDS ${pack} ${embedded_sources} ${script}
    COMMENT "Taking the pack of the GPU's kernels"
    VERBATIM)
  # Otherwise both targets' rules could make cuda_sources.cpp at the same time.
  add_dependencies(tilewise_pack_data tilewise_objects)
  set(${variable} ${taken} PARENT_SCOPE)
endfunction()

# Where the pack lies that the library takes; empty: it takes none.
function(tilewise_choose_pack variable)
  set(pack ${TILEWISE_PACK})
  set(of_dev ${PROJECT_SOURCE_DIR}/build/pack/tilewise.pack)
  if(pack MATCHES "^(ON|TRUE|YES|1)$")
    set(pack ${PROJECT_BINARY_DIR}/pack/tilewise.pack)
    set(only)
    if(TILEWISE_PACK_ARCHITECTURES)
      set(only --arch ${TILEWISE_PACK_ARCHITECTURES})
    endif()
    # What ./dev pack has compiled is not compiled again.
    add_custom_command(
      OUTPUT ${pack}
      COMMAND tilewise_pack ${pack} --if-found --keep ${PROJECT_SOURCE_DIR}/build/pack/kept ${only}
      DEPENDS tilewise_pack
      COMMENT "Compiling the GPU's kernels ahead of time"
      VERBATIM)
  elseif(pack STREQUAL AUTO OR pack STREQUAL of_dev)
    set(pack ${of_dev})
    # So that a build looks again when the file is gone.
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${pack})
    if(EXISTS ${pack})
      tilewise_take_pack(${pack} OFF pack)
    else()
      set(pack)
    endif()
  elseif(pack)
    if(NOT EXISTS ${pack})
      message(FATAL_ERROR "TILEWISE_PACK is ${pack}: give ON, AUTO, OFF or the path of a pack.")
    endif()
    tilewise_take_pack(${pack} ON pack)
  endif()
  if(NOT pack)
    message(STATUS "The pack of GPU kernels is left out; to have it: -DTILEWISE_PACK=ON")
  endif()
  set(${variable} ${pack} PARENT_SCOPE)
endfunction()

# The pack's bytes are an object file of their own. Targets that link tilewise_objects get it too.
function(tilewise_add_pack)
  set(source ${cuda_folder}/compiler/pack_data.cpp)
  add_library(tilewise_pack_data OBJECT ${source})
  tilewise_compile_options(tilewise_pack_data)
  target_include_directories(tilewise_pack_data PRIVATE ${PROJECT_SOURCE_DIR}/src
                                                        ${PROJECT_SOURCE_DIR}/include)
  target_sources(tilewise_objects INTERFACE $<TARGET_OBJECTS:tilewise_pack_data>)
  if(CMAKE_CROSSCOMPILING AND TILEWISE_PACK MATCHES "^(ON|TRUE|YES|1)$")
    message(FATAL_ERROR "TILEWISE_PACK=ON runs a program of this build, which this machine cannot: \
make the pack on another one and give its path.")
  endif()
  tilewise_choose_pack(pack)
  if(pack)
    target_sources(tilewise_pack_data PRIVATE ${pack})
    set_source_files_properties(${source} PROPERTIES
      COMPILE_DEFINITIONS "TILEWISE_PACK_FILE=\"${pack}\"" OBJECT_DEPENDS ${pack})
  endif()
endfunction()

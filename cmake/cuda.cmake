# What the CUDA backend carries in the library: the text of its kernels, from which NVRTC compiles,
# and the pack of cubins where there is one. No toolkit is needed.
set(TILEWISE_PACK ${PROJECT_SOURCE_DIR}/build/pack/tilewise.pack CACHE FILEPATH
    "Cubins made ahead of time by ./dev pack; the library holds them where the file exists")

set(cuda_folder ${PROJECT_SOURCE_DIR}/src/backends/cuda)
file(GLOB core_headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/src
     ${PROJECT_SOURCE_DIR}/src/core/*.h)
file(GLOB_RECURSE device_headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/src
     ${cuda_folder}/device/*.h ${cuda_folder}/kernels/*.h)
set(embedded_names ${core_headers} ${device_headers})
list(TRANSFORM embedded_names PREPEND ${PROJECT_SOURCE_DIR}/src/ OUTPUT_VARIABLE embedded_files)
list(JOIN embedded_names , embedded_names)
set(embedded_sources ${PROJECT_BINARY_DIR}/embedded/cuda_sources.cpp)
add_custom_command(
  OUTPUT ${embedded_sources}
  COMMAND ${CMAKE_COMMAND} -DROOT=${PROJECT_SOURCE_DIR}/src -DNAMES=${embedded_names}
          -DOUTPUT=${embedded_sources} -P ${CMAKE_CURRENT_LIST_DIR}/embed.cmake
  DEPENDS ${CMAKE_CURRENT_LIST_DIR}/embed.cmake ${embedded_files}
  COMMENT "Embedding the text of the GPU's kernels"
  VERBATIM)

if(EXISTS ${TILEWISE_PACK})
  # So that a build looks again when the file is gone.
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${TILEWISE_PACK})
  set_source_files_properties(
    ${cuda_folder}/compiler/pack_data.cpp
    PROPERTIES COMPILE_DEFINITIONS "TILEWISE_PACK_FILE=\"${TILEWISE_PACK}\""
               OBJECT_DEPENDS ${TILEWISE_PACK})
endif()

# Makes the pack: ./dev pack.
function(tilewise_pack_program)
  add_executable(tilewise_pack EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/tools/pack.cpp)
  tilewise_compile_options(tilewise_pack)
  target_link_libraries(tilewise_pack PRIVATE tilewise_objects)
  # g++ 13 takes a vector's own memory for somebody else's.
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 13)
    target_compile_options(tilewise_pack PRIVATE -Wno-free-nonheap-object)
  endif()
  set_target_properties(tilewise_pack PROPERTIES RUNTIME_OUTPUT_DIRECTORY
                                                 ${PROJECT_BINARY_DIR}/bin)
endfunction()

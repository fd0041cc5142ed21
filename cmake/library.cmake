# The library, shared and static, from one set of objects. Tests that look behind the C face link
# the objects, because the shared library hides all but tw_*.
find_package(Threads REQUIRED)

# A folder is its own list of sources: one more list here could only disagree with it.
# CONFIGURE_DEPENDS makes the build look again each time.
file(GLOB_RECURSE tilewise_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*.cpp)
file(GLOB_RECURSE tilewise_private_headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*.h)
file(GLOB tilewise_public_headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/tilewise/*.h
     ${PROJECT_SOURCE_DIR}/include/tilewise/*.hpp)

# As a header set, each header can be compiled alone: target all_verify_interface_header_sets.
add_library(tilewise_objects OBJECT ${tilewise_sources})
target_sources(
  tilewise_objects
  PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include
         FILES ${tilewise_private_headers} ${tilewise_public_headers})
set_target_properties(tilewise_objects PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
target_compile_features(tilewise_objects PUBLIC cxx_std_20)
target_link_libraries(tilewise_objects PUBLIC Threads::Threads)
tilewise_compile_options(tilewise_objects)
# A wrong kernel on purpose, for tools/mutants.py (src/core/wound.h): it never leaves its folder.
if(TILEWISE_WOUNDS)
  target_compile_definitions(tilewise_objects PUBLIC TILEWISE_WOUNDS)
  install(CODE "message(FATAL_ERROR \"This library was built with TILEWISE_WOUNDS and may compute \
wrong results: it is not installed. Build without that option.\")" ALL_COMPONENTS)
endif()

add_library(tilewise SHARED $<TARGET_OBJECTS:tilewise_objects>)
add_library(tilewise_static STATIC $<TARGET_OBJECTS:tilewise_objects>)
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
  target_link_libraries(${library} PRIVATE Threads::Threads)
  set_target_properties(${library} PROPERTIES LINKER_LANGUAGE CXX)
endforeach()

# Hidden visibility does not hide instantiations of the standard library's templates; this does.
if(LINUX)
  set(export_map ${PROJECT_SOURCE_DIR}/cmake/exports.map)
  target_link_options(tilewise PRIVATE -Wl,--version-script=${export_map})
  set_target_properties(tilewise PROPERTIES LINK_DEPENDS ${export_map})
endif()

# What a result may be off, and how far off it is: tests, `check` and the demo hold the library
# against the oracle with it.
add_library(
  tilewise_bounds STATIC EXCLUDE_FROM_ALL
  tests/conformance/bound.cpp tests/conformance/gradient_bound.cpp tests/conformance/number.cpp
  tests/conformance/report.cpp)
target_link_libraries(tilewise_bounds PUBLIC tilewise tilewise_oracle)
tilewise_compile_options(tilewise_bounds)
tilewise_judge(tilewise_bounds)

# The harness: random calls through the C face, held against the oracle. The tests and the command
# line's `check` are two faces of it. It needs the targets tilewise and tilewise_oracle.
file(GLOB conformance_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/conformance/*.cpp)
list(FILTER conformance_sources EXCLUDE REGEX "_test\\.cpp$")
get_target_property(bound_sources tilewise_bounds SOURCES)
list(TRANSFORM bound_sources PREPEND ${PROJECT_SOURCE_DIR}/)
list(REMOVE_ITEM conformance_sources ${bound_sources})

add_library(tilewise_conformance STATIC EXCLUDE_FROM_ALL ${conformance_sources})
target_link_libraries(tilewise_conformance PUBLIC tilewise_bounds Threads::Threads)
tilewise_compile_options(tilewise_conformance)
tilewise_judge(tilewise_conformance)

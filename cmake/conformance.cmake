# The harness: random calls through the C face, held against the oracle. The tests and the command
# line's `check` are two faces of it. It needs the targets tilewise and tilewise_oracle.
file(GLOB conformance_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/conformance/*.cpp)
list(FILTER conformance_sources EXCLUDE REGEX "_test\\.cpp$")

add_library(tilewise_conformance STATIC EXCLUDE_FROM_ALL ${conformance_sources})
target_link_libraries(tilewise_conformance PUBLIC tilewise tilewise_oracle Threads::Threads)
tilewise_compile_options(tilewise_conformance)

# The oracle: attention from the formulas. It includes only files of tests/ and shares no code with
# src.

# Compiles a target without sanitizers and optimised, because it only judges the library and takes
# most of a test's time: test_conformance then needs a third of it.
function(tilewise_judge target)
  if(CMAKE_CXX_FLAGS MATCHES "-fsanitize=(address|thread)")
    target_compile_options(${target} PRIVATE -fno-sanitize=all -O2)
  endif()
endfunction()

file(GLOB_RECURSE oracle_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/oracle/*.cpp)
list(FILTER oracle_sources EXCLUDE REGEX "_test\\.cpp$")

add_library(tilewise_oracle STATIC EXCLUDE_FROM_ALL ${oracle_sources})
target_include_directories(tilewise_oracle PUBLIC ${PROJECT_SOURCE_DIR}/tests)
target_compile_features(tilewise_oracle PUBLIC cxx_std_20)
tilewise_compile_options(tilewise_oracle)
tilewise_judge(tilewise_oracle)

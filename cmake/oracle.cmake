# The oracle: attention from the formulas. It sees tests/ alone and so shares no mistake with src.

# What judges the library is not what a sanitizer is for, and most of what a test does under one:
# without, test_conformance takes a third of the time.
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

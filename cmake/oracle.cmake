# The oracle: attention from the formulas. It sees tests/ alone and so shares no mistake with src.
file(GLOB_RECURSE oracle_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/oracle/*.cpp)
list(FILTER oracle_sources EXCLUDE REGEX "_test\\.cpp$")

add_library(tilewise_oracle STATIC EXCLUDE_FROM_ALL ${oracle_sources})
target_include_directories(tilewise_oracle PUBLIC ${PROJECT_SOURCE_DIR}/tests)
target_compile_features(tilewise_oracle PUBLIC cxx_std_20)
tilewise_compile_options(tilewise_oracle)

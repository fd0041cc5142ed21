# How every target of the project is compiled. Nothing here reaches those who link the library.

# g++ fuses a * b + c into one rounding only outside ISO mode and clang does so in its default mode;
# results must not depend on that, so fusing is written where it is meant (std::fma).
function(tilewise_compile_options target)
  target_compile_features(${target} PRIVATE cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF CXX_VISIBILITY_PRESET hidden
                                             VISIBILITY_INLINES_HIDDEN ON
                                             POSITION_INDEPENDENT_CODE ON)
  if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
    target_compile_options(
      ${target} PRIVATE -ffp-contract=off -Wall -Wextra -Wconversion -Wshadow -Wpedantic
                        $<$<BOOL:${TILEWISE_WERROR}>:-Werror>)
  endif()
  # g++ 12 takes `"text" + string` for overlapping copies (its bug 105651, mended in 13).
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_compile_options(${target} PRIVATE -Wno-restrict)
  endif()
endfunction()

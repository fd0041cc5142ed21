# Which instruction sets a library has kernels for. All of them, unless it is for this machine alone
# and has to compile quickly: then the portable one, and what the widest one of the machine needs.
set(TILEWISE_INSTRUCTION_SETS all CACHE STRING "all, or widest: the portable and this machine's")
set_property(CACHE TILEWISE_INSTRUCTION_SETS PROPERTY STRINGS all widest)
if(NOT TILEWISE_INSTRUCTION_SETS MATCHES "^(all|widest)$")
  message(FATAL_ERROR "TILEWISE_INSTRUCTION_SETS is '${TILEWISE_INSTRUCTION_SETS}': "
                      "use all or widest.")
endif()

# Sets `result` to those of x86-64 that the library leaves out, given the processor's flags as Linux
# spells them.
function(tilewise_left_out flags result)
  string(REGEX MATCHALL "[a-z0-9_]+" flags "${flags}")
  set(needs_avx2 avx2 fma f16c)
  set(needs_avx512 ${needs_avx2} avx512f avx512bw avx512vl avx512dq)
  set(needs_avx512_bf16 ${needs_avx512} avx512_bf16)
  set(needs_amx_bf16 ${needs_avx512_bf16} amx_tile amx_bf16)
  set(left_out)
  foreach(name avx2 avx512 avx512_bf16 amx_bf16)
    foreach(flag ${needs_${name}})
      if(NOT flag IN_LIST flags)
        list(APPEND left_out ${name})
        break()
      endif()
    endforeach()
  endforeach()
  # The sets of 512 bits share kernels with each other, none with AVX2.
  if(NOT avx512 IN_LIST left_out)
    list(APPEND left_out avx2)
  endif()
  set(${result} ${left_out} PARENT_SCOPE)
endfunction()

# Sets `result` to the best one in the library that this machine has; to none where that is unknown.
function(tilewise_best_set result)
  set(best)
  if(NOT CMAKE_CROSSCOMPILING AND EXISTS /proc/cpuinfo)
    file(STRINGS /proc/cpuinfo flags REGEX "^flags" LIMIT_COUNT 1)
    tilewise_left_out("${flags}" lacking)
    # From the narrowest to the widest.
    foreach(name ${tilewise_instruction_sets})
      if(NOT name IN_LIST lacking)
        set(best ${name})
      endif()
    endforeach()
  endif()
  set(${result} ${best} PARENT_SCOPE)
endfunction()

set(tilewise_left_out)
if(TILEWISE_INSTRUCTION_SETS STREQUAL widest AND CMAKE_SYSTEM_PROCESSOR STREQUAL x86_64
   AND NOT CMAKE_CROSSCOMPILING AND EXISTS /proc/cpuinfo)
  file(STRINGS /proc/cpuinfo flags REGEX "^flags" LIMIT_COUNT 1)
  tilewise_left_out("${flags}" tilewise_left_out)
  message(STATUS "Instruction sets left out: ${tilewise_left_out}")
endif()

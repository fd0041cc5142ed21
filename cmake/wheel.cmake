# What a wheel carries besides the Python package: the library, and the extension that makes calls
# cheap. One wheel serves every Python of a platform: the library is opened with ctypes, and the
# extension keeps to CPython's limited API.

# Where Python has no headers the package works without the extension, by ctypes, and calls take
# longer.
find_package(Python 3.9 COMPONENTS Interpreter Development.Module)
if(Python_Development.Module_FOUND)
  file(GLOB fast_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/python/fast/*.cpp)
  add_library(_fast MODULE ${fast_sources})
  tilewise_compile_options(_fast)
  target_include_directories(_fast PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
  target_link_libraries(_fast PRIVATE Python::Module)
  set_target_properties(_fast PROPERTIES PREFIX "" SUFFIX .abi3.so)
  target_compile_options(_fast PRIVATE -fno-exceptions -fno-rtti)
  install(TARGETS _fast LIBRARY DESTINATION tilewise)
else()
  message(STATUS "Python has no headers here: the wheel goes without tilewise/_fast.abi3.so.")
endif()

# What XLA calls for tilewise.jax. It needs nothing of jaxlib, nor Python's headers.
file(GLOB xla_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/python/xla/*.cpp)
add_library(_xla MODULE ${xla_sources})
tilewise_compile_options(_xla)
target_include_directories(_xla PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
set_target_properties(_xla PROPERTIES PREFIX "" SUFFIX .so)
target_compile_options(_xla PRIVATE -fno-exceptions -fno-rtti)
install(TARGETS _xla LIBRARY DESTINATION tilewise)

# A wheel runs on systems that are older than this one: they have no newer libstdc++, and their C
# library lacks what newer ones added. 2.28 is what manylinux_2_28 promises, and a test of Python's
# reads it off the files.
include(CheckCXXSymbolExists)
check_cxx_symbol_exists(__GLIBC__ features.h TILEWISE_HAS_GLIBC)
if(TILEWISE_HAS_GLIBC AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|aarch64|arm64)$")
  set(wrapped exp2 log2 dlopen dlsym dlerror dladdr pthread_create pthread_join pthread_detach
              pthread_once stat fstat fstat64 fstatat lstat arc4random __libc_single_threaded)
  list(TRANSFORM wrapped PREPEND -Wl,--wrap=)
  target_sources(tilewise PRIVATE ${CMAKE_CURRENT_LIST_DIR}/wheel/older_symbols.cpp)
  tilewise_compile_options(tilewise)
  # Before 2.34 two of the C library's parts were libraries of their own.
  target_link_options(tilewise PRIVATE -static-libstdc++ -Wl,--exclude-libs,ALL ${wrapped}
                      -Wl,--no-as-needed -l:libpthread.so.0 -l:libdl.so.2)
  foreach(extension _fast _xla)
    if(TARGET ${extension})
      target_link_options(${extension} PRIVATE -static-libstdc++ -Wl,--exclude-libs,ALL,-s)
    endif()
  endforeach()
endif()
install(TARGETS tilewise LIBRARY DESTINATION tilewise)
# With TILEWISE_FLASH_ATTN=1 in the environment this makes `import flash_attn` mean tilewise's.
install(FILES ${PROJECT_SOURCE_DIR}/python/tilewise_flash_attn.pth
              ${PROJECT_SOURCE_DIR}/python/_tilewise_stand_in.py DESTINATION .)

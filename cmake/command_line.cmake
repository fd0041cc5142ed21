# The command line `tilewise`: it sees the public headers and the oracle, nothing of src.
set(missing_packages)
foreach(package_and_name CLI11=libcli11-dev nlohmann_json=nlohmann-json3-dev fmt=libfmt-dev)
  string(REPLACE = ";" package_and_name ${package_and_name})
  list(GET package_and_name 0 package)
  find_package(${package} CONFIG QUIET)
  if(NOT ${package}_FOUND)
    list(GET package_and_name 1 debian_name)
    list(APPEND missing_packages ${debian_name})
  endif()
endforeach()
if(missing_packages)
  list(JOIN missing_packages " " missing_packages)
  message(STATUS "The command line is left out; to have it: apt-get install ${missing_packages}")
  return()
endif()

add_subdirectory(${PROJECT_SOURCE_DIR}/cli)
# The program formats text and waits for the library; more than -O1 only makes three large template
# libraries a third slower to compile.
foreach(target tilewise_cli_parts tilewise_cli)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
endforeach()

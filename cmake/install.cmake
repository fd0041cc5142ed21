# What `cmake --install` puts where: libraries, headers, find_package(tilewise), pkg-config.
include(CMakePackageConfigHelpers)

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/tilewise)
install(TARGETS tilewise tilewise_static EXPORT tilewise-targets FILE_SET HEADERS)
install(EXPORT tilewise-targets NAMESPACE tilewise:: DESTINATION ${package_folder})

configure_package_config_file(
  ${PROJECT_SOURCE_DIR}/cmake/tilewise-config.cmake.in
  ${PROJECT_BINARY_DIR}/package/tilewise-config.cmake INSTALL_DESTINATION ${package_folder})
# Before 1.0 a new minor version may change the ABI.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/tilewise-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/package/tilewise-config.cmake
              ${PROJECT_BINARY_DIR}/package/tilewise-config-version.cmake
        DESTINATION ${package_folder})

# Relative to its own place, so that an installed tree may be moved.
set(pkg_config_folder ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH pkg_config_to_prefix ${CMAKE_INSTALL_PREFIX}/${pkg_config_folder}
     ${CMAKE_INSTALL_PREFIX})
configure_file(${PROJECT_SOURCE_DIR}/cmake/tilewise.pc.in
               ${PROJECT_BINARY_DIR}/package/tilewise.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/package/tilewise.pc DESTINATION ${pkg_config_folder})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

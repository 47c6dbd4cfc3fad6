# Installation: headers, both libraries, the CMake package and the pkg-config file.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.h")
install(TARGETS ${savedmodel_targets} EXPORT savedmodelTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/savedmodel)
set_target_properties(savedmodel PROPERTIES EXPORT_NAME savedmodel_static)
install(EXPORT savedmodelTargets NAMESPACE savedmodel:: DESTINATION ${package_dir})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/savedmodelConfig.cmake.in
  ${PROJECT_BINARY_DIR}/savedmodelConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/savedmodelConfigVersion.cmake
  COMPATIBILITY SameMajorVersion)
# Relative, so that the installed tree can be moved or staged.
file(RELATIVE_PATH pkg_config_to_prefix /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)
configure_file(${PROJECT_SOURCE_DIR}/cmake/savedmodel.pc.in ${PROJECT_BINARY_DIR}/savedmodel.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/savedmodelConfig.cmake
  ${PROJECT_BINARY_DIR}/savedmodelConfigVersion.cmake DESTINATION ${package_dir})
install(FILES ${PROJECT_BINARY_DIR}/savedmodel.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
if(TARGET savedmodel_cli)
  install(TARGETS savedmodel_cli DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

# The CMake package: find_package(kflow) gives the targets kflow::kflow, the core with its functions for
# C, and kflow::model, the reader of models.

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set_target_properties(kflow_core PROPERTIES EXPORT_NAME kflow OUTPUT_NAME kflow)
set_target_properties(kflow_model PROPERTIES EXPORT_NAME model)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/kflow)

install(TARGETS kflow_core kflow_model EXPORT kflow
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT package)
install(DIRECTORY csrc/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT package)
install(EXPORT kflow NAMESPACE kflow:: FILE kflowTargets.cmake
  DESTINATION ${package_dir} COMPONENT package)
configure_package_config_file(cmake/kflowConfig.cmake.in kflowConfig.cmake
  INSTALL_DESTINATION ${package_dir})
# Until 1.0, a version with another second number may break what worked.
write_basic_package_version_file(kflowConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(
  FILES ${CMAKE_CURRENT_BINARY_DIR}/kflowConfig.cmake
        ${CMAKE_CURRENT_BINARY_DIR}/kflowConfigVersion.cmake
  DESTINATION ${package_dir} COMPONENT package)

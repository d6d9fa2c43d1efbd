# How programs find an installed libspeft: by CMake's find_package(speft), or by pkg-config. Both find it from where they
# lie themselves, so that the tree can be moved.
include(CMakePackageConfigHelpers)

set(SPEFT_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/speft)
install(EXPORT speftTargets NAMESPACE speft:: DESTINATION ${SPEFT_CMAKE_DIR} COMPONENT development)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/speftConfig.cmake.in ${PROJECT_BINARY_DIR}/speftConfig.cmake
  INSTALL_DESTINATION ${SPEFT_CMAKE_DIR} PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
# Before 1.0 the second number is the one that may break.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/speftConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/speftConfig.cmake ${PROJECT_BINARY_DIR}/speftConfigVersion.cmake
        DESTINATION ${SPEFT_CMAKE_DIR} COMPONENT development)

file(RELATIVE_PATH SPEFT_PC_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
string(REGEX REPLACE "/$" "" SPEFT_PC_PREFIX ${SPEFT_PC_PREFIX})
configure_file(${CMAKE_CURRENT_LIST_DIR}/speft.pc.in ${PROJECT_BINARY_DIR}/speft.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/speft.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)

# Either component is a binary of its own, which has to have them beside it.
foreach(component IN ITEMS runtime development)
  install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/THIRD_PARTY_NOTICES.md
          DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT ${component})
endforeach()

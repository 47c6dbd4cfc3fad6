# Checks on the sources and on what was built from them.
set(tools ${PROJECT_SOURCE_DIR}/tools)
add_test(NAME check.layers
  COMMAND ${Python3_EXECUTABLE} ${tools}/check_layers.py ${PROJECT_SOURCE_DIR})
add_test(NAME check.format COMMAND ${tools}/check_format.sh ${PROJECT_SOURCE_DIR})
set_tests_properties(check.format PROPERTIES SKIP_RETURN_CODE 77)
if(TARGET savedmodel_shared)
  add_test(NAME check.exported_symbols COMMAND ${Python3_EXECUTABLE}
    ${tools}/check_symbols.py $<TARGET_FILE:savedmodel_shared>)
endif()
find_program(OBJDUMP objdump)
if(OBJDUMP AND NOT SAVEDMODEL_SANITIZE AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  add_test(NAME check.vector_levels COMMAND ${Python3_EXECUTABLE}
    ${tools}/check_isa.py $<TARGET_FILE:savedmodel>)
endif()

# docs/ops.md is what the op rows say.
add_executable(savedmodel_ops_doc ${tools}/ops_doc.cc)
target_include_directories(savedmodel_ops_doc PRIVATE ${PROJECT_SOURCE_DIR})
target_link_libraries(savedmodel_ops_doc PRIVATE savedmodel)
add_test(NAME check.ops_doc COMMAND sh -c
  "$<TARGET_FILE:savedmodel_ops_doc> | diff - ${PROJECT_SOURCE_DIR}/docs/ops.md >/dev/null || \
   { echo 'out of date; run: build/tests/savedmodel_ops_doc > docs/ops.md'; exit 1; }")

# The C++ of the documents compiles.
add_test(NAME check.snippets COMMAND ${Python3_EXECUTABLE} ${tools}/check_snippets.py
  ${CMAKE_CXX_COMPILER} ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/README.md
  ${PROJECT_SOURCE_DIR}/docs/migrating.md)

# Every header compiles by itself; public ones as C++17 with all warnings.
function(add_header_checks target standard)
  set(sources)
  foreach(header ${ARGN})
    string(MAKE_C_IDENTIFIER ${header} id)
    set(source ${CMAKE_CURRENT_BINARY_DIR}/headers/${id}.cc)
    file(GENERATE OUTPUT ${source}
      CONTENT "#include \"${header}\"\n#include \"${header}\"  // guarded\n")
    list(APPEND sources ${source})
  endforeach()
  add_library(${target} OBJECT EXCLUDE_FROM_ALL ${sources})
  set_target_properties(${target} PROPERTIES CXX_STANDARD ${standard})
  target_compile_options(${target} PRIVATE -O0)
  add_test(NAME check.${target}
    COMMAND ${CMAKE_COMMAND} --build ${PROJECT_BINARY_DIR} --target ${target})
  set_tests_properties(check.${target} PROPERTIES RESOURCE_LOCK build)
endfunction()

file(GLOB public_headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/include
  ${PROJECT_SOURCE_DIR}/include/savedmodel/*.h)
list(REMOVE_ITEM public_headers savedmodel/absl_status.h)
add_header_checks(public_headers 17 ${public_headers})
target_include_directories(public_headers PRIVATE ${PROJECT_SOURCE_DIR}/include)
target_compile_options(public_headers PRIVATE -Wall -Wextra -Wpedantic -Werror)

file(GLOB_RECURSE internal_headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}
  ${PROJECT_SOURCE_DIR}/src/*.h)
list(FILTER internal_headers EXCLUDE REGEX "src/(cli|kernels/isa)/")
add_header_checks(internal_headers 20 ${internal_headers})
target_include_directories(internal_headers PRIVATE ${PROJECT_SOURCE_DIR}
  ${PROJECT_SOURCE_DIR}/include ${PROJECT_BINARY_DIR}/proto)
target_link_libraries(internal_headers PRIVATE ${savedmodel_dependencies} Eigen3::Eigen)
add_dependencies(internal_headers savedmodel_objects)

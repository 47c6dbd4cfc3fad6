# Recorded cases: those kept here pass whole; of the full sets beside the repository, where they are
# there, at least as many as tests/floors.json says.
add_test(NAME recorded.conformance
  COMMAND savedmodel_replay --jobs 2 ${CMAKE_CURRENT_SOURCE_DIR}/data/conformance)
add_test(NAME recorded.ops
  COMMAND savedmodel_replay --jobs 2 ${CMAKE_CURRENT_SOURCE_DIR}/data/ops)
add_test(NAME recorded.graphs
  COMMAND savedmodel_replay --jobs 2 ${CMAKE_CURRENT_SOURCE_DIR}/data/graphs)
add_test(NAME recorded.models
  COMMAND savedmodel_replay --jobs 2 ${CMAKE_CURRENT_SOURCE_DIR}/data/models)
add_test(NAME recorded.models_4_threads
  COMMAND savedmodel_replay --threads 4 ${CMAKE_CURRENT_SOURCE_DIR}/data/models)
foreach(set conformance models wild hostile)
  add_test(NAME shared.${set} COMMAND ${Python3_EXECUTABLE}
    ${CMAKE_CURRENT_SOURCE_DIR}/check_floor.py $<TARGET_FILE:savedmodel_replay>
    ${PROJECT_SOURCE_DIR}/../shared/${set} ${set} ${CMAKE_CURRENT_SOURCE_DIR}/floors.json)
  set_tests_properties(shared.${set} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 1200 PROCESSORS 2)
endforeach()

# The installed library in projects of their own, and the command-line program.
add_test(NAME consumers COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/consumer/run.sh ${PROJECT_BINARY_DIR}
  ${PROJECT_SOURCE_DIR} ${CMAKE_CURRENT_BINARY_DIR}/consumer_work)
if(TARGET savedmodel_cli)
  add_test(NAME cli COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/cli/run.sh $<TARGET_FILE:savedmodel_cli>
    ${CMAKE_CURRENT_SOURCE_DIR}/data/models ${CMAKE_CURRENT_BINARY_DIR}/cli_work)
endif()

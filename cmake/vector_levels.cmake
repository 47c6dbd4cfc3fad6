# The compute core, once per instruction set. All but a level's entry is made local to its object:
# otherwise the linker may keep the copy of an inline function that newer processors alone can run.
# By GNU's linker also where the compiler brings its own: others cannot merge groups.
find_program(SAVEDMODEL_LD NAMES ld.bfd ld REQUIRED)
find_program(SAVEDMODEL_OBJCOPY NAMES objcopy REQUIRED)
set(vector_objects)  # out: what goes into the library
function(add_vector_level name)
  set(source ${PROJECT_SOURCE_DIR}/src/kernels/isa/level/vector_code.cc)
  if(EXISTS ${PROJECT_SOURCE_DIR}/src/kernels/isa/level/${name}.cc)
    set(source ${PROJECT_SOURCE_DIR}/src/kernels/isa/level/${name}.cc)
  endif()
  add_library(vector_${name} OBJECT ${source})
  target_include_directories(vector_${name} PRIVATE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR})
  target_compile_definitions(vector_${name} PRIVATE SM_LEVEL=${name})
  target_compile_options(vector_${name} PRIVATE -O3 -Wall -Wextra -fno-math-errno
    -fno-trapping-math ${ARGN}
    # The others: GCC's own AVX-512 header starts from undefined vectors.
    "$<$<CXX_COMPILER_ID:GNU>:-fno-gnu-unique;-Wno-maybe-uninitialized;-Wno-uninitialized>")
  set(object ${PROJECT_BINARY_DIR}/vector_code_${name}.o)
  add_custom_command(OUTPUT ${object}
    COMMAND ${SAVEDMODEL_LD} -r --force-group-allocation -o ${object} $<TARGET_OBJECTS:vector_${name}>
    COMMAND ${SAVEDMODEL_OBJCOPY} --keep-global-symbol=savedmodel_vector_code_${name} ${object}
    DEPENDS $<TARGET_OBJECTS:vector_${name}> COMMAND_EXPAND_LISTS)
  set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  set(vector_objects ${vector_objects} ${object} PARENT_SCOPE)
endfunction()
add_vector_level(portable)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  target_compile_definitions(savedmodel_objects PRIVATE SAVEDMODEL_X86_LEVELS)
  add_vector_level(avx2 -mavx2 -mfma)
  set(avx512 -mavx2 -mfma -mavx512f -mavx512dq -mavx512vl -mavx512bw)
  add_vector_level(avx512 ${avx512})
  add_vector_level(avx512_bf16 ${avx512} -mavx512bf16)
  add_vector_level(avx512_vnni ${avx512} -mavx512vnni)
  add_vector_level(avx2_vnni -mavx2 -mfma -mavxvnni)
endif()

# Plain loops of layers that are worth vectorising.
foreach(family batch_norm bias pool products winograd)
  set_source_files_properties(${PROJECT_SOURCE_DIR}/src/kernels/nn/${family}.cc
    PROPERTIES COMPILE_OPTIONS "${vectorize}")
endforeach()

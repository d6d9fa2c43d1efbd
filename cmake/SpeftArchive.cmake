# libspeft.a: the whole library, CPU backend and C++ runtime inside, as one object of which only the public functions
# are global. It links into any program with libc, libm, libpthread and libdl alone, and meets no other C++ runtime, no
# other JSON parser and no other libspeft of that program.
#
#     speft_archive(OUTPUT EXPORTS OBJECTS...)
#
# OUTPUT is the archive, EXPORTS a file of symbols, a line each, OBJECTS objects and archives. Nothing is compiled for it.
# As a script (-P) it does the work: the linker joins the objects and drops what the exports do not reach; then every
# other symbol becomes local. GNU's linker and objcopy are needed.
if(CMAKE_SCRIPT_MODE_FILE)
  function(run)
    execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
  endfunction()

  function(find_runtime name result)
    execute_process(COMMAND ${COMPILER} -print-file-name=${name} OUTPUT_VARIABLE path OUTPUT_STRIP_TRAILING_WHITESPACE
                    COMMAND_ERROR_IS_FATAL ANY)
    if(NOT IS_ABSOLUTE ${path})
      message(FATAL_ERROR "${COMPILER} has no ${name}, which libspeft.a has to contain")
    endif()
    set(${result} ${path} PARENT_SCOPE)
  endfunction()

  file(STRINGS ${EXPORTS} exports)
  list(TRANSFORM exports PREPEND -Wl,-u,)
  file(STRINGS ${OBJECTS} objects)
  find_runtime(libstdc++.a standard_library)
  find_runtime(libgcc_eh.a unwinder)
  find_runtime(libgcc.a compiler_support)
  set(object ${WORK}/speft.o)
  # Groups of inline functions become ordinary sections: the final link must not exchange ours for the host's. Of what
  # is called through a weak name, __cxa_pure_virtual alone is needed.
  run(${COMPILER} -r -nostdlib -Wl,--force-group-allocation -Wl,--gc-sections ${exports} -Wl,-u,__cxa_pure_virtual
      -o ${object} ${objects} ${standard_library} ${unwinder} ${compiler_support})
  # objcopy leaves unique symbols alone, but not weak ones.
  execute_process(COMMAND ${NM} --format=posix --defined-only ${object} OUTPUT_VARIABLE symbols
                  COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n ]+ u " unique "${symbols}")
  string(REPLACE " u " "\n" unique "${unique}")
  string(REPLACE ";" "" unique "${unique}")
  file(WRITE ${WORK}/speft.unique "${unique}")
  run(${OBJCOPY} --weaken-symbols=${WORK}/speft.unique ${object})
  run(${OBJCOPY} --keep-global-symbols=${EXPORTS} --strip-unneeded ${object})
  file(REMOVE ${OUTPUT})
  run(${AR} qcsD ${OUTPUT} ${object})
  return()
endif()

set(SPEFT_ARCHIVE_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

function(speft_archive output exports)
  set(objects ${CMAKE_CURRENT_BINARY_DIR}/speft.objects)
  file(GENERATE OUTPUT ${objects} CONTENT "$<JOIN:${ARGN},\n>\n")
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DOUTPUT=${output} -DWORK=${CMAKE_CURRENT_BINARY_DIR} -DEXPORTS=${exports}
            -DOBJECTS=${objects} -DCOMPILER=${CMAKE_CXX_COMPILER} -DNM=${CMAKE_NM} -DOBJCOPY=${CMAKE_OBJCOPY}
            -DAR=${CMAKE_AR} -P ${SPEFT_ARCHIVE_SCRIPT}
    DEPENDS ${ARGN} ${exports} ${objects} ${SPEFT_ARCHIVE_SCRIPT}
    COMMENT "Linking the archive ${output}" VERBATIM)
endfunction()

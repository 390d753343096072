# Each instruction set's object file may export its table and nothing else: the linker keeps one
# copy of an inline function, and if that is the one compiled for AVX then older processors fault.

list(FILTER OBJECTS INCLUDE REGEX "/level_[^/]*$")
if(NOT OBJECTS)
  message(FATAL_ERROR "no object file of an instruction set")
endif()
foreach(object IN LISTS OBJECTS)
  execute_process(COMMAND ${NM} --extern-only --defined-only ${object}
    OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]+" symbols "${symbols}")
  set(leaks ${symbols})
  list(FILTER leaks EXCLUDE REGEX "kflow6detail[0-9]+kTable[A-Za-z0-9]+$")
  list(LENGTH symbols n_symbols)
  if(leaks OR NOT n_symbols EQUAL 1)
    list(JOIN symbols "\n  " symbols)
    message(FATAL_ERROR "${object} exports more or less than its table:\n  ${symbols}")
  endif()
endforeach()

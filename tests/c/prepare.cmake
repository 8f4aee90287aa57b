# Makes an empty directory for one test: cmake -DWORK=DIRECTORY -P prepare.cmake
file(REMOVE_RECURSE "${WORK}")
file(MAKE_DIRECTORY "${WORK}")

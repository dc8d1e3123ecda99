# Writes OUT: the git revision of SOURCE_DIR, whether the tree differs from it, and COMPILER. Run at
# every build; touches the file only when it changed. Outside a checkout (a tarball, also one that
# lies inside somebody else's checkout) the revision is "unknown".
set(revision unknown)
set(dirty false)
execute_process(COMMAND git -C ${SOURCE_DIR} rev-parse --show-toplevel
                OUTPUT_VARIABLE top OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET
                RESULT_VARIABLE failed)
file(REAL_PATH ${SOURCE_DIR} source_dir)
if(NOT failed AND top STREQUAL source_dir)
    execute_process(COMMAND git -C ${SOURCE_DIR} rev-parse HEAD
                    OUTPUT_VARIABLE head OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET
                    RESULT_VARIABLE failed)
    if(NOT failed)
        set(revision ${head})
    endif()
    execute_process(COMMAND git -C ${SOURCE_DIR} status --porcelain
                    OUTPUT_VARIABLE changes ERROR_QUIET)
    if(NOT changes STREQUAL "")
        set(dirty true)
    endif()
endif()

set(text "/* Made at build time by experiments/version.cmake. */
#include \"experiments/version.h\"

const char version_git[] = \"${revision}\";
const bool version_dirty = ${dirty};
const char version_compiler[] = \"${COMPILER}\";
")
set(old "")
if(EXISTS ${OUT})
    file(READ ${OUT} old)
endif()
if(NOT text STREQUAL old)
    file(WRITE ${OUT} "${text}")
endif()

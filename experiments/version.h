/* version.h: which source and compiler made this program; part of every run's provenance. The
 * values are written at build time (experiments/version.cmake). */
#ifndef EXPERIMENTS_VERSION_H
#define EXPERIMENTS_VERSION_H

#include <stdbool.h>

extern const char version_git[];      /* git revision, "unknown" outside a checkout */
extern const bool version_dirty;      /* the tree differed from that revision */
extern const char version_compiler[]; /* "GNU 12.2.0 RelWithDebInfo" */

#endif

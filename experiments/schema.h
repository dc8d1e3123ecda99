/* schema.h: schema.sql as a string; the build generates its definition from that file. */
#ifndef EXPERIMENTS_SCHEMA_H
#define EXPERIMENTS_SCHEMA_H

enum { SCHEMA_VERSION = 1 }; /* = PRAGMA user_version of schema.sql */

extern const char schema_sql[];

/* The table that databases of version 1 got later than the others. */
#define SCHEMA_EXPERIMENTS "experiments (name TEXT PRIMARY KEY, claim TEXT NOT NULL) WITHOUT ROWID"

#endif

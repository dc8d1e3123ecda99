/* db.h: opening a results database (schema.sql), and saying what went wrong with one. */
#ifndef EXPERIMENTS_DB_H
#define EXPERIMENTS_DB_H

#include "sim/base.h"

struct sqlite3;
struct sqlite3_stmt;

/* An existing database, read-only. Close with sqlite3_close. NULL: e says why. */
struct sqlite3 *db_open_read(const char *path, struct err *e) NODISCARD;

/* A database to write, made if absent or empty; waits busy_ms for other writers. Whatever is not a
 * database of this schema is refused and left as it was. */
struct sqlite3 *db_open_write(const char *path, int busy_ms, struct err *e) NODISCARD;

/* A new file of our own that nobody else opens before it is closed and nobody misses after a crash:
 * no log beside it, no waiting for the disk. */
struct sqlite3 *db_open_scratch(const char *path, struct err *e) NODISCARD;

/* Closes a connection of either kind (NULL: nothing to do) and switches the database back to
 * journal_mode=DELETE. */
bool db_close_write(struct sqlite3 *db, struct err *e) NODISCARD;

/* Records sqlite's last error on this connection, and what to do about it. Returns false. */
bool db_error(struct sqlite3 *db, struct err *e);

/* Runs SQL without parameters and ignores rows. */
bool db_exec(struct sqlite3 *db, const char *sql, struct err *e) NODISCARD;

/* NULL: e says why. */
struct sqlite3_stmt *db_prepare(struct sqlite3 *db, const char *sql, struct err *e) NODISCARD;

/* Is there a table or view of this name? One that an older program made may lack some. */
bool db_has(struct sqlite3 *db, const char *name, bool *there, struct err *e) NODISCARD;

/* Steps a query: true with *row = whether there is a row; false on errors. */
bool db_step(struct sqlite3_stmt *stmt, bool *row, struct err *e) NODISCARD;

#endif

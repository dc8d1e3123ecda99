/* keys.h: what the key namespace consists of, for config.c: names, and the messages about keys and
 * values that do not exist, or not yet. */
#ifndef EXPERIMENTS_KEYS_H
#define EXPERIMENTS_KEYS_H

#include "experiments/config.h"

#define KEY_NAME_MAX (sizeof((struct config_key *)0)->name)

/* Where config.params keeps it: "owner.name", or the plain name of the program's own keys. */
void key_param_name(const struct config_key *key, char out[KEY_NAME_MAX]);

/* Whether a string is one of the key's ids or choices; true if it is bound to neither. */
bool key_allows(const struct config_key *key, const char *value);

/* The messages; both return false. `where` is the file with ": ", or "" for a key set by hand. */
bool key_unknown(const char *where, const char *name, struct err *e);
bool key_bad_value(const char *where, const struct config_key *key, const char *value,
                   struct err *e);

#endif

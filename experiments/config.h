/* config.h: the configuration of a run: one namespace of keys (contract.md section 3), filled from
 * defaults, a JSON file, command-line options and --set, in that order; checked against what the
 * program knows (unknown keys name the nearest known one). compose.h turns it into a sim_config.
 *
 * A value is checked when it is set, so that the message names where it came from. */
#ifndef EXPERIMENTS_CONFIG_H
#define EXPERIMENTS_CONFIG_H

#include <jansson.h>

#include "experiments/catalogue.h"
#include "experiments/sha256.h"

#define CONFIG_NAME_MAX 256 /* of a key with its owners and the member of a map, and the NUL */

struct config {
    json_t *flat; /* object: full dotted key -> scalar, array or map; only keys that were set */
    struct params params; /* the same, typed, defaults filled; made by config_resolve */
};

/* A key of the engine, the program or a plug-in. */
struct config_key {
    char name[64];
    const struct param_desc *desc;  /* type, default, doc; desc->name is the last part */
    const char *owner;              /* "engine", "trace", "vtc", ... */
    bool changes_results;           /* part of config_hash */
    bool is_path;                   /* may name a file: config_hash takes the file's content */
    bool is_list;                   /* an array of objects, or what desc says; compose.c reads it */
    const struct catalogue *ids;    /* what it may name; [any value] */
    const struct catalogue *owners; /* the kind of plug-in the owner is; NULL: the program's own */
};

/* The i-th key, in a stable order: what `tandem list keys` prints. false: past the end. */
bool config_key_at(size_t i, struct config_key *out);
bool config_key_find(const char *name, struct config_key *out);

void config_init(struct config *c);
void config_release(struct config *c);

/* Reads a JSON file; objects may nest, and `id` in one sets the owner's own key. What is set wins
 * over what was set before; null means the default. One key twice in one file is an error. */
bool config_load(struct config *c, const char *path, struct err *e) NODISCARD;
/* The same with an object in memory; `where` begins every message. On failure `bad` is the full
 * name of the key that is to blame. */
bool config_merge(struct config *c, json_t *object, const char *where, char bad[CONFIG_NAME_MAX],
                  struct err *e) NODISCARD;
/* An option or --set: VALUE is JSON, else a string; for a string key it is taken as it stands. */
bool config_set(struct config *c, const char *key, const char *value, struct err *e) NODISCARD;
/* Fills `params` from what is set and the defaults. Again after any change. */
void config_resolve(struct config *c);

/* Of a resolved configuration. Without a value and a default: NULL, NaN. */
const char *config_str(const struct config *c, const char *key);
double config_num(const struct config *c, const char *key);
bool config_bool(const struct config *c, const char *key);
/* The array that is a list key's value (json_decref it), or NULL if it is no array. */
json_t *config_list(const struct config *c, const char *key) NODISCARD;
bool config_is_set(const struct config *c, const char *key); /* not by default */

/* The configuration as canonical JSON: keys sorted, defaults filled, numbers in their key's type.
 * Keys of plug-ins that are not selected appear only where they differ from their default. The
 * string is the caller's (free). */
char *config_canonical(const struct config *c) NODISCARD;
/* SHA-256 of the same without keys that cannot change results or that are columns of their own
 * (seed, rep, max_request_rows), and with every file replaced by the hash of its bytes. */
bool config_hash(const struct config *c, char hex[SHA256_HEX], struct err *e) NODISCARD;

/* Whether a value of `model`, `gpu` names a file and not a preset, as backend/describe.h has it. */
bool config_is_file(const char *value);

#endif

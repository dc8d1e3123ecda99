/* params.h: the parameters of plug-ins as typed values. The composition root fills a table from
 * the configuration (JSON, --set); plug-ins declare what they know in `struct param_desc` lists and
 * read their own section ("vtc.wq" is key "wq" of owner "vtc"). Knows no file format. */
#ifndef SIM_PARAMS_H
#define SIM_PARAMS_H

#include "sim/base.h"

enum param_type { PARAM_INT, PARAM_REAL, PARAM_BOOL, PARAM_STR, PARAM_MAP };

/* One line of documentation for one key. A list ends with name == NULL. */
struct param_desc {
    const char *name; /* without the owner: "wq" */
    enum param_type type;
    const char *dflt;    /* as printed and as parsed: "2", "linear", "" = none */
    const char *doc;     /* unit, meaning, source */
    double min, max;     /* for numbers, inclusive; min == max: not checked */
    const char *choices; /* for strings: "linear|profile", NULL = anything */
};

struct param {
    char *key; /* full: "vtc.wq"; a member of a map: "vtc.weights.alice" */
    enum param_type type;
    double num; /* INT, REAL, BOOL */
    char *str;  /* STR */
};

struct params {
    struct param *v;
    size_t n, cap;
};

void params_init(struct params *p);
void params_release(struct params *p);
void params_set_num(struct params *p, const char *key, enum param_type type, double value);
void params_set_str(struct params *p, const char *key, const char *value);
const struct param *params_find(const struct params *p, const char *key); /* NULL if absent */

/* Reads `owner.name` with the default of `desc` (a list ending in NULL). A name that is not in
 * `desc` is our own fault (CHECK). Values were checked against `desc` when the table was filled.
 * A number that is not set and has no default is NaN; a switch without one is false. */
double params_num(const struct params *p, const struct param_desc *desc, const char *owner,
                  const char *name);
bool params_bool(const struct params *p, const struct param_desc *desc, const char *owner,
                 const char *name);
const char *params_str(const struct params *p, const struct param_desc *desc, const char *owner,
                       const char *name);
/* Member `member` of the map `owner.name`, or `dflt`. */
double params_map_num(const struct params *p, const char *owner, const char *name,
                      const char *member, double dflt);

#endif

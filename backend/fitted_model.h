/* fitted_model.h: a fitted cost model and its file: a small JSON object made by `tandem calibrate`
 * that people review: what is added up with which coefficients, over which range that is known, how
 * far off it was on steps it never saw, and what it was made from. */
#ifndef BACKEND_FITTED_MODEL_H
#define BACKEND_FITTED_MODEL_H

#include "backend/basis.h"
#include "backend/fit.h"
#include "backend/measured.h"

#define FITTED_TERMS_MAX 48u
#define FITTED_SOURCES_MAX 8u
#define FITTED_SHA256_HEX 65u

struct fitted_term {
    struct basis_term basis;
    double ns; /* a unit of the term, >= 0 */
};

struct fitted_source {
    char file[128]; /* without its folder */
    char note[256]; /* what it is; "": it does not say */
    char sha256[FITTED_SHA256_HEX];
};

struct fitted_model {
    char model[64], gpu[64];
    char engine[32]; /* whose steps those were (sim/engine_model.h); "": it does not say */
    uint32_t tensor_parallel_size;
    struct fitted_term term[FITTED_TERMS_MAX];
    size_t n_terms;
    struct fitted_range {
        double low, high;
    } range[N_AGGREGATES];                /* of the steps it was fitted to */
    uint64_t fitted_steps[N_REGIMES];     /* there were; 0: the regime is unknown to it */
    struct fit_error held_out[N_REGIMES]; /* of the whole step, host time included */
    struct fit_error held_out_all;        /* n > 0 */
    char held_out_how[128];               /* which steps those were */
    struct fitted_source source[FITTED_SOURCES_MAX];
    size_t n_sources;
};

double fitted_step_ns(const struct fitted_model *m, const struct batch_shape *s);
/* The same of a batch without prompts, as its contexts grow. */
void fitted_decode_line(const struct fitted_model *m, const struct batch_shape *s,
                        struct decode_line *out);
/* Outside the range, or of a regime that no step was fitted to. The mean context is looked at where
 * there are decodes. */
bool fitted_extrapolates(const struct fitted_model *m, const struct batch_shape *s);

/* `path`: the file, or a folder of `tandem profile`, which holds it as FITTED_IN_FOLDER. */
#define FITTED_IN_FOLDER "fitted.json"
bool fitted_load(struct fitted_model *m, const char *path, struct err *e) NODISCARD;
bool fitted_save(const struct fitted_model *m, const char *path, struct err *e) NODISCARD;

const char *regime_name(enum regime r);

#endif

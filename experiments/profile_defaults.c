#include "experiments/profile_defaults.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "backend/describe.h"
#include "backend/fitted_model.h"
#include "backend/profile.h"
#include "experiments/profile_file.h"

/* What a profile is of, and what reads it. */
struct origin {
    const char *backend; /* NULL: there is no profile */
    struct profile_names names;
    char engine[32]; /* whose steps were measured; "": it does not say */
};

/* A folder holds measured operators, or is one of `tandem profile`; a file is one of `calibrate`,
 * which does not say the type of weights. */
static bool read_origin(const char *path, struct origin *o, struct err *e)
{
    struct fitted_model fitted;
    struct stat st;
    *o = (struct origin){.backend = NULL};
    if (!path || *path == '\0')
        return true;
    if (stat(path, &st) != 0)
        return err_set(e, "profile: %s: %s; give the folder of a profile", path, strerror(errno));
    bool operators = S_ISDIR(st.st_mode) && !profile_is_ours(path);
    o->backend = operators ? "table" : "fitted";
    if (operators)
        return profile_names(path, &o->names, e);
    if (!fitted_load(&fitted, path, e))
        return false;
    snprintf(o->names.model, sizeof o->names.model, "%s", fitted.model);
    snprintf(o->names.gpu, sizeof o->names.gpu, "%s", fitted.gpu);
    snprintf(o->engine, sizeof o->engine, "%s", fitted.engine);
    return true;
}

/* What a preset's aliases and its id have in common; a name that is no preset's stays. */
static const char *canonical(const char *name, const struct preset *(*named)(const char *))
{
    const struct preset *p = named(name);
    return p ? p->id : name;
}

static bool set_named(struct config *c, const char *key, const char *name,
                      const struct preset *(*named)(const char *), const char *path, struct err *e)
{
    if (config_is_set(c, key) || *name == '\0')
        return true;
    if (!named(name))
        return err_set(e,
                       "profile: %s was measured on %s %s, which is no preset; describe it with "
                       "--%s FILE",
                       path, key, name, key);
    return config_set(c, key, named(name)->id, e);
}

/* Any replica may have a model and a GPU of its own. */
static bool set_backend(struct config *c, const char *reader, const char *path, struct err *e)
{
    const char *backend = json_string_value(json_object_get(c->flat, "backend"));
    if (backend && strcmp(backend, reader) != 0)
        return err_set(e, "profile: backend %s does not read %s; use --backend %s", backend, path,
                       reader);
    return backend || config_set(c, "backend", reader, e);
}

static bool set_engine(struct config *c, const char *engine, struct err *e)
{
    return config_is_set(c, "engine") || *engine == '\0' || config_set(c, "engine", engine, e);
}

bool profile_defaults(struct config *c, struct err *e)
{
    const char *path = json_string_value(json_object_get(c->flat, "profile"));
    struct origin o;
    if (!read_origin(path, &o, e))
        return false;
    return !o.backend || (set_backend(c, o.backend, path, e) && set_engine(c, o.engine, e) &&
                          set_named(c, "model", o.names.model, preset_model_named, path, e) &&
                          set_named(c, "gpu", o.names.gpu, preset_gpu_named, path, e));
}

static bool same(const char *what, const char *measured, const char *used,
                 const struct preset *(*named)(const char *), const char *path, struct err *e)
{
    return *measured == '\0' ||
           strcasecmp(canonical(measured, named), canonical(used, named)) == 0 ||
           err_set(e, "profile: %s was measured on %s %s, the run is of %s; leave --%s out", path,
                   what, measured, used, what);
}

bool profile_agrees(const struct config *c, const struct model_desc *m, const struct gpu_desc *g,
                    struct err *e)
{
    const char *path = config_str(c, "profile"), *dtype = config_str(c, "dtype");
    struct origin o;
    if (!read_origin(path, &o, e))
        return false;
    if (!o.backend)
        return true;
    if (*o.names.dtype && strcmp(o.names.dtype, dtype) != 0)
        return err_set(e, "profile: %s was measured with %s, dtype is %s; set dtype=%s", path,
                       o.names.dtype, dtype, o.names.dtype);
    return same("model", o.names.model, m->id, preset_model_named, path, e) &&
           same("gpu", o.names.gpu, g->id, preset_gpu_named, path, e);
}

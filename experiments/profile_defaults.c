#include "experiments/profile_defaults.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "backend/describe.h"
#include "backend/fitted_model.h"
#include "backend/profile.h"

/* What a profile is of, and the backend that reads it: a folder holds measured operators, a file is
 * one of `calibrate`, which does not say the type of weights. `*backend` NULL: there is no profile.
 */
static bool read_names(const char *path, struct profile_names *names, const char **backend,
                       struct err *e)
{
    struct fitted_model fitted;
    struct stat st;
    *backend = NULL;
    if (!path || *path == '\0')
        return true;
    if (stat(path, &st) != 0)
        return err_set(e, "profile: %s: %s; give the folder of a profile", path, strerror(errno));
    *backend = S_ISDIR(st.st_mode) ? "table" : "fitted";
    if (S_ISDIR(st.st_mode))
        return profile_names(path, names, e);
    *names = (struct profile_names){.dtype = ""};
    if (!fitted_load(&fitted, path, e))
        return false;
    snprintf(names->model, sizeof names->model, "%s", fitted.model);
    snprintf(names->gpu, sizeof names->gpu, "%s", fitted.gpu);
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

bool profile_defaults(struct config *c, struct err *e)
{
    const char *path = json_string_value(json_object_get(c->flat, "profile")), *backend;
    struct profile_names names;
    if (!read_names(path, &names, &backend, e))
        return false;
    return !backend || (set_backend(c, backend, path, e) &&
                        set_named(c, "model", names.model, preset_model_named, path, e) &&
                        set_named(c, "gpu", names.gpu, preset_gpu_named, path, e));
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
    const char *backend;
    struct profile_names names;
    if (!read_names(path, &names, &backend, e))
        return false;
    if (!backend)
        return true;
    if (*names.dtype && strcmp(names.dtype, dtype) != 0)
        return err_set(e, "profile: %s was measured with %s, dtype is %s; set dtype=%s", path,
                       names.dtype, dtype, names.dtype);
    return same("model", names.model, m->id, preset_model_named, path, e) &&
           same("gpu", names.gpu, g->id, preset_gpu_named, path, e);
}

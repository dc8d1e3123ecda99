/* safetensors.c: reader of the safetensors format. What must hold: every tensor's data is in its
 * file and as large as its shape says. */
#include "backend/model/safetensors.h"

#include "backend/model/file_map.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INDEX_NAME "model.safetensors.index.json"
#define SINGLE_NAME "model.safetensors"
#define MAX_DIMS 8u

struct safetensors {
    struct arena arena;
    struct file_map *map;
    size_t n_maps, map_cap;
    struct tensor_set tensors;
    char *config;
};

/* ---- one file ---- */

static enum tensor_type type_named(const char *name)
{
    static const struct {
        const char *name;
        enum tensor_type type;
    } known[] = {{"F32", TENSOR_F32}, {"F16", TENSOR_F16}, {"BF16", TENSOR_BF16}};

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(known[i].name, name) == 0)
            return known[i].type;
    return TENSOR_UNSUPPORTED;
}

static bool uint_of(const json_t *v, uint64_t *out)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return false;
    *out = (uint64_t)json_integer_value(v);
    return true;
}

/* The last dimension is cols, all before are rows. False: no shape, or too large. */
static bool read_shape(const json_t *shape, uint64_t *rows, uint64_t *cols)
{
    size_t dims = json_array_size(shape);

    *rows = *cols = 1;
    if (!json_is_array(shape) || dims > MAX_DIMS)
        return false;
    for (size_t i = 0; i < dims; i++) {
        uint64_t size;

        if (!uint_of(json_array_get(shape, i), &size))
            return false;
        if (i + 1 == dims)
            *cols = size;
        else if (__builtin_mul_overflow(*rows, size, rows))
            return false;
    }
    return true;
}

/* A tensor of the header; `data` is what follows the header, `size` bytes. */
static bool read_tensor(struct safetensors *s, const char *name, const json_t *v,
                        const uint8_t *data, uint64_t size, const char *path, struct err *e)
{
    const char *dtype = json_string_value(json_object_get(v, "dtype"));
    const json_t *offsets = json_object_get(v, "data_offsets");
    uint64_t end, bytes;
    struct tensor *t;

    if (tensor_find(&s->tensors, name))
        return err_set(e, "%s: tensor %s is in two files; take one of them away", path, name);
    t = tensor_add(&s->tensors, &s->arena, name, strlen(name));
    if (!dtype || !read_shape(json_object_get(v, "shape"), &t->rows, &t->cols) ||
        json_array_size(offsets) != 2 || !uint_of(json_array_get(offsets, 0), &t->offset) ||
        !uint_of(json_array_get(offsets, 1), &end) || t->offset > end)
        return err_set(e,
                       "%s: tensor %s has no right dtype, shape and data_offsets; fetch the file "
                       "anew",
                       path, name);
    if (end > size)
        return err_set(e, "%s: the file ends inside tensor %s; fetch all of it", path, name);
    t->type = type_named(dtype);
    snprintf(t->type_name, sizeof(t->type_name), "%s", dtype);
    if (t->type == TENSOR_UNSUPPORTED)
        return true;
    if (!tensor_bytes(t->type, t->rows, t->cols, &bytes) || bytes != end - t->offset)
        return err_set(e, "%s: tensor %s is not as large as its shape; fetch the file anew", path,
                       name);
    t->data = data + t->offset;
    return true;
}

static bool read_header(struct safetensors *s, const struct file_map *m, const char *path,
                        struct err *e)
{
    uint64_t len = m->size >= 8 ? read_le(m->data, 8) : UINT64_MAX;
    json_error_t bad;
    json_t *root, *v;
    const char *name;
    bool ok = true;

    if (m->size < 8 || len > m->size - 8)
        return err_set(e,
                       "%s: the file ends inside its header, or is no safetensors file; fetch "
                       "all of it",
                       path);
    root = json_loadb((const char *)m->data + 8, len, JSON_REJECT_DUPLICATES, &bad);
    if (!json_is_object(root)) {
        json_decref(root);
        return err_set(e, "%s: its header is no JSON object; give a safetensors file", path);
    }
    json_object_foreach(root, name, v)
    {
        if (strcmp(name, "__metadata__") != 0)
            ok = ok && read_tensor(s, name, v, m->data + 8 + len, m->size - 8 - len, path, e);
    }
    json_decref(root);
    return ok;
}

static bool add_file(struct safetensors *s, const char *path, struct err *e)
{
    struct file_map map;

    if (!file_map_open(&map, path, e))
        return false;
    s->map = arena_reserve(&s->arena, s->map, &s->map_cap, s->n_maps + 1, sizeof(*s->map));
    s->map[s->n_maps++] = map;
    return read_header(s, &map, path, e);
}

/* ---- several files ---- */

/* `name` in the folder of `path`, or in `path` if it is a folder itself. */
static char *beside(struct safetensors *s, const char *path, bool folder, const char *name)
{
    const char *slash = strrchr(path, '/');
    size_t len = folder ? strlen(path) : slash ? (size_t)(slash - path) : 0;
    size_t size = len + strlen(name) + 2;
    char *out = arena_alloc(&s->arena, size);

    snprintf(out, size, "%.*s%s%s", (int)len, path, folder || slash ? "/" : "", name);
    return out;
}

/* Whether an earlier member of the map names the same file. */
static bool named_before(json_t *map, const char *until, const char *file)
{
    const char *tensor;
    json_t *v;

    json_object_foreach(map, tensor, v)
    {
        if (strcmp(tensor, until) == 0)
            return false;
        if (strcmp(json_string_value(v), file) == 0)
            return true;
    }
    return false;
}

static bool add_indexed(struct safetensors *s, json_t *root, const char *index, struct err *e)
{
    json_t *map = json_object_get(root, "weight_map"), *v;
    const char *tensor;

    if (!json_is_object(map))
        return err_set(e, "%s: has no weight_map; give the index of a sharded model", index);
    json_object_foreach(map, tensor, v)
    {
        const char *file = json_string_value(v);

        if (!file || !file[0] || strchr(file, '/'))
            return err_set(e, "%s: tensor %s is in no file of that folder; fetch the index anew",
                           index, tensor);
        if (!named_before(map, tensor, file) && !add_file(s, beside(s, index, false, file), e))
            return false;
        if (!tensor_find(&s->tensors, tensor))
            return err_set(e, "%s: tensor %s is not in %s; fetch the files anew", index, tensor,
                           file);
    }
    return true;
}

static bool add_index(struct safetensors *s, const char *index, struct err *e)
{
    json_error_t bad;
    json_t *root = json_load_file(index, JSON_REJECT_DUPLICATES, &bad);
    bool ok;

    if (!root)
        return err_set(e, "%s:%d: %s; give the index of a sharded model", index, bad.line,
                       bad.text);
    ok = add_indexed(s, root, index, e);
    json_decref(root);
    return ok;
}

static bool is_folder(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool open_path(struct safetensors *s, const char *path, struct err *e)
{
    size_t len = strlen(path), ext = strlen(".json");
    bool folder = is_folder(path);
    const char *index = folder ? beside(s, path, true, INDEX_NAME) : path;

    s->config = beside(s, path, folder, "config.json");
    if (folder && access(index, F_OK) != 0)
        return add_file(s, beside(s, path, true, SINGLE_NAME), e);
    if (folder || (len > ext && strcmp(path + len - ext, ".json") == 0))
        return add_index(s, index, e);
    return add_file(s, path, e);
}

struct safetensors *safetensors_open(const char *path, struct err *e)
{
    struct safetensors *s = mem_alloc(sizeof(*s));

    arena_init(&s->arena);
    if (open_path(s, path, e))
        return s;
    safetensors_close(s);
    return NULL;
}

void safetensors_close(struct safetensors *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_maps; i++)
        file_map_close(&s->map[i]);
    arena_release(&s->arena);
    mem_free(s);
}

struct tensor_set *safetensors_tensors(struct safetensors *s)
{
    return &s->tensors;
}

const char *safetensors_config(const struct safetensors *s)
{
    return s->config;
}

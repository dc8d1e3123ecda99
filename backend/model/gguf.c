/* gguf.c: reader of GGUF (ggml/docs/gguf.md). What must hold: every byte is checked to be in the
 * file before it is read; counts from the file are believed only as far as the file is long. */
#include "backend/model/gguf.h"

#include "backend/model/float16.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Types of values, and the bytes of those of fixed size. */
enum { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64, N_TYPES };
static const uint8_t type_bytes[N_TYPES] = {
    [U8] = 1,  [I8] = 1,   [U16] = 2, [I16] = 2, [U32] = 4, [I32] = 4,
    [F32] = 4, [BOOL] = 1, [U64] = 8, [I64] = 8, [F64] = 8,
};

#define MAX_DIMS 4u
#define MAX_ALIGNMENT (1u << 20)

struct entry {
    struct text key;
    uint32_t type;
    const uint8_t *value;
};

struct gguf {
    struct file_map map;
    struct arena arena;
    struct entry *entry;
    size_t n_entries, entry_cap;
    struct tensor_set tensors;
};

/* ---- reading, with the end in sight ---- */

struct cursor {
    const uint8_t *at, *end;
    bool bad; /* something lay past the end: everything read since is 0 */
};

/* The next n bytes, or NULL. */
static const uint8_t *take(struct cursor *c, uint64_t n)
{
    const uint8_t *at = c->at;

    if (c->bad || n > (uint64_t)(c->end - c->at)) {
        c->bad = true;
        return NULL;
    }
    c->at += n;
    return at;
}

static uint64_t take_uint(struct cursor *c, size_t bytes)
{
    const uint8_t *at = take(c, bytes);

    return at ? read_le(at, bytes) : 0;
}

static struct text take_text(struct cursor *c)
{
    uint64_t len = take_uint(c, 8);
    const uint8_t *at = take(c, len);

    return (struct text){(const char *)at, at ? len : 0};
}

/* Steps over one value that is no array. False: unknown type. */
static bool skip_scalar(struct cursor *c, uint32_t type)
{
    if (type >= N_TYPES || type == ARRAY)
        return false;
    if (type == STRING)
        take_text(c);
    else
        take(c, type_bytes[type]);
    return true;
}

static bool skip_value(struct cursor *c, uint32_t type)
{
    uint64_t n;

    if (type != ARRAY)
        return skip_scalar(c, type);
    type = (uint32_t)take_uint(c, 4);
    n = take_uint(c, 8);
    for (uint64_t i = 0; i < n && !c->bad; i++)
        if (!skip_scalar(c, type)) /* arrays of arrays: no file has them */
            return false;
    return true;
}

/* ---- values ---- */

static const struct entry *find(const struct gguf *g, const char *key)
{
    size_t len = strlen(key);

    for (size_t i = 0; i < g->n_entries; i++)
        if (g->entry[i].key.len == len && memcmp(g->entry[i].key.at, key, len) == 0)
            return &g->entry[i];
    return NULL;
}

static bool is_int(uint32_t type)
{
    return type <= I32 || type == U64 || type == I64;
}

static int64_t int_at(uint32_t type, const uint8_t *at)
{
    uint64_t x = read_le(at, type_bytes[type]);

    switch (type) {
    case I8:
        return (int8_t)x;
    case I16:
        return (int16_t)x;
    case I32:
        return (int32_t)x;
    default:
        return (int64_t)x;
    }
}

bool gguf_uint(const struct gguf *g, const char *key, uint64_t *out)
{
    const struct entry *v = find(g, key);

    if (!v || !is_int(v->type) || int_at(v->type, v->value) < 0)
        return false;
    *out = (uint64_t)int_at(v->type, v->value);
    return true;
}

bool gguf_real(const struct gguf *g, const char *key, double *out)
{
    const struct entry *v = find(g, key);
    uint64_t bits;

    if (!v || (v->type != F32 && v->type != F64))
        return false;
    bits = read_le(v->value, type_bytes[v->type]);
    if (v->type == F32)
        *out = (double)float_from_bits((uint32_t)bits);
    else
        memcpy(out, &bits, sizeof(bits));
    return true;
}

bool gguf_bool(const struct gguf *g, const char *key, bool *out)
{
    const struct entry *v = find(g, key);

    if (!v || v->type != BOOL)
        return false;
    *out = *v->value != 0;
    return true;
}

bool gguf_text(const struct gguf *g, const char *key, struct text *out)
{
    const struct entry *v = find(g, key);

    if (!v || v->type != STRING)
        return false;
    *out = (struct text){(const char *)v->value + 8, read_le(v->value, 8)};
    return true;
}

bool gguf_text_is(const struct gguf *g, const char *key, const char *value)
{
    struct text t;

    return gguf_text(g, key, &t) && t.len == strlen(value) && memcmp(t.at, value, t.len) == 0;
}

static bool find_array(const struct gguf *g, const char *key, struct gguf_array *out)
{
    const struct entry *v = find(g, key);

    if (!v || v->type != ARRAY)
        return false;
    *out = (struct gguf_array){(uint32_t)read_le(v->value, 4), read_le(v->value + 4, 8),
                               v->value + 12};
    return true;
}

bool gguf_texts(const struct gguf *g, const char *key, struct gguf_array *out)
{
    return find_array(g, key, out) && out->type == STRING;
}

bool gguf_ints(const struct gguf *g, const char *key, struct gguf_array *out)
{
    return find_array(g, key, out) && is_int(out->type);
}

bool gguf_next_text(struct gguf_array *a, struct text *out)
{
    if (a->left == 0)
        return false;
    *out = (struct text){(const char *)a->at + 8, read_le(a->at, 8)};
    a->at += 8 + out->len;
    a->left--;
    return true;
}

bool gguf_next_int(struct gguf_array *a, int64_t *out)
{
    if (a->left == 0)
        return false;
    *out = int_at(a->type, a->at);
    a->at += type_bytes[a->type];
    a->left--;
    return true;
}

/* ---- header ---- */

static bool read_entries(struct gguf *g, struct cursor *c, uint64_t n, const char *path,
                         struct err *e)
{
    for (uint64_t i = 0; i < n && !c->bad; i++) {
        struct entry v = {.key = take_text(c)};

        v.type = (uint32_t)take_uint(c, 4);
        v.value = c->at;
        if (!skip_value(c, v.type))
            return err_set(e, "%s: value %" PRIu64 " has an unknown type; the file is damaged",
                           path, i + 1);
        if (c->bad)
            break;
        g->entry =
            arena_reserve(&g->arena, g->entry, &g->entry_cap, g->n_entries + 1, sizeof(*g->entry));
        g->entry[g->n_entries++] = v;
    }
    return true;
}

static enum tensor_type type_of(uint32_t ggml_type, char *name, size_t size)
{
    static const struct {
        uint32_t id;
        enum tensor_type type;
        const char *name;
    } known[] = {
        {0, TENSOR_F32, "F32"},           {1, TENSOR_F16, "F16"},
        {2, TENSOR_Q4_0, "Q4_0"},         {3, TENSOR_Q4_1, "Q4_1"},
        {6, TENSOR_UNSUPPORTED, "Q5_0"},  {7, TENSOR_UNSUPPORTED, "Q5_1"},
        {8, TENSOR_Q8_0, "Q8_0"},         {10, TENSOR_UNSUPPORTED, "Q2_K"},
        {11, TENSOR_UNSUPPORTED, "Q3_K"}, {12, TENSOR_UNSUPPORTED, "Q4_K"},
        {13, TENSOR_UNSUPPORTED, "Q5_K"}, {14, TENSOR_Q6_K, "Q6_K"},
        {30, TENSOR_BF16, "BF16"},
    };

    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (known[i].id == ggml_type) {
            snprintf(name, size, "%s", known[i].name);
            return known[i].type;
        }
    }
    snprintf(name, size, "type %" PRIu32, ggml_type);
    return TENSOR_UNSUPPORTED;
}

static bool read_tensors(struct gguf *g, struct cursor *c, uint64_t n, const char *path,
                         struct err *e)
{
    for (uint64_t i = 0; i < n && !c->bad; i++) {
        struct text name = take_text(c);
        uint32_t dims = (uint32_t)take_uint(c, 4);
        uint64_t rows = 1, cols = 1;
        struct tensor *t;

        if (dims > MAX_DIMS)
            return err_set(e, "%s: tensor %" PRIu64 " has %u dimensions; the file is damaged", path,
                           i + 1, dims);
        for (uint32_t d = 0; d < dims; d++) {
            uint64_t size = take_uint(c, 8);

            if (d == 0)
                cols = size;
            else if (__builtin_mul_overflow(rows, size, &rows))
                return err_set(e, "%s: tensor %" PRIu64 " is too large; the file is damaged", path,
                               i + 1);
        }
        if (c->bad)
            break;
        t = tensor_add(&g->tensors, &g->arena, name.at, name.len);
        t->type = type_of((uint32_t)take_uint(c, 4), t->type_name, sizeof(t->type_name));
        t->rows = rows;
        t->cols = cols;
        t->offset = take_uint(c, 8);
    }
    return true;
}

/* Finds the data of every tensor behind the header, which ends at c->at. */
static bool place_data(struct gguf *g, const struct cursor *c, const char *path, struct err *e)
{
    uint64_t alignment = 32, header = (uint64_t)(c->at - g->map.data), begin, bytes;

    if (gguf_uint(g, "general.alignment", &alignment) &&
        (alignment == 0 || alignment > MAX_ALIGNMENT || (alignment & (alignment - 1)) != 0))
        return err_set(e, "%s: general.alignment is %" PRIu64 "; the file is damaged", path,
                       alignment);
    begin = (header + alignment - 1) / alignment * alignment;
    for (size_t i = 0; i < g->tensors.n; i++) {
        struct tensor *t = &g->tensors.tensor[i];

        if (t->type == TENSOR_UNSUPPORTED)
            continue;
        if (!tensor_bytes(t->type, t->rows, t->cols, &bytes) || t->offset % alignment != 0)
            return err_set(e, "%s: tensor %s has an impossible size or place; the file is damaged",
                           path, t->name);
        if (begin > g->map.size || t->offset > g->map.size - begin ||
            bytes > g->map.size - begin - t->offset)
            return err_set(e, "%s: the file ends inside tensor %s; fetch all of it", path, t->name);
        t->data = g->map.data + begin + t->offset;
    }
    return true;
}

static bool read_header(struct gguf *g, const char *path, struct err *e)
{
    struct cursor c = {g->map.data, g->map.data + g->map.size, false};
    const uint8_t *magic = take(&c, 4);
    uint64_t version = take_uint(&c, 4), n_tensors = take_uint(&c, 8), n_entries = take_uint(&c, 8);

    if (!magic || memcmp(magic, "GGUF", 4) != 0)
        return err_set(
            e, "%s: is no GGUF file; give one, a .safetensors file, or a folder with one", path);
    if (!c.bad && version != 2 && version != 3)
        return err_set(e, "%s: is GGUF version %" PRIu64 "; 2 and 3 can be read: convert it anew",
                       path, version);
    if (!read_entries(g, &c, n_entries, path, e) || !read_tensors(g, &c, n_tensors, path, e))
        return false;
    if (c.bad)
        return err_set(e, "%s: the file ends inside its header; fetch all of it", path);
    return place_data(g, &c, path, e);
}

struct gguf *gguf_open(const char *path, struct err *e)
{
    struct gguf *g = mem_alloc(sizeof(*g));

    arena_init(&g->arena);
    if (file_map_open(&g->map, path, e) && read_header(g, path, e))
        return g;
    gguf_close(g);
    return NULL;
}

void gguf_close(struct gguf *g)
{
    if (!g)
        return;
    file_map_close(&g->map);
    arena_release(&g->arena);
    mem_free(g);
}

struct tensor_set *gguf_tensors(struct gguf *g)
{
    return &g->tensors;
}

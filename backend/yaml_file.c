#include "backend/yaml_file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- nodes ---- */

static yaml_node_t *member(struct yaml_file *f, const yaml_node_t *map, const char *key, size_t len)
{
    if (map->type != YAML_MAPPING_NODE)
        return NULL;
    for (const yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
         p++) {
        const yaml_node_t *k = yaml_document_get_node(&f->document, p->key);

        if (k->type == YAML_SCALAR_NODE && k->data.scalar.length == len &&
            memcmp(k->data.scalar.value, key, len) == 0)
            return yaml_document_get_node(&f->document, p->value);
    }
    return NULL;
}

/* The node that `key` leads to, NULL: none. *nearest is the last one on the way. */
static yaml_node_t *find(struct yaml_file *f, const char *key, yaml_node_t **nearest)
{
    yaml_node_t *node = yaml_document_get_root_node(&f->document);

    for (*nearest = node; node && *key;) {
        size_t len = strcspn(key, ".");

        node = member(f, node, key, len);
        if (node)
            *nearest = node;
        key += len + (key[len] == '.');
    }
    return node;
}

static const char *scalar(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

bool yaml_fail(struct yaml_file *f, const char *key, struct err *e, const char *fmt, ...)
{
    char what[600];
    yaml_node_t *nearest;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    find(f, key, &nearest);
    return err_set(e, "%s:%zu: %s: %s", f->path, nearest->start_mark.line + 1, key, what);
}

/* ---- files ---- */

static bool load(struct yaml_file *f, FILE *file, struct err *e)
{
    yaml_parser_t parser;
    yaml_node_t *root;

    CHECK(yaml_parser_initialize(&parser), "libyaml starts", "%s", f->path);
    yaml_parser_set_input_file(&parser, file);
    if (!yaml_parser_load(&parser, &f->document)) {
        err_set(e, "%s:%zu: %s; correct the YAML", f->path, parser.problem_mark.line + 1,
                parser.problem ? parser.problem : "cannot be read");
        yaml_parser_delete(&parser);
        return false;
    }
    yaml_parser_delete(&parser);
    root = yaml_document_get_root_node(&f->document);
    if (root && root->type == YAML_MAPPING_NODE)
        return true;
    err_set(e, "%s:1: holds no mapping of keys to values; this describes no profile", f->path);
    yaml_document_delete(&f->document);
    return false;
}

bool yaml_file_open(struct yaml_file *f, const char *folder, const char *name, struct err *e)
{
    size_t size = strlen(folder) + strlen(name) + sizeof("/");
    FILE *file;
    bool ok = false;

    *f = (struct yaml_file){.path = mem_alloc(size)};
    snprintf(f->path, size, "%s/%s", folder, name);
    file = fopen(f->path, "rb");
    if (file) {
        ok = load(f, file, e);
        fclose(file);
    } else {
        err_set(e, "%s: cannot be opened: %s; give a folder that holds it", f->path,
                strerror(errno));
    }
    if (!ok)
        mem_free(f->path);
    return ok;
}

void yaml_file_close(struct yaml_file *f)
{
    yaml_document_delete(&f->document);
    mem_free(f->path);
}

/* ---- values ---- */

bool yaml_text(struct yaml_file *f, const char *key, bool optional, const char **out, struct err *e)
{
    yaml_node_t *nearest;
    const yaml_node_t *node = find(f, key, &nearest);

    *out = node ? scalar(node) : NULL;
    if (!node && !optional)
        return yaml_fail(f, key, e, "is missing; add it");
    if (node && !*out)
        return yaml_fail(f, key, e, "is not a single value; give one");
    return true;
}

bool yaml_flag(struct yaml_file *f, const char *key, bool *out, struct err *e)
{
    const char *text;

    if (!yaml_text(f, key, true, &text, e))
        return false;
    *out = text && strcmp(text, "true") == 0;
    return !text || *out || strcmp(text, "false") == 0 ||
           yaml_fail(f, key, e, "\"%.40s\" is neither true nor false; give one", text);
}

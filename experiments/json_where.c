#include "experiments/json_where.h"

#include <string.h>

static const char *skip_space(const char *p)
{
    return p + strspn(p, " \t\r\n");
}

/* p is at the opening quote; returns what follows the closing one. */
static const char *skip_string(const char *p)
{
    for (p++; *p != '"'; p++)
        p += *p == '\\';
    return p + 1;
}

static const char *skip_value(const char *p)
{
    int depth = 0;
    do {
        if (*p == '"') {
            p = skip_string(p);
            continue;
        }
        depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
        p++;
    } while (depth > 0 || (*p && !strchr(",]} \t\r\n", *p)));
    return p;
}

/* The first key or element of what is at `container`, NULL: there is none. */
static const char *first(const char *container)
{
    const char *p = skip_space(skip_space(container) + 1);
    return *p == '}' || *p == ']' ? NULL : p;
}

/* What follows the value that ends at p, NULL: nothing does. */
static const char *next(const char *p)
{
    p = skip_space(p);
    return *p == ',' ? skip_space(p + 1) : NULL;
}

const char *json_where_value(const char *key)
{
    return skip_space(skip_space(skip_string(key)) + 1);
}

const char *json_where_member(const char *object, const char *name)
{
    object = skip_space(object);
    if (*object != '{')
        return NULL;
    for (const char *key = first(object), *value; key; key = next(skip_value(value))) {
        size_t n = (size_t)(skip_string(key) - key) - 2;
        value = json_where_value(key);
        if (strncmp(key + 1, name, n) != 0 || (name[n] != '\0' && name[n] != '.'))
            continue;
        const char *inner = json_where_member(value, name[n] == '.' ? name + n + 1 : "id");
        if (inner || name[n] == '\0')
            return inner ? inner : key;
    }
    return NULL;
}

const char *json_where_element(const char *array, size_t i)
{
    array = skip_space(array);
    const char *p = *array == '[' ? first(array) : NULL;
    for (; p && i > 0; i--)
        p = next(skip_value(p));
    return p;
}

void json_where_position(const char *text, const char *at, int *line, int *column)
{
    *line = *column = 1;
    for (; text < at; text++) {
        bool continues = ((unsigned char)*text & 0xc0) == 0x80; /* a byte within a character */
        *column = *text == '\n' ? 1 : *column + !continues;
        *line += *text == '\n';
    }
}

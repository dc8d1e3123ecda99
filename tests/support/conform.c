#include "tests/support/conform.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_PARAMS 1000u /* more: the table has no end */

static bool is_id(const char *s)
{
    return *s >= 'a' && *s <= 'z' && s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_")] == '\0';
}

static bool is_line(const char *s)
{
    return s != NULL && *s != '\0' && strchr(s, '\n') == NULL;
}

const char *conform_text_fault(const char *name, const char *doc, const char *source)
{
    if (name == NULL || !is_id(name))
        return "the name is no id";
    if (!is_line(doc))
        return "doc is not one line";
    if (!is_line(source))
        return "source is not one line";
    return NULL;
}

static const char *number_fault(const struct param_desc *d)
{
    char *end;
    double value = strtod(d->dflt, &end);
    if (*end != '\0' || !isfinite(value))
        return "the default is no number";
    if (d->type == PARAM_INT && value != floor(value))
        return "the default is no integer";
    if (d->min != d->max && (value < d->min || value > d->max))
        return "the default is out of range";
    return NULL;
}

/* Is `word` one of "a|b|c"? */
static bool is_choice(const char *choices, const char *word)
{
    size_t n = strlen(word);
    for (const char *c = choices; c != NULL; c = strchr(c, '|')) {
        c += *c == '|';
        if (strncmp(c, word, n) == 0 && (c[n] == '|' || c[n] == '\0'))
            return true;
    }
    return false;
}

static const char *default_fault(const struct param_desc *d)
{
    bool none = *d->dflt == '\0';
    switch (d->type) {
    case PARAM_INT:
    case PARAM_REAL:
        return none ? NULL : number_fault(d);
    case PARAM_BOOL:
        return none || is_choice("true|false", d->dflt) ? NULL : "the default is no switch";
    case PARAM_STR:
        return none || d->choices == NULL || is_choice(d->choices, d->dflt)
                   ? NULL
                   : "the default is no choice";
    case PARAM_MAP:
        return none ? NULL : "a map has a default";
    }
    return "the type is unknown";
}

static const char *param_fault(const struct param_desc *desc, size_t i)
{
    const struct param_desc *d = &desc[i];
    if (!is_id(d->name))
        return "a parameter's name is no id";
    for (size_t j = 0; j < i; j++)
        if (strcmp(desc[j].name, d->name) == 0)
            return "a parameter stands there twice";
    if (!is_line(d->doc))
        return "a parameter's doc is not one line";
    if (d->dflt == NULL)
        return "a parameter has no default; \"\" says none";
    if (!(d->min <= d->max))
        return "a parameter's range is empty";
    if (d->choices != NULL && d->type != PARAM_STR)
        return "choices of what is no string";
    return default_fault(d);
}

const char *conform_params_fault(const struct param_desc *desc)
{
    for (size_t i = 0; desc != NULL && desc[i].name != NULL; i++) {
        if (i == MOST_PARAMS)
            return "the table does not end";
        const char *fault = param_fault(desc, i);
        if (fault != NULL)
            return fault;
    }
    return NULL;
}

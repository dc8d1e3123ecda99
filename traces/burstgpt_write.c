/* burstgpt_write.c: see burstgpt_write.h. One reading: the columns are always the same. */
#include "traces/burstgpt_write.h"

#include <inttypes.h>
#include <string.h>

#include "traces/registry.h"
#include "traces/row_file.h"

#define HEADER "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"

static bool put(struct row_file *f, const struct trace_rec *rec, const struct trace_env *env,
                struct err *e)
{
    const char *model = names_text(env->tenants, rec->tenant);
    bool talk = rec->slo_class != NAMES_NONE &&
                strcmp(names_text(env->classes, rec->slo_class), BURSTGPT_CONVERSATION) == 0;
    uint32_t output = rec->failed ? 0 : rec->output_tokens;

    if (rec->after != TRACE_NO_PARENT)
        return err_set(e,
                       "%s: request %" PRIu64 " follows another and has no time of its own; write "
                       "csv, or generate with after=false",
                       f->path, rec->seq);
    if (model[strcspn(model, ",\"")] != '\0')
        return err_set(e, "%s: tenant %.60s has a comma or quote in its name; write csv", f->path,
                       model);
    row_add(f, "%" PRId64 ",%s,%" PRIu32 ",%" PRIu32 ",%" PRIu64 ",%s log",
            rec->arrival_at / NS_PER_S, strcmp(model, "default") == 0 ? "ChatGPT" : model,
            rec->prompt_tokens, output, (uint64_t)rec->prompt_tokens + output,
            talk ? "Conversation" : "API");
    return row_end(f, e);
}

static bool put_all(struct row_file *f, struct trace_source *src, const struct trace_env *env,
                    struct converted *out, struct err *e)
{
    struct trace_rec rec;
    enum trace_status st;

    row_add(f, HEADER);
    if (!row_end(f, e))
        return false;
    while ((st = src->ops->next(src->self, &rec, e)) == TRACE_REC) {
        if (!put(f, &rec, env, e))
            return false;
        out->rows++;
        out->failed += rec.failed;
    }
    return st == TRACE_END;
}

bool burstgpt_convert(const char *from, const char *format, const struct trace_env *env,
                      const char *to, struct converted *out, struct err *e)
{
    struct trace_source src;
    struct row_file f;
    bool ok;

    *out = (struct converted){0};
    if (!trace_open(from, format, env, &src, e))
        return false;
    ok = row_file_open(&f, to, e);
    if (ok) {
        ok = put_all(&f, &src, env, out, e);
        if (ok)
            ok = row_file_close(&f, e);
        else
            row_file_abandon(&f);
    }
    src.ops->close(src.self);
    return ok;
}

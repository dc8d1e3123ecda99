/* burstgpt_write.h: writes a trace as a file of BurstGPT's, which burstgpt.c reads. */
#ifndef TRACES_BURSTGPT_WRITE_H
#define TRACES_BURSTGPT_WRITE_H

#include "traces/convert.h"

/* The class of a request that stands for its log type; other classes are of the API. */
#define BURSTGPT_CONVERSATION "conversation"
#define BURSTGPT_API "api"

/* Writes a trace as BurstGPT's first files are: Timestamp,Model,Request tokens,Response tokens,
 * Total tokens,Log Type. Times are whole seconds there, and requests of one second arrive together;
 * the tenant is the model (ChatGPT where it has none), and what failed has no response tokens. No
 * other column is written. A request that follows another has no time of its own: an error. */
bool burstgpt_convert(const char *from, const char *format, const struct trace_env *env,
                      const char *to, struct converted *out, struct err *e) NODISCARD;

#endif

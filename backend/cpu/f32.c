/* f32.c: the operators in float32: the engine for machines without a GPU. */
#define REAL float
#define NAME(name) name##_f32

#include "backend/cpu/ops/attend.c"
#include "backend/cpu/ops/attention.c"
#include "backend/cpu/ops/forward.c"
#include "backend/cpu/ops/kv_append.c"
#include "backend/cpu/ops/matmul.c"
#include "backend/cpu/ops/rmsnorm.c"
#include "backend/cpu/ops/rope.c"
#include "backend/cpu/ops/swiglu.c"

/* weights_memory.h: for what fills weights (weights.c, weights_file.c), not for who reads them. */
#ifndef BACKEND_MODEL_WEIGHTS_MEMORY_H
#define BACKEND_MODEL_WEIGHTS_MEMORY_H

#include "backend/model/weights.h"

/* Memory for all tensors of w->arch in w->dtype: sets their pointers and `owned`. */
void weights_allocate(struct weights *w);
/* The memory of one tensor, to write it. */
void *weights_tensor_memory(struct weights *w, uint32_t tensor);

#endif

file = 'memory.dat'
title_all = 'KV cache'
title_1 = 'Prefix cache hit rate'
label_1 = 'prompt tokens found in the cache (%)'
title_2 = 'In use'
label_2 = 'capacity held, mean over time (%)'
top_2 = 100
load scripts.'/bars.gp'

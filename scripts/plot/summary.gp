file = 'summary.dat'
title_all = 'Requests served within their limits'
title_1 = 'SLO attainment'
label_1 = 'requests that met every limit (%)'
title_2 = 'Goodput'
label_2 = 'requests per second that met every limit'
top_2 = 0
load scripts.'/bars.gp'

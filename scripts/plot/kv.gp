set title 'KV cache in use over time'
set xlabel 'simulated time (s)'
set ylabel 'capacity held by requests (%)'
set yrange [0:100]
set autoscale xfix
set bmargin at screen foot(n_kv)
plot for [i = 0:n_kv-1] data.'/kv.dat' index i using 1:($2*100) with steps ls (i % 16) + 1 \
    title columnheader(1)

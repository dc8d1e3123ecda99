# Closed-loop points, a group a block of truth_tpot.dat; settings.gp says how many (truth_groups).
set title 'Time per output token of closed-loop points: measured and simulated, nothing fitted'
set logscale xy
set xlabel 'measured (ms, logarithmic)'
set ylabel 'simulated (ms, logarithmic)'
set xrange [4:130]
set yrange [4:130]
set xtics (5, 10, 20, 50, 100)
set ytics (5, 10, 20, 50, 100)
set bmargin at screen 0.12
set key at graph 0.01, graph 0.99 top left vertical maxcols 1 font ",11"
plot x with lines lc rgb "#444444" lw 1 title 'equal', \
    1.1 * x with lines ls 100 title '10 % apart', x / 1.1 with lines ls 100 notitle, \
    for [i = 0:truth_groups-1] data.'/truth_tpot.dat' index i using 1:2 with points ls i + 1 pt 7 \
    ps 1.1 title columnheader(1)

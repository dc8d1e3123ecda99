# Waiting above running, on the same time axis; one legend for both.
set multiplot
set yrange [0:1<*]
set autoscale xfix
low = foot(n_running)
half = (0.915 - low - 0.06) / 2

set bmargin at screen 0.915 - half
set title 'Requests waiting and running over time'
set ylabel 'waiting requests'
plot for [i = 0:n_waiting-1] data.'/waiting.dat' index i using 1:2 with steps ls (i % 16) + 1 \
    notitle

unset title
set tmargin at screen low + half
set bmargin at screen low
set ylabel 'running requests'
set xlabel 'simulated time (s)'
plot for [i = 0:n_running-1] data.'/running.dat' index i using 1:2 with steps ls (i % 16) + 1 \
    title columnheader(1)
unset multiplot

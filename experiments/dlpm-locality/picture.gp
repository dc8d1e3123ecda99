# picture.gp: throughput by the number of clients; and what the quantum of DLPM trades.
set terminal pngcairo size 1200,430 font 'Sans,12' enhanced background 'white'
set output 'picture.png'
load scripts.'/style.gp'
workloads = system("tr -d '\"' <tracks.dat | grep '^[a-z]' | tr '\\n' ' '")
at(name) = sum [i = 1:words(workloads)] word(workloads, i) eq name ? i - 1 : 0
array drawn[2] = [at('judge-hot'), words(workloads) > 2 ? at('loogle') : 1]
array policy[3] = ['VTC', 'LPM', 'DLPM']

set multiplot
set tmargin at screen 0.9
set bmargin at screen 0.26
set title font ',13' noenhanced
set xrange [0:52]
set key at screen 0.35, screen 0.02 maxcols 3
set xlabel 'clients'
set yrange [0:*]
do for [p = 1:2] {
    set lmargin at screen 0.065 + (p - 1) * 0.32
    set rmargin at screen 0.33 + (p - 1) * 0.32
    set ylabel (p == 1 ? 'requests/s' : '') offset 0.5,0
    set title word(workloads, drawn[p] + 1)
    plot for [i = 1:3] 'tracks.dat' index drawn[p] using 1:i+1 with linespoints ls i pt 7 ps 0.7 \
        title policy[i]
    unset key
}
set lmargin at screen 0.72
set rmargin at screen 0.98
set title 'judge-hot, 50 clients: quanta of DLPM'
set xlabel 'hit rate, %'
set ylabel 'Jain''s index of what was computed' offset 1,0
set yrange [0.4:1.05]
set xrange [0:115]
plot 'curve.dat' using 1:2 with points pt 7 ps 1 lc rgb colour[3], \
    '' using 1:2:3 with labels left offset 0.7, -0.3 noenhanced font ',10'
unset multiplot
